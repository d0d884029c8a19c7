"""Whether compiling the training step of a run pays.

A function of the run and of what is installed, of nothing that is measured: a run that is stopped
and continued must not be compiled in one part and not in the other, or it would end with other
roundings than a run that went through.
"""

import os
import shutil
import sys
from dataclasses import dataclass

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.device import choose_precision

# Estimates of CPU seconds, see studies/throughput/README.md. What the compiler saves grows with the
# number of values that pass from one operation to the next, since it joins operations.
_BUILD_SECONDS = 30.0
_BUILD_SECONDS_PER_LAYER = 6.0
_SAVED_SECONDS_PER_POSITION_AND_LAYER = 1.5e-6
_SAVED_SECONDS_WITH_DROPOUT = 0.5e-6  # its masks are drawn outside of what is compiled
# A GPU saves the start of some hundred operations per layer, whatever their size.
_SAVED_SECONDS_PER_LAYER_ON_GPU = 2e-4


@dataclass(frozen=True)
class CompilePlan:
    """Whether to compile the step of a run, and why (not)."""

    compiles: bool
    reason: str = ""


def plan_compilation(
    config: TrainConfig, num_windows: int, *, has_cpp_compiler: bool
) -> CompilePlan:
    """Decide for a run; without `torch_compile: auto` no reason is given.

    Args:
        config: The run.
        num_windows: Number of its training windows.
        has_cpp_compiler: Result of `finds_cpp_compiler`.
    """
    spec = config.training_spec
    if spec.torch_compile == "none":
        return CompilePlan(compiles=False)
    device = spec.device.partition(":")[0]
    if spec.num_processes > 1:
        return CompilePlan(compiles=False, reason="several processes share the run")
    if device == "mps":
        return CompilePlan(compiles=False, reason="not supported on the device mps")
    if device == "cpu" and choose_precision(config).is_narrow:
        return CompilePlan(compiles=False, reason="bfloat16 on the CPU would round differently")
    if device == "cpu" and not has_cpp_compiler:
        return CompilePlan(compiles=False, reason="there is no C++ compiler")
    layers = config.model_spec.num_layers
    steps = spec.epochs * (num_windows // spec.batch_size)  # full batches: only these are compiled
    saved = layers * _SAVED_SECONDS_PER_LAYER_ON_GPU
    if device == "cpu":
        positions = spec.batch_size * config.seq_length
        saved = layers * positions
        saved *= (
            _SAVED_SECONDS_WITH_DROPOUT if spec.dropout else _SAVED_SECONDS_PER_POSITION_AND_LAYER
        )
    build = _BUILD_SECONDS + _BUILD_SECONDS_PER_LAYER * layers
    reason = f"{steps} full batches save about {steps * saved:.0f} s, building takes {build:.0f} s"
    return CompilePlan(compiles=steps * saved > build, reason=reason)


def finds_cpp_compiler() -> bool:
    """Whether the program that torch would call for C++ is there."""
    program = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    return shutil.which(program) is not None
