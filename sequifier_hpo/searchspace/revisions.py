"""The spaces that a study has had: as they are described, and all of them in one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice, product
from typing import Any

from sequifier_hpo.config.description import description_of
from sequifier_hpo.config.ranges import NumberRange, of_json, ranges_in, replaced
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.config.yaml_file import Loc
from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.compile import parts_in
from sequifier_hpo.searchspace.effective import interactions
from sequifier_hpo.searchspace.fingerprint import comparable, is_parameter
from sequifier_hpo.searchspace.labels import label, row_text, value_text
from sequifier_hpo.searchspace.parameters import Choice, Draws, Parameter, SearchSpace
from sequifier_hpo.searchspace.point import Point

_MAX_SPELLINGS = 1000
Described = Mapping[str, Any]
"""A space as `describe_space` has it."""


def same_run_in(
    space: SearchSpace, point: Point, key: str, key_of: Callable[[Point], str]
) -> Point | None:
    """A point of a space that is the run of another point; None if the space does not have the run.

    Nearly always it is the point itself, as long as all its values are candidates. Where some are not,
    others may mean the same, as any number of key/value heads does under `mha`.

    Args:
        space: Where to look.
        point: What was chosen in the run, maybe in another space.
        key: Of the run.
        key_of: Names the runs of the space.
    """
    if space.places_in(point) is not None:
        return point if key_of(point) == key else None
    known, spellings = {}, {}
    tied = frozenset().union(*interactions(space))
    for parameter in (p for p in (*space.parameters, *space.fixed) if p.is_known_to(point)):
        chosen, is_tied = parameter.chosen_at(point), bool(tied.intersection(parameter.fields))
        if parameter.place_of(chosen) is not None:
            known[parameter.name] = chosen
        elif not is_tied:
            return None
        if is_tied:
            others = [choice.chosen for choice in parameter.choices if choice.chosen != chosen]
            spellings[parameter.name] = [chosen, *others] if parameter.name in known else others
    for values in islice(product(*spellings.values()), _MAX_SPELLINGS):
        other = Point({**known, **dict(zip(spellings, values, strict=True))})
        if space.places_in(other) is not None and key_of(other) == key:
            return other
    return None


class DescribedSpace:
    """A space of which no more than the description is left."""

    def __init__(self, described: Described) -> None:
        lists = _lists([described])
        self._parameters = [_parameter(name, templates) for name, templates in lists.items()]

    def has(self, point: Point) -> bool:
        """Whether all that a point says are candidates."""
        return all(
            _place(parameter, point) is not None
            for parameter in self._parameters
            if parameter.is_known_to(point)
        )


class AllSpaces:
    """What ever varied in some spaces: the parameters that Optuna stores for all of their runs.

    A candidate keeps its place when later spaces do without it; a range is as wide as it ever was.
    """

    def __init__(self, described: Iterable[Described]) -> None:
        """Take the spaces, oldest first."""
        lists = _lists(described)
        parameters = (_parameter(name, templates) for name, templates in lists.items())
        self.parameters = tuple(parameter for parameter in parameters if parameter.varies)

    def stored(self, point: Point) -> dict[str, Stored]:
        """What is stored of a run: parameter -> label, and range -> number."""
        found: dict[str, Stored] = {}
        for parameter in self.parameters:
            place = _place(parameter, point)
            if place is not None:
                index, numbers = place
                found |= parameter.stored(parameter.candidates[index].with_numbers(numbers))
        return found


def shape_of(template: Any) -> str:
    """A candidate but for the bounds of its ranges."""
    kinds = {path: float(span.is_whole) for path, span in ranges_in(template)}
    return canonical([sorted(map(str, kinds)), replaced(template, kinds)])


def _lists(spaces: Iterable[Described]) -> dict[str, list[Any]]:
    """Parameter -> all candidates that it had, in the order in which they came."""
    description = description_of(TrainConfig)
    lists: dict[str, dict[str, Any]] = {}
    for described in spaces:
        for name, candidates in comparable(described).items():
            if is_parameter(name, description):
                templates = lists.setdefault(name, {})
                for template in map(of_json, candidates):
                    shape = shape_of(template)
                    templates[shape] = _widened(templates.get(shape, template), template)
    return {name: _as_numbers(list(found.values())) for name, found in lists.items() if found}


def _as_numbers(templates: list[Any]) -> list[Any]:
    """Numbers and ranges of them as one range: so a list that becomes a range has one axis."""
    spans = [each for each in templates if isinstance(each, NumberRange)]
    numbers = [each for each in templates if isinstance(each, int | float)]
    kinds = {isinstance(each, int) for each in numbers} | {span.is_whole for span in spans}
    is_one = len(kinds) == 1 and len(spans) + len(numbers) == len(templates)
    if not spans or not is_one or any(isinstance(number, bool) for number in numbers):
        return templates
    alone = [NumberRange(low=number, high=number, log=spans[-1].log) for number in numbers]
    return [reduce(_hull, [*alone, *spans])]


def _widened(former: Any, present: Any) -> Any:
    """A candidate with ranges that have the numbers of two others."""
    before, after = dict(ranges_in(former)), dict(ranges_in(present))
    if before == after:
        return present
    return _with_ranges(present, {path: _hull(before[path], after[path]) for path in after})


def _with_ranges(template: Any, spans: Mapping[Loc, NumberRange], path: Loc = ()) -> Any:
    if path in spans:
        return spans[path]
    if isinstance(template, dict):
        return {key: _with_ranges(part, spans, (*path, key)) for key, part in template.items()}
    if isinstance(template, list):
        return [_with_ranges(part, spans, (*path, i)) for i, part in enumerate(template)]
    return template


def _hull(one: NumberRange, other: NumberRange) -> NumberRange:
    """The numbers of two ranges, and those between; with the scale of the second."""
    low, high = min(one.low, other.low), max(one.high, other.high)
    step = other.step if one.step == other.step else None
    if step is not None:
        steps = NumberRange(low=low, high=high, step=step)
        step = step if all(steps.has(span.low) for span in (one, other)) else None
    return NumberRange(low=low, high=high, log=other.log and low > 0, step=step)


def _parameter(name: str, templates: Sequence[Any]) -> Parameter:
    is_linked = name in description_of(TrainConfig).groups
    varying = varying_fields(templates) if is_linked else set()
    choices = []
    for i, template in enumerate(templates):
        text = row_text(template, varying) if is_linked else value_text(template)
        index = i if len(templates) > 1 else None
        parts = parts_in(template, "" if is_linked else name, index)
        values = template if is_linked else {name: template}
        choices.append(Choice(label(i, text), values, template, parts, is_row=is_linked))
    return Parameter(name, tuple(choices))


def varying_fields(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Fields that are not the same in all of some rows."""
    names = {name for row in rows for name in row}
    return {name for name in names if len({shape_of(row.get(name)) for row in rows}) > 1}


def _place(parameter: Parameter, point: Point) -> tuple[int, Draws] | None:
    """The first candidate that a point has, and the numbers of its ranges."""
    places = (parameter.place_of(chosen) for chosen in _values(parameter, point))
    return min((p for p in places if p is not None), key=lambda p: p[0], default=None)


def _values(parameter: Parameter, point: Point) -> Iterator[Any]:
    """What a point has for a parameter; of a group, for each set of fields that its rows had."""
    shapes = {tuple(each.chosen): each for each in parameter.candidates if each.is_row}
    for fields in shapes:
        if all(field in point.fields for field in fields):
            yield {field: point.fields[field] for field in fields}
    if not shapes and parameter.name in point.fields:
        yield point.fields[parameter.name]
