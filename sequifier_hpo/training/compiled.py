"""A forward and backward pass that torch compiles for one shape of batch.

What was compiled is kept on disk, so that the next run of this shape need not build it again. It
cannot be taken for another one: torch's key is made of the whole graph, with the shapes, strides
and types of all inputs, and of the compiler's settings; the folder's name, of the versions, the
processor and the number of threads. In a process, a batch of any other shape goes the usual way.
And a compiled pass is used only after it reproduced the loss and the gradients of the usual one.
"""

import hashlib
import importlib
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import sequifier_hpo
from sequifier_hpo.training.data.batching import Batch
from sequifier_hpo.training.forward import ForwardPass
from sequifier_hpo.training.random_state import random_state, restore_random_state
from sequifier_hpo.words import duration, first_line

_FOLDER_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
# Rounding of float32 moves the gradients by about 1e-6 of their norm, that of bfloat16 by 1e-2.
_TOLERANCE = 1e-4
_TOLERANCE_NARROW = 5e-2


class CompiledPass:
    """Computes full batches as compiled, all others as `ForwardPass` does.

    The first full batch is computed both ways. If nothing can be compiled here, or the results
    differ, the run says so and continues without.
    """

    def __init__(
        self,
        usual: ForwardPass,
        *,
        batch_size: int,
        is_narrow: bool,
        on_message: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is compiled before the first batch.

        Args:
            usual: What is compiled.
            batch_size: Rows of a full batch.
            is_narrow: Whether it computes in types narrower than float32.
            on_message: Takes messages for people.
        """
        self._usual = usual
        self._parameters = list(usual.model.parameters())
        self._batch_size = batch_size
        self._tolerance = _TOLERANCE_NARROW if is_narrow else _TOLERANCE
        self._tell = on_message
        self._num_masked = 0
        self._function: Callable[..., tuple[Tensor, Tensor]] | None = None
        self._has_tried = False

    def __call__(self, batch: Batch, mask_BT: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch, as `ForwardPass`."""
        if len(mask_BT) != self._batch_size:
            return self._usual(batch, mask_BT, count)
        if not self._has_tried:
            self._has_tried = True
            self._build(batch, mask_BT, count)
        if self._function is None:
            return self._usual(batch, mask_BT, count)
        # Should torch find that the batch is not what it compiled for, it must not build again.
        with torch.compiler.set_stance("eager_on_recompile"):
            return self._run(batch, mask_BT, count)

    def _build(self, batch: Batch, mask_BT: Tensor, count: Tensor) -> None:
        """Compile, compare, and leave torch's generators as they were."""
        device, masks = self._usual.device, self._usual.model.masks
        start = random_state(device)
        masks.open(None)
        # Not below: memory that runs out here is an outcome of the run.
        expected = self._result(self._usual, batch, mask_BT, count)
        self._num_masked = masks.num_taken
        restore_random_state(start, device)
        mark = time.perf_counter()
        try:
            with _compiler_settings(cache_folder()):
                torch._dynamo.reset()  # noqa: SLF001 - torch documents it; else the ninth shape is not compiled
                self._function = torch.compile(self._compute, dynamic=False, fullgraph=True)
                result = self._result(self._run, batch, mask_BT, count)
            difference = expected.difference(result)
        except Exception as error:  # noqa: BLE001 - whatever it is, the usual pass does without it
            self._function = None
            self._tell(f"the training step is not compiled: {first_line(error)}")
        else:
            seconds = time.perf_counter() - mark
            self._tell(f"the training step is compiled, which took {duration(seconds, decimals=1)}")
            if not difference <= self._tolerance:  # NaN too
                self._function = None
                self._tell(
                    f"the compiled training step is not used: its result differs by {difference:.1e}"
                )
        restore_random_state(start, device)

    def _compute(
        self, batch: Batch, mask_BT: Tensor, count: Tensor, store: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is compiled."""
        masks = self._usual.model.masks
        masks.open(store)
        result = self._usual(batch, mask_BT, count)
        masks.open(None)
        return result

    def _run(self, batch: Batch, mask_BT: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        assert self._function is not None
        store = self._usual.model.masks.draw(self._num_masked)
        return self._function(batch, mask_BT, count, store)

    def _result(
        self,
        compute: Callable[[Batch, Tensor, Tensor], tuple[Tensor, Tensor]],
        batch: Batch,
        mask_BT: Tensor,
        count: Tensor,
    ) -> "_Result":
        loss, sums = compute(batch, mask_BT, count)
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        return _Result(sums.detach(), list(gradients), torch.get_rng_state())


@dataclass(frozen=True)
class _Result:
    """What a pass comes to."""

    sums: Tensor
    gradients: list[Tensor | None]
    random_state: Tensor
    """Of the CPU's generator, afterwards."""

    def difference(self, other: "_Result") -> float:
        """The larger relative difference, that of the sums or of the gradients."""
        if not torch.equal(self.random_state, other.random_state):
            return math.inf
        pairs = list(zip(self.gradients, other.gradients, strict=True))
        if any((mine is None) != (theirs is None) for mine, theirs in pairs):
            return math.inf
        present = [(a.double(), b.double()) for a, b in pairs if a is not None and b is not None]
        apart = math.sqrt(sum(float((a - b).square().sum()) for a, b in present))
        norm = math.sqrt(sum(float(a.square().sum()) for a, _ in present))
        sums = (self.sums - other.sums).abs() / self.sums.abs().clamp(min=1.0)
        return max(float(sums.max()), apart / max(norm, 1e-12))


def load_compiler() -> None:
    """Import what compiling needs, which takes seconds, for all processes that will be forked.

    It starts no threads.
    """
    importlib.import_module("torch._dynamo")
    importlib.import_module("torch._inductor.compile_fx")


def cache_folder() -> Path:
    """Where compiled steps of this program, this torch and this kind of machine are kept.

    The compiler makes code for the very processor it runs on, and a home folder may be shared by
    machines that have different ones.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    parts = (
        sequifier_hpo.__version__,
        torch.__version__,
        sys.version,
        platform.machine(),
        _processor(),
        str(torch.get_num_threads()),
    )
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return Path(base) / "sequifier-hpo" / "compiled" / f"torch-{torch.__version__}-{digest}"


def _processor() -> str:
    """The instructions that the processor knows, or its name where the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    known = {line for line in lines if line.startswith(("flags", "Features"))}
    return "\n".join(sorted(known)) or platform.processor()


@contextmanager
def _compiler_settings(folder: Path) -> Iterator[None]:
    """Keep the compiler's files in a folder of our own, and let it start no processes but g++."""
    load_compiler()
    inductor = importlib.import_module("torch._inductor.config")
    functorch = importlib.import_module("torch._functorch.config")
    before = os.environ.get(_FOLDER_VARIABLE)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ[_FOLDER_VARIABLE] = str(folder)
    try:
        with ExitStack() as stack:
            # On a GPU dropout draws what it draws without the compiler.
            settings = {"compile_threads": 1, "fallback_random": True}
            stack.enter_context(inductor.patch(settings))
            # The attention and the norm are functions with derivatives of their own; without this
            # torch traces their backward pass anew each time.
            name = "autograd_cache_allow_custom_autograd_functions"
            if hasattr(functorch, name):
                stack.enter_context(functorch.patch({name: True}))
            yield
    finally:
        if before is None:
            del os.environ[_FOLDER_VARIABLE]
        else:
            os.environ[_FOLDER_VARIABLE] = before
