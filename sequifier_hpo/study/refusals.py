"""Why a study is not opened, or not gone on with, as it is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sequifier_hpo.errors import InputError
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

    @property
    def effect(self) -> str:
        """What it means for the runs, in one line."""
        finished = counted(self.num_inside + self.num_outside, "finished run")
        parts = [f"{self.num_inside:,} of {finished} inside the new space"]
        if self.num_outside:
            stay = "stays" if self.num_outside == 1 else "stay"
            parts.append(f"{self.num_outside:,} outside {stay}, marked and not ranked")
        return "; ".join([*parts, f"{counted(self.num_to_come, 'run')} to come"])


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
            super().__init__(
                f"{problem}\n    with it: {change.effect}",
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
