"""What is printed before and after a search."""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.cli.options import NO_SUCCESS
from sequifier_hpo.cli.plan_strategy import budget_lines
from sequifier_hpo.cli.say import say
from sequifier_hpo.cli.tables import baseline_lines, leaderboard_table, pruned_lines
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Baseline, Failure, Run, RunState
from sequifier_hpo.report.failures import what_failures_share
from sequifier_hpo.report.leaderboard import (
    Progress,
    budget_line,
    leaderboard,
    longer_line,
    value_of,
)
from sequifier_hpo.report.run_files import RunFile, record_with_file, run_file_of
from sequifier_hpo.report.series import loss_of
from sequifier_hpo.strategy import EPOCHS
from sequifier_hpo.study import SpaceChange, WarmStart
from sequifier_hpo.words import counted, run_numbers

_WHERE_THEY_DIFFER = re.compile(r"\d+")
"""Reasons that differ in the number of the run, an epoch or a size only are the same."""


def announcement(
    prepared: PreparedSearch,
    before: Progress,
    runs: Sequence[Run],
    warm_start: WarmStart | None = None,
    *,
    is_complete: bool,
) -> Iterator[str]:
    """What the search is about to do, in lines."""
    config = prepared.loaded.config
    for warning in prepared.loaded.warnings:
        yield f"warning: {warning}"
    distinct = prepared.effective.num_distinct
    yield (
        f"study {prepared.name}: {config.search_strategy} of {_combinations(prepared)}; "
        f"storage {prepared.shown_storage}"
    )
    if config.search_strategy != "grid" and prepared.num_requested > prepared.num_runs:
        yield (
            f"n_samples is {prepared.num_requested:,}, but only {distinct:,} are distinct: "
            "all of them will run"
        )
    yield from _warm_start_lines(warm_start, is_named=bool(config.warm_start))
    if is_complete:
        yield f"the study is complete: {_counts(before)}; nothing is left to run"
        return
    if before.num_ended or before.num_interrupted:
        yield f"resuming: {_counts(before)}"
    left = prepared.num_runs - before.num_ended
    if left <= 0:
        yield "all runs have ended; those that are to be trained again follow"
        return
    yield f"{left:,} of {counted(prepared.num_runs, 'run')} left to train, on {prepared.device}"
    yield from budget_lines(prepared, runs)


def _warm_start_lines(warm_start: WarmStart | None, *, is_named: bool) -> Iterator[str]:
    """Which earlier studies guide the search; whether its file names them now."""
    for line in () if warm_start is None else warm_start.lines():
        yield f"warm start: {line}"
    if warm_start is not None and not is_named:
        yield (
            "the search file has no `warm_start` any more: what was copied when the study was "
            "created guides it all the same"
        )


def revised(change: SpaceChange) -> Iterator[str]:
    """What the study has become, in lines."""
    yield "the study goes on with another search space:"
    yield from (f"  {line}" for line in change.lines)
    yield from (f"  {effect}" for effect in change.effects)


def require_stopped(
    runs: Sequence[Run], wanted: Sequence[int], not_stopped: Collection[int]
) -> None:
    """Make sure that the runs to be finished are runs that were stopped early.

    Raises:
        InputError: If one of them is not.
    """
    if not not_stopped:
        return
    states = {run.number: run.state for run in runs if run.duplicate_of is None}
    found = [
        f"run {number} {f'is {states[number].value}' if number in states else 'does not exist'}"
        for number in wanted
        if number in not_stopped
    ]
    stopped = [number for number, state in states.items() if state is RunState.PRUNED]
    raise InputError(
        f"--finish takes runs that were stopped early: {', '.join(found)}",
        f"stopped early: {run_numbers(stopped)}" if stopped else "no run was stopped early",
    )


def _combinations(prepared: PreparedSearch) -> str:
    cells, distinct = prepared.space.num_cells, prepared.effective.num_distinct
    if prepared.space.is_continuous:
        return "a space with continuous ranges"
    return f"{cells:,} combinations, {distinct:,} of them distinct"


def show_result(
    prepared: PreparedSearch,
    study_id: str,
    runs: Sequence[Run],
    after: Progress,
    baselines: Sequence[Baseline],
) -> None:
    """Print the leaderboard, the best run and what to do next."""
    best = after.best
    if best is None:
        print(f"no run is complete yet; {_counts(after)}")
        return
    print(leaderboard_table(leaderboard(runs)))
    for line in pruned_lines(runs):
        print(line)
    name = run_name(prepared.name, best.number)
    file = _run_file(prepared, best, study_id)
    print(f"best run {best.number}, validation loss {best.validation_loss!r}:")
    width = max((len(parameter) for parameter in best.labels), default=0)
    for parameter, label in best.labels.items():
        print(f"  {parameter:<{width}}  {value_of(label)}")
    if baselines:
        print("", *baseline_lines(loss_of(best), baselines), sep="\n")
    if longer := longer_line(best):
        print(f"\n{longer}")
    models = prepared.loaded.config.paths.models / f"sequifier-{name}-*"
    print(
        f"\n{_counts(after)}\n"
        f"  run file     {file.shown}\n"
        f"  models       {replace(file, path=models).shown}\n"
        f"  leaderboard  {prepared.loaded.config.results_path}\n"
        f"  report       {prepared.loaded.config.results_path.with_name('report.html')}\n"
        "\nnext:"
    )
    options = prepared.source.options
    run_file = None if file.missing else file.path
    effective = prepared.effective
    distinct = None if effective.is_continuous else effective.num_distinct
    for line in next_commands(options, run_file, after, distinct):
        print(f"  {line}")


def _run_file(prepared: PreparedSearch, best: Run, study_id: str) -> RunFile:
    file = run_file_of(prepared.source, best, study_id)
    assert file is not None, "the search file says where"
    return file


def next_commands(
    options: str, run_file: Path | None, after: Progress, num_distinct: int | None
) -> list[str]:
    """What to type after a search.

    Args:
        options: The options that lead to its study.
        run_file: The `train.yaml` of its best run; None = it is elsewhere.
        after: Its progress.
        num_distinct: Distinct runs that its space has; None = it is continuous.
    """
    lines = []
    if run_file is not None:
        train = f"sequifier-hpo train --config-path {shlex.quote(str(run_file))}"
        lines.append(f"{train}    # retrain the best run")
    lines.append(f"sequifier-hpo dashboard {options}    # explore the study in a browser")
    again = f"sequifier-hpo hyperparameter-search {options}"
    if after.num_failed:
        lines.append(f"sequifier-hpo status {options}    # why did runs fail?")
        lines.append(f"{again} --retry-failed    # retry the failed runs")
    if after.num_complete > 1:
        lines.append(f"sequifier-hpo verify {options}    # does the winner still win?")
    # A search that was stopped says how to resume it.
    if after.is_over and (num_distinct is None or after.num_runs < num_distinct):
        lines.append(f"{again}    # continue, for example with a larger n_samples")
    return lines


def exit_code(
    options: str,
    end: SearchEnd,
    after: Progress,
    runs: Sequence[Run],
    varying: Collection[str],
) -> int:
    """The exit code of a search, which is explained on standard error if it is not 0.

    Args:
        options: The options that lead to its study.
        end: How this command's part of it ended.
        after: Progress of the study.
        runs: Its runs.
        varying: Fields of which its space has more than one value.
    """
    if was_stopped(end, after):
        assert end.stopped_by is not None
        say(
            f"stopped by {end.stopped_by.name}; resume with\n"
            f"  sequifier-hpo hyperparameter-search {options}"
        )
        return 128 + end.stopped_by
    if end.stopped_by_budget:
        say(f"{budget_line(end.stopped_by_budget, after)}; {_how_to_go_on(end, options)}")
        return 0
    if why := why_no_success(end, after, runs, varying):
        say(why)
        return NO_SUCCESS
    return 0


def _how_to_go_on(end: SearchEnd, options: str) -> str:
    again = f"sequifier-hpo hyperparameter-search {options}"
    raised = "raise it and " if end.stopped_by_budget == EPOCHS else ""
    return f"{raised}go on with\n  {again}"


def was_stopped(end: SearchEnd, after: Progress) -> bool:
    """Whether a signal left something to do: after the last result was stored it stops nothing."""
    return end.stopped_by is not None and not after.is_over


def why_no_success(
    end: SearchEnd, after: Progress, runs: Sequence[Run], varying: Collection[str]
) -> str:
    """Why a search that was not stopped is no success; "" if it is. Arguments as of `exit_code`."""
    if end.gave_up_after:
        return why_it_gave_up(end.gave_up_after, runs, varying)
    return (
        ""
        if end.stopped_by_budget or after.num_complete
        else why_none_succeeded("run", runs, varying)
    )


def why_none_succeeded(what: str, runs: Sequence[Run], varying: Collection[str]) -> str:
    """What all failures have in common, and what to do.

    Args:
        what: A run, or a training run.
        runs: All of them.
        varying: Fields of which the space has more than one value.
    """
    failed = {run.trial_number for run in runs if run.state is RunState.FAILED}
    return "\n".join(
        [
            f"no {what} succeeded; see logs/ for the reasons",
            *_what_they_share(runs, failed, varying),
            "    fix: correct the cause, then add --retry-failed",
        ]
    )


def why_it_gave_up(
    failures: Sequence[Failure], runs: Sequence[Run], varying: Collection[str]
) -> str:
    """What the failures in a row have in common, and what to do.

    Args:
        failures: Those in a row.
        runs: All runs of the study.
        varying: Fields of which its space has more than one value.
    """
    reasons = [failure.reason for failure in failures]
    kinds = [_WHERE_THEY_DIFFER.sub("", reason) for reason in reasons]
    common = max(kinds, key=kinds.count)
    share = "all" if len(set(kinds)) == 1 else str(kinds.count(common))
    example = reasons[kinds.index(common)]
    return "\n".join(
        [
            f"stopped: {counted(len(reasons), 'run')} in a row failed, {share} of them with: {example}",
            *_what_they_share(runs, {failure.trial_number for failure in failures}, varying),
            "    fix: correct the cause and use --retry-failed, or raise max_consecutive_failures",
        ]
    )


def _what_they_share(
    runs: Sequence[Run], failed_trials: Collection[int], varying: Collection[str]
) -> list[str]:
    return [f"    {line}" for line in what_failures_share(runs, failed_trials, varying)]


def summary(
    prepared: PreparedSearch,
    study_id: str,
    runs: Sequence[Run],
    after: Progress,
    warm_start: WarmStart | None = None,
    *,
    stopped_by: str = "",
) -> dict[str, Any]:
    """The result of a search as JSON values."""
    best = after.best
    return {
        "study": prepared.name,
        "storage": prepared.shown_storage,
        "num_runs": after.num_runs,
        "complete": after.num_complete,
        "pruned": after.num_pruned,
        "failed": after.num_failed,
        "interrupted": after.num_interrupted,
        "duplicates": after.num_duplicates,
        "of_other_data": after.num_of_other_data,
        "guided_by": 0 if warm_start is None else warm_start.num_lessons,
        "stopped_by_budget": stopped_by or None,
        "outside_space": after.num_outside,
        "best": best and record_with_file(prepared.source, best, study_id, runs),
        "results": str(prepared.loaded.config.results_path),
    }


def _counts(of: Progress) -> str:
    """The numbers in one line, without the runs of other searches, of which some may be dead."""
    return replace(of, num_running=0).in_words
