"""How much memory the training of a run takes, as far as runs can be compared.

Nothing is estimated. Two runs are compared only if they are equal in everything that may play a
part, up to the sizes with which memory can only grow; which field plays which part is declared
with it.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from sequifier_hpo.config.description import (
    GROWING,
    GROWING_ON_CPU,
    IF_ANY,
    NO_MEMORY,
    description_of,
)
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import DataDigest, MemoryNeed
from sequifier_hpo.searchspace.canonical import canonical


def memory_need(config: TrainConfig, data: DataDigest, device: str) -> MemoryNeed | None:
    """What training a run takes; None = that cannot be compared.

    Args:
        config: The run, with the batches that it is trained with.
        data: Digests of the columns that it reads.
        device: The kind of device, and how much memory it has.
    """
    is_on_cpu, may_be_compiled = (
        device.startswith("cpu"),
        config.training_spec.torch_compile != "none",
    )
    if is_on_cpu and may_be_compiled:
        return None  # on what its worker has loaded of the compiler for others
    growing = {GROWING, GROWING_ON_CPU} if is_on_cpu else {GROWING}
    grown: dict[str, Any] = {}
    equal: dict[str, Any] = {}
    description = description_of(type(config))
    for name, value in description.flat(config).items():
        memory = description.fields[name].memory
        if memory in growing:
            grown[name] = value
        elif memory is not NO_MEMORY:
            equal[name] = _any(value) if memory is IF_ANY else value
    # In the first epoch; after two of them nothing more is allocated.
    num_steps = -(-data.training.num_windows // config.training_spec.windows_per_step)
    sizes = {"optimizer_steps": min(2, num_steps), **_sizes(grown)}
    alike: dict[str, Any] = {
        "fields": equal,
        "data": data.model_dump(mode="json"),
        "programs": _programs(),
        "head_size": config.model_spec.head_size,  # kernels are chosen by it
    }
    if may_be_compiled:
        # Whether the step is compiled depends on these, and what it then takes on every size.
        alike |= {"epochs": config.training_spec.epochs, "sizes": sizes}
    like = hashlib.sha256(canonical(alike).encode()).hexdigest()
    return MemoryNeed(device=device, like=like, sizes=sizes)


def _sizes(values: Mapping[str, Any], path: str = "") -> dict[str, int]:
    """Whole numbers by path; what is null is none, and only compared with what is null too."""
    found: dict[str, int] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _sizes(value, f"{path}{name}.")
        elif value is not None:
            found[f"{path}{name}"] = value
    return found


def _any(value: Any) -> Any:
    """Numbers that are no whole ones are reduced to whether they are 0."""
    if isinstance(value, dict):
        return {name: _any(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_any(part) for part in value]
    return value != 0.0 if isinstance(value, float) else value


@cache
def _programs() -> dict[str, str]:
    """What decides how much memory a step takes besides the run; torch is asked without loading it."""
    return {name: version(name) for name in ("sequifier-hpo", "torch")}
