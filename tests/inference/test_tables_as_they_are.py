"""Predictions on a table with names, times and gaps, from what the model file says of it."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.model_file import Model
from sequifier_hpo.inference.predicting import Request, predict_table
from sequifier_hpo.preprocessing.remarks import Remarks
from tests.inference.conftest import Events

MakeModel = Callable[..., Path]

METADATA: dict[str, Any] = {
    "sequence_column": "who",
    "sequence_ids_path": "configs/metadata_configs/data-sequences.parquet",
    "order_column": "day",
    "missing": {"cat2": "drop", "val1": "mean", "cat1": "category"},
}
INPUTS = ["cat1", "val1"]
LENGTHS = {7: 9, 2: 5, 40: 3, 11: 1}


@pytest.fixture
def model(make_model: MakeModel) -> Path:
    return make_model(INPUTS, INPUTS, METADATA)


def named(sequence: int) -> str:
    return f"N-{sequence:03}"


def as_people_have_it(events: Events) -> Events:
    """The same events with names and days, in the same order."""
    first = date(2013, 1, 1)
    return Events(
        [
            {
                "note": "not read",
                "day": str(first + timedelta(days=row["itemPosition"])),
                "who": named(row["sequenceId"]),
                **{c: row[c] for c in ("cat1", "val1", "cat2", "val2")},
            }
            for row in events.rows
        ]
    )


def predict(
    path: Path, table: Path, remarks: Remarks | None = None, **changes: Any
) -> pl.DataFrame:
    model = Model(path)
    assert model.about.metadata is not None
    request = Request(table, **changes)
    frames = predict_table(model, model.about.metadata, request, remarks or Remarks())
    return pl.concat(frames)


def test_a_model_file_says_what_its_raw_table_looked_like(model: Path) -> None:
    metadata = Model(model).about.metadata

    assert metadata is not None
    assert metadata.id_columns == ("who", "day")
    assert metadata.has_named_sequences
    assert metadata.missing == METADATA["missing"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_and_days_give_the_predictions_of_numbers(
    make_model: MakeModel, tmp_path: Path, suffix: str
) -> None:
    events = Events.random(LENGTHS)
    numbers = events.write(tmp_path / f"numbers.{suffix}")
    expected = predict(make_model(INPUTS, INPUTS), numbers, steps=3)

    table = as_people_have_it(events).write(tmp_path / f"new.{suffix}")
    found = predict(make_model(INPUTS, INPUTS, METADATA), table, steps=3)

    assert found.columns == ["who", "day.step", *expected.columns[2:]]
    assert found["who"].to_list() == [named(s) for s in expected["sequenceId"]]
    assert found["day.step"].to_list() == [1, 2, 3] * 4
    assert found.drop("who", "day.step").equals(expected.drop("sequenceId", "itemPosition"))


def with_gaps(events: Events) -> Events:
    for i, row in enumerate(events.rows):
        row["cat2"] = "" if i % 5 == 0 else row["cat2"]
        row["val1"] = "NA" if i % 3 == 0 else row["val1"]
        row["cat1"] = "-" if i % 7 == 0 else row["cat1"]
    return Events([{c: str(value) for c, value in row.items()} for row in events.rows])


def test_gaps_are_treated_as_in_preprocessing_and_counted(
    make_model: MakeModel, tmp_path: Path
) -> None:
    events = as_people_have_it(Events.random({7: 4, 2: 5}))
    path = make_model(INPUTS, INPUTS, METADATA)
    kept: list[Mapping[str, Any]] = [
        row
        | {"val1": 10.0 if i % 3 == 0 else row["val1"], "cat1": "?" if i % 7 == 0 else row["cat1"]}
        for i, row in enumerate(events.rows)
        if i % 5
    ]
    filled = Events([dict(row) for row in kept]).write(tmp_path / "filled.parquet")
    table = with_gaps(events).write(tmp_path / "new.csv")
    remarks = Remarks()

    found = predict(path, table, remarks)

    assert found.equals(predict(path, filled))
    metadata = Model(path).about.metadata
    assert metadata is not None
    assert list(remarks.lines(metadata)) == [
        # The ids of this model leave none for a missing value.
        "column `cat1`: 1 unknown value in 1 row (no value); the model was not trained with them",
        "column `cat2`: 2 missing values were dropped with their rows",
        "column `cat1`: 1 missing value is a class of its own",
        "column `val1`: 2 missing values became the mean",
        "dropped 2 rows of 9",
    ]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_large_table_of_names_is_predicted_in_parts_with_the_same_result(
    model: Path, tmp_path: Path, suffix: str
) -> None:
    events = with_gaps(as_people_have_it(Events.random({i: 1 + i % 7 for i in range(100)})))
    table = events.write(tmp_path / f"new.{suffix}")
    size = table.stat().st_size if suffix == "csv" else len(events.rows) * 8 * 5
    if suffix == "parquet":
        frame = pl.read_parquet(table).with_columns(
            pl.col("val1").cast(pl.Float64, strict=False),
            pl.col("cat1").replace("-", None),
            pl.col("cat2").replace("", None),
            pl.col("day").str.to_date(),
        )
        frame.write_parquet(table)
    of_whole, of_parts, of_some = Remarks(), Remarks(), Remarks()

    whole = predict(model, table, of_whole)
    parts = predict(model, table, of_parts, bytes_in_memory=size // 5)
    wanted = [named(77), named(5)]
    some = predict(model, table, of_some, bytes_in_memory=size // 5, sequence_ids=wanted)

    assert parts.equals(whole)
    assert of_parts.num_missing == of_whole.num_missing
    assert (of_parts.num_rows, of_parts.num_dropped) == (of_whole.num_rows, of_whole.num_dropped)
    assert [str(u) for u in of_parts.unknown] == [str(u) for u in of_whole.unknown]
    assert some.equals(whole.filter(pl.col("who").is_in(wanted)))
    assert of_some.num_rows == 1 + 6


def test_a_name_without_events_is_an_error_unless_it_is_allowed(
    model: Path, tmp_path: Path
) -> None:
    table = as_people_have_it(Events.random({4: 2, 5: 1})).write(tmp_path / "new.csv")

    with pytest.raises(InputError, match="no event of the sequence N-9") as caught:
        predict(model, table, sequence_ids=["N-004", "N-9"])
    assert caught.value.fix == "choose one of its 2 sequences, from N-004 to N-005"
    found = predict(model, table, sequence_ids=["N-9", "N-004"], allows_empty=True)

    assert found.select("who", "day.step").rows() == [("N-004", 1), ("N-9", 1)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"day": "31.01.2013"}, "`day` is neither a number nor a time like 2013-01-31"),
        ({"day": None}, "`day` has no value in 1 row, first in data row 2"),
        ({"who": None}, "`who` has no value in 1 row, first in data row 2"),
        ({"val1": "x"}, "`val1` is not a finite number in 1 row"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_row(
    model: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    events = as_people_have_it(Events.random({4: 2, 5: 1}))
    events.rows[1] |= change
    texts = [{c: v if v is None else str(v) for c, v in row.items()} for row in events.rows]
    table = Events(texts).write(tmp_path / "new.csv")

    with pytest.raises(InputError, match=words):
        predict(model, table)


def test_a_table_under_other_names_is_said_to_lack_the_column(model: Path, tmp_path: Path) -> None:
    table = Events.random({4: 2}).write(tmp_path / "new.csv")

    with pytest.raises(InputError, match="has no column `who`"):
        predict(model, table)
