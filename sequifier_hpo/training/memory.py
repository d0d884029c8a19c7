"""Whether an error means that memory ran out, what was missing, and how much a run took."""

import re
import resource
import sys
from pathlib import Path

import torch

# Texts of allocation failures that arrive as a plain RuntimeError. "Storage size calculation
# overflowed" is left out on purpose: it is a wrong size, and halving the batch would hide it.
_OUT_OF_MEMORY_TEXTS = (
    "can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "HIP out of memory",
    "HIP error: out of memory",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "HIPBLAS_STATUS_ALLOC_FAILED",
)


# What torch says of a GPU.
_SIZE = r"([\d.]+ (?:bytes|KiB|MiB|GiB))"
_ON_GPU = re.compile(
    rf"Tried to allocate {_SIZE}\. GPU \d+ has a total capac\w+ of {_SIZE} of which {_SIZE} is free\. "
    rf"(?:.*?Including non-PyTorch memory, this process has {_SIZE} memory in use\. )?"
    rf".*?Of the allocated memory {_SIZE} is allocated by PyTorch, .*?"
    rf"{_SIZE} is reserved by PyTorch but unallocated"
)
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
# Numbers are rounded to 0.01 GiB, and no process uses a GPU with less than twice as much as this.
_NOBODY_BYTES = 2**27
# By less than this two processes on a GPU differ that do the same: in kernels that were loaded.
_MARGIN_BYTES = 2**28
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_LIMITS_ALL_TOGETHER = "2"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the error it was raised from, is memory exhaustion and nothing else."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def is_certain(error: BaseException) -> bool:
    """Whether memory would have run out whatever other processes there were.

    On a GPU what torch says must tell that much was missing, and that nobody else had it. On the
    CPU the address space of the process must be limited: others have no part in that.

    Args:
        error: Memory exhaustion.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    if on_gpu := _ON_GPU.search(str(error)):
        return _missing_on_gpu(*map(_num_bytes, on_gpu.groups())) > _MARGIN_BYTES
    is_of_gpu = not isinstance(error, MemoryError) and "CPUAllocator" not in str(error)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if is_of_gpu or limit == resource.RLIM_INFINITY or not _OVERCOMMIT.exists():
        return False
    return _OVERCOMMIT.read_text(encoding="ascii").strip() != _LIMITS_ALL_TOGETHER


def _missing_on_gpu(
    asked: int, capacity: int, free: int, own: int, allocated: int, unallocated: int
) -> int:
    """At least so much was missing, had the process been alone.

    Args:
        asked: What it could not get.
        capacity: Of the GPU.
        free: What nobody had.
        own: What the process had; 0 = not known.
        allocated: What of that was in tensors.
        unallocated: What of that was in pieces for tensors to come.
    """
    if allocated > capacity:
        return 0  # memory of the host stands in for that of the GPU
    missing = allocated + asked - capacity
    if own and capacity - free - own < _NOBODY_BYTES:
        missing = max(missing, asked - free - unallocated)
    return missing


def _num_bytes(size: str | None) -> int:
    if size is None:
        return 0
    number, unit = size.split()
    return round(float(number) * _UNITS[unit])


def peak_memory_bytes() -> int:
    """The most memory this process held: of the GPU once it was used, else of the process."""
    if torch.cuda.is_available() and (on_gpu := torch.cuda.max_memory_allocated()):
        return on_gpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
