"""What was checked, as it is reported in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from tests.cluster.shell import CommandError


@dataclass
class Checks:
    """Sentences about the files of docker/, each found true or not, or not looked at."""

    engine: str = ""
    """What the next ones are checked on."""
    found: list[tuple[str, str, str]] = field(default_factory=list)
    """(engine, sentence, "" if it is true, else what was seen instead)."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(what could not be done here, why)."""

    def that(self, sentence: str, is_true: object, seen: object = "") -> None:
        """Record one; `seen` is shown if it is not true."""
        self._put(sentence, "" if is_true else f"seen: {seen}")

    def _put(self, sentence: str, problem: str) -> None:
        self.found.append((self.engine, sentence, problem))
        print(f"{'FAILED' if problem else 'ok    '} {self.engine}: {sentence}", flush=True)
        if problem:
            print(f"       {problem}", flush=True)

    @contextmanager
    def of(self, sentence: str) -> Iterator[None]:
        """Record whether what is done inside succeeds."""
        began = monotonic()
        try:
            yield
        except CommandError as error:
            self._put(sentence, str(error))
        else:
            self._put(f"{sentence} ({monotonic() - began:.0f} s)", "")

    @contextmanager
    def completion_of(self, part: str) -> Iterator[None]:
        """Record that a part could not be brought to its end, if so."""
        try:
            yield
        except (CommandError, AssertionError, LookupError, OSError, ValueError) as error:
            self._put(f"the part `{part}` was brought to its end", repr(error))

    def cannot(self, what: str, why: str) -> None:
        """Record what cannot be done on this machine."""
        self.left_out.append((what, why))
        print(f"left out: {what}: {why}", flush=True)

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Those that are not true."""
        return [each for each in self.found if each[2]]
