"""Prefetches values for a consumer, in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_AHEAD_PER_THREAD = 2


def read_ahead(
    read: Callable[[Key], Value], keys: Iterable[Key], num_threads: int
) -> Iterator[Value]:
    """The values of all keys, in the order of the keys; an error comes in its turn."""
    remaining = iter(keys)
    waiting: deque[Future[Value]] = deque()
    with ThreadPoolExecutor(num_threads) as threads:
        try:
            for key in islice(remaining, num_threads * _AHEAD_PER_THREAD):
                waiting.append(threads.submit(read, key))
            while waiting:
                value = waiting.popleft().result()
                for key in islice(remaining, 1):
                    waiting.append(threads.submit(read, key))
                yield value
        finally:
            # A consumer that stops early does not wait for work that was not started.
            for future in waiting:
                future.cancel()
