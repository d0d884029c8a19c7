"""Pending writes to the storage, in order, kept while it cannot be reached."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from sequifier_hpo.study import StorageFaultError

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 15.0

T = TypeVar("T")


@dataclass
class Outage:
    """A period in which the storage cannot be used."""

    error: StorageFaultError
    since: float
    retry_at: float
    delay: float = _FIRST_DELAY_SECONDS


class Outbox(Generic[T]):
    """A queue whose entries are carried out at once, or after an outage once the storage is back."""

    def __init__(
        self,
        carry_out: Callable[[T], None],
        *,
        on_outage: Callable[[StorageFaultError], None],
        on_return: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the parts.

        Args:
            carry_out: Does what an entry says; may raise `StorageFaultError`, and is then called
                with the same entry again. It may put further entries.
            on_outage: Called once when the storage cannot be used any more.
            on_return: Called with the outage's seconds before the first entry is tried again; may
                raise `StorageFaultError`, then the outage goes on.
            clock: Monotonic seconds.
        """
        self._carry_out = carry_out
        self._on_outage = on_outage
        self._on_return = on_return
        self._clock = clock
        self._entries: deque[T] = deque()
        self._is_flushing = False
        self.outage: Outage | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: T) -> None:
        """Add an entry, and carry out what can be."""
        self._entries.append(entry)
        self.flush()

    def remove(self, is_unwanted: Callable[[T], bool]) -> list[T]:
        """Take entries out again; returns them."""
        removed = [entry for entry in self._entries if is_unwanted(entry)]
        self._entries = deque(entry for entry in self._entries if not is_unwanted(entry))
        return removed

    def flush(self) -> None:
        """Carry out the entries, oldest first, until one fails or none is left."""
        if self._is_flushing or not self._may_try():
            return
        self._is_flushing = True
        try:
            with self.minding_outages():
                if self.outage is not None:
                    self._on_return(self._clock() - self.outage.since)
                    self.outage = None
                while self._entries:
                    self._carry_out_first()
        finally:
            self._is_flushing = False

    @contextmanager
    def minding_outages(self) -> Iterator[None]:
        """Turn a fault of the storage into an outage; what was to be done is left undone."""
        try:
            yield
        except StorageFaultError as error:
            now = self._clock()
            if self.outage is None:
                self.outage = Outage(error, since=now, retry_at=now + _FIRST_DELAY_SECONDS)
                self._on_outage(error)
            else:
                self.outage.error = error
                self.outage.delay = min(2 * self.outage.delay, _LONGEST_DELAY_SECONDS)
                self.outage.retry_at = now + self.outage.delay

    def _may_try(self) -> bool:
        return self.outage is None or self._clock() >= self.outage.retry_at

    def _carry_out_first(self) -> None:
        entry = self._entries.popleft()
        try:
            self._carry_out(entry)
        except StorageFaultError:
            self._entries.appendleft(entry)
            raise
