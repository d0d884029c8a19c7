"""What is declared once for every trained field, next to its type, default and docstring.

The fields stand in `TrainConfig` and its sections. Their `Annotated` types say what a field
influences, and how it stands in the search file. All else is read off them: the search file's
models, the linked groups, the compiled space, the key of a run, the identity of a checkpoint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from sequifier_hpo.config.schema import FrozenModel

T = TypeVar("T")


class Influence(Enum):
    """What a field influences."""

    WEIGHTS = "the weights after any step"
    SELECTION = "when training ends, and so which epoch is the best"
    NOTHING = "where, how fast, what is logged and exported"


WEIGHTS: Final = Influence.WEIGHTS
SELECTION: Final = Influence.SELECTION
NOTHING: Final = Influence.NOTHING


class Memory(Enum):
    """How the memory that a training step takes depends on a field; unmarked: in any way."""

    GROWING = "a larger value takes more, or as much"
    GROWING_ON_CPU = "so does it on a CPU; GPUs have other kernels for other values"
    IF_ANY = "of a number that is no whole one: only whether it is 0"
    NO_MEMORY = "not at all"


GROWING: Final = Memory.GROWING
GROWING_ON_CPU: Final = Memory.GROWING_ON_CPU
IF_ANY: Final = Memory.IF_ANY
NO_MEMORY: Final = Memory.NO_MEMORY


class Mark(Enum):
    """What a field may be marked with, or have in place of a default."""

    FROM_METADATA = "the metadata supply it where it is left out"
    OF_ONE_RUN = "a search gives it to each of its runs"
    REQUIRED = "no default: it has to be written"
    AS_TRAINED = "the search file's is the run file's"
    NEWER = "Sequifier 1.0 does not know it: a run file has it only if it says something"
    JUDGED = "what a loss is: one for all runs of a study"


FROM_METADATA: Final = Mark.FROM_METADATA
OF_ONE_RUN: Final = Mark.OF_ONE_RUN
REQUIRED: Final = Mark.REQUIRED
AS_TRAINED: Final = Mark.AS_TRAINED
NEWER: Final = Mark.NEWER
JUDGED: Final = Mark.JUDGED


@dataclass(frozen=True)
class Candidates:
    """The field is searched: the search file has a list for it."""

    words: str
    """What the search file's reference says of it."""
    default: Any = REQUIRED
    """The list of a file without it; None = it may be left out or null."""
    group: str = ""
    """Linked group whose rows it is a part of; "" = combined freely with all others."""
    position: int = 0
    """Place in the rows of its group; the first is the anchor, which sets their number."""
    takes_null: bool = True
    """Whether null is a candidate where the run file takes it."""
    if_omitted: Any = None
    """What every row of its group has where the list is left out."""


@dataclass(frozen=True)
class Setting:
    """The field has one value for all runs, which the search file treats in its own way."""

    words: str = ""
    """What the search file's reference says of it; "" = the same as the run file's."""
    default: Any = AS_TRAINED
    """The value of a file without it; None = it may be left out or null."""
    takes_null: bool = True
    """Whether it may be null where the run file takes it."""


@dataclass(frozen=True)
class Section:
    """The field holds fields; the search file has a section for them."""

    name: str
    """What that section is called."""
    words: str


@dataclass(frozen=True)
class TrainedField:
    """The one description of a field that a run is trained with."""

    name: str
    section: str
    """Field of the run file that holds it; "" = its root."""
    type: Any
    """Its annotation, without our own markers."""
    default: Any
    """`REQUIRED` if there is none."""
    words: str
    influence: Influence
    memory: Memory | None
    """None: runs with different values are not compared."""
    search: Candidates | Setting
    is_from_metadata: bool
    is_of_one_run: bool
    is_newer: bool
    is_judged: bool

    @property
    def is_searched(self) -> bool:
        """Whether the search file has candidates for it."""
        return isinstance(self.search, Candidates)

    @property
    def group(self) -> str:
        """The linked group that it is in, or ""."""
        return self.search.group if isinstance(self.search, Candidates) else ""

    @property
    def if_omitted(self) -> Any:
        """What every row of its group has where the list is left out."""
        return self.search.if_omitted if isinstance(self.search, Candidates) else None


@dataclass(frozen=True)
class LinkedGroup:
    """Fields of the search file that vary together: index *i* of every list forms row *i*."""

    name: str
    """Name of the group, and of the one parameter it becomes."""
    section: str
    """Section of the search file that holds the lists; "" = its root."""
    fields: tuple[str, ...]
    """All fields of a row, the anchor first."""

    @property
    def anchor(self) -> str:
        """The list that sets the number of rows."""
        return self.fields[0]

    @property
    def linked(self) -> tuple[str, ...]:
        """The lists that must be as long as the anchor's; a null or absent one does not count."""
        return self.fields[1:]

    def loc(self, field: str, row: int | None = None) -> tuple[str | int, ...]:
        """Where a field, or its value in one row, stands in the search file."""
        place: tuple[str | int, ...] = (self.section, field) if self.section else (field,)
        return place if row is None else (*place, row)


class Description:
    """The fields of a run file, in the order in which they are declared."""

    def __init__(self, run_file: type[FrozenModel]) -> None:
        self.sections: dict[str, Section] = {}
        """Sections of the run file -> what they are in the search file."""
        self.fields: dict[str, TrainedField] = {}
        for field, said in _declared(run_file):
            if section := _first(Section, said):
                self.sections[field] = section
                holder = cast(type[FrozenModel], run_file.model_fields[field].annotation)
                for inner, said_of_inner in _declared(holder):
                    self._add(holder, inner, field, said_of_inner)
            else:
                self._add(run_file, field, "", said)

    def _add(
        self, holder: type[FrozenModel], name: str, section: str, said: tuple[Any, ...]
    ) -> None:
        assert name not in self.fields, f"two fields are called {name}"
        info = holder.model_fields[name]
        influence = _first(Influence, said)
        assert influence is not None, f"{name} does not say what it influences"
        self.fields[name] = TrainedField(
            name=name,
            section=section,
            type=_plain_type(get_type_hints(holder, include_extras=True)[name]),
            default=REQUIRED if info.is_required() else info.default,
            words=info.description or "",
            influence=influence,
            memory=_first(Memory, said),
            search=_first(Candidates, said) or _first(Setting, said) or Setting(),
            is_from_metadata=FROM_METADATA in said,
            is_of_one_run=OF_ONE_RUN in said,
            is_newer=NEWER in said,
            is_judged=JUDGED in said,
        )

    def influencing(self, *influences: Influence) -> tuple[str, ...]:
        """Names of the fields with one of these influences."""
        return tuple(f.name for f in self.fields.values() if f.influence in influences)

    @property
    def judged(self) -> tuple[str, ...]:
        """Names of the fields that say what a loss is."""
        return tuple(f.name for f in self.fields.values() if f.is_judged)

    def searched(self, section: str) -> Iterator[TrainedField | LinkedGroup]:
        """What the candidates of a section make parameters of, in the order of declaration.

        A linked group comes where the first of its fields does.
        """
        groups = dict(self.groups)
        for field in self.fields.values():
            if field.section == section and field.is_searched:
                if not field.group:
                    yield field
                elif group := groups.pop(field.group, None):
                    yield group

    @property
    def groups(self) -> Mapping[str, LinkedGroup]:
        """All linked groups by name, in the order of declaration."""
        found: dict[str, list[TrainedField]] = {}
        for field in self.fields.values():
            if field.group:
                found.setdefault(field.group, []).append(field)
        return {name: self._group(name, fields) for name, fields in found.items()}

    def _group(self, name: str, fields: list[TrainedField]) -> LinkedGroup:
        def position(field: TrainedField) -> int:
            assert isinstance(field.search, Candidates)
            return field.search.position

        section = fields[0].section
        ordered = tuple(field.name for field in sorted(fields, key=position))
        return LinkedGroup(name, self.sections[section].name if section else "", ordered)

    def nested(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by field as the run file holds them: those of its sections below these."""
        file: dict[str, Any] = {section: {} for section in self.sections}
        for name, value in values.items():
            section = self.fields[name].section
            (file[section] if section else file)[name] = value
        return file

    def place_in_search_file(self, field: str) -> tuple[str, ...]:
        """Where a field stands in a search file."""
        section = self.fields[field].section
        return (self.sections[section].name, field) if section else (field,)

    def in_search_file(self, written: Any, field: str) -> Any:
        """What a search file, as a model or as plain values, has for a field."""
        section = self.fields[field].section
        return _part(_part(written, self.sections[section].name) if section else written, field)

    def flat(self, config: FrozenModel) -> dict[str, Any]:
        """The plain values of a run file by field, whatever section they stand in."""
        file = config.model_dump()
        return {
            field.name: (file[field.section] if field.section else file)[field.name]
            for field in self.fields.values()
        }


@cache
def description_of(run_file: type[FrozenModel]) -> Description:
    """The description that a run file's model carries."""
    return Description(run_file)


def without_null(annotation: Any) -> Any:
    """A type without its null."""
    if get_origin(annotation) not in {Union, UnionType}:
        return annotation
    return Union[tuple(part for part in get_args(annotation) if part is not NoneType)]  # noqa: UP007 - computed


def _part(whole: Any, name: str) -> Any:
    return whole[name] if isinstance(whole, Mapping) else getattr(whole, name)


def _declared(model: type[FrozenModel]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every field with the markers of its annotation."""
    hints = get_type_hints(model, include_extras=True)
    for name in model.model_fields:
        hint = hints[name]
        yield name, hint.__metadata__ if get_origin(hint) is Annotated else ()


_SAID = (Influence, Memory, Mark, Candidates, Setting, Section)


def _plain_type(hint: Any) -> Any:
    if get_origin(hint) is not Annotated:
        return hint
    constraints = [part for part in hint.__metadata__ if not isinstance(part, _SAID)]
    return Annotated[hint.__origin__, *constraints] if constraints else hint.__origin__


def _first(kind: type[T], said: tuple[Any, ...]) -> T | None:
    return next((part for part in said if isinstance(part, kind)), None)
