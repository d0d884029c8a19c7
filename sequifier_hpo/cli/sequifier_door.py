"""The `sequifier` program: `hyperparameter-search` is ours, every other verb is Sequifier's.

If the Sequifier package is installed, its own program gets the other verbs; otherwise we answer
those that we have.
"""

import importlib
import importlib.util
import sys

from sequifier_hpo.cli import main
from sequifier_hpo.cli.lasting import lasting_output

_OURS = frozenset({"hyperparameter-search"})
_SHARED = frozenset({"preprocess", "train"})


def run() -> None:
    """Entry point of the program."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in _OURS or verb in {"", "-h", "--help", "--version"}:
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
