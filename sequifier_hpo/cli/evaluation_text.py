"""The figures of an evaluation as a person reads them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sequifier_hpo.words import counted, shortened

Figures = Mapping[str, Any]
Line = str | tuple[str, str]
"""A line, or a name and its value, which stand below each other."""

_MOST_LETTERS = 14
_LEAST_WIDTH = 46


def evaluation_text(found: Figures) -> str:
    """The text of what `inference.evaluating.evaluate` returns."""
    where = f"the {found['split']} split" if found["split"] else "a table of events"
    lines: list[Line] = [
        f"{found['model']} on {where}, {found['data']}: {found['num_events']:,} events",
        *_losses(found),
    ]
    for target, figures in found["targets"].items():
        lines += ["", target]
        if len(found["targets"]) > 1:
            lines.append(("loss", f"{figures['loss']:.6g}"))
            lines += [(f"trivial: {n}", f"{v:.6g}") for n, v in figures["baselines"].items()]
        lines += _of_classes(figures) if figures["kind"] == "categorical" else _of_numbers(figures)
    names = [line[0] for line in lines if isinstance(line, tuple)]
    width = max(_LEAST_WIDTH, *map(len, names))
    return "\n".join(
        line if isinstance(line, str) else f"  {line[0]:<{width}}  {line[1]}" for line in lines
    )


def _losses(found: Figures) -> Iterator[Line]:
    loss = found["loss"]
    in_search = found["loss_in_search"]
    beside = "" if in_search is None else f"   in the search: {in_search:.6g}"
    yield ("loss", f"{loss:.6g}{beside}")
    everywhere = found["loss_all_positions"]
    if abs(everywhere - loss) > 1e-9 * max(1.0, abs(loss)):
        yield ("over all positions", f"{everywhere:.6g}")
    for name, value in found["baselines"].items():
        verdict = "" if loss < value else "   which the model does not beat"
        yield (f"trivial: {name}", f"{value:.6g}{verdict}")


def _of_classes(figures: Figures) -> Iterator[Line]:
    frequent = figures["accuracy_of_most_frequent"]
    last = figures["accuracy_of_last_value"]
    yield (
        "accuracy",
        f"{figures['accuracy']:.1%}   always the most frequent: {frequent:.1%}, "
        f"the last value: {last:.1%}",
    )
    for k, share in figures["top_k_accuracy"].items():
        yield (f"among the first {k}", f"{share:.1%}")
    if figures["macro_f1"] is not None:
        yield ("macro F1", f"{figures['macro_f1']:.3f}")
    yield ("log-loss", f"{figures['log_loss']:.6g}")
    calibration = figures["calibration"]
    yield ("calibration error", f"{calibration['error']:.3f}")
    yield "  of what it says with a probability of"
    for part in calibration["bins"]:
        yield (
            f"    {part['mean_probability']:>6.1%}, {part['accuracy']:>6.1%} came true "
            f"({counted(part['num_events'], 'event')})"
        )
    yield from _confusion(figures["confusion"])


def _confusion(confusion: Figures) -> Iterator[str]:
    labels = [shortened(label, _MOST_LETTERS) for label in confusion["labels"]]
    width = max(max(map(len, labels)), *(len(f"{n:,}") for row in confusion["counts"] for n in row))
    yield "  what came (rows) and what was predicted (columns)"
    yield "    " + _cells(["", *labels], width)
    for label, row in zip(labels, confusion["counts"], strict=True):
        yield "    " + _cells([label, *(f"{number:,}" for number in row)], width)


def _cells(cells: Sequence[str], width: int) -> str:
    return "  ".join(cell.rjust(width) for cell in cells)


def _of_numbers(figures: Figures) -> Iterator[Line]:
    yield ("in its own units", f"{'MAE':>10}  {'RMSE':>10}  {'R²':>8}")
    rows = {"model": figures, **{f"trivial: {n}": f for n, f in figures["trivial"].items()}}
    for name, row in rows.items():
        r2 = "-" if row["r2"] is None else f"{row['r2']:.3f}"
        yield (name, f"{row['mae']:>10.4g}  {row['rmse']:>10.4g}  {r2:>8}")
