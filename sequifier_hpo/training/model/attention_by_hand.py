"""Attention with its derivative written out, for the CPU.

Autograd computes the products of the backward pass in an order of memory that makes them several
times slower for narrow heads. For these the positions are innermost here, in all products; for
wide heads the features are, and what is saved are autograd's copies.

Axes: B batch, T positions, H query heads, K key/value heads, G = H / K query heads
per key/value head, C head size; and N = B * K, R = G * T rows of queries that share keys.
"""

import math
from typing import Any

import torch
from torch import Tensor

_NARROW = 16
"""Below this head size products are fastest with the positions innermost."""


class AttentionByHand(torch.autograd.Function):
    """wo(softmax(rotate(wq x) rotate(wk x)^T / sqrt(C) + mask) wv x), for all heads.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; the rotation: Su et al. 2021,
    arXiv:2104.09864, section 3.4.2.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_BTD: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        wo: Tensor,
        mask_TT: Tensor,
        factors_NRT: Tensor | None,
        tables_CT: tuple[Tensor, Tensor] | None,
        head_size: int,
    ) -> Tensor:
        """Attend within each row of the batch.

        Args:
            ctx: Where autograd keeps what the backward pass needs.
            x_BTD: The (normalised) residual stream.
            wq: Weight of the queries, (H * C, D).
            wk: Weight of the keys, (K * C, D).
            wv: Weight of the values, (K * C, D).
            wo: Weight of the output, (D, H * C).
            mask_TT: What is added to the scores: 0, or -inf for columns that row t must not see.
            factors_NRT: What the weights are multiplied with (dropout), if anything.
            tables_CT: Cosines and signed sines of the rotation of queries and keys, if any.
            head_size: C.

        Returns:
            (B, T, D).
        """
        B, T, D = x_BTD.shape
        C, K = head_size, wk.shape[0] // head_size
        x = x_BTD.reshape(-1, D)
        q_NCR, k_NCT, v_NCT = (_fold(x @ w.t(), (B, T, K, C)) for w in (wq, wk, wv))
        if tables_CT is not None:
            q_NCR, k_NCT = _rotated(q_NCR, tables_CT, 1), _rotated(k_NCT, tables_CT, 1)
        mask_RT = mask_TT.to(x.dtype).repeat(q_NCR.shape[-1] // T, 1)
        scores = torch.baddbmm(mask_RT, q_NCR.transpose(1, 2), k_NCT, alpha=1 / math.sqrt(C))
        weights_NRT = scores.softmax(-1)
        dropped_NRT = weights_NRT if factors_NRT is None else weights_NRT * factors_NRT
        mixed = _unfold(_product(v_NCT, dropped_NRT.transpose(1, 2)), B, T)
        attention = (q_NCR, k_NCT, v_NCT, weights_NRT, dropped_NRT, factors_NRT)
        ctx.save_for_backward(x, mixed, wq, wk, wv, wo, *attention)
        ctx.tables_CT, ctx.shape = tables_CT, (B, T, K, C)
        return (mixed @ wo.t()).view(B, T, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the products, the softmax and the rotation."""
        x, mixed, wq, wk, wv, wo, *attention = ctx.saved_tensors
        q_NCR, k_NCT, v_NCT, weights_NRT, dropped_NRT, factors_NRT = attention
        B, T, _, C = ctx.shape
        dy = gradients[0].reshape(B * T, -1)
        d_mixed_NCR = _fold(dy @ wo, ctx.shape)
        dv_NCT = _product(d_mixed_NCR, dropped_NRT)
        d_weights = torch.bmm(d_mixed_NCR.transpose(1, 2), v_NCT)
        if factors_NRT is not None:
            d_weights.mul_(factors_NRT)
        d_scores = torch.ops.aten._softmax_backward_data(  # noqa: SLF001 - autograd's own
            d_weights, weights_NRT, -1, weights_NRT.dtype
        )
        scale = 1 / math.sqrt(C)
        dq_NCR = _product(k_NCT, d_scores.transpose(1, 2)).mul_(scale)
        dk_NCT = _product(q_NCR, d_scores).mul_(scale)
        if ctx.tables_CT is not None:
            dq_NCR, dk_NCT = (_rotated(d, ctx.tables_CT, -1) for d in (dq_NCR, dk_NCT))
        dq, dk, dv = (_unfold(d, B, T) for d in (dq_NCR, dk_NCT, dv_NCT))
        dx = (dq @ wq).addmm_(dk, wk).addmm_(dv, wv).view(B, T, -1)
        d_matrices = (dq.t() @ x, dk.t() @ x, dv.t() @ x, dy.t() @ mixed)
        return (dx, *d_matrices, None, None, None, None)


def is_narrow(head_size: int) -> bool:
    """Whether products of heads of this size are fastest with the positions innermost."""
    return head_size < _NARROW


def _fold(x: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """From (B * T, H * C) to (N, C, R), heads that share keys side by side."""
    B, T, K, C = shape
    x_BTKGC = x.view(B, T, K, -1, C)
    if is_narrow(C):
        return x_BTKGC.permute(0, 2, 4, 3, 1).reshape(B * K, C, -1)
    return x_BTKGC.permute(0, 2, 3, 1, 4).reshape(B * K, -1, C).transpose(1, 2)


def _unfold(x_NCR: Tensor, B: int, T: int) -> Tensor:
    """Back to (B * T, H * C)."""
    N, C, R = x_NCR.shape
    return x_NCR.view(B, N // B, C, R // T, T).permute(0, 4, 1, 3, 2).reshape(B * T, -1)


def _product(a_NCX: Tensor, b_NXY: Tensor) -> Tensor:
    """Multiply batches of matrices; the result has `_fold`'s order of memory."""
    if is_narrow(a_NCX.shape[1]):
        return torch.bmm(a_NCX, b_NXY)
    return torch.bmm(b_NXY.transpose(1, 2), a_NCX.transpose(1, 2)).transpose(1, 2)


def _rotated(x_NCR: Tensor, tables_CT: tuple[Tensor, Tensor], sign: int) -> Tensor:
    """Turn each pair (j, j + C/2) of features by its position's angle, or by its negative."""
    cos_CT, sin_CT = tables_CT
    half, T = cos_CT.shape[0] // 2, cos_CT.shape[1]
    x_NCGT = x_NCR.view(*x_NCR.shape[:-1], -1, T)
    y_NCGT = x_NCGT * cos_CT[:, None]
    y_NCGT[:, :half].addcmul_(x_NCGT[:, half:], sin_CT[:half, None], value=sign)
    y_NCGT[:, half:].addcmul_(x_NCGT[:, :half], sin_CT[half:, None], value=sign)
    return y_NCGT.reshape(x_NCR.shape)
