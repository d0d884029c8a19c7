"""Tables of trained runs with their loss curves, on which a search can be replayed."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from optuna.distributions import BaseDistribution

from sequifier_hpo.errors import InputError
from sequifier_hpo.strategy.told import order_of, told

_EPOCH = re.compile(r"epoch_(\d+)")
_NUMBER = re.compile(r"(?:^|=)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?= |$)", re.IGNORECASE)
_LABEL = re.compile(r"(\d+): (.*)")
SECONDS = "seconds_per_epoch"


@dataclass(frozen=True)
class TableRun:
    """One trained configuration."""

    labels: tuple[str, ...]
    losses: tuple[float, ...]
    """Validation loss after each epoch."""
    seconds_per_epoch: float = 1.0

    @property
    def num_epochs(self) -> int:
        """Length of its training."""
        return len(self.losses)

    @cached_property
    def best_loss(self) -> float:
        """What it is ranked by."""
        return min(self.losses)


@dataclass(frozen=True)
class RunTable:
    """Runs of a space, each configuration once."""

    parameters: tuple[str, ...]
    runs: tuple[TableRun, ...]

    @cached_property
    def choices(self) -> dict[str, list[str]]:
        """Parameter -> its labels, those that are numbers by size, others as they come."""
        return {
            name: labels if order is None else [labels[i] for i in order]
            for name, (labels, order) in self._columns.items()
        }

    @cached_property
    def space(self) -> dict[str, BaseDistribution]:
        """Parameter -> what a sampler is told to choose from."""
        return {name: told(len(labels), order) for name, (labels, order) in self._columns.items()}

    @cached_property
    def _columns(self) -> dict[str, tuple[list[str], Sequence[int] | None]]:
        """Parameter -> its labels as they come, and their order by size if they have one."""
        columns = zip(*(run.labels for run in self.runs), strict=True)
        distinct = (list(dict.fromkeys(column)) for column in columns)
        return {
            name: (labels, order_of(list(map(_number, labels))))
            for name, labels in zip(self.parameters, distinct, strict=True)
        }

    @cached_property
    def index(self) -> Mapping[tuple[int, ...], int]:
        """Choice per parameter -> place of the run in the table."""
        place = [
            {label: i for i, label in enumerate(self.choices[name])} for name in self.parameters
        ]
        return {
            tuple(of[label] for of, label in zip(place, run.labels, strict=True)): i
            for i, run in enumerate(self.runs)
        }

    def params(self, place: int) -> dict[str, int]:
        """Parameter -> choice of the run at a place of the table."""
        return {
            name: self.choices[name].index(label)
            for name, label in zip(self.parameters, self.runs[place].labels, strict=True)
        }

    def find(self, params: Mapping[str, int | float]) -> int | None:
        """The run with these choices, or None if the table has none."""
        return self.index.get(tuple(int(params[name]) for name in self.parameters))

    def best(self, share: float) -> float:
        """The loss that the best share of the runs reach, of at least one run."""
        ranked = sorted(run.best_loss for run in self.runs)
        return ranked[max(1, int(share * len(ranked))) - 1]


def read_table(path: Path) -> RunTable:
    """Read a CSV of one row per run: a column per parameter, then `epoch_1`, `epoch_2` and so on.

    A shorter run leaves its last epochs blank. `seconds_per_epoch`, if there, is what an epoch of
    the run took. Labels may begin with their place (`0: 16`).

    Raises:
        InputError: If it is no such table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"there is no table {path}") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows, columns = list(reader), list(reader.fieldnames or [])
    epochs = [name for name in columns if _EPOCH.fullmatch(name)]
    parameters = [name for name in columns if name not in epochs and name != SECONDS]
    if not epochs or not parameters or not rows:
        raise InputError(
            f"{path} is not a table of runs: it needs a header, a column for each parameter, columns "
            "`epoch_1`, `epoch_2`, ... with the validation loss after each epoch, and a row per run"
        )
    runs = []
    for number, row in enumerate(rows, start=2):
        losses = [row[name] for name in epochs if (row[name] or "").strip()]
        try:
            curve = tuple(float(loss) for loss in losses)
            seconds = float(row.get(SECONDS) or 1.0)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        if curve:
            runs.append(TableRun(tuple(row[name] for name in parameters), curve, seconds))
    return RunTable(tuple(parameters), tuple(runs))


def _number(label: str) -> float | None:
    """The number that a label is, or the first that it names; None if there is none.

    A label is a value, or a linked row (`learning_rate=0.001 epochs=8`), whose anchor stands first.
    """
    text = match[2] if (match := _LABEL.fullmatch(label)) else label
    number = _NUMBER.match(text.split(" ")[0].split("=")[-1])
    return float(number[1]) if number else None
