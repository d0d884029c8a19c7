"""What a study is asked to be, and what a changed space would make of one that exists."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sequifier_hpo.records import Counted, DataDigest, EvaluatedLoss, Recount, Run, RunState
from sequifier_hpo.searchspace import (
    Point,
    SearchSpace,
    describe_space,
    differences,
    same_run_in,
    unlike,
)
from sequifier_hpo.study.identity import StudyIdentity
from sequifier_hpo.study.lessons import NOTHING_EARLIER, Earlier
from sequifier_hpo.study.liveness import as_it_stands
from sequifier_hpo.study.refusals import Recounting, SpaceChange
from sequifier_hpo.words import run_numbers


class Permit(Protocol):
    """Whether something outside the storage stands in the way of a study."""

    def __call__(self, identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
        """Permit it, or raise.

        Args:
            identity: What the study is, or is to be.
            is_new: Whether the storage has no study of its name yet.
            is_adopted: Whether 0.1.0 started it.

        Raises:
            InputError: If something does.
        """


def permit_all(identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
    """Permit every study."""


class KeptModels(Protocol):
    """The models that are kept of a study's runs, which can be judged once more."""

    def missing(self, runs: Sequence[Run]) -> list[int]:
        """Numbers of those of some runs of which no model is kept here."""

    def losses(self, runs: Sequence[Run], last_positions: int, /) -> dict[int, EvaluatedLoss]:
        """Evaluate runs anew; run number -> what it is worth.

        Args:
            runs: Of the study, each with a model.
            last_positions: So many at the end of every window count.

        Raises:
            InputError: If a model cannot be used after all.
        """


class NoModels:
    """No model is kept of any run."""

    def missing(self, runs: Sequence[Run]) -> list[int]:
        """All of them."""
        return [run.number for run in runs]

    def losses(self, _runs: Sequence[Run], _last: int, /) -> dict[int, EvaluatedLoss]:
        """None, for there is no run with a model to ask about."""
        return {}


def recount_nothing(counted: Counted, _former: Mapping[str, Any]) -> Recount:
    """What the losses of a study count stays."""
    return Recount(counted, formerly=counted.last_positions or 0)


@dataclass(frozen=True)
class StudyPlan:
    """What a study should be."""

    name: str
    space: SearchSpace
    data: DataDigest
    """Of all columns that some run of the space reads."""
    counted: Counted
    """For a new study; one that exists keeps its own."""
    key_of: Callable[[Point, int | None], str]
    """(point, seed) -> key on the present data; None = the search's own seed."""
    permit: Permit = permit_all
    """Asked before anything is stored."""
    strategy: Mapping[str, Any] = field(default_factory=dict)
    """What decides which runs are chosen, as plain JSON values."""
    earlier: Earlier = NOTHING_EARLIER
    """The studies that are to guide it, if it is new."""
    num_runs: int = 0
    """That it is to have in all."""
    recount: Callable[[Counted, Mapping[str, Any]], Recount] = recount_nothing
    """(what its losses count, its former space) -> what those of both spaces count."""
    models: KeptModels = field(default_factory=NoModels)
    """Of its runs; they matter if fewer positions are to count."""

    def has(self, point: Point, key: str, seed: int | None = None) -> bool:
        """Whether a run is one of the space, on the present data."""
        found = same_run_in(self.space, point, key, lambda each: self.key_of(each, seed))
        return found is not None

    def change_of(
        self, former: Mapping[str, Any], identity: StudyIdentity | None, runs: Iterable[Run]
    ) -> SpaceChange | None:
        """What this plan would make of a study; None if it has the same space.

        Args:
            former: The space of the study.
            identity: What it is; None if 0.1.0 started it.
            runs: All of its runs.
        """
        if not former or not (lines := differences(former, describe_space(self.space))):
            return None
        all_runs = [run for run in runs if run.duplicate_of is None]
        own = [run for run in all_runs if not run.is_of_other_data]
        finished = [run for run in own if run.state in _ENDED and not run.counts_other_positions]
        inside = {run.number for run in finished if self._has_run(run)}
        obstacles, recounting = self._obstacles(former, identity), None
        if (
            identity is not None
            and (recount := self.recount(identity.counted, former)).is_over_fewer
        ):
            keeps_data = not identity.data_changes(self.data, is_revised=True)
            runs = list(map(as_it_stands, all_runs))
            recounting, missing = self._recounting(recount, runs, inside, keeps_data=keeps_data)
            obstacles += _hindrances(recounting, missing, runs)
        return SpaceChange(
            lines=tuple(lines),
            obstacles=tuple(obstacles),
            num_inside=len(inside),
            num_outside=len(finished) - len(inside),
            num_to_come=max(0, self.num_runs - len(inside)),
            recounting=recounting,
        )

    def _has_run(self, run: Run) -> bool:
        return bool(run.point) and self.has(Point.from_json(run.point), run.key)

    def _obstacles(self, former: Mapping[str, Any], identity: StudyIdentity | None) -> list[str]:
        if identity is None:
            return [
                "the study was started by sequifier-hpo 0.1.0: confirm its data first, with the "
                "former search file and --same-data"
            ]
        return [
            f"{line}: losses before and after could not be compared"
            for line in unlike(former, describe_space(self.space))
        ]

    def _recounting(
        self, recount: Recount, runs: Sequence[Run], inside: set[int], *, keeps_data: bool
    ) -> tuple[Recounting, list[int]]:
        """What becomes of losses, and the runs inside the space of which no model is kept."""
        assert recount.counted.last_positions is not None, "there are fewer of them"
        judged = [run for run in runs if run.loss is not None and not run.counts_other_positions]
        # With other data, what a run outside has read may not be there any more.
        known = [
            run
            for run in judged
            if run.number in inside or (keeps_data and not run.is_of_other_data)
        ]
        missing = set(self.models.missing(known))
        anew = {run.number for run in known} - missing
        interrupted = [run for run in runs if run.state is RunState.INTERRUPTED]
        recounting = Recounting(
            formerly=recount.formerly,
            last_positions=recount.counted.last_positions,
            anew=tuple(sorted(anew)),
            left_behind=tuple(sorted({run.number for run in judged} - anew - inside)),
            afresh=tuple(run.number for run in interrupted if self._has_run(run)),
            seen=seen_of(runs),
        )
        return recounting, sorted(missing & inside)


def seen_of(runs: Iterable[Run]) -> dict[int, tuple[int, RunState]]:
    """Run number -> its newest trial and its state; none of it changes while nobody is at work."""
    present = (as_it_stands(run) for run in runs if run.duplicate_of is None)
    return {run.number: (run.trial_number, run.state) for run in present}


def _hindrances(
    recounting: Recounting, missing: Sequence[int], runs: Sequence[Run]
) -> Iterator[str]:
    """Why losses cannot count fewer positions."""
    why = (
        f"a seq_length of {recounting.last_positions} is shorter than the last "
        f"{recounting.formerly} positions of a window, which all losses of the study count: its "
        "finished runs would have to be evaluated anew over fewer, and "
    )
    if missing:
        yield f"{why}no model is kept here of {run_numbers(missing)}"
    if running := [run.number for run in runs if run.state is RunState.RUNNING]:
        be = "is" if len(running) == 1 else "are"
        yield (
            f"{why}{run_numbers(running)} {be} in training: stop that search first; or, if its "
            "machine is gone, start it once more with the former file"
        )
    finishing = [run for run in runs if run.stopped_at is not None]
    if begun := [run.number for run in finishing if run.state is RunState.INTERRUPTED]:
        yield (
            f"{why}{run_numbers(begun)}, stopped early, went on since and was interrupted: let it "
            "come to its end with the former file"
        )


_ENDED = frozenset({RunState.COMPLETE, RunState.PRUNED, RunState.FAILED})
