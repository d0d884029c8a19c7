"""Settings of a process that trains."""

import onnx.defs
import torch


def prepare_process(*, is_forking: bool) -> None:
    """Set torch up for a worker.

    A process that forks must never have run an operation on more than one thread: a child of such
    a process hangs in its first parallel region. One thread per trial is also the fastest use of
    cores when there are as many trials as cores.
    """
    if is_forking:
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        # At the first question onnx registers all its operators, which takes as long as an export.
        onnx.defs.has("Add")
