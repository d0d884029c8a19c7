"""Linear layers, norms and feed-forward layers that tolerate mixed number types.

Every layer casts what it receives to its own weights' type, so that any mix of
`layer_type_dtypes` runs, with and without autocast. In float32 all casts are no-ops.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sequifier_hpo.config.fields import ActivationFn, Normalization

_RMS_EPS = 1e-6
_LAYER_NORM_EPS = 1e-5
_NUM_LEVELS = 2**16
_LEVELS_PER_WORD = 4
_INT64_MIN = -(2**63)


class Linear(nn.Linear):
    """A linear layer that computes in the type of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis from `in_features` to `out_features`."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


class DropoutMasks:
    """Where the dropout of a model takes its masks from on a CPU.

    On CPU torch draws one number per element, which takes as long as a layer. Here 16 random bits
    decide on each element, so that the probability is rounded to a multiple of 1 / 65536. The bits
    come from torch's generator, so that its state is all that a resumed run needs.

    A compiled step cannot draw: its masks come from a store that was drawn before, in the order in
    which the layers would have drawn them.
    """

    def __init__(self, probability: float) -> None:
        self.num_taken = 0
        """Elements taken since `open`, with those that fill a word of 64 bits up."""
        self.num_dropped = round(probability * _NUM_LEVELS)
        """Of the 65536 equally probable values, those with which an element is dropped."""
        self._store: Tensor | None = None

    def open(self, store: Tensor | None) -> None:
        """Take masks from the beginning of a store, or draw them if it is None."""
        self._store, self.num_taken = store, 0

    def take(self, num_elements: int) -> Tensor:
        """Which of the next so many elements are kept, as booleans."""
        start = self.num_taken
        self.num_taken += -(-num_elements // _LEVELS_PER_WORD) * _LEVELS_PER_WORD
        if self._store is None:
            return self.draw(num_elements)
        return self._store[start : start + num_elements]

    def draw(self, num_elements: int) -> Tensor:
        """A mask from torch's generator.

        Several draws one after the other give the same as one of all their words of 64 bits.
        """
        num_words = -(-num_elements // _LEVELS_PER_WORD)
        # The whole range: without bounds torch leaves the sign bit 0, and with it every fourth
        # group of 16 bits would be another distribution.
        words = torch.empty(num_words, dtype=torch.int64).random_(_INT64_MIN, None)
        levels = words.view(torch.int16)[:num_elements]
        return levels >= self.num_dropped - _NUM_LEVELS // 2


class Dropout(nn.Module):
    """Dropout that is free, and draws no random numbers, when there is nothing to drop."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.masks = DropoutMasks(probability)

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements in training and scale the others up; return x itself otherwise."""
        if not self.training or self.probability == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability)
        factors = self.factors(x.shape, x.dtype)
        return x if factors is None else x * factors

    def factors(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
        """What to multiply with on a CPU: 0 or 1 / (1 - probability) each; None for all 1."""
        num_dropped = self.masks.num_dropped
        if not self.training or num_dropped == 0:
            return None
        if num_dropped == _NUM_LEVELS:
            return torch.zeros(shape, dtype=dtype)
        kept = self.masks.take(math.prod(shape)).view(shape).to(dtype)
        return kept.mul_(_NUM_LEVELS / (_NUM_LEVELS - num_dropped))


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467, section 3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., width); the result has the type of x."""
        weight = self.weight.float()
        if x.device.type == "cpu":
            norm: Callable[[Tensor, Tensor], Tensor] = _RootMeanSquareNorm.apply
            return norm(x.float(), weight).to(x.dtype)
        return functional.rms_norm(x.float(), (x.shape[-1],), weight, _RMS_EPS).to(x.dtype)


class _RootMeanSquareNorm(torch.autograd.Function):
    """The norm with its derivative in closed form.

    On CPU torch makes it of six operations, and goes back through each of them: up to twice the time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Compute n * weight, with n = x / r and r^2 = mean(x^2) + eps."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(_RMS_EPS).rsqrt_()
        n = x * inverse
        ctx.save_for_backward(n, inverse, weight)
        y: Tensor = n * weight
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return (h - n * mean(h * n)) / r with h = gradient * weight, and sum(gradient * n)."""
        n, inverse, weight = ctx.saved_tensors
        (gradient,) = gradients
        product = gradient * n
        mean = (product @ weight).div_(weight.numel()).unsqueeze(-1)
        to_x = torch.addcmul(gradient * weight, n, mean, value=-1).mul_(inverse)
        return to_x, product.flatten(0, -2).sum(0)


class LayerNorm(nn.Module):
    """Layer norm over the last axis, computed in at least float32.

    Source: Ba et al. 2016, arXiv:1607.06450, section 3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., width); the result has the type of x."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        y = functional.layer_norm(x.to(dtype), (x.shape[-1],), weight, bias, _LAYER_NORM_EPS)
        return y.to(x.dtype)


class GatedFeedForward(nn.Module):
    """SwiGLU: w3(silu(w1(x)) * w2(x)), with biases everywhere.

    Source: Shazeer 2020, arXiv:2002.05202, section 2.
    """

    def __init__(self, width: int, inner_width: int, dropout: float) -> None:
        super().__init__()
        self.w1 = Linear(width, inner_width)
        self.w2 = Linear(width, inner_width)
        self.w3 = Linear(inner_width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        y: Tensor = self.w3(self.dropout(functional.silu(self.w1(x)) * self.w2(x)))
        return y


class PlainFeedForward(nn.Module):
    """linear2(activation(linear1(x))) with gelu (exact, by erf) or relu."""

    def __init__(self, width: int, inner_width: int, dropout: float, activation: str) -> None:
        super().__init__()
        self.linear1 = Linear(width, inner_width)
        self.linear2 = Linear(inner_width, width)
        self.dropout = Dropout(dropout)
        self._activate = functional.gelu if activation == "gelu" else functional.relu

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        y: Tensor = self.linear2(self.dropout(self._activate(self.linear1(x))))
        return y


def make_norm(kind: Normalization, width: int) -> RMSNorm | LayerNorm:
    """The norm of that kind, at its start value: the identity up to scale."""
    return RMSNorm(width) if kind == "rmsnorm" else LayerNorm(width)


def make_feed_forward(
    activation: ActivationFn, width: int, inner_width: int, dropout: float
) -> GatedFeedForward | PlainFeedForward:
    """The feed-forward layer with that activation."""
    if activation == "swiglu":
        return GatedFeedForward(width, inner_width, dropout)
    return PlainFeedForward(width, inner_width, dropout, activation)
