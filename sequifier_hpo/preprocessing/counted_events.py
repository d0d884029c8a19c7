"""How many events of a stored split the validation loss counts, from where its windows lie."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from sequifier_hpo.preprocessing.shard_file import SHARD_FAULTS, read_shard
from sequifier_hpo.preprocessing.stored_split import StoredSplit
from sequifier_hpo.stored_tables import TABLE_FAULTS, not_a_split, read_listing, scan_windows
from sequifier_hpo.words import first_line

Ints = npt.NDArray[np.int64]

_PLACE_COLUMNS = ("sequenceId", "startItemPosition")


@dataclass(frozen=True)
class CountedEvents:
    """Items of a split that some window predicts, each of them once."""

    num_counted: int
    """Among the last positions of some window."""
    num_events: int
    widest_step: int
    """Largest distance between two neighbouring windows of a sequence, in items; 0 = no sequence
    has two."""

    @property
    def share(self) -> float:
        """Counted events among all, 0 to 1."""
        return self.num_counted / self.num_events if self.num_events else 1.0


def count_events(
    sequence_ids: Ints, start_positions: Ints, *, window_length: int, last_positions: int
) -> CountedEvents:
    """Count the events that windows predict, and those at the last positions of one of them.

    Args:
        sequence_ids: Of every window, (n,); in any order.
        start_positions: Place of the first item of every window within its sequence, (n,); items
            before place 0 are padding, and no events. As exact as these are, so is the result.
        window_length: L; a window predicts its items 1 to L.
        last_positions: How many of them count, 1 to L.
    """
    order = np.lexsort((start_positions, sequence_ids))
    ids, starts = sequence_ids[order], start_positions[order]
    is_next = ids[1:] == ids[:-1]
    return CountedEvents(
        num_counted=_covered(is_next, starts, window_length - last_positions + 1, window_length),
        num_events=_covered(is_next, starts, 1, window_length),
        widest_step=int(np.diff(starts)[is_next].max(initial=0)),
    )


def _covered(is_next: npt.NDArray[np.bool_], starts: Ints, first: int, last: int) -> int:
    """Distinct items from `first` to `last` of all windows, which are sorted."""
    begins, ends = np.maximum(starts + first, 0), np.maximum(starts + last + 1, 0)
    begins[1:] = np.where(is_next, np.maximum(begins[1:], ends[:-1]), begins[1:])
    return int(np.maximum(ends - begins, 0).sum())


def read_places(path: Path, read_format: str, described: StoredSplit) -> tuple[Ints, Ints]:
    """Sequence and start position of every window; nothing else is read of Parquet and shards.

    Args:
        path: Long table, or folder of shards.
        read_format: csv, parquet or pt.
        described: Result of `describe_split` for it.

    Raises:
        InputError: If the split is not what preprocess writes.
    """
    if read_format == "pt":
        return _places_in_shards(path)
    table, _ = scan_windows(path, read_format)
    places = table.select(pl.col(_PLACE_COLUMNS).gather_every(len(described.columns)))
    try:
        found = places.cast(pl.Int64).collect().fill_null(0)
    except TABLE_FAULTS as error:
        reason = f"where its windows lie cannot be read: {first_line(error)}"
        raise not_a_split(path, reason) from error
    ids, starts = (found[column].to_numpy() for column in _PLACE_COLUMNS)
    return ids, starts


def _places_in_shards(folder: Path) -> tuple[Ints, Ints]:
    try:
        ids, starts = [], []
        for path, samples in read_listing(folder).shards:
            _, _, sequence_ids, _, start_positions = read_shard(path)
            ids.append(sequence_ids.rows(0, samples).astype(np.int64))
            starts.append(start_positions.rows(0, samples).astype(np.int64))
        return np.concatenate(ids), np.concatenate(starts)
    except SHARD_FAULTS as error:
        raise not_a_split(folder, f"where its windows lie cannot be read: {error}") from error
