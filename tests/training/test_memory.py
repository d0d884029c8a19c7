import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sequifier_hpo.training.memory import is_certain, is_out_of_memory, peak_memory_bytes


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


def of_gpu(
    asked: str, capacity: str, free: str, own: str, allocated: str, pieces: str
) -> Exception:
    """What torch 2.4 and later says."""
    return torch.cuda.OutOfMemoryError(
        f"CUDA out of memory. Tried to allocate {asked}. GPU 0 has a total capacity of {capacity} of "
        f"which {free} is free. {own}Of the allocated memory {allocated} is allocated by PyTorch, and "
        f"{pieces} is reserved by PyTorch but unallocated. If reserved but unallocated memory is large "
        "try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


def own(size: str) -> str:
    return f"Including non-PyTorch memory, this process has {size} memory in use. "


@pytest.mark.parametrize(
    ("error", "is_known"),
    [
        # Alone, and 0.7 GiB short of what it asked for.
        (of_gpu("22.78 GiB", "31.47 GiB", "12.73 GiB", own("18.73 GiB"), "9.08 GiB", "9.35 GiB"), True),
        # Alone, and short of less than what another process may have loaded less.
        (of_gpu("22.00 MiB", "23.65 GiB", "11.06 MiB", own("23.60 GiB"), "22.90 GiB", "194.87 MiB"), False),
        # Half a GiB is with somebody else.
        (of_gpu("1.00 GiB", "4.00 GiB", "41.56 MiB", own("3.44 GiB"), "2.58 GiB", "1.90 MiB"), False),
        # So it is here, but with all of the GPU it would not have been enough.
        (of_gpu("30.29 GiB", "10.74 GiB", "3.69 GiB", own("6.68 GiB"), "6.10 GiB", "396.58 MiB"), True),
        # In a container its own number is not known.
        (of_gpu("1.00 GiB", "23.69 GiB", "115.69 MiB", "Process 9 has 23.57 GiB memory in use. ", "22.14 GiB", "910.35 MiB"), False),
        # The host's memory stands in for the GPU's.
        (of_gpu("1002.00 MiB", "8.00 GiB", "0 bytes", "", "13.98 GiB", "129.48 MiB"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
    ],
)  # fmt: skip
def test_on_a_gpu_it_is_certain_if_much_was_missing_and_nobody_else_had_it(
    error: Exception,
    is_known: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    assert is_certain(error) is is_known


@pytest.fixture
def limited_address_space() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def failed_allocation() -> Exception:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**45, dtype=torch.int8)
    return failed.value


def test_on_the_cpu_it_is_certain_if_the_process_has_a_limit_of_its_own(
    limited_address_space: None,
) -> None:
    error = RuntimeError("training failed")
    error.__cause__ = failed_allocation()

    assert is_certain(error)
    assert not is_certain(RuntimeError("CUDA error: out of memory"))


def test_without_a_limit_others_may_have_had_the_memory() -> None:
    assert not is_certain(failed_allocation())
