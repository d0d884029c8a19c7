"""Where windows lie: the specification's examples, and promises that hold for all sizes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.windows import (
    Ints,
    Sequences,
    Windows,
    find_sequences,
    gather_items,
    lay_windows,
    split_bounds,
)

SIZES = st.integers(1, 60)


def ratios(*texts: str) -> list[Fraction]:
    return [Fraction(text) for text in texts]


def ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def lay_over(
    *lengths: int, seq_length: int, stride: int = 1, mode: str = "distribute"
) -> tuple[Sequences, Windows]:
    """One split holding everything, over sequences 0, 1, ... of the given lengths."""
    sequences = find_sequences(np.repeat(np.arange(len(lengths)), lengths))
    bounds = split_bounds(sequences.lengths, [Fraction(1)])
    layout = lay_windows(sequences, bounds, 0, seq_length=seq_length, stride=stride, mode=mode)
    return sequences, layout.part()


@pytest.mark.parametrize(
    ("num_items", "seq_length", "stride", "starts"),
    [
        (20, 6, 3, [0, 2, 5, 7, 10, 13]),
        (14, 6, 6, [0, 3, 7]),
        (11, 6, 6, [0, 4]),
        (9, 6, 3, [0, 2]),
        (8, 6, 3, [0, 1]),
        (7, 6, 3, [0]),
    ],
)
def test_distributed_starts_are_those_of_the_format(
    num_items: int, seq_length: int, stride: int, starts: list[int]
) -> None:
    _, windows = lay_over(num_items, seq_length=seq_length, stride=stride)

    assert windows.start_positions.tolist() == starts


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(1, 80))
def test_distributed_starts_are_evenly_spaced_numbers_cut_to_integers(
    last: int, stride: int
) -> None:
    _, windows = lay_over(last + 5, seq_length=4, stride=stride)

    expected = np.linspace(0, last, len(np.arange(0, last + stride, stride))).astype(np.int64)
    assert windows.start_positions.tolist() == np.unique(expected).tolist()


@settings(deadline=None)
@given(SIZES, SIZES, SIZES)
def test_distributed_windows_leave_no_gap_wider_than_the_stride_and_end_at_the_last_item(
    num_items: int, seq_length: int, stride: int
) -> None:
    _, windows = lay_over(num_items, seq_length=seq_length, stride=stride)

    starts = windows.start_positions
    steps = np.diff(starts)
    assert ((steps >= 1) & (steps <= stride)).all()
    assert starts[-1] + seq_length == num_items - 1


@settings(deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=6), SIZES, SIZES)
def test_every_item_is_in_a_window_when_the_stride_is_at_most_the_window(
    lengths: list[int], seq_length: int, stride: int
) -> None:
    _, windows = lay_over(*lengths, seq_length=seq_length, stride=min(stride, seq_length + 1))

    rows = windows.first_rows[:, None] + np.arange(seq_length + 1)
    covered = np.unique(rows[rows >= windows.lower_rows[:, None]])
    assert covered.tolist() == list(range(sum(lengths)))


@settings(deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=6), SIZES, SIZES)
def test_no_window_reaches_into_another_sequence(
    lengths: list[int], seq_length: int, stride: int
) -> None:
    sequences, windows = lay_over(*lengths, seq_length=seq_length, stride=stride)

    owners = np.append(np.repeat(sequences.ids, sequences.lengths), -1)
    for offset in range(seq_length + 1):
        found = gather_items(owners, windows.first_rows, windows.lower_rows, offset)
        assert ((found == windows.sequence_ids) | (found == -1)).all()


def test_windows_are_numbered_within_each_sequence() -> None:
    _, windows = lay_over(4, 2, 5, seq_length=2, stride=1)

    assert windows.sequence_ids.tolist() == [0, 0, 1, 2, 2, 2]
    assert windows.subsequence_ids.tolist() == [0, 1, 0, 0, 1, 2]


def test_a_short_sequence_is_padded_in_front() -> None:
    _, windows = lay_over(3, seq_length=4)
    column = np.array([7, 8, 9, 0])

    items = [gather_items(column, windows.first_rows, windows.lower_rows, i)[0] for i in range(5)]

    assert items == [0, 0, 7, 8, 9]
    assert windows.start_positions.tolist() == [-2]


def test_exact_starts_are_the_multiples_of_the_stride() -> None:
    _, windows = lay_over(13, 7, seq_length=6, stride=3, mode="exact")

    assert windows.start_positions.tolist() == [0, 3, 6, 0]


def test_exact_starts_with_stride_one_end_at_the_last_window() -> None:
    _, windows = lay_over(10, seq_length=6, stride=1, mode="exact")

    assert windows.start_positions.tolist() == [0, 1, 2, 3]


def test_exact_starts_that_do_not_work_out_are_an_error_naming_the_first_sequence() -> None:
    with pytest.raises(InputError, match=r"1 of 2 sequences, first for sequenceId 1 with 12 items"):
        lay_over(13, 12, seq_length=6, stride=3, mode="exact")


@pytest.mark.parametrize(("num_items", "bounds"), [(10, [0, 7, 9, 10]), (100, [0, 70, 90, 100])])
def test_split_bounds_are_exact_where_floating_point_would_lose_the_last_item(
    num_items: int, bounds: list[int]
) -> None:
    result = split_bounds(ints(num_items), ratios("0.7", "0.2", "0.1"))

    assert result.tolist() == [bounds]


def test_a_sequence_of_one_item_lies_in_the_last_split() -> None:
    assert split_bounds(ints(1), ratios("0.6", "0.2", "0.2")).tolist() == [[0, 0, 0, 1]]


def test_ratios_slightly_above_one_never_reach_beyond_the_sequence() -> None:
    bounds = split_bounds(ints(1_000_000), ratios("0.9999999", "0.000009", "0.0000001"))

    assert bounds.tolist() == [[0, 999_999, 1_000_000, 1_000_000]]


@settings(deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=1), st.lists(st.integers(1, 99), min_size=1))
def test_split_bounds_share_out_every_item_exactly_once(
    lengths: list[int], weights: list[int]
) -> None:
    shares = [Fraction(weight, sum(weights)) for weight in weights]

    bounds = split_bounds(ints(*lengths), shares)

    assert (np.diff(bounds, axis=1) >= 0).all()
    assert bounds[:, 0].tolist() == [0] * len(lengths)
    assert bounds[:, -1].tolist() == lengths


def test_a_split_without_items_of_a_sequence_gets_no_window_from_it() -> None:
    sequences = find_sequences(np.repeat(ints(5, 8), [1, 10]))
    bounds = split_bounds(sequences.lengths, ratios("0.6", "0.4"))

    layout = lay_windows(sequences, bounds, 0, seq_length=2, stride=2, mode="distribute")

    assert set(layout.part().sequence_ids.tolist()) == {8}
    assert layout.num_absent == 1


def test_start_positions_count_from_the_share_of_the_split() -> None:
    sequences = find_sequences(np.repeat(ints(5), [10]))
    bounds = split_bounds(sequences.lengths, ratios("0.5", "0.5"))

    layout = lay_windows(sequences, bounds, 1, seq_length=2, stride=2, mode="distribute")
    windows = layout.part()

    assert windows.start_positions.tolist() == [0, 2]
    assert windows.first_rows.tolist() == [5, 7]
