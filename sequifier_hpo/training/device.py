"""The device of a run, its number types, and what is seeded and set before a run starts."""

import gc
import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from sequifier_hpo.config.fields import LayerType
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.words import counted

# A matrix product in bfloat16 is off by 1e-3, one in float32 by less than 1e-6.
_FLOAT32_ERROR = 1e-5
_PROBE_SIZE = 128


_NARROW = frozenset({torch.bfloat16, torch.float16})


@dataclass(frozen=True)
class Precision:
    """In which number types a run computes."""

    layer_dtypes: dict[LayerType, torch.dtype]
    """Per kind of layer; empty = float32 everywhere."""
    autocast_dtype: torch.dtype | None
    """Type of autocast, or None when it would change nothing."""

    @property
    def is_narrow(self) -> bool:
        """Whether anything is computed in a type narrower than float32."""
        return not _NARROW.isdisjoint({*self.layer_dtypes.values(), self.autocast_dtype})

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the forward pass runs."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.autocast_dtype)


def find_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises:
        EnvironmentFaultError: If this machine does not have it.
    """
    device = torch.device(name)
    fix = "run on a machine that has the device, or write `device: cpu`"
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise EnvironmentFaultError(f"device {name}: torch finds no CUDA device here", fix)
        num_devices = torch.cuda.device_count()
        if (device.index or 0) >= num_devices:
            raise EnvironmentFaultError(
                f"device {name}: this machine has {counted(num_devices, 'GPU')}", fix
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise EnvironmentFaultError(f"device {name}: torch finds no MPS device here", fix)
    return device


def choose_precision(config: TrainConfig) -> Precision:
    """Read the number types from the configuration, which admits only those to train in."""
    spec = config.training_spec
    names = spec.layer_type_dtypes or {}
    dtypes: dict[LayerType, torch.dtype] = {
        layer_type: getattr(torch, name) for layer_type, name in names.items()
    }
    autocast = dtypes.get("linear", torch.bfloat16) if dtypes and spec.layer_autocast else None
    # In the other types autocast changes nothing, and torch warns about it at every call.
    if autocast is not torch.bfloat16:
        autocast = None
    return Precision(dtypes, autocast)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch, on all devices."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for code below us that draws from the global state
    torch.manual_seed(seed)


def make_deterministic(device: torch.device, *, enforced: bool) -> None:
    """Ask the GPU libraries for repeatable results; on CPU everything we use already is."""
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # Off as well as on: a process on a GPU trains one run after the other.
    torch.use_deterministic_algorithms(mode=enforced, warn_only=True)
    if enforced:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Otherwise torch fills every new tensor with NaN first, which costs time for nothing.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # a module with properties


@contextmanager
def current_gpu(device: torch.device) -> Iterator[None]:
    """Make a GPU the current one while the context lasts, as one run's own.

    The process may have trained other runs before. What they had reserved is given back, since it
    is missing to this run's windows and to other processes on the same GPU; and the peak of memory
    is counted from here.
    """
    if device.type == "cpu":
        yield
        return
    gc.collect()  # models of failed runs may wait in cycles
    if device.type == "mps":
        torch.mps.empty_cache()
        yield
        return
    with torch.cuda.device(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        yield


@contextmanager
def fast_matrix_products(device: torch.device) -> Iterator[bool]:
    """Let torch multiply float32 matrices with oneDNN while the context lasts, if that is exact.

    torch's default on CPU is MKL, which takes a slower path on AMD machines. The setting "medium"
    leads to oneDNN instead, which computes in float32 there; but on CPUs with bfloat16 units for
    matrices it really computes in bfloat16. One product, compared with float64, tells which.

    Yields:
        Whether the fast products are in use.
    """
    before = torch.get_float32_matmul_precision()
    if device.type != "cpu" or before != "highest":
        yield False
        return
    torch.set_float32_matmul_precision("medium")
    try:
        is_exact = _product_error() < _FLOAT32_ERROR
        if not is_exact:
            torch.set_float32_matmul_precision(before)
        yield is_exact
    finally:
        torch.set_float32_matmul_precision(before)


def _product_error() -> float:
    """Largest relative error of one float32 product, against float64."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_PROBE_SIZE, _PROBE_SIZE, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).abs().max() / exact.abs().max())
