"""Whether an error means that memory ran out, and how much memory a run took."""

import resource
import sys

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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the error it was raised from, is memory exhaustion and nothing else."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def peak_memory_bytes() -> int:
    """The most memory this process held: of the GPU once it was used, else of the process."""
    if torch.cuda.is_available() and (on_gpu := torch.cuda.max_memory_allocated()):
        return on_gpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
