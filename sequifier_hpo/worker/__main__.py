"""Entry of a worker process: `python -m sequifier_hpo.worker [--resident]`."""

import argparse
import os
import sys

from sequifier_hpo.training.process import prepare_process
from sequifier_hpo.worker.orphans import die_with_parent
from sequifier_hpo.worker.server import WorkerServer


def main() -> None:
    """Serve trials from standard input to standard output until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m sequifier_hpo.worker")
    parser.add_argument(
        "--resident",
        action="store_true",
        help="run trials in this process instead of forking one per trial (for GPUs)",
    )
    parser.add_argument(
        "--parent", type=int, help="pid of the coordinator; the worker ends when it does"
    )
    arguments = parser.parse_args()
    if arguments.parent is not None:
        die_with_parent(arguments.parent)
    commands = os.dup(0)
    events = os.dup(1)
    # Whatever a library prints must not end up between our messages.
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor, not a path
        os.dup2(nothing.fileno(), 0)
    prepare_process(is_forking=not arguments.resident)
    server = WorkerServer(commands, events, forks=not arguments.resident)
    server.serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # tearing torch down takes a third of a second and frees nothing we need


if __name__ == "__main__":
    main()
