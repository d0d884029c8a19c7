"""Ranges of numbers, which a search file may have in place of a number, or of a list of them."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from itertools import product
from math import exp, log
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, Discriminator, Field, Tag, WrapValidator, create_model

from sequifier_hpo.config.description import without_null
from sequifier_hpo.config.fields import Float, Int, PositiveFloat, PositiveInt, Recipe
from sequifier_hpo.config.schema import FileModel
from sequifier_hpo.config.yaml_file import Loc

MAX_LISTED = 1000
"""A range of more values is not taken apart into them."""
_DIGITS = 12  # significant ones, of the numbers of a geometric series


def _whole_if_written_so(value: Any, validate: Callable[[Any], float]) -> float:
    number = validate(value)
    return value if isinstance(value, int) else number


class NumberRange(FileModel):
    """The numbers from `low` to `high`, both included."""

    low: Annotated[Float, WrapValidator(_whole_if_written_so)]
    """Smallest value of the range."""
    high: Annotated[Float, WrapValidator(_whole_if_written_so)]
    """Largest value of the range."""
    log: bool = False
    """Whether 1 to 10 gets as many values as 10 to 100."""
    step: Annotated[PositiveFloat, WrapValidator(_whole_if_written_so)] | None = None
    """Distance of two neighbouring values; they are counted from `low`."""
    num: Annotated[Int, Field(ge=2, le=MAX_LISTED)] | None = None
    """Number of values, evenly spread over the range: the same as a list of them."""

    def __str__(self) -> str:
        """The range for people."""
        parts = [f"{_text(self.low)} to {_text(self.high)}"]
        parts += [f"step {_text(self.step)}"] if self.step is not None else []
        parts += [f"{self.num} values"] if self.num is not None else []
        return ", ".join([*parts, *(["log"] if self.log else [])])

    @cached_property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        numbers = (self.low, self.high, 1 if self.step is None else self.step)
        return all(isinstance(number, int) for number in numbers)

    @cached_property
    def spacing(self) -> float | None:
        """Distance of its values if they are evenly spaced one by one; None if it has no gaps."""
        return self.step if self.step is not None else 1 if self.is_whole else None

    @cached_property
    def num_values(self) -> int | None:
        """Number of its values; None = it is continuous."""
        if self.num is not None:
            return self.num
        if self.spacing is None:
            return None
        return int((_exact(self.high) - _exact(self.low)) // _exact(self.spacing)) + 1

    @cached_property
    def last(self) -> float:
        """Its largest value."""
        return float(self.high) if self.num_values is None else self.value(self.num_values - 1)

    def value(self, place: int) -> float:
        """One of its values, which are not continuous: the smallest has place 0."""
        low, high = _exact(self.low), _exact(self.high)
        if self.num is None:
            assert self.spacing is not None, "a continuous range has no places"
            return self._number(low + place * _exact(self.spacing))
        share = Fraction(place, self.num - 1)
        if not self.log or share in {0, 1}:
            return self._number(low + share * (high - low))
        # The last digits of a power are not the same on every machine.
        number = exp(log(low) + float(share) * (log(high) - log(low)))
        return self._number(_exact(float(f"{number:.{_DIGITS}g}")))

    def values(self) -> list[float]:
        """All of its values, which are not continuous."""
        assert self.num_values is not None, "nobody lists a continuous range"
        return [self.value(place) for place in range(self.num_values)]

    def nearest(self, number: float) -> float:
        """The value of the range, without `num`, that is closest to a number."""
        number = float(min(max(number, self.low), self.high))
        if self.num_values is None:
            return number
        place = round((_exact(number) - _exact(self.low)) / _exact(self.spacing or 1))
        return self.value(min(place, self.num_values - 1))

    def at(self, share: float) -> float:
        """The value below which there is this share of the range, in [0, 1]."""
        if not self.log:
            return self.nearest(self.low + share * (self.high - self.low))
        return self.nearest(exp(log(self.low) + share * (log(self.high) - log(self.low))))

    def has(self, number: Any) -> bool:
        """Whether a number is one of its values, also by its type."""
        if isinstance(number, bool) or not isinstance(number, int if self.is_whole else float):
            return False
        if not self.low <= number <= self.last:
            return False
        return self.spacing in {None, 1} or self.nearest(number) == number

    def _number(self, exact: Fraction) -> float:
        return round(exact) if self.is_whole else float(exact)


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _exact(number: float) -> Fraction:
    """The decimal number that is written, of which a float is not always the same."""
    return Fraction(Decimal(repr(number)))


def _kind_of_entry(value: Any) -> str:
    return "[range]" if isinstance(value, dict | NumberRange) else "[value]"


def _kind_of_element(value: Any) -> str:
    is_range = isinstance(value, dict) and value.keys() & {"low", "high"}
    return "[range]" if is_range or isinstance(value, NumberRange) else "[value]"


def _kind_of_argument(value: Any) -> str:
    return "[list]" if isinstance(value, list) else _kind_of_element(value)


def _one_of(kind: Callable[[Any], str], **types: Any) -> Any:
    # Tags in brackets are no part of a location: see `schema`.
    tagged = tuple(Annotated[each, Tag(f"[{tag}]")] for tag, each in types.items())
    return Annotated[Union[tagged], Discriminator(kind)]  # noqa: UP007 - computed


def list_of_candidates(annotation: Any) -> Any:
    """The type of a search file's field whose candidates are of this type.

    Where they are numbers, each of them may be a range, and so may the field itself.
    """
    if annotation == Recipe:
        return _listed(_recipe())
    of_number = without_null(annotation)
    number = _number_type(of_number)
    if number is None:
        return _listed(annotation)
    span = _range_of(of_number, number)
    listed = _listed(_one_of(_kind_of_entry, value=annotation, range=span))
    return _one_of(_kind_of_entry, value=listed, range=span)


def is_range(annotation: Any) -> bool:
    """Whether the type of a field, or of a part of it, is that of its ranges."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return isinstance(annotation, type) and issubclass(annotation, NumberRange)


def _listed(annotation: Any) -> Any:
    return Annotated[list[annotation], Field(min_length=1)]


def _recipe() -> Any:
    element = _one_of(_kind_of_element, value=Any, range=NumberRange)
    elements = list[element]  # type: ignore[valid-type] # computed
    argument = _one_of(_kind_of_argument, value=Any, range=NumberRange, list=elements)
    _, *validators = get_args(Recipe)
    return Annotated[dict[str, argument], *validators]  # type: ignore[valid-type] # computed


def _number_type(annotation: Any) -> type | None:
    """What a field holds if that is int or float."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation if annotation in {int, float} else None


class _RangeOfField(NumberRange):
    """Base of the ranges whose ends are of a field's own type; it has their words already."""

    model_config = ConfigDict(use_attribute_docstrings=False)


@cache
def _range_of(annotation: Any, number: type) -> type[NumberRange]:
    """Ranges whose ends are of a field's own type."""
    step: Any = PositiveInt if number is int else PositiveFloat
    words = {name: info.description for name, info in NumberRange.model_fields.items()}
    return create_model(
        "NumberRange",
        __base__=_RangeOfField,
        low=(annotation, Field(description=words["low"])),
        high=(annotation, Field(description=words["high"])),
        step=(step | None, Field(default=None, description=words["step"])),
    )


def ends(value: Any) -> tuple[Any, Any]:
    """Smallest and largest of what a candidate stands for: of a single value that value."""
    return (value.low, value.last) if isinstance(value, NumberRange) else (value, value)


def some_values(value: Any) -> Iterator[Any]:
    """What a candidate stands for: of a continuous range its ends."""
    if isinstance(value, NumberRange) and value.num_values is not None:
        yield from map(value.value, range(value.num_values))
    else:
        yield from dict.fromkeys(ends(value))


def entries(written: Any) -> list[tuple[Any, Loc]]:
    """The candidates of a field, each with its place in it; a range in place of a list is one."""
    if written is None:
        return []
    if isinstance(written, NumberRange):
        return [(written, ())]
    return [(value, (i,)) for i, value in enumerate(written)]


def rows(*written: Any) -> Iterator[tuple[tuple[Any, Loc], ...]]:
    """The rows of linked fields as `entries`; a range in place of a list is in each of them.

    A field that is left out has None in each.
    """
    lists = [values for values in written if isinstance(values, list)]
    for i in range(min(map(len, lists), default=1)):
        yield tuple(
            (values[i], (i,)) if isinstance(values, list) else (values, ()) for values in written
        )


def ranges_in(value: Any, path: Loc = ()) -> Iterator[tuple[Loc, NumberRange]]:
    """The ranges in a candidate, a row or a recipe, each with its place."""
    if isinstance(value, NumberRange):
        yield path, value
    elif isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from ranges_in(part, (*path, key))


def replaced(value: Any, numbers: Mapping[Loc, float]) -> Any:
    """A candidate with numbers in the place of its ranges."""
    return _replaced(value, numbers, ()) if numbers else value


def _replaced(value: Any, numbers: Mapping[Loc, float], path: Loc) -> Any:
    if isinstance(value, NumberRange):
        return numbers.get(path, value)
    if isinstance(value, dict):
        return {key: _replaced(part, numbers, (*path, key)) for key, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, numbers, (*path, i)) for i, part in enumerate(value)]
    return value


def one_by_one(value: Any) -> Iterator[Any]:
    """A candidate once for each value of its ranges with `num`."""
    numbered = {path: span for path, span in ranges_in(value) if span.num is not None}
    for numbers in product(*(span.values() for span in numbered.values())):
        yield replaced(value, dict(zip(numbered, numbers, strict=True)))


def of_json(value: Any) -> Any:
    """The candidate of which `as_json` made plain values."""
    if isinstance(value, dict):
        if {"low", "high"} <= value.keys() <= NumberRange.model_fields.keys():
            return NumberRange.model_validate(value)
        return {key: of_json(part) for key, part in value.items()}
    return [of_json(part) for part in value] if isinstance(value, list) else value


def as_json(value: Any) -> Any:
    """A candidate as plain JSON values: a range is what is written of it."""
    if isinstance(value, NumberRange):
        return value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, list) else value
