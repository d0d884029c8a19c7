"""The time by which a coordinator waits."""

import time
from collections.abc import Callable
from math import inf

_LEAD_SECONDS = 20.0
_LEAD_SHARE = 0.05
"""How long before its end trials are asked to stop: so many seconds, or this share if it is less."""


def clock_of_the_world() -> float:
    """Seconds, including the time the machine sleeps where the system can tell."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def time_to_train(seconds: float | None, began: float) -> Callable[[], float]:
    """Says how many seconds are left until trials are asked to write checkpoints and end.

    That is a little before the time budget ends, so that they have ended in time.

    Args:
        seconds: The time budget; None = there is none.
        began: When it began, by the clock of the world.
    """
    if seconds is None:
        return lambda: inf
    end = began + seconds - min(_LEAD_SECONDS, _LEAD_SHARE * seconds)
    return lambda: end - clock_of_the_world()
