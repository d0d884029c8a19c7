"""The loss curve of one run as a small self-contained picture."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 46, 44
_VALIDATION, _TRAINING, _INK, _GRID = "#1f6feb", "#8b949e", "#24292f", "#e5e7eb"
_MAX_DOTS = 60  # epochs; above, the line alone is clearer


def loss_curve(
    title: str, validation_losses: Mapping[int, float], train_losses: Mapping[int, float]
) -> str:
    """Losses per epoch as SVG, the best validation loss marked.

    White background, no external style: legible on light and on dark pages.

    Args:
        title: The run's name.
        validation_losses: Finite losses by epoch; at least one.
        train_losses: The same of the training rows; other epochs may be missing.
    """
    train_losses = {e: v for e, v in train_losses.items() if math.isfinite(v)}
    losses = [*validation_losses.values(), *train_losses.values()]
    ticks = _ticks(min(losses), max(losses))
    at = _Axes(
        epochs=sorted({*validation_losses, *train_losses}),
        low=min(ticks[0], *losses),
        high=max(ticks[-1], *losses),
    )
    best = min(validation_losses, key=lambda epoch: (validation_losses[epoch], epoch))
    dots = validation_losses if len(validation_losses) <= _MAX_DOTS else ()
    lines = (
        (train_losses, f'stroke="{_TRAINING}" stroke-dasharray="5 4"'),
        (validation_losses, f'stroke="{_VALIDATION}"'),
    )
    parts = [
        *_frame(title, at, ticks),
        *(at.line(losses, style) for losses, style in lines if losses),
        *(
            f'<circle {at.centre(epoch, validation_losses[epoch])} r="2.5" fill="{_VALIDATION}"/>'
            for epoch in dots
        ),
        f'<circle {at.centre(best, validation_losses[best])} r="6" fill="none" '
        f'stroke="{_VALIDATION}" stroke-width="2"/>',
        _legend(f"validation, best {validation_losses[best]:.6g} in epoch {best}", train_losses),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Axes:
    """Where epochs and losses lie in the picture."""

    epochs: Sequence[int]
    """From the first to the last."""
    low: float
    high: float

    def x(self, epoch: float) -> float:
        span = max(self.epochs[-1] - self.epochs[0], 1)
        return _LEFT + (epoch - self.epochs[0]) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(self, loss: float) -> float:
        return _TOP + (self.high - loss) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)

    def centre(self, epoch: int, loss: float) -> str:
        return f'cx="{self.x(epoch):.1f}" cy="{self.y(loss):.1f}"'

    def line(self, losses: Mapping[int, float], style: str) -> str:
        points = " ".join(f"{self.x(e):.1f},{self.y(losses[e]):.1f}" for e in sorted(losses))
        return f'<polyline points="{points}" fill="none" stroke-width="2" {style}/>'


def _frame(title: str, at: _Axes, ticks: Sequence[float]) -> Iterator[str]:
    """The paper, the title and the axes."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" '
        f'fill="{_INK}">'
    )
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    yield f'<text x="{_LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>'
    for tick in ticks:
        y = at.y(tick)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
        yield _text(_LEFT - 8, y + 4, f"{tick:g}", "end")
    for epoch in _epoch_ticks(at.epochs):
        yield _text(at.x(epoch), _HEIGHT - _BOTTOM + 18, str(epoch), "middle")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "epoch", "middle")


def _legend(validation: str, train_losses: Mapping[int, float]) -> str:
    training = f'<tspan fill="{_TRAINING}">   - - training</tspan>' if train_losses else ""
    return (
        f'<text x="{_LEFT}" y="37" xml:space="preserve">'
        f'<tspan fill="{_VALIDATION}">— {validation}</tspan>{training}</text>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _epoch_ticks(epochs: Sequence[int]) -> list[int]:
    """About eight whole epochs, the first included."""
    step = max(1, math.ceil((epochs[-1] - epochs[0]) / 8))
    return list(range(epochs[0], epochs[-1] + 1, step))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around an interval, at least two."""
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [round(i * step, 12) for i in range(first, last + 1)]
