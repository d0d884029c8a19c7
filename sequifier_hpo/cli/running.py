"""A search in the terminal: what is said before, while and after it runs."""

import json
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sequifier_hpo.assembly.locate import source_of
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.assembly.report import SearchReport
from sequifier_hpo.assembly.search import OpenSearch, open_search
from sequifier_hpo.cli.tables import baseline_lines, leaderboard_table
from sequifier_hpo.cli.view import SearchProgress, make_view
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.coordinator.log import logging_by
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import Run
from sequifier_hpo.report.data import Baseline
from sequifier_hpo.report.leaderboard import Progress, leaderboard, progress, value_of
from sequifier_hpo.report.series import loss_of

NO_SUCCESS = 4
_WHERE_THEY_DIFFER = re.compile(r"\d+")
"""Reasons that differ in the number of the run, an epoch or a size only are the same."""
_RESULTS_SECONDS = 1.0  # at most one rewrite of the leaderboard in this time
_RESULTS_SHARE = 0.02  # and at most this share of the time is spent on it, however long it gets


def run_search(
    prepared: PreparedSearch, *, retry_failed: bool, as_json: bool, verbose: bool
) -> int:
    """Run what is left of a search and show its result; returns the exit code."""
    report = SearchReport(prepared)
    with logging_by(_say) if verbose else nullcontext(), open_search(prepared) as search:
        num_retried = search.study.retry_failed() if retry_failed else 0
        before = progress(search.study.runs(), prepared.num_runs)
        if retry_failed:
            _say(f"{num_retried:,} failed runs are run again")
            before = replace(before, num_failed=before.num_failed - num_retried)
        _announce(prepared, before, is_complete=not search.study.is_anything_left())
        end = _run(search, report, before)
        runs = search.write_results()
    baselines = _write_report(report, runs)
    after = progress(runs, prepared.num_runs)
    if as_json:
        print(json.dumps(_summary(prepared, after), indent=2))
    else:
        _show_result(prepared, runs, after, baselines)
    return exit_code(source_of(prepared).options, end, after)


def _run(search: OpenSearch, report: SearchReport, before: Progress) -> SearchEnd:
    best = before.best
    shown = SearchProgress(
        num_runs=before.num_runs,
        num_done=before.num_complete + before.num_failed,
        best_loss=best.validation_loss if best else None,
        best_run=f"run {best.number}" if best else None,
    )

    def write_results() -> None:
        # What cannot be written now is written at the end at the latest.
        with suppress(EnvironmentFaultError):
            report.refresh(search.write_results())

    write = _at_most_every(_RESULTS_SECONDS, write_results)
    with make_view(shown, write, search.prepared.name) as view:
        return search.run(view)


def _write_report(report: SearchReport, runs: Sequence[Run]) -> Sequence[Baseline]:
    """Write the report; its absence is no reason to lose sight of the result."""
    try:
        return report.write(runs).baselines
    except EnvironmentFaultError as error:
        _say(f"warning: there is no report: {error}")
        return ()


def _announce(prepared: PreparedSearch, before: Progress, *, is_complete: bool) -> None:
    config = prepared.loaded.config
    for warning in prepared.loaded.warnings:
        _say(f"warning: {warning}")
    distinct = prepared.effective.num_distinct
    _say(
        f"study {prepared.name}: {config.search_strategy} of {prepared.space.num_cells:,} "
        f"combinations, {distinct:,} of them distinct; storage {prepared.shown_storage}"
    )
    if config.search_strategy == "sample" and prepared.num_requested > distinct:
        _say(f"n_samples is {prepared.num_requested:,}, but there are {distinct:,}: all are run")
    if is_complete:
        _say(f"the study is complete: {_counts(before)}; nothing is left to run")
        return
    if before.num_complete or before.num_failed or before.num_interrupted:
        _say(f"resuming: {_counts(before)}")
    left = prepared.num_runs - before.num_complete - before.num_failed
    _say(f"{left:,} of {prepared.num_runs:,} runs to go on {prepared.device}")


def _show_result(
    prepared: PreparedSearch, runs: Sequence[Run], after: Progress, baselines: Sequence[Baseline]
) -> None:
    best = after.best
    if best is None:
        print(f"no run is complete yet; {_counts(after)}")
        return
    print(leaderboard_table(leaderboard(runs)))
    name = run_name(prepared.name, best.number)
    run_file = prepared.run_file(name)
    print(f"best run {best.number}, validation loss {best.validation_loss!r}:")
    width = max((len(parameter) for parameter in best.labels), default=0)
    for parameter, label in best.labels.items():
        print(f"  {parameter:<{width}}  {value_of(label)}")
    if baselines:
        print("", *baseline_lines(loss_of(best), baselines), sep="\n")
    models = prepared.loaded.config.paths.models
    print(
        f"\n{_counts(after)}\n"
        f"  run file     {run_file}\n"
        f"  models       {models}/sequifier-{name}-*\n"
        f"  leaderboard  {prepared.results_path}\n"
        f"  report       {prepared.results_path.with_name('report.html')}\n"
        "\nnext:"
    )
    options = source_of(prepared).options
    for line in next_commands(options, run_file, after, prepared.effective.num_distinct):
        print(f"  {line}")


def next_commands(options: str, run_file: Path, after: Progress, num_distinct: int) -> list[str]:
    """What to type after a search.

    Args:
        options: The options that lead to its study.
        run_file: The `train.yaml` of its best run.
        after: How far it has come.
        num_distinct: Distinct runs that its space has.
    """
    lines = [
        f"sequifier-hpo train --config-path {shlex.quote(str(run_file))}    # train the best run again",
        f"sequifier-hpo dashboard {options}    # look at the study",
    ]
    again = f"sequifier-hpo hyperparameter-search {options}"
    if after.num_failed:
        lines.append(f"sequifier-hpo status {options}    # why did runs fail?")
        lines.append(f"{again} --retry-failed    # run the failed runs again")
    if after.num_complete > 1:
        lines.append(f"sequifier-hpo best {options} --verify 3    # does the winner still win?")
    # A search that was stopped says itself how to go on.
    if after.is_over and after.num_runs < num_distinct:
        lines.append(f"{again}    # go on, with a larger n_samples for example")
    return lines


def exit_code(options: str, end: SearchEnd, after: Progress) -> int:
    """The exit code of a search, which is explained on standard error if it is not 0.

    Args:
        options: The options that lead to its study.
        end: How this command's part of it ended.
        after: How far the study has come.
    """
    # A stop that came when the last result was stored has stopped nothing.
    if end.stopped_by is not None and not after.is_over:
        _say(
            f"stopped by {end.stopped_by.name}; go on with\n"
            f"  sequifier-hpo hyperparameter-search {options}"
        )
        return 128 + end.stopped_by
    if end.gave_up_after:
        _say(why_it_gave_up(end.gave_up_after))
        return NO_SUCCESS
    if after.num_complete == 0:
        _say(
            "no run succeeded; see logs/ for the reasons\n    fix: correct the cause, then add --retry-failed"
        )
        return NO_SUCCESS
    return 0


def why_it_gave_up(reasons: Sequence[str]) -> str:
    """What the failures in a row have in common, and what to do."""
    kinds = [_WHERE_THEY_DIFFER.sub("", reason) for reason in reasons]
    common = max(kinds, key=kinds.count)
    share = "all" if len(set(kinds)) == 1 else str(kinds.count(common))
    example = reasons[kinds.index(common)]
    return (
        f"stopped: {len(reasons)} runs in a row failed, {share} of them with: {example}\n"
        "    fix: correct the cause and use --retry-failed, or raise max_consecutive_failures"
    )


def _summary(prepared: PreparedSearch, after: Progress) -> dict[str, Any]:
    best = after.best
    return {
        "study": prepared.name,
        "storage": prepared.shown_storage,
        "num_runs": after.num_runs,
        "complete": after.num_complete,
        "failed": after.num_failed,
        "interrupted": after.num_interrupted,
        "duplicates": after.num_duplicates,
        "best": best
        and {
            "run": best.number,
            "validation_loss": best.validation_loss,
            "train_config": str(prepared.run_file(run_name(prepared.name, best.number))),
            "parameters": {name: value_of(label) for name, label in best.labels.items()},
        },
        "results": str(prepared.results_path),
    }


def _counts(of: Progress) -> str:
    parts = [f"{of.num_complete:,} of {of.num_runs:,} runs complete"]
    for number, what in (
        (of.num_failed, "failed"),
        (of.num_interrupted, "interrupted"),
        (of.num_duplicates, "duplicate cells with the result of another run"),
    ):
        if number:
            parts.append(f"{number:,} {what}")
    return ", ".join(parts)


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
