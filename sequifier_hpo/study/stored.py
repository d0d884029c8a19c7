"""Values of a storage that somebody else may have filled or changed: all of them, or one error."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

from pydantic import ValidationError

from sequifier_hpo.plain_files import parse_json


class StoredValueError(Exception):
    """The storage holds what this program does not write; `Storage.faults` says in which file."""


@contextmanager
def understood(what: str) -> Iterator[None]:
    """In the block, stored values are turned into what they mean, and nothing else is done.

    Args:
        what: What is stored, for the message.

    Raises:
        StoredValueError: In place of anything that wrong values can raise.
    """
    try:
        yield
    except RecursionError:
        raise StoredValueError(f"{what}: it is nested too deeply") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StoredValueError(f"{what}: {place}: {first['msg']}"[:400]) from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StoredValueError(f"{what}: {reason[:300]}") from error


def attributes(rows: Iterable[Any]) -> dict[str, Any]:
    """Keys and JSON texts as a mapping.

    Raises:
        ValueError, TypeError: If one is no JSON, or JSON that nobody writes, or a name is no text.
    """
    found = {key: parse_json(text) for key, text in rows}
    require({f"the name {key!r}": (key, str) for key in found})
    return found


def require(values: Mapping[str, tuple[object, type | tuple[type, ...]]]) -> None:
    """Make sure that values are of their types.

    Args:
        values: Name -> value and type; a boolean is no number, and a number is finite.

    Raises:
        TypeError: If one is not.
    """
    for name, (value, kind) in values.items():
        is_right = isinstance(value, kind) and not isinstance(value, bool)
        if not is_right or (isinstance(value, float) and not isfinite(value)):
            raise TypeError(f"{name} is {str(value)[:40]!r}")
