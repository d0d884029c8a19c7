"""What each derivative that is written out brings: CPU time of a training step without it.

Usage: python studies/throughput/derivatives.py [--rounds N] [--sizes small medium large]

A round trains with all of them, then once without each, in an order that changes from round to
round; what is shown are medians of ratios within a round. "Without" is what a GPU runs: torch's own
operations and autograd.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from steps import SIZES, USUAL_SIZES, WARM_UP, configuration, our_steps
from torch import Tensor
from torch.nn import functional

from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.training.model.attention import CausalSelfAttention
from sequifier_hpo.training.model.layers import RMSNorm


def attention(module: CausalSelfAttention, x_BTD: Tensor, _mask_TT: Tensor) -> Tensor:  # noqa: N803
    return module._forward_fused(x_BTD)  # noqa: SLF001 - the way of a GPU


def norm(module: RMSNorm, x: Tensor) -> Tensor:
    return functional.rms_norm(x.float(), (x.shape[-1],), module.weight.float(), 1e-6).to(x.dtype)


PLAIN: dict[str, tuple[type, Callable[..., Tensor]]] = {
    "attention": (CausalSelfAttention, attention),
    "norm": (RMSNorm, norm),
}


@contextmanager
def without(name: str) -> Iterator[None]:
    holder, forward = PLAIN[name]
    with mock.patch.object(holder, "forward", forward):
        yield


def step_milliseconds(config: TrainConfig, num_steps: int) -> float:
    return 1000 * statistics.median(our_steps(config, num_steps)[WARM_UP:])


def measure(size: str, rounds: int, folder: Path) -> str:
    values: dict[str, Any] = configuration(size, folder, dropout=0.1, optimizer="AdamW")
    config = assert_valid(TrainConfig.model_validate(values))
    num_steps = SIZES[size][-1]
    ratios: dict[str, list[float]] = {name: [] for name in PLAIN}
    usual: list[float] = []
    for number in range(rounds):
        ways: list[str | None] = [None, *PLAIN]
        random.Random(number).shuffle(ways)
        found: dict[str | None, float] = {}
        for way in ways:
            plain: AbstractContextManager[None] = nullcontext() if way is None else without(way)
            with plain:
                found[way] = step_milliseconds(config, num_steps)
        usual.append(found[None])
        for name in PLAIN:
            ratios[name].append(found[name] / found[None])
    shown = "  ".join(f"{name} {statistics.median(r):>5.2f}" for name, r in ratios.items())
    return f"{size:<9} {statistics.median(usual):>8.1f} ms   without: {shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=USUAL_SIZES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.sizes:
            print(measure(size, arguments.rounds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
