"""Files that are either the old or the new one, never half of one."""

import os
from contextlib import suppress
from pathlib import Path

from sequifier_hpo.errors import EnvironmentFaultError


def write_atomically(path: Path, text: str) -> None:
    """Write a file under a temporary name, then give it its own.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentFaultError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
