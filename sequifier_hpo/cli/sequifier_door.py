"""The `sequifier` program: `hyperparameter-search` is ours, every other verb is Sequifier's.

If the Sequifier package is installed, its own program gets the other verbs, and the search files
that only it can read; otherwise we answer those verbs that we have.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sequifier_hpo.cli import main
from sequifier_hpo.cli.lasting import lasting_output

_OURS = frozenset({"hyperparameter-search"})
_SHARED = frozenset({"preprocess", "train"})

# Root keys of the search files of Sequifier 2 and later. The last names files with more of them.
_LATER_KEYS = re.compile(
    rb"^[\"']?(base_config_path|parameters|additional_config_paths)[\"']?\s*:", re.MULTILINE
)
_MAX_SEARCH_FILE_BYTES = 2**20


def run() -> None:
    """Entry point of the program."""
    verb, *arguments = sys.argv[1:] or [""]
    if verb in {"", "-h", "--help", "--version"}:
        main.run()
    if verb in _OURS and not (_has_later_sequifier() and names_later_search(arguments)):
        main.run()
    if importlib.util.find_spec("sequifier") is not None:
        importlib.import_module("sequifier.sequifier").main()
        return
    if verb in _SHARED:
        main.run()
    known = ", ".join(sorted(_OURS | _SHARED))
    with lasting_output():
        print(
            f"error: `sequifier {verb}` needs the Sequifier package, which is not installed\n"
            f"    allowed: {known} (from sequifier-hpo)\n"
            "    fix: pip install sequifier",
            file=sys.stderr,
        )
    sys.exit(2)


def names_later_search(arguments: Sequence[str]) -> bool:
    """Whether the search file of a command line is one of Sequifier 2 or later.

    What cannot be read is none: our own message says best what is wrong with it.
    """
    path = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name == "--config-path":
            path = Path(value if equals else following)
    if path is None or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        return _LATER_KEYS.search(file.read(_MAX_SEARCH_FILE_BYTES)) is not None
    return False


def _has_later_sequifier() -> bool:
    try:
        return int(version("sequifier").partition(".")[0]) >= 2
    except (PackageNotFoundError, ValueError):
        return False
