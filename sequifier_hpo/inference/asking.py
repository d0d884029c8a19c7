"""Asks a process of its own for what needs torch, which no command loads."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.python_path import python_environment


def ask(module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module of the training room that answers one request.

    Args:
        module: Its name below `sequifier_hpo.training`.
        request: JSON values.

    Raises:
        InputError: If that is its answer.
        EnvironmentFaultError: If that is its answer, or it was killed, for lack of memory perhaps.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"sequifier_hpo.training.{module}"],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        env=python_environment(),
        check=False,
    )
    if done.returncode < 0:
        raise EnvironmentFaultError(
            f"the process that runs the model was ended by signal {-done.returncode}",
            "if the machine is short of memory, free some",
        )
    if done.returncode:
        raise RuntimeError(f"{module} failed with exit code {done.returncode}; see above")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "problem" in answer:
        kind = InputError if answer["exit_code"] == InputError.exit_code else EnvironmentFaultError
        raise kind(answer["problem"], answer["fix"])
    return answer
