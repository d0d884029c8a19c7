"""Why a study is not opened, or not gone on with, as it is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import RunState
from sequifier_hpo.words import counted, run_numbers


@dataclass(frozen=True)
class SpaceChange:
    """What a search file with another space would make of a study."""

    lines: tuple[str, ...]
    """How the space differs, in words."""
    obstacles: tuple[str, ...]
    """Why that cannot be a revision of the study; none if it can."""
    num_inside: int
    """Finished runs that are runs of the new space."""
    num_outside: int
    """Finished runs that are not."""
    num_to_come: int
    """Runs that would still have to end."""
    recounting: "Recounting | None" = None
    """What becomes of the losses if they are to count fewer positions."""

    @property
    def effects(self) -> list[str]:
        """What it means for the runs, in lines."""
        return [self.effect, *([] if self.recounting is None else self.recounting.lines)]

    @property
    def effect(self) -> str:
        """What it means for the runs, in one line."""
        finished = counted(self.num_inside + self.num_outside, "finished run")
        parts = [f"{self.num_inside:,} of {finished} inside the new space"]
        if self.num_outside:
            stay = "stays" if self.num_outside == 1 else "stay"
            parts.append(f"{self.num_outside:,} outside {stay}, marked and not ranked")
        return "; ".join([*parts, f"{counted(self.num_to_come, 'run')} to come"])


@dataclass(frozen=True)
class Recounting:
    """What becomes of the losses of a study that are to count fewer positions."""

    formerly: int
    """So many at the end of every window count so far."""
    last_positions: int
    """So many are to count."""
    anew: tuple[int, ...]
    """Numbers of the ended runs that are evaluated anew, with the models that are kept of them."""
    left_behind: tuple[int, ...]
    """Numbers of those that are not: of other data, or outside the space and without a model."""
    afresh: tuple[int, ...]
    """Numbers of the runs inside that were interrupted: they start afresh."""
    seen: Mapping[int, tuple[int, RunState]]
    """Run number -> its newest trial and its state, of all runs of the study."""

    @property
    def lines(self) -> list[str]:
        """The same in words."""
        which = _last(self.last_positions)
        lines = [f"losses count {which} of a window from then on, instead of {self.formerly}"]
        if self.anew:
            be = "is" if len(self.anew) == 1 else "are"
            lines.append(
                f"{counted(len(self.anew), 'finished run')} {be} evaluated anew over {which}, with "
                "the model of the epoch that was best so far"
            )
        if self.left_behind:
            lines.append(
                f"outside, and not to be evaluated anew: {run_numbers(self.left_behind)}, never "
                "ranked again"
            )
        if self.afresh:
            lines.append(f"{run_numbers(self.afresh)}, interrupted, will start afresh")
        return lines


def _last(number: int) -> str:
    return "the last position" if number == 1 else f"the last {number} positions"


class SpaceChangedError(InputError):
    """The study in the storage was started with another search space."""

    def __init__(self, name: str, change: SpaceChange) -> None:
        self.lines = change.lines
        problem = (
            f"the search space differs from that of the study `{name}`:\n{_indented(change.lines)}"
        )
        undo = "undo the change, or give the new search another hp_search_name"
        if change.obstacles:
            reasons = _indented(change.obstacles)
            super().__init__(f"{problem}\n    which cannot go into this study:\n{reasons}", undo)
        else:
            effects = "\n".join(f"    with it: {effect}" for effect in change.effects)
            super().__init__(
                f"{problem}\n{effects}",
                f"continue with --accept-changes; or {undo}",
            )


class DataChangedError(InputError):
    """The study's runs were trained on other data than are there now."""

    def __init__(
        self, name: str, lines: Sequence[str], since: datetime, runs: Sequence[int]
    ) -> None:
        self.lines = tuple(lines)
        moment = f"{since.astimezone():%Y-%m-%d %H:%M}"
        which = f", for {run_numbers(runs)}" if runs else ""
        super().__init__(
            f"the data of the study `{name}` have changed. It has used the earlier ones since "
            f"{moment}{which}:\n{_indented(lines)}",
            "restore the earlier data, give the new search another hp_search_name, or continue "
            "with --accept-new-data: the earlier runs then stay in the study, marked, and are "
            "not ranked with the new ones",
        )


class StudyMovedOnError(InputError):
    """Someone else has changed the space or data of the study, or how its runs are chosen, meanwhile."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the study `{name}` has gone on with another search space or other data, or with "
            "another search_strategy, pruning or gap, since this search was started",
            "start the search again: it goes on with what is there now",
        )


class RunsMovedOnError(InputError):
    """Runs have begun or ended while others were evaluated anew."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"runs of the study `{name}` have begun or ended while its losses were evaluated anew",
            "stop the other searches of the study, then start this one again",
        )


class UnknownDataError(InputError):
    """The study was started by 0.1.0, which did not record its data."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the study `{name}` was started by sequifier-hpo 0.1.0, which did not record what "
            "data its runs were trained on",
            "if the data are unchanged since then, start the search once with --same-data; if they "
            "are not, with --accept-new-data (the earlier runs then stay, marked, and are not "
            "ranked with the new ones), or give the new search another hp_search_name",
        )


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"      {line}" for line in lines)
