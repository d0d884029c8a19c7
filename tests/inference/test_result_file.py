"""Results are written in pieces, and appear whole."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from sequifier_hpo.cli.visible_output import visible_output
from sequifier_hpo.inference import result_file
from sequifier_hpo.inference.result_file import write_table

WHOLE = pl.DataFrame({"a": range(10), "b": [f"{i},\n" for i in range(10)]})


def pieces() -> Iterator[pl.DataFrame]:
    return (WHOLE[i : i + 3] for i in range(0, 10, 3))


def test_a_table_of_several_pieces_has_one_header(tmp_path: Path) -> None:
    assert write_table(pieces(), tmp_path / "new/out.csv") == 10

    assert pl.read_csv(tmp_path / "new/out.csv").equals(WHOLE)


def test_a_parquet_file_is_put_together_in_the_order_of_its_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "_ROWS_AT_ONCE", 4)

    write_table(pieces(), tmp_path / "out.parquet")

    assert pl.read_parquet(tmp_path / "out.parquet").equals(WHOLE)


def test_without_a_file_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(pieces(), None)

    assert capsys.readouterr().out == WHOLE.write_csv()


def test_what_is_printed_does_not_control_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with visible_output():
        write_table([pl.DataFrame({"a": ["\x1b[2J"]})], None)

    assert capfd.readouterr().out == "a\n\\u001b[2J\n"


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("before")

    def failing() -> Iterator[pl.DataFrame]:
        yield WHOLE
        raise ValueError("it went wrong")

    with pytest.raises(ValueError, match="it went wrong"):
        write_table(failing(), tmp_path / name)

    assert (tmp_path / name).read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == [name]
