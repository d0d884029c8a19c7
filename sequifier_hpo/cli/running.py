"""A study that trains, in the terminal: a search, or the check of its winners."""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

from sequifier_hpo.assembly.jobs import check_job, search_job
from sequifier_hpo.assembly.open_study import OpenStudy, open_study
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.assembly.read_study import read_search
from sequifier_hpo.cli.notices import View, notices
from sequifier_hpo.cli.options import NO_SUCCESS, Format, WantedCheck
from sequifier_hpo.cli.say import none_to_show, say
from sequifier_hpo.cli.search_text import (
    announcement,
    exit_code,
    require_stopped,
    revised,
    show_result,
    summary,
    why_no_success,
)
from sequifier_hpo.cli.verify_text import (
    announce_check,
    check_text,
    exit_code_of_check,
    num_ended,
)
from sequifier_hpo.cli.view import SearchProgress, make_view
from sequifier_hpo.config.user_file import NOBODY, Wanted
from sequifier_hpo.coordinator.log import logging_by
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.report.leaderboard import Progress, epochs_trained, progress, top_runs
from sequifier_hpo.report.results import write_outcome
from sequifier_hpo.report.study_facts import facts_of_space
from sequifier_hpo.report.verification import (
    CheckedRun,
    checked_runs,
    verification_csv,
    verification_record,
)
from sequifier_hpo.report.writing import SearchReport
from sequifier_hpo.searchspace import Point
from sequifier_hpo.strategy import retrainings_of
from sequifier_hpo.study import Consent, WarmStart
from sequifier_hpo.study.snapshot import STOPPED_BY
from sequifier_hpo.words import counted

_RESULTS_SECONDS = 1.0  # seconds: at most one rewrite of the leaderboard per interval
_RESULTS_SHARE = (
    0.02  # at most this share of the time goes into rewrites, however long the leaderboard
)


def run_search(
    prepared: PreparedSearch,
    consent: Consent,
    *,
    retry_failed: bool,
    finish: Sequence[int] = (),
    wanted: Wanted,
    as_json: bool,
    verbose: bool,
) -> int:
    """Run the rest of a search and show its result; returns the exit code.

    Raises:
        InputError: If one of the runs to finish was not stopped early, and what `open_study` raises.
    """
    with logging_by(say, study=prepared.name) if verbose else nullcontext():
        found = train_search(
            prepared, consent, retry_failed=retry_failed, finish=finish, wanted=wanted
        )
    if as_json:
        by = found.end.stopped_by_budget
        shown = summary(
            prepared, found.study_id, found.runs, found.after, found.warm_start, stopped_by=by
        )
        print(json.dumps(shown, indent=2))
    else:
        show_result(prepared, found.study_id, found.runs, found.after, found.baselines)
    varying = prepared.space.varying_fields
    return exit_code(prepared.source.options, found.end, found.after, found.runs, varying)


@dataclass(frozen=True)
class Searched:
    """What a search has come to."""

    study_id: str
    end: SearchEnd
    runs: Sequence[Run]
    after: Progress
    baselines: Sequence[Baseline]
    warm_start: WarmStart | None
    """The earlier studies that guide it."""


def train_search(
    prepared: PreparedSearch,
    consent: Consent,
    *,
    retry_failed: bool,
    finish: Sequence[int] = (),
    wanted: Wanted = NOBODY,
    tell: Callable[[str], None] = say,
    view: View = make_view,
) -> Searched:
    """Run the rest of a search, write its leaderboard and report, and tell who wants to know.

    Args:
        prepared: The search.
        consent: To what would otherwise be refused.
        retry_failed: Whether failed runs are trained again.
        finish: Runs that were stopped early, and are to be given their full length.
        wanted: Who is told of its events.
        tell: Takes lines of text for the user.
        view: Makes the display.

    Raises:
        InputError: If one of the runs to finish was not stopped early, and what `open_study` raises.
    """
    with notices(prepared.name, prepared.shown_storage, wanted, tell) as telling:
        found = _train(prepared, consent, retry_failed, finish, tell, telling.view(view))
        varying = prepared.space.varying_fields
        why = why_no_success(found.end, found.after, found.runs, varying)
        telling.ended(found.end, found.after, why)
    return found


def _train(
    prepared: PreparedSearch,
    consent: Consent,
    retry_failed: bool,  # noqa: FBT001 - of one caller
    finish: Sequence[int],
    tell: Callable[[str], None],
    view: View,
) -> Searched:
    report = SearchReport(
        prepared.source,
        strategy=prepared.loaded.config.search_strategy,
        num_runs=prepared.num_runs,
    )
    with open_study(prepared, search_job(prepared), consent) as search:
        ledger = search.ledger
        study_id = ledger.identity.study_id
        report.study_id, report.warm_start = study_id, ledger.identity.warm_start
        report.recounted_to = ledger.identity.recounted_to
        report.facts = facts_of_space(prepared.space, prepared.data)
        num_retried = ledger.retry_failed() if retry_failed else 0
        runs = ledger.runs()
        require_stopped(runs, finish, ledger.finish(finish))
        before = progress(runs, prepared.num_runs)
        if retry_failed:
            tell(f"retrying {counted(num_retried, 'failed run')}")
            before = replace(before, num_failed=before.num_failed - num_retried)
        is_complete = not (ledger.is_anything_left() or search.job.budget.stopped_by)
        warm = report.warm_start
        for line in () if ledger.change is None else revised(ledger.change):
            tell(line)
        for line in announcement(prepared, before, runs, warm, is_complete=is_complete):
            tell(line)
        end = _with_budget(search, _run_search(search, report, before, view))
        runs = ledger.runs()
        write_outcome(prepared.loaded.config, runs)
        report.baselines = ledger.baselines
        report.stopped_by = end.stopped_by_budget
    baselines = _write_report(report, runs, tell)
    after = progress(runs, prepared.num_runs)
    return Searched(study_id, end, runs, after, baselines, report.warm_start)


def _run_search(search: OpenStudy, report: SearchReport, before: Progress, make: View) -> SearchEnd:
    best = before.best
    shown = SearchProgress(
        num_runs=before.num_runs,
        num_done=before.num_ended,
        num_pruned=before.num_pruned,
        epochs_saved=_epochs_saved(search),
        best_loss=best.validation_loss if best else None,
        best_run=f"run {best.number}" if best else None,
        budget=search.job.budget,
        epochs_trained=epochs_trained(search.ledger.runs()),
    )

    def write() -> None:
        # What cannot be written now is written at the end at the latest.
        with suppress(EnvironmentFaultError):
            runs = search.ledger.runs()
            shown.epochs_trained = epochs_trained(runs)
            write_outcome(search.prepared.loaded.config, runs)
            report.baselines = search.ledger.baselines
            report.refresh(runs)

    with make(shown, _at_most_every(_RESULTS_SECONDS, write), search.prepared.name) as view:
        return search.run(view)


def _with_budget(search: OpenStudy, end: SearchEnd) -> SearchEnd:
    """The end with the budget that left something to do, which the study remembers."""
    budget = search.job.budget
    if end.stopped_by is not None or end.gave_up_after or not budget.is_limited:
        return end
    is_left = search.ledger.is_anything_left()
    by = budget.stopped_by or (end.stopped_by_budget if is_left else "")
    if by:
        search.ledger.describe_study({STOPPED_BY: by})
    return replace(end, stopped_by_budget=by)


def _epochs_saved(search: OpenStudy) -> int:
    """By the runs that were stopped before, and not finished since."""
    pruned = (run for run in search.ledger.runs() if run.state is RunState.PRUNED)
    length = search.prepared.space.num_epochs_at
    return sum(length(Point.from_json(run.point)) - (run.stopped_at or 0) for run in pruned)


def _write_report(
    report: SearchReport, runs: Sequence[Run], tell: Callable[[str], None]
) -> Sequence[Baseline]:
    """Write the report; a failure must not hide the result."""
    try:
        return report.write(runs).baselines
    except EnvironmentFaultError as error:
        tell(f"warning: the report was not written: {error}")
        return ()


def run_check(prepared: PreparedSearch, wanted: WantedCheck, *, verbose: bool) -> int:
    """Run the rest of a winner check and show its result; returns the exit code."""
    snapshot = read_search(prepared)
    runs = top_runs(snapshot.runs, wanted.num_runs)
    if not runs:
        say(none_to_show(prepared.source))
        return NO_SUCCESS
    assert snapshot.identity is not None, "a study whose data are known has one"
    retrainings = retrainings_of(
        runs,
        prepared.space,
        prepared.keyer,
        search_seed=prepared.loaded.config.seed,
        num_seeds=wanted.num_seeds,
        recounted_to=snapshot.identity.recounted_to,
    )
    seeds = sorted({each.seed for each in retrainings})
    job = check_job(prepared, snapshot.identity, retrainings)
    with (
        logging_by(say, study=job.study_name) if verbose else nullcontext(),
        open_study(prepared, job) as check,
    ):

        def results() -> list[CheckedRun]:
            by_key = {run.key: run for run in check.ledger.runs()}
            trained = {
                (each.run.number, each.seed): by_key[each.key]
                for each in retrainings
                if each.key in by_key
            }
            return checked_runs(runs, seeds, trained)

        if wanted.retry_failed:
            say(f"retrying {counted(check.ledger.retry_failed(), 'failed training run')}")
        before = results()
        announce_check(prepared, snapshot, job.study_name, runs, before, seeds, wanted.num_runs)
        shown = SearchProgress(
            num_runs=len(retrainings),
            num_done=num_ended(before),
            best_loss=None,
            best_run=None,
            names_best=False,
        )
        with make_view(shown, lambda: None, f"{prepared.name}: winner check") as view:
            end = check.run(view)
        checked = results()
        trained = check.ledger.runs()
    _show_check(prepared, checked, wanted.output_format)
    return exit_code_of_check(end, checked, trained, prepared.space.varying_fields)


def _show_check(prepared: PreparedSearch, checked: Sequence[CheckedRun], shown_as: Format) -> None:
    if shown_as == Format.JSON:
        print(json.dumps(verification_record(prepared.name, checked), indent=2))
    elif shown_as == Format.CSV:
        print(verification_csv(checked), end="")
    else:
        print(check_text(prepared, checked))


def _at_most_every(seconds: float, call: Callable[[], object]) -> Callable[[], None]:
    earliest = -math.inf

    def throttled() -> None:
        nonlocal earliest
        began = time.monotonic()
        if began >= earliest:
            call()
            ended = time.monotonic()
            earliest = ended + max(seconds, (ended - began) / _RESULTS_SHARE)

    return throttled
