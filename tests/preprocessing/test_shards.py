"""Tensor shards: which there are, and what each holds."""

import json
from fractions import Fraction

import numpy as np
import torch

from sequifier_hpo.preprocessing.shard_job import plan_shards, shard_index
from sequifier_hpo.preprocessing.tensor_shards import make_shard
from sequifier_hpo.preprocessing.windows import Layout, find_sequences, lay_windows, split_bounds


def windows_of(*lengths: int, ratios: list[Fraction], split: int) -> Layout:
    sequences = find_sequences(np.repeat(np.arange(len(lengths)), lengths))
    bounds = split_bounds(sequences.lengths, ratios)
    return lay_windows(sequences, bounds, split, seq_length=2, stride=2, mode="distribute")


HALVES = [Fraction(1, 2)] * 2


def test_a_shard_holds_the_windows_of_as_many_sequences_as_asked() -> None:
    # Sequence 0 has no item in split 0, so that the first shard holds sequences 1 and 2.
    windows = windows_of(1, 6, 10, 6, ratios=HALVES, split=0)

    assert plan_shards("t-split0", windows, 2, width=1) == [
        ("t-split0-0-0.pt", 3),
        ("t-split0-0-1.pt", 1),
    ]


def test_shard_numbers_are_padded_so_that_names_sort_by_number() -> None:
    windows = windows_of(*[3] * 11, ratios=[Fraction(1)], split=0)

    names = [name for name, _ in plan_shards("t", windows, 1, width=2)]

    assert (names[0], names[-1]) == ("t-0-00.pt", "t-0-10.pt")
    assert names == sorted(names)


def test_a_split_without_windows_has_no_shards() -> None:
    windows = windows_of(1, ratios=HALVES, split=0)

    assert plan_shards("t", windows, 5, width=1) == []


def test_the_index_lists_the_shards_and_their_sum() -> None:
    text = shard_index([("a.pt", 4), ("b.pt", 7)])

    assert text.startswith('{\n    "total_samples": 11')
    assert json.loads(text)["batch_files"] == [
        {"path": "a.pt", "samples": 4},
        {"path": "b.pt", "samples": 7},
    ]


def test_targets_are_the_inputs_shifted_by_one_item() -> None:
    columns = {"ids": np.array([1, 2, 3, 4, 0]), "reals": np.array([0.1, 0.2, 0.3, 0.4, 0.0])}
    window_rows = np.array([[7, 7], [0, 1], [0, 1], [0, 1], [0, 0]])

    inputs, targets, *numbers = make_shard(columns, window_rows, 2)

    assert inputs["ids"].tolist() == [[1, 2], [2, 3]]
    assert targets["ids"].tolist() == [[2, 3], [3, 4]]
    assert (inputs["ids"].dtype, targets["reals"].dtype) == (torch.int64, torch.float32)
    assert [n.tolist() for n in numbers] == [[7, 7], [0, 1], [0, 1]]


def test_a_shard_puts_padding_before_the_first_item() -> None:
    window_rows = np.array([[7], [0], [-1], [-1], [0]])

    inputs, _, _, _, start_positions = make_shard({"x": np.array([5, 6, 0])}, window_rows, 2)

    assert inputs["x"].tolist() == [[0, 5]]
    assert start_positions.tolist() == [-1]
