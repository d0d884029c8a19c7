"""New events are encoded as in preprocessing, and what cannot be is said in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.encode import Unknown
from sequifier_hpo.preprocessing.new_data import Histories, read_histories
from tests.preprocessing.conftest import Project

HEAD = "sequenceId,itemPosition,code,flag,day,price\n"
TRAINED = HEAD + (
    "1,0,00501,True,2026-01-02,20.5\n"
    "1,1,7,False,2026-01-03,1e1\n"
    "1,2,+12,True,2026-01-02, 4\n"
    "2,0,501,False,a day,7.25\n"
)
COLUMNS = ["code", "flag", "day", "price"]
Read = Callable[..., Histories]


@pytest.fixture
def metadata(project: Project) -> DataMetadata:
    """What preprocessing has learned from `TRAINED`."""
    summary = project.preprocess(project.write_csv("shop.csv", TRAINED))
    found = read_metadata(summary.metadata_path)
    assert found.id_maps["code"] == {"7": 1, "12": 2, "501": 3}
    assert found.id_maps["flag"] == {"false": 1, "true": 2}
    return found


@pytest.fixture
def read(project: Project, metadata: DataMetadata) -> Read:
    """Read new events from the text of a CSV file."""

    def call(rows: str, **changes: Any) -> Histories:
        path = project.write_csv("new.csv", HEAD + rows)
        arguments: dict[str, Any] = {"columns": COLUMNS, "length": 3, "metadata": metadata}
        return read_histories(path, **(arguments | changes))

    return call


def test_the_table_that_was_preprocessed_is_encoded_as_it_was(
    project: Project, metadata: DataMetadata
) -> None:
    histories = read_histories(project.root / "shop.csv", COLUMNS, 3, metadata)

    windows = pl.read_parquet(project.root / "project/data/shop-split0.parquet")
    for column, values in histories.inputs.items():
        stored = windows.filter(pl.col("inputCol") == column).select("2", "1", "0").to_numpy()
        assert np.array_equal(values, stored.astype(values.dtype)), column
    assert histories.sequence_ids.tolist() == [1, 2]
    assert histories.unknown == ()


def test_an_unknown_value_has_the_id_that_its_map_leaves_for_it(
    project: Project, metadata: DataMetadata
) -> None:
    path = project.write_csv("new.csv", HEAD + "9,0,7,True,a day,1.0\n9,1,8,True,a day,1.0\n")
    from_two = metadata.model_copy(update={"id_maps": {"code": {"7": 2, "12": 3, "501": 4}}})

    histories = read_histories(path, ["code"], 3, from_two)

    assert histories.inputs["code"].tolist() == [[0, 2, 1]]
    assert histories.unknown == (Unknown("code", 1, ("8",)),)


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("code", "501", 3),
        ("code", "00501", 3),
        ("code", " 7 ", 1),
        ("code", "+12", 2),
        ("code", "7.0", 1),
        ("code", "7.5", 0),
        ("code", "abc", 0),
        ("flag", "True", 2),
        ("flag", "TRUE", 2),
        ("flag", "false", 1),
        ("flag", "yes", 0),
        ("day", "2026-01-03", 2),
        ("day", "a day", 3),
        ("day", "A day", 0),
    ],
)
def test_a_category_is_read_as_what_its_column_holds(
    read: Read, column: str, text: str, expected: int
) -> None:
    row = {"code": "7", "flag": "True", "day": "a day", "price": "1"} | {column: text}

    histories = read(f"1,0,{','.join(row.values())}\n")

    assert histories.inputs[column].tolist() == [[0, 0, expected]]
    is_unknown = Unknown(column, 1, (text,))
    assert histories.unknown == (() if expected else (is_unknown,))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([501, 8], dtype=pl.UInt16), [3, 0]),
        (pl.Series([501.0, 7.0]), [3, 1]),
        (pl.Series(["00501", "7"], dtype=pl.Categorical), [3, 1]),
    ],
)
def test_a_typed_table_may_store_a_category_in_another_way(
    project: Project, metadata: DataMetadata, values: pl.Series, expected: list[int]
) -> None:
    path = project.write_parquet(
        "new.parquet", {"sequenceId": [1, 1], "itemPosition": [0, 1], "code": values}
    )

    histories = read_histories(path, ["code"], 2, metadata)

    assert histories.inputs["code"].tolist() == [expected]


def test_unknown_values_are_counted_and_named(read: Read) -> None:
    rows = "".join(f"1,{i},{code},True,a day,1\n" for i, code in enumerate([9, 8, 7, 8]))

    (unknown,) = read(rows, length=4).unknown

    assert str(unknown) == "column `code`: 2 unknown values in 3 rows (`9`, `8`)"


def test_only_the_newest_events_of_the_sequence_are_looked_at(read: Read) -> None:
    rows = "1,0,999,?,?,x\n1,2,7,True,a day,1\n1,1,501,True,a day,1\n2,0,998,,,\n"

    histories = read(rows, sequence_id="1", length=2)

    assert histories.inputs["code"].tolist() == [[3, 1]]
    assert histories.unknown == ()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,0,7,True,a day,", "`price` has no value in 1 row, first in data row 1 of "),
        ("1,0,,True,a day,1", "`code` has no value"),
        ("1,0,7,True,a day,none", r"`price` is not a finite number in 1 row.*\(none\)"),
        ('1,0,7,True,a day,"20,7"', r"`price` is not a finite number in 1 row.*\(20,7\)"),
        ("1,0,7,True,a day,inf", "`price` is not a finite number"),
        ("x,0,7,True,a day,1", "`sequenceId` is not a whole number"),
        ("1,0,7,True,a day,1\n1,0,7,True,a day,1", "two items have the same place"),
    ],
)
def test_what_cannot_be_encoded_is_refused_in_words(read: Read, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(row + "\n")


@pytest.mark.parametrize("sequence_id", ["3", "abc", ""])
def test_a_sequence_without_events_is_refused(read: Read, sequence_id: str) -> None:
    with pytest.raises(InputError, match="no event of the sequence") as caught:
        read("1,0,7,True,a day,1\n2,0,7,True,a day,1\n", sequence_id=sequence_id)

    assert caught.value.fix == "choose one of its 2 sequences, from 1 to 2"


def test_an_empty_table_has_no_sequence(read: Read) -> None:
    with pytest.raises(InputError, match="no event of the sequence 1"):
        read("", sequence_id=1)


def test_a_column_that_the_table_or_the_metadata_lack_is_named(
    read: Read, metadata: DataMetadata, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has no column `cod`") as caught:
        read("1,0,7,True,a day,1\n", columns=["cod"])
    assert "did you mean `code`?" in caught.value.fix
    with pytest.raises(InputError, match="the metadata do not know the column `price`"):
        read(
            "1,0,7,True,a day,1\n",
            metadata=metadata.model_copy(update={"selected_columns_statistics": {}}),
        )
    with pytest.raises(InputError, match="cannot be read"):
        read_histories(tmp_path / "nope.csv", ["code"], 3, metadata)


def test_dates_are_refused_as_in_preprocessing(project: Project, metadata: DataMetadata) -> None:
    days = pl.Series(["2026-01-02"]).str.to_date()
    path = project.write_parquet(
        "new.parquet", {"sequenceId": [1], "itemPosition": [0], "day": days}
    )

    with pytest.raises(InputError, match="`day`: Date is neither a category nor a number"):
        read_histories(path, ["day"], 3, metadata)
