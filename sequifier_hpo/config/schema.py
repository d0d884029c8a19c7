"""From a YAML document to a typed model, with every mistake found in one go.

Pydantic checks single fields. Rules that tie fields together are `Check`s: functions that yield
issues and name the fields they need, so that they run whenever those fields are sound, even while
others are not. Wording of all issues lives here.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sequifier_hpo.config.yaml_file import Loc, YamlDocument, dotted
from sequifier_hpo.errors import ConfigError, ConfigIssue
from sequifier_hpo.redaction import redacted_text

_MAX_EXPLAINED = 1000
"""So many mistakes are put into words, with what may have been meant; more are not shown."""


class FrozenModel(BaseModel):
    """Base of all models: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class FileModel(FrozenModel):
    """Base of the models of files that users write: their fields carry their docstrings.

    Pydantic reads the source of each class for that, which takes a while at every start.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)


M = TypeVar("M", bound=FrozenModel)


@dataclass(frozen=True)
class Finding:
    """What a check found at one place of the model."""

    loc: Loc
    problem: str
    allowed: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Check(Generic[M]):
    """A rule between fields: runs only when every field it needs is valid."""

    needs: tuple[Loc, ...]
    find: Callable[[M], Iterable[Finding]]


def check(*needs: str) -> Callable[[Callable[[M], Iterator[Finding]]], Check[M]]:
    """Declare a function as a `Check` that needs the given dotted fields."""

    def wrap(find: Callable[[M], Iterator[Finding]]) -> Check[M]:
        return Check(tuple(tuple(need.split(".")) for need in needs), find)

    return wrap


def load(
    model: type[M],
    document: YamlDocument,
    checks: Sequence[Check[M]] = (),
    *,
    moved: Mapping[str, str] | None = None,
) -> M:
    """Validate a document and run the checks.

    Args:
        model: The model of the whole document.
        document: Parsed YAML.
        checks: Rules between fields.
        moved: Advice for keys that are known but belong elsewhere: key -> sentence.

    Raises:
        ConfigError: With all mistakes of the document, in the order of its lines.
    """
    issues: list[ConfigIssue] = []
    broken: set[Loc] = set()
    try:
        config = model.model_validate(document.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            loc = _clean_loc(details["loc"])
            if details["type"] != "extra_forbidden" or not _is_of_section(model, loc):
                broken.add(loc)
            if len(issues) < _MAX_EXPLAINED:
                issues.append(_explain(details, loc, model, document, moved or {}))
            else:
                issues.append(document.issue(loc, details["msg"]))
        config = cast(M, _construct_partially(model, document.data, (), broken))
    for rule in checks:
        if any(_is_broken(need, broken) for need in rule.needs):
            continue
        for finding in rule.find(config):
            issues.append(
                document.issue(
                    finding.loc, finding.problem, allowed=finding.allowed, fix=finding.fix
                )
            )
    if issues:
        raise ConfigError(sorted(issues, key=lambda issue: issue.line or 0))
    return config


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, or None when none is close."""
    names = [str(candidate) for candidate in candidates]
    by_folded = {_fold(name): name for name in reversed(names)}
    found = difflib.get_close_matches(_fold(word), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`did you mean X?`, or "" when nothing is close."""
    match = nearest(word, candidates)
    return f"did you mean `{match}`?" if match else ""


def _fold(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


def _is_of_section(model: type[FrozenModel], loc: Loc) -> bool:
    """Whether a key stands among the fields of the file or of a section, not inside of a field."""
    for part in loc[:-1]:
        info = model.model_fields.get(str(part))
        below = _model_in(info.annotation) if info else None
        if below is None:
            return False
        model = below
    return True


def _is_broken(need: Loc, broken: set[Loc]) -> bool:
    """Whether the field at `need`, something in it, or something around it, is invalid."""
    return any(loc[: len(need)] == need or need[: len(loc)] == loc for loc in broken)


def _construct_partially(
    model: type[FrozenModel], data: Any, loc: Loc, broken: set[Loc]
) -> FrozenModel:
    """An instance holding only the valid fields: those the checks may look at."""
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        here = (*loc, name)
        sub_model = _model_in(info.annotation)
        if sub_model is not None and isinstance(data.get(name), dict):
            values[name] = _construct_partially(sub_model, data[name], here, broken)
        elif not _is_broken(here, broken) and name in data:
            values[name] = _validate_field(model, name, data[name])
    return model.model_construct(**values)


def _validate_field(model: type[FrozenModel], name: str, value: Any) -> Any:
    """Validate one field alone, which a frozen model with required siblings cannot do itself."""
    info = model.model_fields[name]
    annotation: Any = info.annotation
    for constraint in info.metadata:
        annotation = Annotated[annotation, constraint]
    return TypeAdapter(annotation).validate_python(value)


def _model_in(annotation: Any) -> type[FrozenModel] | None:
    """The configuration model that a field holds, if it holds one."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, FrozenModel):
            return candidate
    return None


def _clean_loc(loc: tuple[int | str, ...]) -> Loc:
    """Drop what pydantic adds to a location for dict keys and unions."""
    return tuple(part for part in loc if not (isinstance(part, str) and part.startswith("[")))


def _explain(
    details: ErrorDetails,
    loc: Loc,
    model: type[FrozenModel],
    document: YamlDocument,
    moved: Mapping[str, str],
) -> ConfigIssue:
    """Put one pydantic error into words."""
    kind = details["type"]
    value = details["input"]
    if _is_range(value) and kind not in {"missing", "extra_forbidden"}:
        return document.issue(
            loc,
            "a range is possible only where the candidates are numbers",
            allowed=_describe(model, loc),
            fix="write the value, or a list of the values to try",
        )
    context = details.get("ctx", {})
    shown = "the value" if _is_secret(model, loc) else _show(value, document.texts.get(loc))
    field_name = str(loc[-1]) if loc else ""
    if kind == "missing":
        parent = dotted(loc[:-1])
        where = f" below `{parent}:`" if parent else ""
        return document.issue(
            loc,
            "this field is required and missing",
            allowed=_describe(model, loc),
            fix=f"add `{field_name}: ...`{where}",
        )
    if kind == "extra_forbidden":
        siblings = _fields_at(model, loc[:-1])
        advice = moved.get(field_name) or did_you_mean(field_name, siblings)
        return document.issue(
            loc,
            f"there is no field `{field_name}` here",
            allowed=", ".join(siblings),
            fix=advice or "remove the line",
        )
    if kind == "literal_error":
        expected = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        advice = did_you_mean(value, expected) if isinstance(value, str) else ""
        return document.issue(
            loc, f"{shown} is not one of the choices", allowed=", ".join(expected), fix=advice
        )
    problem, allowed, fix = _explain_type(kind, shown, value, context)
    if problem is None:
        problem = details["msg"]
    return document.issue(loc, problem, allowed=allowed or _describe(model, loc), fix=fix)


_TYPE_WORDS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("int_parsing", "int_type", "int_from_float", "int_parsing_size"),
        ("is not a whole number", "a whole number"),
    ),
    **dict.fromkeys(
        ("float_parsing", "float_type"), ("is not a number", "a number, such as 0.001 or 1.0e-3")
    ),
    **dict.fromkeys(("bool_parsing", "bool_type"), ("is neither true nor false", "true, false")),
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type"),
        ("is not a mapping", "lines of the form `name: value`, indented below"),
    ),
    "finite_number": ("is not a finite number", "a finite number"),
    "number_expected": ("is not a number", "a number"),
    "list_type": ("is not a list", ""),
    "string_type": ("is not text", "text"),
    "string_pattern_mismatch": ("does not have the form that is needed", ""),
}


def _explain_type(
    kind: str, shown: str, value: Any, context: Mapping[str, Any]
) -> tuple[str | None, str, str]:
    """(problem, allowed, fix) for errors about one value; problem None = pydantic's own words."""
    if kind in _TYPE_WORDS:
        problem, allowed = _TYPE_WORDS[kind]
        fix = ""
        if kind == "list_type" and not isinstance(value, dict | None):
            fix = f"write it as a list: `[{shown}]`"
        if kind == "string_type" and not isinstance(value, list | dict | None):
            fix = f"put it in quotes: `'{shown}'`"
        return f"{shown} {problem}", allowed, fix
    if kind == "too_short":
        return "the list is empty", "at least one value", ""
    for name, sign in {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}.items():
        if name in context:
            return f"{shown} is out of range", f"{sign} {context[name]:g}", ""
    return None, "", ""


def _show(value: Any, text: str | None) -> str:
    """A value as the user wrote it, without passwords, and shortened only then."""
    shown = redacted_text(text if text else "null" if value is None else str(value))
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _is_secret(model: type[FrozenModel], loc: Loc) -> bool:
    """Whether a field is one whose values are never shown: one without a `repr`."""
    info = model.model_fields.get(str(loc[0])) if loc else None
    return info is not None and not info.repr


def _is_range(value: Any) -> bool:
    return isinstance(value, dict) and {"low", "high"} <= set(value)


def _fields_at(model: type[FrozenModel], loc: Loc) -> list[str]:
    return list(_innermost(model, loc)[0].model_fields)


def _describe(model: type[FrozenModel], loc: Loc) -> str:
    """First sentence of the field's own description."""
    info = _innermost(model, loc)[1]
    if info is None or not info.description:
        return ""
    return info.description.split("\n")[0].rstrip(".")


def _innermost(model: type[FrozenModel], loc: Loc) -> tuple[type[FrozenModel], FieldInfo | None]:
    """The model whose fields can stand at a place, and the last field on the way there."""
    found = None
    for part in loc:
        # A place in a list, or a key of a mapping, has no field of its own.
        if info := model.model_fields.get(str(part)):
            found = info
            below = _model_below(info.annotation)
            if below is None:
                break
            model = below
    return model, found


def _model_below(annotation: Any) -> type[FrozenModel] | None:
    """The configuration model that a field, or one of its elements, holds."""
    if isinstance(annotation, type) and issubclass(annotation, FrozenModel):
        return annotation
    below = (_model_below(part) for part in get_args(annotation))
    return next((model for model in below if model is not None), None)
