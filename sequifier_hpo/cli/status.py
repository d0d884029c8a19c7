"""`sequifier-hpo status`: progress of a study, from any terminal, also while it runs."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sequifier_hpo.cli.lasting import fault_of
from sequifier_hpo.cli.options import StorageUrl, StudyFile, StudyName, WithOutside
from sequifier_hpo.cli.say import say
from sequifier_hpo.cli.visible_output import drawing_stream
from sequifier_hpo.config.locate import StudySource, find_study
from sequifier_hpo.words import duration, visible

if TYPE_CHECKING:
    from sequifier_hpo.report.status import StudyStatus

_DEFAULT_SECONDS = 2.0
_START_SECONDS = 300.0  # that a search may take to read its data before its study is there
_IDLE_SECONDS = 30.0  # without a running run the search counts as stopped


def status(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    top: Annotated[int, typer.Option(min=0, metavar="N", help="Leaderboard rows to show.")] = 10,
    watch: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--watch", "-w", help="Keep refreshing until nothing is left to run.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time between refreshes with --watch.")
    ] = _DEFAULT_SECONDS,
    with_outside: WithOutside = False,  # noqa: FBT002 - a flag
    as_json: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--json", help="Print JSON; with --watch one line per change.")
    ] = False,
) -> None:
    """Show the progress of a study and its best runs. Changes nothing.

    Example: sequifier-hpo status --config-path configs/hyperparameter_search.yaml --watch
    """
    source = find_study(config_path, storage, study_name, with_outside=with_outside)
    if watch:
        _watch(source, top=top, interval=interval, as_json=as_json)
        return
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.report.status import status_reader  # noqa: PLC0415

    with status_reader(source) as read:
        found = read()
    print(json.dumps(status_json(found, top), indent=2) if as_json else status_text(found, top))


def _watch(source: StudySource, *, top: int, interval: float, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=drawing_stream(sys.stdout))
    try:
        with _once_started(source, interval) as read:
            if as_json or not console.is_terminal:
                _follow(_looks(read, interval), top=top, as_json=as_json)
                return
            found = read()
            with Live(console=console, auto_refresh=False, screen=True) as live:
                for found in _looks(read, interval):
                    live.update(Text(visible(status_text(found, top))), refresh=True)
            print(status_text(found, top))
    except KeyboardInterrupt:
        print("stopped watching; the search itself is not affected", file=sys.stderr)


@contextmanager
def _once_started(source: StudySource, interval: float) -> Iterator[Callable[[], "StudyStatus"]]:
    """What reads the state of a study that may be about to be started, once it is."""
    from sequifier_hpo.report.status import status_reader  # noqa: PLC0415
    from sequifier_hpo.report.study_reader import NotStartedError  # noqa: PLC0415

    last, has_said = time.monotonic() + _START_SECONDS, False
    with ExitStack() as stack:
        read = None
        while read is None:
            try:
                read = stack.enter_context(status_reader(source))
                read()
            except NotStartedError:
                if time.monotonic() > last:
                    raise
                stack.close()
                read = None
                if not has_said:
                    has_said = True
                    say(f"waiting for the study {source.name} to be started")
                time.sleep(interval)
        yield read


def _looks(read: Callable[[], "StudyStatus"], interval: float) -> Iterator["StudyStatus"]:
    """The state now and again, until nothing is left to run or nothing has run for a while."""
    last_sign_of_life = time.monotonic()
    while True:
        found = read()
        yield found
        now = time.monotonic()
        if found.progress.num_running:
            last_sign_of_life = now
        if found.is_over or now - last_sign_of_life > _IDLE_SECONDS:
            return
        time.sleep(interval)


def _follow(looks: Iterable["StudyStatus"], *, top: int, as_json: bool) -> None:
    """Print one line for every change, for logs and pipes."""
    shown = None
    for found in looks:
        line = json.dumps(_changing(found, top)) if as_json else headline(found)
        if line != shown:
            shown = line
            print(json.dumps(status_json(found, top)) if as_json else line, flush=True)
            if fault_of(sys.stdout) is not None:
                return  # nobody is left to watch for


def _changing(found: "StudyStatus", top: int) -> dict[str, Any]:
    content = status_json(found, top)
    return {key: value for key, value in content.items() if key not in {"read_at", "seconds_left"}}


def headline(found: "StudyStatus") -> str:
    """The state of a study in one line."""
    done = found.progress
    text = f"{found.source.name}: {done.in_words}"
    if done.best is not None:
        text += f"; best {done.best.validation_loss:.6g} (run {done.best.number})"
    return text


def status_text(found: "StudyStatus", top: int) -> str:
    """The state of a study as a person reads it."""
    from sequifier_hpo.cli.tables import (  # noqa: PLC0415 - loads rich
        baseline_lines,
        leaderboard_table,
        pruned_lines,
    )
    from sequifier_hpo.report.leaderboard import budget_line  # noqa: PLC0415 - with the study
    from sequifier_hpo.report.series import loss_of  # noqa: PLC0415 - with the tables

    lines = [headline(found), f"storage {found.source.shown_storage}"]
    if found.stopped_by:
        lines.append(budget_line(found.stopped_by, found.progress))
    if found.seconds_left is not None:
        lines.append(f"about {duration(found.seconds_left)} left")
    if found.progress.best is not None:
        lines += baseline_lines(loss_of(found.progress.best), found.baselines)
    for run in found.running:
        epochs = f"epoch {max(run.losses)}" if run.losses else "first epoch"
        loss = f", validation loss {run.losses[max(run.losses)]:.6g}" if run.losses else ""
        lines.append(f"  run {run.number}: {epochs}{loss}")
    if found.ranked and top:
        lines += ["", leaderboard_table(found.ranked, top).rstrip()]
    lines += pruned_lines(found.runs)
    for run in found.failed[:top]:
        explanation = run.figures.explanation or run.reason
        lines.append(f"run {run.number} failed: {explanation}")
    lines += ["", "next:", *(f"  {line}" for line in _next_commands(found))]
    return "\n".join(lines)


def _next_commands(found: "StudyStatus") -> list[str]:
    options = found.source.options
    lines = []
    if not found.progress.num_running and (found.progress.num_interrupted or found.stopped_by):
        lines.append(f"sequifier-hpo hyperparameter-search {options}    # resume")
    if found.failed and not found.progress.num_running:
        again = f"sequifier-hpo hyperparameter-search {options} --retry-failed"
        lines.append(f"{again}    # retry the failed runs")
    if found.progress.best is not None:
        lines.append(f"sequifier-hpo best {options}")
        lines.append(f"sequifier-hpo report {options}")
    return lines or [f"sequifier-hpo status {options} --watch"]


def status_json(found: "StudyStatus", top: int) -> dict[str, Any]:
    """The state of a study for programs."""
    from sequifier_hpo.report.tables import detailed_records  # noqa: PLC0415

    done, shown = found.progress, found.ranked[: max(top, 1)]
    records = {
        record["run"]: record
        for record in detailed_records(found.source.name, found.runs, [*shown, *found.running])
    }
    return {
        "study": found.source.name,
        "storage": found.source.shown_storage,
        "strategy": found.strategy,
        "read_at": found.read_at.isoformat(),
        "num_runs": done.num_runs,
        "complete": done.num_complete,
        "pruned": done.num_pruned,
        "failed": done.num_failed,
        "running": done.num_running,
        "interrupted": done.num_interrupted,
        "duplicates": done.num_duplicates,
        "of_other_data": done.num_of_other_data,
        "outside_space": done.num_outside,
        "is_over": found.is_over,
        "stopped_by_budget": found.stopped_by or None,
        "seconds_left": found.seconds_left,
        "baselines": {baseline.name: baseline.loss for baseline in found.baselines},
        "best": done.best and records[done.best.number],
        "running_runs": [records[run.number] for run in found.running],
        "leaderboard": [records[run.number] for run in found.ranked[:top]],
    }
