"""A process that answers one request about a model, for programs that do not load torch."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from sequifier_hpo.errors import ConfigError, EnvironmentFaultError, InputError


def answer(handle: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Read a JSON request from stdin and write a JSON answer to stdout.

    An error of the user or of the environment is an answer too: `problem`, `fix`, `exit_code`.
    """
    request = json.load(sys.stdin)
    try:
        found = handle(request)
    except (InputError, EnvironmentFaultError) as error:
        found = {"problem": error.problem, "fix": error.fix, "exit_code": error.exit_code}
    except ConfigError as error:
        found = {"problem": str(error), "fix": "", "exit_code": error.exit_code}
    json.dump(found, sys.stdout)
