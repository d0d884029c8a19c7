"""Mistakes of the user: exit code 2, the place, what is allowed, how to fix; no traceback."""

import subprocess
import sys

import pytest

from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow


def assert_refused(finished: Finished, *words: str) -> None:
    assert finished.code == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    for word in words:
        assert word in finished.stderr


def test_a_missing_file(prepared: Project) -> None:
    assert_refused(prepared.search(file="configs/nope.yaml"), "configs/nope.yaml", "does not exist")


def test_a_syntax_error(prepared: Project) -> None:
    (prepared.root / "configs/broken.yaml").write_text("a: [1,\nb: 2\n")

    assert_refused(prepared.search(file="configs/broken.yaml"), "configs/broken.yaml:", "YAML")


def test_several_mistakes_at_once(prepared: Project) -> None:
    file = prepared.write_search(
        "wrong", seq_lenght=[7], model__n_head=[2, 4], input_columns=[["weather", "wnd"]]
    )

    assert_refused(
        prepared.search(file=file),
        "seq_lenght",
        "did you mean `seq_length`?",
        "linked lists",
        "did you mean `wind`?",
    )


def test_a_window_that_is_longer_than_the_stored_ones(prepared: Project) -> None:
    file = prepared.write_search("long", seq_length=[7, 29])

    assert_refused(prepared.search(file=file), "seq_length[1]", "allowed: 1 to 28")


def test_an_unknown_option_and_a_missing_command(prepared: Project) -> None:
    assert_refused(prepared.run("hyperparameter-search", "--confg-path", "x"), "--confg-path")
    assert_refused(prepared.run_program("hyperparametersearch"), "hyperparametersearch")


def test_a_verb_of_sequifier_without_sequifier(prepared: Project) -> None:
    assert_refused(prepared.run_program("infer", program="sequifier"), "pip install sequifier")


def test_a_storage_that_is_no_database(prepared: Project) -> None:
    file = prepared.write_search("stored", storage="mysql://me:secret@host/db")

    finished = prepared.search(file=file)

    assert_refused(finished, "not supported")
    assert "secret" not in finished.stderr


def test_help_gives_an_example(prepared: Project) -> None:
    finished = prepared.run("hyperparameter-search", "--help")

    assert finished.code == 0
    assert "Example: sequifier-hpo hyperparameter-search" in finished.stdout


def test_no_control_command_imports_torch(prepared: Project) -> None:
    program = (
        "import sys\n"
        "from sequifier_hpo.cli.main import app, exit_code_of\n"
        "code = exit_code_of(lambda: app(sys.argv[1:]))\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)"
    )
    command = ["plan", "--config-path", prepared.write_search("light")]

    subprocess.run([sys.executable, "-c", program, *command], cwd=prepared.root, check=True)
