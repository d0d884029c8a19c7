"""A table with one row per judged event, written as the events come."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from sequifier_hpo.config.preprocess import ID_COLUMNS

Places = NDArray[np.int64]
"""(windows, 2): sequence, and position of the first item within the sequence's share of the split."""


class SequenceNames:
    """What the sequences of a split are called in the raw table."""

    def __init__(self, column: str, path: Path | None) -> None:
        """Read their names.

        Args:
            column: That says whose event a row is.
            path: A Parquet table `sequenceId`, `sequence`; None = they are called by their numbers.
        """
        self._column = column
        self._names = None if path is None else pl.read_parquet(path)

    def of(self, numbers: NDArray[np.int64]) -> dict[str, pl.Series]:
        """Their column, and their names in it; null where a number has none."""
        found = pl.Series(numbers)
        if self._names is not None:
            table = pl.DataFrame({ID_COLUMNS[0]: found})
            named = table.join(self._names, on=ID_COLUMNS[0], how="left", maintain_order="left")
            found = named["sequence"]
        return {self._column: found}


class EventFile:
    """A CSV file of events."""

    def __init__(
        self,
        file: BinaryIO,
        places: Places,
        names: SequenceNames,
        labels: Mapping[str, Sequence[str]],
        units: Mapping[str, tuple[float, float]],
    ) -> None:
        """Begin without rows.

        Args:
            file: Where to write.
            places: Where every window of the split lies, in their order.
            names: What its sequences are called.
            labels: Label of every class, of the categorical targets.
            units: (scale, offset) of the real targets.
        """
        self._file = file
        self._places = places
        self._names = names
        self._labels = {target: pl.Series(list(texts)) for target, texts in labels.items()}
        self._units = units
        self._is_begun = False

    def add(
        self,
        windows: NDArray[np.int64],
        positions: NDArray[np.int64],
        outputs: Mapping[str, Tensor],
        actual: Mapping[str, Tensor],
        losses: Mapping[str, Tensor],
    ) -> None:
        """Add some events.

        Args:
            windows: Window of each, (N,).
            positions: Item of the window that each one is, (N,).
            outputs: Per target (N, n).
            actual: Per target (N,).
            losses: Per target the criterion, (N,).
        """
        sequences, starts = self._places[windows].T
        columns: dict[str, Any] = {
            **self._names.of(sequences),
            "position": starts + positions,
        }
        for target, output in outputs.items():
            if target in self._labels:
                columns |= self._classes(target, output, actual[target])
            else:
                scale, offset = self._units[target]
                for name, values in (("", actual[target]), (".predicted", output[:, 0])):
                    columns[f"{target}{name}"] = values.double().numpy() * scale + offset
            columns[f"{target}.loss"] = losses[target].numpy()
        pl.DataFrame(columns).write_csv(self._file, include_header=not self._is_begun)
        self._is_begun = True

    def _classes(self, target: str, output: Tensor, actual: Tensor) -> dict[str, Any]:
        labels, probabilities = self._labels[target], output.softmax(-1)
        highest, chosen = probabilities.max(1)
        return {
            target: labels.gather(actual.numpy()),
            f"{target}.predicted": labels.gather(chosen.numpy()),
            f"{target}.probability": highest.numpy(),
            f"{target}.probability_of_actual": probabilities.gather(1, actual[:, None])[
                :, 0
            ].numpy(),
        }
