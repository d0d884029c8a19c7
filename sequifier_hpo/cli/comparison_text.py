"""A comparison of models as a person reads it."""

from collections.abc import Iterator, Mapping
from typing import Any

from sequifier_hpo.report.comparison_page import may_be_chance, value_shown
from sequifier_hpo.words import counted, shortened, visible

_MAX_VALUE = 60


def comparison_text(found: Mapping[str, Any]) -> str:
    """The text of what `inference.comparing.compare` returns."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"on the {found['split']} split: {counted(found['num_events'], 'event')} of "
        f"{counted(found['num_sequences'], 'sequence')}"
    )
    width = max(len(row["model"]) for row in found["models"])
    yield f"  {'':<{width}}  {'loss':>10}  {'difference':>11}  95 % interval"
    for row in found["models"]:
        difference = f"{row['difference']:+.6f}" if row["difference"] else ""
        line = (
            f"  {row['model']:<{width}}  {row['loss']:>10.6f}  {difference:>11}  {_interval(row)}"
        )
        yield line.rstrip()
    if all(row["interval"] is None for row in found["models"]):
        yield "of so few sequences it cannot be said how far the differences are chance"
    if found["configurations"]:
        yield "what their configurations do not share, in this order:"
    for field, values in found["configurations"].items():
        shown = " | ".join(visible(shortened(value_shown(value), _MAX_VALUE)) for value in values)
        yield f"  {field}: {shown}"


def _interval(row: Mapping[str, Any]) -> str:
    if row["interval"] is None:
        return ""
    low, high = row["interval"]
    return f"{low:+.6f} to {high:+.6f}" + ("   may be chance" if may_be_chance(row) else "")
