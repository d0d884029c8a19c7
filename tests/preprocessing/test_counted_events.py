"""How many events of a split the validation loss counts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.counted_events import CountedEvents, count_events, read_places
from sequifier_hpo.preprocessing.stored_split import describe_split
from tests.preprocessing.splits import starts_of, windows_of, write_shards, write_table


def counted(places: list[tuple[int, int]], window_length: int, last: int) -> CountedEvents:
    ids, starts = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return count_events(ids, starts, window_length=window_length, last_positions=last)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(7, 0), (7, 1), (7, 2)], CountedEvents(4, 6, widest_step=1)),
        ([(7, 0), (7, 4)], CountedEvents(4, 8, widest_step=4)),
        ([(7, 0), (8, 1)], CountedEvents(4, 8, widest_step=0)),
        ([(7, 9), (7, 0)], CountedEvents(4, 8, widest_step=9)),  # not adjacent, and not in order
        ([(7, -3)], CountedEvents(2, 2, widest_step=0)),  # its items 3 and 4 are events
        ([(7, -2)], CountedEvents(2, 3, widest_step=0)),
    ],
)
def test_each_event_is_counted_once_and_padding_never(
    places: list[tuple[int, int]], expected: CountedEvents
) -> None:
    assert counted(places, window_length=4, last=2) == expected


@given(
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(-4, 9)), min_size=1, max_size=12),
    window_length=st.integers(1, 5),
    last=st.integers(1, 5),
)
def test_the_events_are_those_of_a_count_one_by_one(
    places: list[tuple[int, int]], window_length: int, last: int
) -> None:
    last = min(last, window_length)

    def events(first: int) -> set[tuple[int, int]]:
        return {
            (sequence, start + i)
            for sequence, start in places
            for i in range(first, window_length + 1)
            if start + i >= 0
        }

    found = counted(places, window_length, last)

    assert found.num_events == len(events(1))
    assert found.num_counted == len(events(window_length - last + 1))


def test_without_events_none_is_missing() -> None:
    assert counted([(0, -9)], window_length=4, last=2).share == 1


@pytest.mark.parametrize("name", ["split.csv", "split.parquet", "split"])
def test_places_are_read_from_every_format(tmp_path: Path, name: str) -> None:
    windows, path = windows_of(), tmp_path / name
    read_format = path.suffix[1:] or "pt"
    if read_format == "pt":
        write_shards(path, windows, 4)
    else:
        write_table(path, windows)

    ids, starts = read_places(path, read_format, describe_split(path, read_format))

    # The shards of these tests have their start positions in place of sequences, too.
    assert ids.tolist() == (starts_of(windows) if read_format == "pt" else [0] * 6)
    assert starts.tolist() == starts_of(windows)


@pytest.mark.parametrize("name", ["split.csv", "split.parquet", "split"])
def test_what_is_no_split_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    good, path = tmp_path / "good.parquet", tmp_path / name
    described = describe_split(write_table(good, windows_of()), "parquet")
    read_format = path.suffix[1:] or "pt"
    if read_format == "pt":
        path.mkdir()
        (path / "metadata.json").write_text("{}")
    else:
        path.write_text("no split at all")

    with pytest.raises(InputError, match=f"{path}.* (is not a split|cannot be read)"):
        read_places(path, read_format, described)
