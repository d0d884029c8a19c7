"""Probabilities of classes from how often they were seen, smoothed so that none is zero.

Axes: n classes. C[h, x] is how often class x came after class h.
"""

from collections.abc import Callable

from torch import Tensor

_STRENGTHS = [4.0**i for i in range(-1, 9)]
_DISCOUNTS = [0.0, *(2.0**i for i in range(-2, 20))]

_Smoothing = tuple[Callable[[Tensor], Tensor], float, float]
"""Function that gives q, d, a."""


def frequencies(counts_n: Tensor) -> Tensor:
    """Relative frequencies with one count added to each: (n,), float64."""
    return (counts_n.double() + 1) / (counts_n.sum() + len(counts_n))


def frequencies_after(seen_nn: Tensor, held_out_nn: Tensor, *, most_often: int) -> Tensor:
    """Frequencies of the classes after each class: (n, n), float64, rows sum to 1.

    Each count is lowered by a discount d, and what that frees, and a fixed strength a, goes to
    frequencies q that do not know what came before: P[h, x] =
    (max(C[h, x] - d, 0) + (a + sum over y of min(C[h, y], d)) q[x]) / (sum over y of C[h, y] + a).
    These are those of all events, or those with which a class follows *different* ones.

    Args:
        seen_nn: C.
        held_out_nn: The same of other events, on which d, a and q are chosen; then they count too.
        most_often: How often one event may be in C. Windows overlap; and d is at most one event.

    Source: interpolated Kneser-Ney smoothing as in Chen and Goodman 1999, "An empirical study of
    smoothing techniques for language modeling", section 2.7; with the strength of a Pitman-Yor
    process, Teh 2006, "A hierarchical Bayesian language model based on Pitman-Yor processes".
    """
    base_of, discount, strength = _choose(seen_nn.double(), held_out_nn, most_often)
    counts = (seen_nn + held_out_nn).double()
    cut = counts.clamp(max=discount)
    freed = strength + cut.sum(1, keepdim=True)
    return (counts - cut + freed * base_of(counts)) / (counts.sum(1, keepdim=True) + strength)


def _of_all(counts_nn: Tensor) -> Tensor:
    return frequencies(counts_nn.sum(0))


def _of_different_ones(counts_nn: Tensor) -> Tensor:
    return frequencies((counts_nn > 0).sum(0))


def _choose(counts_nn: Tensor, held_out_nn: Tensor, most_often: int) -> _Smoothing:
    """The smoothing under which other events are the most probable."""
    last, following = held_out_nn.nonzero(as_tuple=True)
    numbers = held_out_nn[last, following].double()
    seen, here = counts_nn.sum(1)[last], counts_nn[last, following]
    losses: dict[_Smoothing, float] = {}
    for discount in (d for d in _DISCOUNTS if d <= most_often):
        kept = (here - discount).clamp(min=0)
        freed = counts_nn.clamp(max=discount).sum(1)[last]
        for base_of in (_of_different_ones, _of_all):
            base = base_of(counts_nn)[following]
            for strength in _STRENGTHS:
                found = (kept + (strength + freed) * base) / (seen + strength)
                losses[base_of, discount, strength] = -float((numbers * found.log()).sum())
    return min(losses, key=lambda smoothing: losses[smoothing])
