"""Linear layers, norms and feed-forward layers that tolerate mixed number types.

Every layer casts what it receives to its own weights' type, so that any mix of
`layer_type_dtypes` runs, with and without autocast. In float32 all casts are no-ops.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sequifier_hpo.config.fields import ActivationFn, Normalization

_RMS_EPS = 1e-6
_LAYER_NORM_EPS = 1e-5


class Linear(nn.Linear):
    """A linear layer that computes in the type of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis from `in_features` to `out_features`."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Dropout(nn.Module):
    """Dropout that costs nothing, and draws no random numbers, when there is nothing to drop."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements in training and scale the others up; return x itself otherwise."""
        if self.training and self.probability > 0:
            return functional.dropout(x, self.probability)
        return x


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467, section 3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., width); the result has the type of x."""
        width = (x.shape[-1],)
        return functional.rms_norm(x.float(), width, self.weight.float(), _RMS_EPS).to(x.dtype)


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
