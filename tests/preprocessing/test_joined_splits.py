"""Two splits become one, whatever they are stored as."""

from pathlib import Path

import numpy as np
import pytest

from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.joined_splits import join_splits, joined_path
from sequifier_hpo.preprocessing.split_pieces import pieces_of_shards, pieces_of_table
from sequifier_hpo.preprocessing.stored_split import describe_split
from tests.preprocessing.conftest import Project

TABLE = {
    "sequenceId": [i // 10 for i in range(60)],
    "itemPosition": [i % 10 for i in range(60)],
    "x": [i * 7 % 5 for i in range(60)],
    "y": [i / 3 for i in range(60)],
}


def values(path: Path, form: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    described = describe_split(path, form)
    pieces = (
        pieces_of_shards(path, described)
        if form == "pt"
        else pieces_of_table(path, form, described)
    )
    parts = [{c: read() for c, read in piece.columns.items()} for piece in pieces]
    return {c: np.concatenate([part[c] for part in parts]) for c in described.columns}


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("parquet", {}),
        ("csv", {}),
        ("pt", {"merge_output": False, "batches_per_file": 2}),
        ("parquet", {"merge_output": False, "batches_per_file": 2}),
    ],
)
def test_the_joined_split_has_the_windows_of_both(
    project: Project, form: str, keys: dict[str, object]
) -> None:
    summary = project.preprocess(
        project.write_parquet("shop.parquet", TABLE),
        split_ratios=[0.5, 0.5],
        write_format=form,
        **keys,
    )
    splits = [Path(path) for path in summary.split_paths]
    target = joined_path(splits[0], splits[1])

    join_splits(splits, form, target)
    join_splits(splits, form, target)

    first, second, joined = (values(path, form) for path in (*splits, target))
    assert target.stem == "shop-split0-and-split1"
    assert describe_split(target, form).num_windows == sum(summary.num_windows)
    for column, found in joined.items():
        assert np.array_equal(found, np.concatenate([first[column], second[column]]))


def test_a_folder_that_holds_something_else_is_left_alone(project: Project) -> None:
    summary = project.preprocess(
        project.write_parquet("shop.parquet", TABLE),
        split_ratios=[0.5, 0.5],
        write_format="pt",
        merge_output=False,
        batches_per_file=2,
    )
    splits = [Path(path) for path in summary.split_paths]
    target = joined_path(splits[0], splits[1])
    target.mkdir()
    (target / "mine.txt").touch()

    with pytest.raises(InputError, match="holds other shards"):
        join_splits(splits, "pt", target)
    assert [path.name for path in target.iterdir()] == ["mine.txt"]
