"""Predictions are those of the model file, and the table may be any."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.model_file import Model
from sequifier_hpo.inference.predicting import Request, predict_table
from sequifier_hpo.preprocessing.remarks import Remarks
from tests.inference.conftest import ALL, STATISTICS, Events, run_model, window

# Longer than the window of 5, as long, shorter, and of one event.
LENGTHS = {7: 9, -2: 5, 40: 3, 11: 1}

MakeModel = Callable[..., Path]


def metadata_of(model: Model) -> DataMetadata:
    assert model.about.metadata is not None
    return model.about.metadata


def predict(
    path: Path, table: Path, remarks: Remarks | None = None, **changes: object
) -> pl.DataFrame:
    model = Model(path)
    request = replace(Request(table), **changes)  # type: ignore[arg-type]
    return pl.concat(predict_table(model, metadata_of(model), request, remarks or Remarks()))


@pytest.mark.parametrize("positions", ["learned", "rope"])
@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (["cat1"], ["cat1"]),
        (["val1"], ["val1"]),
        (["cat1", "val1"], ["cat2"]),
        (ALL, ["val1", "cat1", "cat2"]),
    ],
)
def test_predictions_are_what_onnxruntime_and_numpy_make_of_the_raw_rows(
    make_model: MakeModel, tmp_path: Path, inputs: list[str], targets: list[str], positions: str
) -> None:
    path = make_model(inputs, targets, positional_encoding=positions)
    events = Events.random(LENGTHS)

    found = predict(path, events.write(tmp_path / "new.csv"), top_k=2)

    assert found["sequenceId"].to_list() == sorted(LENGTHS)
    assert found["itemPosition"].to_list() == [10 + LENGTHS[s] for s in sorted(LENGTHS)]
    for row in found.iter_rows(named=True):
        encoded = events.encoded(row["sequenceId"], inputs)
        outputs = run_model(path, {c: window(v, 5) for c, v in encoded.items()})
        for target, output in zip(targets, outputs, strict=True):
            if target.startswith("cat"):
                first, second = np.argsort(-output)[:2]
                labels = ["unknown", *(f"{target}-{i}" for i in range(1, 7))]
                assert [row[target], row[f"{target}.2"]] == [labels[first], labels[second]]
                probabilities = [row[f"{target}.probability"], row[f"{target}.2.probability"]]
                assert probabilities == pytest.approx(np.exp(output[[first, second]]), abs=1e-5)
            else:
                expected = output[0] * STATISTICS[target]["std"] + STATISTICS[target]["mean"]
                assert row[target] == pytest.approx(expected, abs=1e-5)


def test_later_steps_take_predictions_for_events_that_were_seen(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1", "val1"], ["cat1", "val1"])
    events = Events.random({3: 4, 1: 7})

    found = predict(path, events.write(tmp_path / "new.parquet"), steps=4)

    assert found["sequenceId"].to_list() == [1] * 4 + [3] * 4
    assert found["itemPosition"].to_list() == [17, 18, 19, 20, 14, 15, 16, 17]
    for sequence in (1, 3):
        values = events.encoded(sequence, ["cat1", "val1"])
        for row in found.filter(pl.col("sequenceId") == sequence).iter_rows(named=True):
            scores, number = run_model(path, {c: window(v, 5) for c, v in values.items()})
            assert row["val1"] == pytest.approx(number[0] * 4 + 10, abs=1e-4)
            assert row["cat1.probability"] == pytest.approx(np.exp(scores.max()), abs=1e-5)
            values = {
                "cat1": np.append(values["cat1"], scores.argmax()),
                "val1": np.append(values["val1"], number).astype(np.float32),
            }


def test_a_model_that_does_not_predict_what_it_reads_makes_one_step(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1", "val1"], ["cat1"])
    table = Events.random({1: 2}).write(tmp_path / "new.csv")

    with pytest.raises(InputError, match="reads `val1`, but does not predict it"):
        predict(path, table, steps=2)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_larger_than_the_memory_is_predicted_in_parts_with_the_same_result(
    make_model: MakeModel, tmp_path: Path, suffix: str
) -> None:
    path = make_model(["cat1", "val1"], ["cat1", "val1"])
    events = Events.random({i: 1 + i % 7 for i in range(-40, 60)})
    table = events.write(tmp_path / f"new.{suffix}")
    size = table.stat().st_size if suffix == "csv" else len(events.rows) * 8 * 4

    whole = predict(path, table)
    parts = predict(path, table, bytes_in_memory=size // 5)

    assert parts.equals(whole)


def test_a_fault_in_a_part_of_a_large_table_is_found_at_its_row(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1"], ["cat1"])
    table = Events.random(dict.fromkeys(range(200), 3)).write(tmp_path / "new.csv")
    lines = table.read_text().splitlines()
    lines[123] = lines[123].replace("cat1-", ",", 1).replace(",,", ",", 1)
    sequence, place, _, *rest = lines[123].split(",")
    lines[123] = ",".join([sequence, place, "", *rest[-3:]])
    table.write_text("\n".join(lines) + "\n")

    with pytest.raises(InputError, match="`cat1` has no value in 1 row, first in data row 123 of"):
        predict(path, table, bytes_in_memory=table.stat().st_size // 5)


def test_values_that_the_model_does_not_know_are_counted_over_all_parts(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1"], ["cat1"])
    events = Events.random(dict.fromkeys(range(100), 2))
    for i, row in enumerate(events.rows):
        row["cat1"] = f"new-{i % 3}" if i % 2 else row["cat1"]
    table = events.write(tmp_path / "new.csv")
    remarks = Remarks()

    predict(path, table, remarks, bytes_in_memory=table.stat().st_size // 5)

    (found,) = remarks.unknown
    assert (found.column, found.num_rows) == ("cat1", 100)
    assert sorted(found.values) == ["new-0", "new-1", "new-2"]


def test_a_sequence_without_events_is_an_error_unless_it_is_allowed(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1"], ["cat1"])
    table = Events.random({4: 2, 5: 1}).write(tmp_path / "new.csv")

    with pytest.raises(InputError, match="no event of the sequence 6"):
        predict(path, table, sequence_ids=["4", "6"])
    found = predict(path, table, sequence_ids=["6", "4"], allows_empty=True)

    assert found.select("sequenceId", "itemPosition").rows() == [(4, 12), (6, 0)]
    (scores,) = run_model(path, {"cat1": np.zeros((1, 5), dtype=np.int64)})
    assert found["cat1.probability"][1] == pytest.approx(np.exp(scores.max()), abs=1e-5)
    with pytest.raises(InputError, match="no event of the sequence six"):
        predict(path, table, sequence_ids=["six"], allows_empty=True)


def test_a_row_that_only_names_a_sequence_asks_for_its_first_event(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1"], ["cat1"])
    table = tmp_path / "new.csv"
    table.write_text("sequenceId,itemPosition,cat1\n9,,\n4,0,cat1-2\n")

    with pytest.raises(InputError, match="no event of the sequence 9"):
        predict(path, table)
    found = predict(path, table, allows_empty=True)

    assert found["sequenceId"].to_list() == [4, 9]
