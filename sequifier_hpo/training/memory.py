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


_ASKED = re.compile(r"tried to allocate (\d+) bytes")
_STATM = Path("/proc/self/statm")
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the error it was raised from, is memory exhaustion and nothing else."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def missing_bytes(error: BaseException) -> int:
    """How much a process would have lacked even with the device to itself; 0 = that is not known.

    On the CPU that is known if its address space is limited: others have no part in that. Ask
    before anything is freed that the error holds.

    Args:
        error: Memory exhaustion.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    if on_gpu := _ON_GPU.search(text):
        return max(0, _missing_on_gpu(*(_num_bytes(size) for size in on_gpu.groups())))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    asked = _ASKED.search(text)
    if asked is None or limit == resource.RLIM_INFINITY or not _STATM.exists():
        return 0
    held = int(_STATM.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    return max(0, held + int(asked[1]) - limit)


def _missing_on_gpu(
    asked: int, capacity: int, free: int, own: int, allocated: int, unallocated: int
) -> int:
    """Of a GPU with that capacity, of which the process had its own part.

    Args:
        asked: What it could not get.
        capacity: Of the GPU.
        free: What nobody had.
        own: What the process had; 0 = not known.
        allocated: What of it was in tensors.
        unallocated: What of it was in neither tensors nor the library.
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
