"""`search`: what `sequifier-hpo hyperparameter-search` does, from Python."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from sequifier_hpo.api.studies import Study
from sequifier_hpo.assembly.prepare import PreparedSearch, prepare_search
from sequifier_hpo.cli.notebook import quiet_view, say_to_program, view_of_program
from sequifier_hpo.cli.running import Searched, train_search
from sequifier_hpo.cli.search_text import was_stopped, why_no_success
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.config.user_file import wanted_by
from sequifier_hpo.errors import InputError, NoSuccessError
from sequifier_hpo.report.leaderboard import budget_line
from sequifier_hpo.report.study_reader import read_source
from sequifier_hpo.study import Consent


def search(
    path: str | Path,
    *,
    storage: str | None = None,
    workers: int | None = None,
    time_budget: str | float | None = None,
    retry_failed: bool = False,
    finish: Sequence[int] = (),
    notify: Sequence[str] = (),
    on_event: str | None = None,
    accept_new_data: bool = False,
    accept_changes: bool = False,
    same_data: bool = False,
    quiet: bool = False,
) -> Study:
    """Run a search, or go on with it; returns its study.

    An interrupt (Ctrl-C, a notebook's stop button; in the main thread) lets the trials write
    checkpoints, and is raised then; to search again goes on from there.

    Args:
        path: The search file; its paths are relative to the working directory.
        storage: URL of the storage; None = that of the file, as of `workers`.
        workers: Trials at the same time.
        time_budget: When to stop, as "8h", "90m" or in seconds; None = as the file says.
        retry_failed: Whether failed runs are trained again.
        finish: Runs that were stopped early, and are to be given their full length.
        notify: URLs of services (apprise) that are told how it ends; () = your usual ones.
        on_event: A command that gets the same events, as JSON on its standard input.
        accept_new_data: Whether to go on with changed data; earlier runs stay, unranked.
        accept_changes: The same with a changed search space; runs outside it stay, unranked.
        same_data: Confirms that the data of a study started by 0.1.0 are unchanged.
        quiet: Whether to say and show nothing.

    Raises:
        ConfigError, InputError, EnvironmentFaultError, NoSuccessError: As on the command line.
    """
    tell = _say_nothing if quiet else say_to_program
    prepared = _prepared(path, storage, workers, time_budget, tell)
    found = train_search(
        prepared,
        Consent(new_data=accept_new_data, same_data=same_data, changes=accept_changes),
        retry_failed=retry_failed,
        finish=finish,
        wanted=wanted_by(notify, on_event),
        tell=tell,
        view=quiet_view if quiet else view_of_program,
    )
    _require_success(prepared, found, tell)
    return Study(prepared.source, read_source(prepared.source))


def _prepared(
    path: str | Path,
    storage: str | None,
    workers: int | None,
    time_budget: str | float | None,
    tell: Callable[[str], None],
) -> PreparedSearch:
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}", "give a number of at least 1, or None")
    return prepare_search(
        expanded_path(str(path)),
        overrides={} if time_budget is None else {"time_budget": time_budget},
        skip_metadata=False,
        storage=storage,
        workers=workers,
        on_progress=tell,
    )


def _require_success(
    prepared: PreparedSearch, found: Searched, tell: Callable[[str], None]
) -> None:
    if was_stopped(found.end, found.after):
        assert found.end.stopped_by is not None
        tell(f"stopped by {found.end.stopped_by.name}; to search again goes on from here")
        # Everything is stored: now it does what it does where no search runs.
        signal.raise_signal(found.end.stopped_by)
    elif end_line := budget_line(found.end.stopped_by_budget, found.after):
        tell(end_line)
    elif why := why_no_success(found.end, found.after, found.runs, prepared.space.varying_fields):
        raise NoSuccessError(why)


def _say_nothing(text: str) -> None:
    del text
