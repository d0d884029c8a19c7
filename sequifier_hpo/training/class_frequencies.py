"""Probabilities of classes from how often they were seen, smoothed so that none is zero.

Axes: n classes. C[h, x] is how often class x came after class h.
"""

from torch import Tensor

# Windows overlap, so that one event may count as often as a window has positions: what is large
# is known only once it has been tried.
_STRENGTHS = [4.0**i for i in range(-1, 9)]
_DISCOUNTS = [0.0, *(2.0**i for i in range(-2, 10))]


def frequencies(counts_n: Tensor) -> Tensor:
    """Relative frequencies with one count added to each: (n,), float64."""
    return (counts_n.double() + 1) / (counts_n.sum() + len(counts_n))


def frequencies_after(seen_nn: Tensor, held_out_nn: Tensor) -> Tensor:
    """Frequencies of the classes after each class: (n, n), float64, rows sum to 1.

    Each count is lowered by a discount, and what that frees, and a fixed strength, goes to the
    frequencies with which a class follows *different* ones: P[h, x] =
    (max(C[h, x] - d, 0) + (a + sum over y of min(C[h, y], d)) base[x]) / (sum over y of C[h, y] + a).

    Args:
        seen_nn: C.
        held_out_nn: The same of other events, on which a and d are chosen; then they count too.

    Source: interpolated Kneser-Ney smoothing as in Chen and Goodman 1999, "An empirical study of
    smoothing techniques for language modeling", section 2.7; with the strength of a Pitman-Yor
    process, Teh 2006, "A hierarchical Bayesian language model based on Pitman-Yor processes".
    """
    discount, strength = _choose(seen_nn.double(), held_out_nn)
    counts = (seen_nn + held_out_nn).double()
    cut = counts.clamp(max=discount)
    freed = strength + cut.sum(1, keepdim=True)
    return (counts - cut + freed * _base(counts)) / (counts.sum(1, keepdim=True) + strength)


def _base(counts_nn: Tensor) -> Tensor:
    """How many different classes come before each, as frequencies."""
    return frequencies((counts_nn > 0).sum(0))


def _choose(counts_nn: Tensor, held_out_nn: Tensor) -> tuple[float, float]:
    """Discount and strength with which the other events are the most probable."""
    last, following = held_out_nn.nonzero(as_tuple=True)
    numbers = held_out_nn[last, following].double()
    seen, base = counts_nn.sum(1)[last], _base(counts_nn)[following]
    here = counts_nn[last, following]
    losses = {}
    for discount in _DISCOUNTS:
        kept = (here - discount).clamp(min=0)
        freed = counts_nn.clamp(max=discount).sum(1)[last]
        for strength in _STRENGTHS:
            found = (kept + (strength + freed) * base) / (seen + strength)
            losses[discount, strength] = -float((numbers * found.log()).sum())
    return min(losses, key=lambda pair: losses[pair])
