"""The written-out derivative of attention, against autograd through the formula itself."""

import math

import pytest
import torch
from torch import Tensor

from sequifier_hpo.training.model.attention import RotaryPositions
from sequifier_hpo.training.model.attention_by_hand import AttentionByHand

B, T = 3, 5
MASK = torch.full((T, T), -math.inf, dtype=torch.float64).triu(1)


def by_the_formula(
    x: Tensor, matrices: list[Tensor], factors: Tensor | None, rope: RotaryPositions | None, C: int
) -> Tensor:
    """One head after the other."""
    wq, wk, wv, wo = matrices
    H, K = len(wq) // C, len(wk) // C
    heads = []
    for h in range(H):
        k = h * K // H
        rows = [(wq, h), (wk, k), (wv, k)]
        q, key, value = (x @ w[i * C : (i + 1) * C].t() for w, i in rows)
        if rope is not None:
            q, key = (rope(y[:, :, None])[:, :, 0] for y in (q, key))
        weights = (q @ key.transpose(1, 2) / math.sqrt(C) + MASK).softmax(-1)
        if factors is not None:
            group = h % (H // K)
            weights = weights * factors.view(B, K, H // K, T, T)[:, k, group]
        heads.append(weights @ value)
    return torch.cat(heads, -1) @ wo.t()


@pytest.mark.parametrize("is_dropping", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("is_rotated", [False, True], ids=["", "rope"])
@pytest.mark.parametrize(("H", "K", "C"), [(4, 4, 4), (4, 2, 4), (2, 1, 16), (2, 2, 16)])
def test_values_and_gradients_are_those_of_the_formula(
    H: int, K: int, C: int, *, is_rotated: bool, is_dropping: bool
) -> None:
    torch.manual_seed(1)
    D = H * C
    shapes = [(B, T, D), (D, D), (K * C, D), (K * C, D), (D, D)]
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    upstream = torch.randn(B, T, D, dtype=torch.float64)
    rope = RotaryPositions(C, T, 10000.0).double() if is_rotated else None
    tables = None if rope is None else rope.tables(torch.float64)
    shape = (B * K, H // K * T, T)
    factors = torch.randint(0, 2, shape).double() * 2 if is_dropping else None

    y: Tensor = AttentionByHand.apply(*leaves, MASK, factors, tables, C)  # type: ignore[no-untyped-call]
    expected = by_the_formula(leaves[0], leaves[1:], factors, rope, C)

    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(
        torch.autograd.grad(y, leaves, upstream), torch.autograd.grad(expected, leaves, upstream)
    )
