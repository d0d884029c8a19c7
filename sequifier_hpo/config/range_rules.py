"""What must fit together in a range, and in what a strategy makes of it."""

from collections.abc import Iterator
from math import prod
from typing import Any

from sequifier_hpo.config.description import description_of
from sequifier_hpo.config.fields import Recipe
from sequifier_hpo.config.ranges import MAX_LISTED, NumberRange, entries, ranges_in
from sequifier_hpo.config.schema import Check, Finding, check
from sequifier_hpo.config.search_fields import SearchFile
from sequifier_hpo.config.train_fields import TrainConfig
from sequifier_hpo.config.yaml_file import Loc, dotted

_DESCRIPTION = description_of(TrainConfig)


def _ranges_are_sound(field: str) -> Check[SearchFile]:
    place = _DESCRIPTION.place_in_search_file(field)

    @check(dotted(place))
    def find(config: SearchFile) -> Iterator[Finding]:
        for loc, span in ranges_in(_DESCRIPTION.in_search_file(config, field), place):
            yield from _findings(span, loc)

    return find


def _grid_takes_ranges(field: str) -> Check[SearchFile]:
    place = _DESCRIPTION.place_in_search_file(field)

    @check("search_strategy", dotted(place))
    def find(config: SearchFile) -> Iterator[Finding]:
        for entry, path in entries(_DESCRIPTION.in_search_file(config, field)):
            yield from _grid_findings(entry, (*place, *path), config.search_strategy)

    return find


def _findings(span: NumberRange, loc: Loc) -> Iterator[Finding]:
    low, high = span.low, span.high
    if low >= high:
        yield Finding(
            (*loc, "high"),
            f"{high} is not larger than low = {low}",
            f"> {low}",
            "write the number itself in place of the range" if low == high else "exchange them",
        )
        return
    if span.log and low <= 0:
        yield Finding(
            (*loc, "low"),
            f"a logarithmic range cannot begin at {low}",
            "> 0",
            "a small number above 0, or remove `log`",
        )
    if span.log and span.step is not None:
        yield Finding(
            (*loc, "step"),
            "the values of a logarithmic range have no one distance",
            fix="write `num: 5` for five values, or remove `step` or `log`",
        )
    if span.num is not None and span.step is not None:
        yield Finding((*loc, "num"), "`step` says already which values there are", fix="remove one")
    elif span.step is not None and span.step > high - low:
        yield Finding((*loc, "step"), f"{span.step} leads beyond high = {high}", f"<= {high - low}")
    elif span.num is not None and span.is_whole and span.num > high - low + 1:
        problem = f"there are no {span.num} whole numbers from {low} to {high}"
        yield Finding((*loc, "num"), problem, f"2 to {high - low + 1}")


def _grid_findings(entry: Any, loc: Loc, strategy: str) -> Iterator[Finding]:
    """Refuse what would have to be written out, and cannot."""
    listed = []
    for path, span in ranges_in(entry):
        if span.low >= span.high:
            return  # reported already
        if strategy == "grid" and span.num is None and span.step is None:
            yield Finding(
                (*loc, *path),
                f"a grid tries every value, but it is not said which values of {span} are meant",
                "a range with `num` or `step`, or a list",
                f"add {'`step: 1` or ' if span.is_whole else ''}`num: 5`; or let search_strategy be "
                "`sample` or `bayesian`, which draw from the range",
            )
            return
        if span.num is not None or strategy == "grid":
            listed.append(span.num_values or 1)
    if prod(listed) > MAX_LISTED:
        yield Finding(
            loc,
            f"it stands for {prod(listed):,} values, which are all listed",
            f"up to {MAX_LISTED:,}",
            "a larger `step`, or a smaller `num`; `sample` and `bayesian` take any `step`",
        )


def unusual_ranges(config: SearchFile) -> Iterator[Finding]:
    """Arguments of recipes that are whole numbers, though probably not meant so."""
    for field in _RECIPES:
        place = _DESCRIPTION.place_in_search_file(field)
        for loc, span in ranges_in(_DESCRIPTION.in_search_file(config, field), place):
            if (span.low, span.high) == (0, 1) and span.is_whole:
                yield Finding(
                    loc,
                    "this range of whole numbers has no others than 0 and 1",
                    fix="write `low: 0.0`, unless this is intended",
                )


_RECIPES = [name for name, field in _DESCRIPTION.fields.items() if field.type == Recipe]
_SEARCHED = [name for name, field in _DESCRIPTION.fields.items() if field.is_searched]
RANGE_CHECKS: tuple[Check[SearchFile], ...] = (
    *map(_ranges_are_sound, _SEARCHED),
    *map(_grid_takes_ranges, _SEARCHED),
)
