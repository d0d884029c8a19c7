"""Read earlier studies for what they teach a new one.

Each of their runs is judged alone: by its data, by what its loss counts, and by whether the new space
has a place for its configuration. A study none of whose runs teaches anything is refused.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, cached_property

import optuna

from sequifier_hpo.config.earlier import EarlierStudy
from sequifier_hpo.config.paths import ProjectPaths
from sequifier_hpo.config.ranges import NumberRange
from sequifier_hpo.config.storage_url import sqlite_path
from sequifier_hpo.digests import digest_differences
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.records import Counted, OutcomeKind, Run, RunState
from sequifier_hpo.searchspace import (
    Configuration,
    Keyer,
    Point,
    configuration,
    place,
    point_of_labels,
    positions_counted,
)
from sequifier_hpo.study.lessons import Earlier, Guide, Lesson, WarmStart
from sequifier_hpo.study.opening import Consent
from sequifier_hpo.study.plan import StudyPlan
from sequifier_hpo.study.snapshot import StudySnapshot, read_study
from sequifier_hpo.study.storages import Storage, StudyMissingError
from sequifier_hpo.study.stored import StoredValueError, understood
from sequifier_hpo.words import counted, listed

_MAX_REASONS = 3
_REMOVE = "remove it from `warm_start`"


def with_earlier(plan: StudyPlan, storage_url: str, consent: Consent) -> StudyPlan:
    """The plan of a study, with the earlier studies that its search file names.

    They are read when the study is created; at once if that creates its database too, so that what is
    refused leaves nothing behind. The check of a study's winners learns from none.

    Args:
        plan: What the study should be.
        storage_url: Where it is.
        consent: Says whether studies of 0.1.0 had the present data.

    Raises:
        InputError: If one is not there, is another program's, or teaches nothing.
        EnvironmentFaultError: If a storage cannot be reached.
    """
    config = plan.space.config
    named = config.warm_start if config.hp_search_name == plan.name else []
    if not named:
        return plan
    shown, pupil = tuple(map(str, named)), _Pupil(plan)

    @cache
    def learn() -> tuple[WarmStart, Sequence[Lesson]]:
        guides: list[Guide] = []
        lessons: list[Lesson] = []
        for entry in named:
            study = _read(entry, entry.url(config.paths, storage_url), config.paths, consent)
            try:
                with understood(f"the study {study.name}"):
                    guide, taught = pupil.learn_from(study)
            except StoredValueError as error:
                damaged = f"warm_start: {entry} is damaged, or was changed by someone else: {error}"
                raise EnvironmentFaultError(damaged, _REMOVE) from error
            if not taught:
                raise InputError(f"warm_start: {entry} cannot guide this search: {guide}", _REMOVE)
            if any(guide.study_id and guide.study_id == other.study_id for other in guides):
                raise InputError(f"warm_start: {entry} is named twice", "remove one of the entries")
            guides.append(guide)
            lessons += taught
        return WarmStart(named=shown, guides=tuple(guides)), lessons

    file = sqlite_path(storage_url)
    if file is not None and not file.exists():
        learn()
    return replace(plan, earlier=Earlier(shown, learn))


@dataclass(frozen=True)
class _Pupil:
    """A new study."""

    plan: StudyPlan

    @cached_property
    def _keyer(self) -> Keyer:
        return Keyer(self.plan.space, self.plan.data)

    @cached_property
    def _ranges(self) -> dict[str, NumberRange]:
        return {part.name: part.range for part in self.plan.space.parts}

    def learn_from(self, study: StudySnapshot) -> tuple[Guide, list[Lesson]]:
        """What the runs of a study teach, in their order."""
        runs = [run for run in study.runs if run.duplicate_of is None]
        found = [self._lesson(study, run) for run in sorted(runs, key=lambda run: run.ordinal)]
        lessons = [each for each in found if isinstance(each, Lesson)]
        reasons = Counter(each for each in found if isinstance(each, str))
        guide = Guide(
            name=study.name,
            study_id=study.study_id,
            num_runs=len(runs),
            num_lessons=len(lessons),
            outside=tuple(reasons.most_common(_MAX_REASONS)),
        )
        return guide, lessons

    def _lesson(self, study: StudySnapshot, run: Run) -> Lesson | str:
        """What a run teaches, or why it does not."""
        if run.is_of_other_data:
            return "trained on data that its study had before"
        if run.counts_other_positions:
            return "its loss counts other positions than those of its study do by now"
        if run.state in {RunState.RUNNING, RunState.INTERRUPTED}:
            return "still to end"
        if run.loss is None and run.reason != OutcomeKind.DIVERGED:
            return f"failed ({run.reason}), which may not happen here"
        space = self.plan.space
        chosen = Point(run.point) if run.point else point_of_labels(study.space, run.labels)
        values = configuration(study.space, chosen, space.description)
        point = place(space, values)
        if isinstance(point, str):
            return point
        if reason := self._other_loss(study, values, point):
            return reason
        return Lesson(
            key=self.plan.key_of(point, None),
            point=point.as_json(),
            loss=run.loss,
            stopped_at=run.stopped_at if run.state is RunState.PRUNED else None,
            unused={
                name: number
                for name, number in run.unused.items()
                if name in self._ranges and self._ranges[name].has(number)
            },
        )

    def _other_loss(self, study: StudySnapshot, values: Configuration, point: Point) -> str:
        """Why the loss of a run is not the one that it would have here; "" if it is."""
        before = Counted() if study.identity is None else study.identity.counted
        there, here = (positions_counted(values, each) for each in (before, self.plan.counted))
        if there != here:
            return f"its loss counts {counted(there, 'position')} of a window, here it is {here:,}"
        if study.identity is None:
            return ""  # of 0.1.0: the user says that the data are the same
        needed = self._keyer.data_of(point)
        columns = needed.validation.columns
        return "; ".join(digest_differences(study.identity.data[-1].digest, needed, columns))


def _read(entry: EarlierStudy, url: str, paths: ProjectPaths, consent: Consent) -> StudySnapshot:
    file = sqlite_path(url)
    if file is not None and not file.exists():
        where = f"{file} does not exist"
        if entry.storage is None:
            where = (
                f"neither {entry.usual_file(paths)} nor {file}, the search's own storage, exists"
            )
        raise InputError(
            f"warm_start: there is no study {entry}: {where}",
            "write the name of a study of this project or of the search's storage, the path of a "
            "study.db, or `{storage: URL, study: NAME}`",
        )
    try:
        with closing(Storage(url, is_for_reading=True)) as storage:
            study = read_study(storage, entry.study or _only_study(storage, entry))
    except (InputError, EnvironmentFaultError) as error:
        raise type(error)(f"warm_start: {error.problem}", error.fix) from None
    if not study.space:
        raise InputError(
            f"warm_start: {entry} was not made by sequifier-hpo: it does not say on which data, and "
            "with which loss, its runs were trained",
            _REMOVE,
        )
    if study.identity is None and not consent.same_data:
        raise InputError(
            f"warm_start: {entry} was started by sequifier-hpo 0.1.0, which did not record what data "
            "its runs were trained on",
            f"if they are the present ones, start the search with --same-data; else {_REMOVE}",
        )
    return study


def _only_study(storage: Storage, entry: EarlierStudy) -> str:
    """The name of the study of a storage that holds one, checks of winners not counted."""
    with storage.faults():
        names = [n for n in map(str, optuna.get_all_study_names(storage.cached)) if "/" not in n]
    if len(names) == 1:
        return names[0]
    if not names:
        raise StudyMissingError(f"there is no study in {entry}", _REMOVE)
    raise InputError(
        f"{entry} holds several studies: {listed(names)}",
        "say which: `{storage: ..., study: NAME}`",
    )
