from pathlib import Path

import numpy as np
import pytest
import torch

from sequifier_hpo.training.memory import is_out_of_memory, peak_memory_bytes


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    ],
    ids=lambda error: str(error)[:30] or "MemoryError",
)
def test_memory_exhaustion_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Storage size calculation overflowed with sizes=[99999999999]"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("can't start new thread"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        ValueError("CUDA out of memory"),
        KeyError("cat1"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_other_failures_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_an_error_raised_from_memory_exhaustion_counts() -> None:
    error = RuntimeError("training failed")
    error.__cause__ = MemoryError()

    assert is_out_of_memory(error)


def test_the_errors_of_the_libraries_are_recognised() -> None:
    with pytest.raises(MemoryError) as from_numpy:
        np.empty(2**55, dtype=np.int8)
    with pytest.raises(RuntimeError) as from_torch:
        torch.empty(2**55, dtype=torch.int8)

    assert is_out_of_memory(from_numpy.value)
    assert is_out_of_memory(from_torch.value)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak there")
def test_the_peak_is_that_of_the_process_in_bytes() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))

    assert peak_memory_bytes() == pytest.approx(int(kibibytes) * 1024, rel=0.05)
