"""Who answers as `sequifier`, and the forms of Sequifier's command line that we understand."""

import sys
from pathlib import Path

import pytest
import yaml

from sequifier_hpo.cli import sequifier_door
from sequifier_hpo.cli.options import search_overrides
from sequifier_hpo.config.search import load_search
from tests.cli.conftest import Run
from tests.conftest import WriteSearch

LATER = "base_config_path: train.yaml\nname: wide\nparameters:\n  training_plan:\n    epochs: [1]\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which packages are imported."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def install_sequifier(site: Path, version: str) -> None:
    """Something of that name, which prints what it was asked."""
    (site / "sequifier").mkdir()
    (site / "sequifier" / "__init__.py").touch()
    program = "import sys\ndef main():\n    print('Sequifier gets', *sys.argv[1:])\n"
    (site / "sequifier" / "sequifier.py").write_text(program)
    metadata = site / f"sequifier-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: sequifier\nVersion: {version}\n")


def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[str, str]:
    """What `sequifier` prints on stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["sequifier", *arguments])
    try:
        sequifier_door.run()
    except SystemExit:
        pass
    finally:
        for name in ("sequifier", "sequifier.sequifier"):
            sys.modules.pop(name, None)
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.mark.parametrize("option", ["--config-path {}", "--config-path={}", "-sm --config-path {}"])
@pytest.mark.parametrize(
    "text",
    [
        LATER,
        f"# comment\n{LATER}",
        "'parameters' : {}\n",
        "project_root: .\nadditional_config_paths: [parts/space.yaml]\n",
    ],
)
def test_a_search_file_of_sequifier_3_goes_to_sequifier_3(
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    text: str,
) -> None:
    install_sequifier(site, "3.1.1.0")
    file = tmp_path / "search.yaml"
    file.write_text(text)
    arguments = ("hyperparameter-search", *option.format(file).split())

    out, _ = answer(monkeypatch, capsys, *arguments)

    assert out == f"Sequifier gets {' '.join(arguments)}\n"


def test_a_search_file_of_ours_stays_ours_beside_sequifier_3(
    site: Path,
    write_search: WriteSearch,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install_sequifier(site, "3.1.1.0")
    file = write_search({"search_stratgy": "grid"})

    out, err = answer(monkeypatch, capsys, "hyperparameter-search", "--config-path", str(file))

    assert out == ""
    assert "search_stratgy" in err


@pytest.mark.parametrize("version", ["1.0.0.6", None])
def test_a_file_for_a_sequifier_that_is_not_there_is_said_to_be_one(
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: str | None,
) -> None:
    if version:
        install_sequifier(site, version)
    file = tmp_path / "search.yaml"
    file.write_text(LATER)

    out, err = answer(monkeypatch, capsys, "hyperparameter-search", "--config-path", str(file))

    assert out == ""
    assert "this file is one for Sequifier 2 or later" in err


@pytest.mark.parametrize("path", ["", "nowhere.yaml", "."])
def test_without_a_file_our_own_message_says_so(path: str) -> None:
    assert not sequifier_door.names_later_search(["--config-path", path])
    assert not sequifier_door.names_later_search(["--config-path"])


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that preprocesses a table with the columns a, b and c."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"0,{i},{i % 3},{i % 2},{i % 5}\n" for i in range(40))
    Path("t.csv").write_text(f"sequenceId,itemPosition,a,b,c\n{rows}")
    fields = {
        "project_root": ".",
        "data_path": "t.csv",
        "read_format": "csv",
        "selected_columns": ["c"],
        "split_ratios": [0.8, 0.2],
        "seq_length": 2,
    }
    file = Path("preprocess.yaml")
    file.write_text(yaml.safe_dump(fields))
    return file


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ("--selected-columns b a", "b a"),
        ("--selected-columns=b a", "b a"),
        ("-sc b a -dp t.csv", "b a"),
        ("-sc b -sc a", "b a"),
        ("-sc b", "b"),
        ("-sc None", "a b c"),
        ("-r", "c"),
    ],
)
def test_columns_are_selected_as_for_sequifier(
    table: Path, run: Run, options: str, columns: str
) -> None:
    done = run("preprocess", "--config-path", str(table), *options.split())

    assert done.code == 0, done.stderr
    lines = done.stdout.partition("columns:\n")[2].splitlines()
    assert [line.split()[0] for line in lines if " categorical " in line] == columns.split()


def test_an_input_set_is_given_as_for_sequifier(write_search: WriteSearch, run: Run) -> None:
    done = run("plan", "--config-path", str(write_search()), "-ic", "product", "weekdy")

    assert "input_columns[0][1]" in done.stderr
    assert "weekdy" in done.stderr


def test_the_word_none_means_all_columns(write_search: WriteSearch) -> None:
    overrides = search_overrides(["None"], None)

    assert load_search(write_search(), overrides=overrides).config.input_columns == [
        ["product", "price", "weekday"]
    ]


def test_a_drawn_seed_is_shown(table: Path, run: Run) -> None:
    done = run("preprocess", "--config-path", str(table), "-r")

    seed = int(done.stderr.partition("seed: ")[2].split()[0])
    assert 0 <= seed < 10**9


def test_a_seed_is_given_or_drawn(run: Run) -> None:
    done = run("train", "-r", "--seed=1")

    assert done.code == 2
    assert "--randomize draws the seed that --seed gives" in done.stderr
