"""Causal self-attention with shared key/value heads and rotary positions.

Axes: B batch, T positions, H query heads, K key/value heads, G = H / K query heads per key/value
head, C head size, D = H * C model width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sequifier_hpo.config.train import ModelSpec
from sequifier_hpo.training.model.attention_by_hand import AttentionByHand, is_narrow
from sequifier_hpo.training.model.layers import Dropout, Linear


class RotaryPositions(nn.Module):
    """Turns pairs of features by an angle that grows with the position.

    The pairs are (j, j + C/2), not neighbours. Position 0 is the oldest item.

    Source: Su et al. 2021, arXiv:2104.09864, section 3.2.
    """

    inv_freq: Tensor
    cos: Tensor
    sin: Tensor
    cos_table: Tensor
    sin_table: Tensor

    def __init__(self, head_size: int, num_positions: int, theta: float) -> None:
        super().__init__()
        exponents = torch.arange(0, head_size, 2, dtype=torch.float32) / head_size
        inv_freq = 1.0 / theta**exponents
        angles = torch.outer(torch.arange(num_positions, dtype=torch.float32), inv_freq)[:, None, :]
        self.register_buffer("inv_freq", inv_freq)
        # Signs are put into the table, so that a rotation is two products and one roll.
        cos, sin = angles.cos(), angles.sin()
        self.register_buffer("cos", torch.cat([cos, cos], -1), persistent=False)
        self.register_buffer("sin", torch.cat([-sin, sin], -1), persistent=False)
        for name in ("cos", "sin"):
            table_CT = getattr(self, name).squeeze(1).t()
            table_CT = table_CT.contiguous() if is_narrow(head_size) else table_CT
            self.register_buffer(f"{name}_table", table_CT, persistent=False)

    def forward(self, x_BTHC: Tensor) -> Tensor:
        """Rotate queries or keys, (B, T, heads, C)."""
        swapped = x_BTHC.roll(x_BTHC.shape[-1] // 2, -1)
        return x_BTHC * self.cos.to(x_BTHC.dtype) + swapped * self.sin.to(x_BTHC.dtype)

    def tables(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines, (C, T)."""
        return self.cos_table.to(dtype), self.sin_table.to(dtype)


class CausalSelfAttention(nn.Module):
    """Every position looks at itself and at all before it, padding included.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; Ainslie et al. 2023,
    arXiv:2305.13245, for the sharing of key/value heads.
    """

    def __init__(self, spec: ModelSpec, num_positions: int, dropout: float) -> None:
        super().__init__()
        self.head_size = spec.head_size
        self.num_heads = spec.n_head
        self.num_kv_heads = spec.n_kv_heads or spec.n_head
        kv_width = self.num_kv_heads * self.head_size
        self.wq = Linear(spec.dim_model, spec.dim_model, bias=False)
        self.wk = Linear(spec.dim_model, kv_width, bias=False)
        self.wv = Linear(spec.dim_model, kv_width, bias=False)
        self.wo = Linear(spec.dim_model, spec.dim_model, bias=False)
        self.dropout = Dropout(dropout)
        self.rope: RotaryPositions | None = None
        if spec.positional_encoding == "rope":
            self.rope = RotaryPositions(self.head_size, num_positions, spec.rope_theta)

    def forward(self, x_BTD: Tensor, mask_TT: Tensor) -> Tensor:
        """Attend within each row.

        Args:
            x_BTD: The (normalised) residual stream.
            mask_TT: 0 where row t may look at column u, -inf elsewhere.

        Returns:
            (B, T, D), before dropout and the residual sum.
        """
        x_BTD = x_BTD.to(self.wq.weight.dtype)
        # Autocast would change the number type between the steps of a closed form.
        if x_BTD.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return self._forward_by_hand(x_BTD, mask_TT)
        return self._forward_fused(x_BTD)

    def _forward_by_hand(self, x_BTD: Tensor, mask_TT: Tensor) -> Tensor:
        """Use products of matrices: torch's kernel for the CPU is slower for small heads."""
        B, T, _ = x_BTD.shape
        K = self.num_kv_heads
        factors = self.dropout.factors((B * K, self.num_heads // K * T, T), x_BTD.dtype)
        tables = None if self.rope is None else self.rope.tables(x_BTD.dtype)
        weights = (self.wq.weight, self.wk.weight, self.wv.weight, self.wo.weight)
        y: Tensor = AttentionByHand.apply(  # type: ignore[no-untyped-call] # torch: untyped
            x_BTD, *weights, mask_TT, factors, tables, self.head_size
        )
        return y

    def _forward_fused(self, x_BTD: Tensor) -> Tensor:
        """Use torch's own kernel, which needs no mask tensor."""
        B, T, D = x_BTD.shape
        q_BTHC = self.wq(x_BTD).view(B, T, self.num_heads, self.head_size)
        k_BTKC = self.wk(x_BTD).view(B, T, self.num_kv_heads, self.head_size)
        v_BTKC = self.wv(x_BTD).view(B, T, self.num_kv_heads, self.head_size)
        if self.rope is not None:
            q_BTHC, k_BTKC = self.rope(q_BTHC), self.rope(k_BTKC)
        k, v = k_BTKC.transpose(1, 2), v_BTKC.transpose(1, 2)
        if self.num_kv_heads < self.num_heads:  # else it would copy both for nothing
            G = self.num_heads // self.num_kv_heads
            k, v = k.repeat_interleave(G, 1), v.repeat_interleave(G, 1)
        mixed = functional.scaled_dot_product_attention(
            q_BTHC.transpose(1, 2),
            k,
            v,
            dropout_p=self.dropout.probability if self.training else 0.0,
            is_causal=True,
        )
        y: Tensor = self.wo(mixed.transpose(1, 2).reshape(B, T, D))
        return y
