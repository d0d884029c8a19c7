"""A table becomes the same numbers in preprocessing and when it is predicted on, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.preprocessing.new_data import Histories, read_histories, write_windows
from sequifier_hpo.preprocessing.raw_text import read_as_text
from sequifier_hpo.preprocessing.run import PreprocessSummary
from tests.preprocessing.conftest import Project

_LENGTH = 6
"""Of all sequences at most, so that a window holds everything that came of one."""
_MARKS = [None, "", "NA", "-", " ? ", "null"]

SEQUENCES = {
    "names": ["N2", "n1", "A 7", "Ä", "07"],
    "numbers": ["7", "-3", "12", "0"],
}
TIMES = {
    "dates": [f"2013-01-{day:02}" for day in range(1, 29)],
    "moments": [f"2013-01-0{day} {hour:02}:30" for day in range(1, 4) for hour in range(24)],
    "zoned": [f"2013-01-01T{hour:02}:00:00+0{hour % 3}:00" for hour in range(24)],
    "numbers": [str(n) for n in (5, 3, -2, 11, 8, 40, 100)],
    "decimals": ["1.5", "-0.25", "1e3", "7", "-8.0"],
}
VALUES = {
    "code": ["7", "00501", "501", "+12", "-4", " 3"],
    "name": ["tea", "Tea", " cake", "3.5", "20,7", "no"],
    "comma": ["20,7", "3,25", "-1,5"],
    "flag": ["True", "False"],
    "price": ["1.5", " 4", "1e1", "-0.75", "+2.125"],
    "distance": ["100", "200", "0300"],
    "size": ["1.5", "2.50", "3.0", "1e20"],
    "level": ["1.0", "2.0", "30.0"],
}
KINDS = {"distance": "real", "size": "categorical", "level": "categorical"}
_REAL = {"price", "distance"}


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Columns of texts, and what becomes of the missing values among them."""
    whose, when = (draw(st.sampled_from(list(kinds.values()))) for kinds in (SEQUENCES, TIMES))
    lengths = draw(st.lists(st.integers(1, _LENGTH), min_size=len(whose), max_size=len(whose)))
    lengths[0] = max(lengths[0], 2)
    rows = draw(st.permutations([w for w, n in zip(whose, lengths, strict=True) for _ in range(n)]))
    columns: dict[str, list[Any]] = {
        "who": rows,
        "when": [draw(st.sampled_from(when)) for _ in rows],
    }
    missing: dict[str, str] = {}
    for column, values in VALUES.items():
        columns[column] = [draw(st.sampled_from(values)) for _ in rows]
        policies = [None, "drop", "mean" if column in _REAL else "category"]
        policy = draw(st.sampled_from(policies))
        if policy is not None:
            missing[column] = policy
            for row in draw(st.sets(st.integers(1, len(rows) - 1), max_size=2)):
                columns[column][row] = draw(st.sampled_from(_MARKS))
    return columns, missing


def write(project: Project, columns: dict[str, list[Any]], name: str) -> Path:
    """Write a table: as it is, or with types that a program gives it."""
    path = project.root / name
    if path.suffix == ".csv":
        pl.DataFrame(columns).write_csv(path)
        return path
    stripped = pl.DataFrame(columns).with_columns(pl.all().exclude("who", "name").str.strip_chars())
    stripped.write_csv(path)
    typed = pl.read_csv(
        path, try_parse_dates=True, null_values=[*(m for m in _MARKS if m is not None), "?"]
    )
    numbers = {"code": pl.Int64, "price": pl.Float64}
    typed.with_columns(pl.col(c).cast(dtype) for c, dtype in numbers.items()).write_parquet(path)
    return path


def preprocess(
    project: Project, path: Path, missing: dict[str, str]
) -> tuple[PreprocessSummary, DataMetadata]:
    summary = project.preprocess(
        path,
        sequence_column="who",
        order_column="when",
        column_types=KINDS,
        missing=missing,
        seq_length=_LENGTH - 1,
    )
    return summary, read_metadata(summary.metadata_path)


def stored_histories(
    project: Project, summary: PreprocessSummary, metadata: DataMetadata
) -> dict[Any, dict[str, list[float]]]:
    """Sequence -> column -> the numbers of its window."""
    windows = pl.read_parquet(summary.split_paths[0])
    names: dict[Any, Any] = {number: number for number in windows["sequenceId"]}
    if metadata.sequence_ids_path is not None:
        names = dict(pl.read_parquet(project.root / "project" / metadata.sequence_ids_path).rows())
    items = [str(i) for i in range(_LENGTH - 1, -1, -1)]
    found: dict[Any, dict[str, list[float]]] = {}
    for row in windows.iter_rows(named=True):
        of_sequence = found.setdefault(names[row["sequenceId"]], {})
        assert row["inputCol"] not in of_sequence, "a window holds all of a sequence"
        of_sequence[row["inputCol"]] = [row[item] for item in items]
    return found


def read(path: Path, metadata: DataMetadata) -> Histories:
    return read_histories(path, list(metadata.column_types), _LENGTH, metadata)


def assert_same(
    histories: Histories, stored: dict[Any, dict[str, list[float]]], metadata: DataMetadata
) -> None:
    assert histories.sequence_ids.tolist() == sorted(stored)
    for column, values in histories.inputs.items():
        expected = np.array([stored[s][column] for s in histories.sequence_ids.tolist()])
        assert values.dtype == (np.int64 if column in metadata.id_maps else np.float32)
        assert np.array_equal(values, expected.astype(values.dtype)), column


def assert_same_windows(
    project: Project, path: Path, summary: PreprocessSummary, metadata: DataMetadata
) -> None:
    """All events of the table as a split are the split that preprocessing wrote."""
    table = read_as_text(path, list(metadata.column_types), metadata)
    split = project.root / "split.parquet"

    written = write_windows(split, table, _LENGTH - 1, _LENGTH - 1, metadata)

    of_model = [pl.exclude(pl.Float64), pl.col(pl.Float64).cast(pl.Float32)]
    stored = pl.read_parquet(summary.split_paths[0])
    assert pl.read_parquet(split).select(of_model).equals(stored.select(of_model))
    names = None
    if metadata.sequence_ids_path is not None:
        names = pl.read_parquet(project.root / "project" / metadata.sequence_ids_path)
    assert (written.names is None) == (names is None)
    if names is not None and written.names is not None:
        assert names.equals(written.names)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables(), names=st.permutations(["t.csv", "t.parquet"]))
def test_a_table_is_encoded_as_it_was_in_preprocessing(
    project: Project, table: tuple[dict[str, list[Any]], dict[str, str]], names: list[str]
) -> None:
    columns, missing = table
    path = write(project, columns, names[0])

    summary, metadata = preprocess(project, path, missing)

    stored = stored_histories(project, summary, metadata)
    assert_same(read(path, metadata), stored, metadata)
    other = write(project, columns, names[1])
    assert_same(read(other, metadata), stored, metadata)
    assert_same_windows(project, path, summary, metadata)
