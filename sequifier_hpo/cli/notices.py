"""What people are told of a search that they do not watch."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Self, cast

from sequifier_hpo.cli.view import LineView, SearchProgress
from sequifier_hpo.config.user_file import Wanted
from sequifier_hpo.coordinator.observer import ActiveRun, SearchEnd
from sequifier_hpo.errors import SequifierHpoError
from sequifier_hpo.notification import Notifier
from sequifier_hpo.records import TrainingResult
from sequifier_hpo.redaction import redacted_text
from sequifier_hpo.report.leaderboard import Progress, budget_line
from sequifier_hpo.words import counted, first_line, shortened

View = Callable[[SearchProgress, Callable[[], None], str], LineView]
"""(progress, what writes the results, title) -> a display."""

OUTAGE_SECONDS = 60.0
"""How long a storage is lost before anyone is told."""
_MAX_CHARACTERS = 500
_USERS_MISTAKE = 2  # exit code


class Notices:
    """Tells of a search's events: nobody, if nobody is to be told."""

    def __init__(self, study: str, storage: str, wanted: Wanted) -> None:
        """Start what tells, if anybody is to be told.

        Args:
            study: The search's name.
            storage: Where it is, without secrets.
            wanted: Who is told of what.

        Raises:
            InputError, EnvironmentFaultError: If nobody can be told as it is wanted.
        """
        self._about = {"study": study, "storage": storage, "host": socket.gethostname()}
        is_wanted = bool(wanted.urls or wanted.command)
        self._notifier = Notifier(wanted.urls, wanted.command) if is_wanted else None
        self._wanted = wanted
        self.clock: Callable[[], float] = time.monotonic
        self.failed: Counter[str] = Counter()
        """What could not be told, and why -> how often."""
        self.has_trained = False
        """Whether there was anything to do."""

    def view(self, make: View) -> View:
        """Makes the same displays, and tells of what they are told."""
        if self._notifier is None:
            return make

        def make_telling(shown: SearchProgress, write: Callable[[], None], title: str) -> LineView:
            # It is one in all that a search asks of it.
            return cast(LineView, _Telling(make(shown, write, title), shown, self))

        return make_telling

    def ended(self, end: SearchEnd, after: Progress, why_no_success: str) -> None:
        """Tell that the search has ended, or given up, unless there was nothing to do."""
        if not self.has_trained:
            return
        best = after.best
        content = {
            "num_runs": after.num_runs,
            "complete": after.num_complete,
            "pruned": after.num_pruned,
            "failed": after.num_failed,
            "interrupted": after.num_interrupted,
            "stopped_by": end.stopped_by and end.stopped_by.name,
            "stopped_by_budget": end.stopped_by_budget or None,
            "best": best and {"run": best.number, "validation_loss": best.validation_loss},
        }
        lines = [after.in_words]
        if best is not None:
            lines.append(f"best validation loss {best.validation_loss:.6g} (run {best.number})")
        if end.gave_up_after:
            lines.insert(0, first_line(Exception(why_no_success)))
            self.tell("gave_up", "gave up", lines, is_trouble=True, **content)
            return
        is_trouble = bool(why_no_success) and end.stopped_by is None
        if end.stopped_by is not None and not after.is_over:
            lines.insert(0, f"stopped by {end.stopped_by.name}")
        elif end.stopped_by_budget:
            lines.insert(0, budget_line(end.stopped_by_budget, after))
        self.tell("ended", "has ended", lines, is_trouble=is_trouble, **content)

    def broke_off(self, error: BaseException) -> None:
        """Tell that an error has ended the search, unless it is one of the user's at its start."""
        code = error.exit_code if isinstance(error, SequifierHpoError) else None
        if code != _USERS_MISTAKE and not isinstance(error, KeyboardInterrupt):
            self.tell("gave_up", "gave up", [first_line(error)], is_trouble=True)

    def tell(self, event: str, what: str, lines: list[str], **content: Any) -> None:
        """Tell an event."""
        if self._notifier is None:
            return
        text = shortened(redacted_text("\n".join(lines)), _MAX_CHARACTERS)
        self._notifier.tell(
            {
                "event": event,
                **self._about,
                "title": f"search {self._about['study']} {what}",
                "text": f"{text}\n(on {self._about['host']})",
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "is_trouble": False,
                **content,
            }
        )

    def new_best(self, run: ActiveRun, loss: float) -> None:
        """Tell of a new best run, if that was asked for."""
        if self._wanted.tells_best:
            lines = [f"validation loss {loss:.6g} (run {run.claim.run_number})"]
            best = {"run": run.claim.run_number, "validation_loss": loss}
            self.tell("new_best", "has a new best run", lines, best=best)

    def look(self) -> None:
        """Pass on what waits."""
        if self._notifier is not None:
            with suppress(OSError, ValueError):
                self.failed.update(self._notifier.look())

    def close(self) -> None:
        """Wait a little for what is being told."""
        if self._notifier is not None:
            with suppress(OSError, ValueError):
                self.failed.update(self._notifier.close())


@contextmanager
def notices(
    study: str, storage: str, wanted: Wanted, say: Callable[[str], None]
) -> Iterator[Notices]:
    """Tell of the search in the block; `say` is told at the end what could not be told.

    Raises:
        InputError, EnvironmentFaultError: If nobody can be told as it is wanted.
    """
    telling = Notices(study, storage, wanted)
    try:
        yield telling
    except BaseException as error:
        telling.broke_off(error)
        raise
    finally:
        telling.close()
        for why, number in telling.failed.items():
            say(f"warning: {counted(number, 'notification')} failed: {why}")


class _Telling:
    """A display that tells of some of the things that it is told; it is a `LineView` otherwise."""

    def __init__(self, view: LineView, shown: SearchProgress, notices: Notices) -> None:
        self._view = view
        self._shown = shown
        self._notices = notices
        self._clock = notices.clock
        self._lost_since: float | None = None
        self._why_lost = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._view.__exit__(*error)

    def trial_started(self, run: ActiveRun) -> None:
        self._notices.has_trained = True
        self._view.trial_started(run)

    def trial_completed(self, run: ActiveRun, result: TrainingResult) -> None:
        before = self._shown.best_loss
        self._view.trial_completed(run, result)
        if self._shown.best_loss is not None and self._shown.best_loss != before:
            self._notices.new_best(run, self._shown.best_loss)

    def storage_lost(self, reason: str) -> None:
        self._lost_since, self._why_lost = self._clock(), reason
        self._view.storage_lost(reason)

    def storage_returned(self, seconds: float) -> None:
        self._lost_since = None
        self._view.storage_returned(seconds)

    def ticked(self) -> None:
        self._view.ticked()
        self._notices.look()
        if self._lost_since is not None and self._clock() - self._lost_since > OUTAGE_SECONDS:
            self._lost_since = None  # told once
            lines = [self._why_lost, "training continues, and results are kept until it is back"]
            self._notices.tell("storage_lost", "has lost its storage", lines, is_trouble=True)
