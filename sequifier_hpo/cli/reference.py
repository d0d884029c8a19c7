"""Reference pages, written from the models and commands they describe: `make docs`."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from sequifier_hpo.cli.main import app
from sequifier_hpo.config.description import description_of
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.config.ranges import is_range
from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.config.search import SearchConfig, SearchFile
from sequifier_hpo.config.train import SUPPLIED, TrainConfig

_OURS = (
    "seed",
    "storage",
    "workers",
    "on_out_of_memory",
    "max_consecutive_failures",
    "time_budget",
    "epoch_budget",
    "export",
)
_HEAD = """# The search file

Every field of a hyperparameter-search file. Fields whose type is a list are searched over; fields
of one *linked group* are paired by index, all others are combined freely. In place of a number in
such a list, of the argument of an optimizer or scheduler, and of a whole list of numbers there may
be a [range](../guides/ranges.md), as in `{low: 1.0e-4, high: 1.0e-2, log: true}`.

Unknown fields are errors. Numbers written as text (`"16"`, `1e-3`) are accepted; `true` and
`false` are never numbers. Paths are relative to `project_root`; `~` is the home folder.

This page is generated from the models that read the file: do not edit it; run `make docs`.
"""


_TRAIN_HEAD = """# The run file: `train.yaml`

Every field of the file that describes one training. A search writes one for each of its runs,
complete and standalone; `sequifier-hpo train` takes it, or one that you wrote yourself. Unknown
fields are errors. Paths are relative to `project_root`; `~` is the home folder.

This page is generated from the models that read the file: do not edit it; run `make docs`.
"""

_PREPROCESS_HEAD = """# The preprocessing file

Every field of the file for `sequifier-hpo preprocess`, which turns a table of events into windows
and metadata. Unknown fields are errors.

This page is generated from the model that reads the file: do not edit it; run `make docs`.
"""


_COMMANDS_HEAD = """# The command line

What each command prints for `--help`. Results go to standard output, progress and messages to
standard error. Exit codes: 0 done, 1 a bug, 2 your input, 3 the environment, 4 no successful run;
130, 143 and 129 after Ctrl-C, SIGTERM and a closed terminal.

This page is generated from the commands: do not edit it; run `make docs`.
"""


def search_file_reference(model: type[SearchFile] = SearchConfig) -> str:
    """The reference page of the search file, as Markdown."""
    sections = [section.name for section in description_of(model.run_file).sections.values()]
    parts = [
        _HEAD,
        _table("Root", model, skip=_OURS),
        _table(
            "Ours",
            model,
            only=_OURS,
            intro="Root fields that Sequifier does not know; all are optional.",
        ),
        *(_table(f"`{section}`", _model_at(model, section)) for section in sections),
        _linked_groups(model.run_file),
    ]
    return "\n".join(parts)


def train_file_reference(model: type[TrainConfig] = TrainConfig) -> str:
    """The reference page of the run file, as Markdown."""
    sections = tuple(description_of(model).sections)
    parts = [
        _TRAIN_HEAD,
        _table("Root", model, skip=(*SUPPLIED, *sections)),
        _table(
            "From the metadata",
            model,
            only=SUPPLIED,
            default="the metadata's",
            intro="Optional root fields: by default they are read from the file at "
            "`metadata_config_path`. With `--skip-metadata` they are required.",
        ),
        *(_table(f"`{section}`", _model_at(model, section)) for section in sections),
    ]
    return "\n".join(parts)


def _model_at(model: type[FrozenModel], section: str) -> type[FrozenModel]:
    found = model.model_fields[section].annotation
    assert isinstance(found, type)
    assert issubclass(found, FrozenModel)
    return found


def preprocess_file_reference() -> str:
    """The reference page of the preprocessing file, as Markdown."""
    return "\n".join([_PREPROCESS_HEAD, _table("Root", PreprocessConfig)])


def _table(
    title: str,
    model: type[FrozenModel],
    *,
    skip: tuple[str, ...] = (),
    only: tuple[str, ...] | None = None,
    intro: str = "",
    default: str | None = None,
) -> str:
    lines = [f"## {title}", ""]
    if intro:
        lines += [intro, ""]
    lines += ["| field | type | default | meaning |", "| :-- | :-- | :-- | :-- |"]
    for name, info in model.model_fields.items():
        if name in skip or (only is not None and name not in only):
            continue
        meaning = " ".join((info.description or "").split())
        cells = (
            f"`{name}`",
            _type(info.annotation, info.metadata),
            default or _default(info),
            meaning,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _linked_groups(run_file: type[TrainConfig]) -> str:
    lines = ["## Linked groups", "", "| group | anchor | linked fields |", "| :-- | :-- | :-- |"]
    for group in description_of(run_file).groups.values():
        linked = ", ".join(f"`{field}`" for field in group.linked)
        lines.append(f"| {group.name} | `{group.anchor}` | {linked} |")
    return "\n".join(lines) + "\n"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.default
    if value is None or info.default_factory is not None:
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.items()) + "}"
    return str(value)


def _type(annotation: Any, metadata: list[Any] = []) -> str:  # noqa: B006 - never changed
    bounds = "".join(f", {bound}" for bound in _bounds(metadata))
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], [*arguments[1:], *metadata])
    if origin in {Union, UnionType}:
        shown = (each for each in arguments if each is not NoneType and not is_range(each))
        names = [_type(argument) for argument in shown]
        names = ["anything"] if "anything" in names else names
        return " or ".join([*names, *(["null"] if NoneType in arguments else [])]) + bounds
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"map of {_type(arguments[0])} to {_type(arguments[1])}"
    plain = {int: "int", float: "float", str: "text", bool: "bool", Any: "anything"}
    return plain.get(annotation, "map") + bounds


def _bounds(metadata: list[Any]) -> Iterator[str]:
    flat = [item for entry in metadata for item in getattr(entry, "metadata", None) or [entry]]
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        for item in flat:
            limit = getattr(item, name, None)
            if limit is not None and abs(limit) < 2**31 - 1:
                yield f"{sign} {limit:g}"


def command_reference() -> str:
    """The reference page of the command line, as Markdown: what `--help` says."""
    program = typer.main.get_command(app)
    assert isinstance(program, typer.core.TyperGroup)
    parts = [_COMMANDS_HEAD]
    parent = program.context_class(program, info_name="sequifier-hpo")
    for name in program.list_commands(parent):
        command = program.get_command(parent, name)
        assert command is not None
        context = command.context_class(
            command, info_name=name, parent=parent, terminal_width=96, max_content_width=96
        )
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def write_reference(folder: Path) -> list[Path]:
    """Write all reference pages; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        folder / "search-file.md": search_file_reference(),
        folder / "train-file.md": train_file_reference(),
        folder / "preprocess-file.md": preprocess_file_reference(),
        folder / "command-line.md": command_reference(),
    }
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    return list(pages)


if __name__ == "__main__":
    for path in write_reference(Path("docs/reference")):
        print(f"wrote {path}")
