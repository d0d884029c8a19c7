"""Causal self-attention of the exported network, with grouped key/value heads and rope.

Axes: B batch, T window, Q positions that ask (the last Q of the window), D residual stream,
H query heads, K key/value heads, G = H / K, C head size.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.training.export.network import Network
from sequifier_hpo.training.model.attention import RotaryPositions


def attention(net: Network, prefix: str, queries: str, context: str, num_queries: int) -> str:
    """Let the last Q positions look at all before them: (B, Q, D) and (B, T, D) -> (B, Q, D).

    Source: Ainslie et al. 2023, arXiv:2305.13245, for the sharing of key/value heads.
    """
    graph, num_heads = net.graph, net.spec.n_head
    wq, wk, wv = (net.weights[f"{prefix}.{name}.weight"] for name in ("wq", "wk", "wv"))
    size = net.spec.dim_model // num_heads
    num_kv_heads = len(wk) // size
    group = num_heads // num_kv_heads

    # The score's 1 / sqrt(C) is folded into the query weights: rope is linear and keeps it.
    q = net.matmul(f"{prefix}.q", queries, wq / np.float32(math.sqrt(size)))
    kv = net.matmul(f"{prefix}.kv", context, np.concatenate([wk, wv]))
    k, v = graph.halves(f"{prefix}.kv.halves", kv, len(wk))
    q = _heads(net, f"{prefix}.q", q, num_queries, num_heads, (0, 2, 1, 3))
    k = _heads(net, f"{prefix}.k", k, net.window, num_kv_heads, (0, 2, 3, 1))
    v = _heads(net, f"{prefix}.v", v, net.window, num_kv_heads, (0, 2, 1, 3), rotates=False)
    if group > 1:
        # Heads that share a key/value head are neighbours: they become one head of G * Q queries.
        shape = graph.integers(0, num_kv_heads, group * num_queries, size)
        q = graph.node("Reshape", f"{prefix}.q.grouped", q, shape)
    scores = graph.node("MatMul", f"{prefix}.scores", q, k)
    mask = graph.shared(f"attention.mask.{num_queries}", _causal_mask(net, num_queries, group))
    scores = graph.node("Add", f"{prefix}.masked_scores", scores, mask)
    shares = net.drop(graph.node("Softmax", f"{prefix}.shares", scores, axis=-1))
    x = graph.node("MatMul", f"{prefix}.mixed", shares, v)
    if group > 1:
        shape = graph.integers(0, num_heads, num_queries, size)
        x = graph.node("Reshape", f"{prefix}.mixed.ungrouped", x, shape)
    x = graph.node("Transpose", f"{prefix}.mixed.transposed", x, perm=(0, 2, 1, 3))
    shape = graph.integers(0, num_queries, net.spec.dim_model)
    x = graph.node("Reshape", f"{prefix}.mixed.joined", x, shape)
    return net.matmul(f"{prefix}.output", x, net.weights[f"{prefix}.wo.weight"])


def _heads(
    net: Network,
    name: str,
    x: str,
    num_positions: int,
    num_heads: int,
    axes: tuple[int, ...],
    *,
    rotates: bool = True,
) -> str:
    """(B, positions, heads * C) -> (B, positions, heads, C), turned by rope, in the given axes."""
    size = net.spec.dim_model // net.spec.n_head
    shape = net.graph.integers(0, num_positions, num_heads, size)
    x = net.graph.node("Reshape", f"{name}.split", x, shape)
    if rotates and net.spec.positional_encoding == "rope":
        x = _rotate(net, f"{name}.rope", x, num_positions, size)
    return net.graph.node("Transpose", f"{name}.heads", x, perm=axes)


def _rotate(net: Network, name: str, x: str, num_positions: int, size: int) -> str:
    """Rotary positions of the last positions of the window, (B, positions, heads, C).

    Source: Su et al. 2021, arXiv:2104.09864, section 3.2, with the pairs (j, j + C/2).
    """
    graph = net.graph
    # The model's own tables: in float32, at large angles, another formula would round differently.
    tables = RotaryPositions(size, net.window, net.spec.rope_theta)
    cos = graph.shared(f"rope.cos.{num_positions}", tables.cos[-num_positions:].numpy())
    sin = graph.shared(f"rope.sin.{num_positions}", tables.sin[-num_positions:].numpy())
    first, second = graph.halves(f"{name}.halves", x, size // 2)
    swapped = graph.node("Concat", f"{name}.swapped", second, first, axis=-1)
    along = graph.node("Mul", f"{name}.along", x, cos)
    across = graph.node("Mul", f"{name}.across", swapped, sin)
    return graph.node("Add", name, along, across)


def _causal_mask(net: Network, num_queries: int, group: int) -> NDArray[np.float32]:
    """0 where a query may look and -inf in its future, (G * Q, T)."""
    mask = np.triu(np.full((net.window, net.window), -np.inf, dtype=np.float32), k=1)
    return np.tile(mask[net.window - num_queries :], (group, 1))
