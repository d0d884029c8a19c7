"""Files in folders that someone else may have made: no links where we write, no pipes to wait for.

A project, a table or a study may be anybody's. A link under the name of a log would have us append
to whatever it points at, and a named pipe in the place of a table would be waited for in vain.
What is read as a whole has a limit, and JSON is no deeper and no longer than anybody needs.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MAX_JSON_BYTES = 256 * 2**20  # id maps of millions of values
_MAX_DEPTH = 100
_TOO_DEEP = "it is nested too deeply"
_MAX_DIGITS = 19  # of a number of 64 bits


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file that is ours to write; a link under its name is not followed.

    Folders that lead to it may be links.

    Args:
        path: The file.
        flags: As of `os.open`, which gives the descriptor that is returned.
        mode: Who may do what with a new file.

    Raises:
        OSError: If that fails, or there is something else than a file.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno != errno.EEXIST and (kind := what_else(path, follows_links=False)):
            raise _not_a_file(path, kind) from None
        raise
    kind = _KINDS.get(stat.S_IFMT(os.fstat(descriptor).st_mode))
    if kind is not None:
        os.close(descriptor)
        raise _not_a_file(path, kind)
    return descriptor


def make_own_folder(path: Path) -> None:
    """Make a folder for files of ours; a link in its place is not followed.

    Raises:
        OSError: If that fails, or there is a link.
    """
    path.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise _not_a_file(path, _KINDS[stat.S_IFLNK])


def what_else(path: Path, *, follows_links: bool = True) -> str | None:
    """What a path is if it is no file: `a named pipe`; None for a file, and where nothing is."""
    try:
        mode = path.stat(follow_symlinks=follows_links).st_mode
    except (OSError, ValueError):
        return None
    return _KINDS.get(stat.S_IFMT(mode))


def require_file(path: Path) -> None:
    """Make sure that reading a path does not wait for anyone; that nothing is there is no matter.

    Raises:
        OSError: If it is a pipe, a device, a folder.
    """
    kind = what_else(path)
    if kind is not None:
        raise _not_a_file(path, kind)


def read_plain(path: Path, max_bytes: int = 64 * 2**20) -> bytes:
    """The content of a file.

    Raises:
        OSError: If it cannot be read, is no file, or is larger than that.
    """
    require_file(path)
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes // 2**20} MiB", str(path))
    return content


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: As `read_plain`.
        ValueError: As `parse_json`.
    """
    return parse_json(read_plain(path, _MAX_JSON_BYTES).decode("utf-8"))


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: If it is no JSON, nested too deeply, or holds a number of too many digits.
    """
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > _MAX_DEPTH:
        _require_shallow(value, _MAX_DEPTH)
    return value


def _require_shallow(value: Any, levels: int) -> None:
    if isinstance(value, (dict, list)):
        if not levels:
            raise ValueError(_TOO_DEEP)
        for part in value.values() if isinstance(value, dict) else value:
            _require_shallow(part, levels - 1)


def _whole_number(digits: str) -> int:
    num_digits = len(digits.lstrip("-"))
    if num_digits > _MAX_DIGITS:
        raise ValueError(f"it holds a whole number of {num_digits:,} digits")
    return int(digits)


_DECODER = json.JSONDecoder(parse_int=_whole_number)


def _not_a_file(path: Path, kind: str) -> OSError:
    return OSError(errno.ELOOP, f"it is {kind}, which cannot stand in for a file", str(path))
