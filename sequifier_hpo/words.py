"""Numbers, lists, errors and foreign text as people read them."""

import math
import re
from collections.abc import Iterable, Sequence

_CONTROLS = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)


def counted(number: int, noun: str) -> str:
    """`1 run`, `12 runs`, `1,000 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def run_numbers(numbers: Sequence[int]) -> str:
    """Run numbers for people: `runs 0-4, 7`."""
    parts: list[str] = []
    ordered = sorted(numbers)
    first = 0
    for i, number in enumerate(ordered):
        if i + 1 == len(ordered) or ordered[i + 1] != number + 1:
            begin = ordered[first]
            parts.append(str(begin) if begin == number else f"{begin}-{number}")
            first = i + 1
    return ("run " if len(ordered) == 1 else "runs ") + ", ".join(parts)


def first_line(error: BaseException, *, if_silent: str = "") -> str:
    """What an error says, cut to one line; one that says nothing goes by the name of its kind."""
    return (str(error).strip().splitlines() or [if_silent or type(error).__name__])[0]


def duration(seconds: float, *, decimals: int = 0) -> str:
    """Seconds as people say them: 42 s, 5 min, 3 h 20 min; the decimals are those of seconds."""
    if seconds < 100:
        return f"{seconds:.{decimals}f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of some runs was at work: a study may rest for days.

    Args:
        spans: When each began and ended.
    """
    busy, until = 0.0, -math.inf
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy


def visible(text: str) -> str:
    """Text that controls no terminal: of control characters, line feeds and tabs alone remain.

    The others, and those that change the direction of writing, become escapes as JSON has them.
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shortened(text: str, limit: int) -> str:
    """A text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
