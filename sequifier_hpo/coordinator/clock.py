"""The time by which a coordinator waits."""

import time


def clock_of_the_world() -> float:
    """Seconds, including the time the machine sleeps where the system can tell."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)
