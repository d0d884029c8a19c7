"""No process of ours imports from the working directory.

What lies there is the user's, or somebody else's: a `random.py` would stand in for the library's,
and a `torch.py` would be run. This module uses only what Python has loaded at its start, so that it
can come before all other imports.
"""

import os
import sys
from collections.abc import Iterable

_PACKAGE_ROOT = os.path.realpath(f"{__file__}/../..")
_SITE_FOLDERS = ("site-packages", "dist-packages")


def leave_working_directory() -> None:
    """Import nothing from it any more, neither here nor in any process that this one starts."""
    sys.path[:] = _elsewhere(sys.path)
    os.environ.update(python_environment())


def python_environment() -> dict[str, str]:
    """The environment in which a process of ours is started, with this very package in reach.

    `PYTHONSAFEPATH` also holds for the processes that it starts itself, such as a compiler's.
    """
    search_path = list(_elsewhere(os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    # Not so what is installed: its folder would come before the standard library.
    if _PACKAGE_ROOT in sys.path and not _PACKAGE_ROOT.endswith(_SITE_FOLDERS):
        search_path.insert(0, _PACKAGE_ROOT)
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(search_path)}


def _elsewhere(search_path: Iterable[str]) -> Iterable[str]:
    """The folders that are not the working directory; an empty entry means it, too."""
    here = os.path.realpath(os.curdir)
    for entry in search_path:
        if entry and (os.path.realpath(entry) != here or here == _PACKAGE_ROOT):
            yield entry
