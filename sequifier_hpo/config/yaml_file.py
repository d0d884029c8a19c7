"""YAML in and out: plain values with the line each one came from.

`Any` ends here: what leaves this file goes straight into a typed model. Values mean what YAML 1.1
(PyYAML) says they mean, because the files are shared with Sequifier, except that three traps are
errors instead of surprises: duplicate keys, base-60 numbers (`12:30`) and octal numbers (`010`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from sequifier_hpo.errors import ConfigError, ConfigIssue
from sequifier_hpo.plain_files import read_plain
from sequifier_hpo.redaction import redacted_text, redacted_url

Loc = tuple[str | int, ...]

_MAX_FILE_BYTES = 16 * 2**20
_MAX_VALUES = 250_000  # in seconds, not minutes; a list of every column of a wide table is shorter
_MAX_REPEATED = 100_000  # values that aliases may repeat: a "billion laughs" file ends early
_MAX_DEPTH = 100
_MAX_NUMBER = 100  # characters of a number
_MAX_SHOWN = 100  # characters of a value, or of a line, in a message
_TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels, which no configuration is"
_STANDARD_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value")
)
_SURPRISING_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


@dataclass(frozen=True)
class YamlDocument:
    """The content of one YAML file and where each value stands."""

    file: str
    data: dict[str, Any]
    lines: dict[Loc, int] = field(default_factory=dict)
    """Line (from 1) of every value; for mapping entries the line of the key."""
    texts: dict[Loc, str] = field(default_factory=dict)
    """The characters of every unquoted scalar, to quote in messages."""
    overridden: frozenset[str] = frozenset()
    """Root keys whose values came from the command line."""
    supplied: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Root keys whose values came from another file -> that file, and the key in it."""

    def completed(
        self,
        data: dict[str, Any],
        overrides: Mapping[str, Any],
        supplied: Mapping[str, tuple[str, str]],
    ) -> "YamlDocument":
        """The document with other data: filled in, and overridden on the command line.

        Args:
            data: All of its values.
            overrides: Root keys that came from the command line.
            supplied: Root keys that came from another file -> that file, and the key in it.
        """
        texts = {loc: text for loc, text in self.texts.items() if loc[0] not in overrides}
        return replace(
            self, data=data, texts=texts, overridden=frozenset(overrides), supplied=supplied
        )

    def line_of(self, loc: Loc) -> int | None:
        """Line of `loc`, or of its nearest ancestor that stands in the file."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc)

    def issue(self, loc: Loc, problem: str, *, allowed: str = "", fix: str = "") -> ConfigIssue:
        """An issue located at `loc` of this document, or where its value was taken from."""
        key = str(loc[0]) if loc else ""
        is_overridden = key in self.overridden
        if key in self.supplied and not is_overridden:
            file, path = self.supplied[key]
            return ConfigIssue(path, problem, allowed, fix, file)
        return ConfigIssue(
            path=dotted(loc),
            problem=problem,
            allowed=allowed,
            fix=fix,
            file="the command line" if is_overridden else self.file,
            line=None if is_overridden else self.line_of(loc),
        )


def dotted(loc: Loc) -> str:
    """`("a", "b", 1)` -> `a.b[1]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


def read_yaml(path: Path) -> YamlDocument:
    """Read one YAML mapping.

    Raises:
        ConfigError: If the file is missing, unreadable, not UTF-8, not YAML, or not a mapping.
    """
    return parse_yaml(_read_text(path), file=str(path))


def parse_yaml(text: str, *, file: str) -> YamlDocument:
    """Parse one YAML mapping from text; `file` is the name used in messages.

    Raises:
        ConfigError: If the text is not one YAML mapping, or holds duplicate keys or YAML traps.
    """
    try:
        _require_moderate(text, file)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_issue(error, text, file)]) from error
    except yaml.YAMLError as error:
        raise ConfigError([ConfigIssue("", f"not valid YAML: {error}", file=file)]) from error
    if node is None:
        raise ConfigError(
            [ConfigIssue("", "the file is empty", allowed="a YAML mapping of fields", file=file)]
        )
    if not isinstance(node, yaml.MappingNode):
        problem = f"the file holds a {_kind_of(node)}, not fields"
        raise ConfigError(
            [
                ConfigIssue(
                    "", problem, allowed="lines of the form `field: value`", file=file, line=1
                )
            ]
        )
    builder = _Builder(file)
    try:
        data = builder.build(node, ())
    except RecursionError as error:  # mappings that are merged into each other, a thousand times
        raise ConfigError([ConfigIssue("", _TOO_DEEP, file=file)]) from error
    if builder.issues:
        raise ConfigError(builder.issues)
    return YamlDocument(file=file, data=data, lines=builder.lines, texts=builder.texts)


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML 1.1 text in block style, keys in the given order, nested sequences indented.

    Texts that YAML 1.1 would read as something else are quoted and floats in exponent form carry a
    dot and a sign, so that the result reads back equal here and in Sequifier.
    """
    return yaml.dump(
        data, Dumper=_IndentedDumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


class _IndentedDumper(yaml.SafeDumper):
    """Indents the items of a sequence below their key, and never writes anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the signature of PyYAML
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature of PyYAML
        return True


class _Builder:
    """Turns composed nodes into plain values, keeping lines and collecting issues."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Loc, int] = {}
        self.texts: dict[Loc, str] = {}
        self.issues: list[ConfigIssue] = []
        self._open: set[int] = set()
        self._seen: set[int] = set()
        self._num_repeated = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, loc: Loc) -> Any:
        if id(node) in self._seen:
            self._count_repeated(loc, node)
        if len(loc) > _MAX_DEPTH:
            raise ConfigError([self._issue((), node, _TOO_DEEP)])
        self._seen.add(id(node))
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if node.tag not in _STANDARD_TAGS:
            shown = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._complain(loc, node, f"the tag {shown} is not allowed", fix="remove the tag")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        if id(node) in self._open:
            self._complain(loc, node, "an alias that contains itself")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, loc)
            return [self.build(item, (*loc, i)) for i, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        if "\0" in node.value:  # no path may hold it, nor may Postgres
            self._complain(loc, node, "the text contains the character NUL", fix="remove it")
            return None
        if node.tag.endswith((":int", ":float")) and len(node.value) > _MAX_NUMBER:
            problem = f"a number of {len(node.value):,} characters"
            self._complain(loc, node, problem, fix="put it in quotes if it is text")
            return None
        if not node.style:  # None from the Python loader, "" from the C loader
            self.texts[loc] = node.value
            if node.tag.endswith((":int", ":float")) and _SURPRISING_NUMBER.fullmatch(node.value):
                self._complain(
                    loc,
                    node,
                    f"YAML reads {node.value} as {self._scalars.construct_object(node)}",
                    fix=f"put it in quotes if it is a name ('{node.value}'), "
                    "or write the plain decimal number",
                )
        try:
            return self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            self._complain(
                loc, node, f"cannot read {_shortened(node.value)!r}: {error}", "quote it"
            )
            return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        first_line: dict[Any, int] = {}
        for key_node, value_node in self._entries(node, loc):
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(loc, key_node, "a list or mapping cannot be the name of a field")
                continue
            key = self._scalar(key_node, (*loc, f"<key {key_node.value}>"))
            part = key if isinstance(key, (str, int)) and not isinstance(key, bool) else str(key)
            if isinstance(part, int):
                part = str(part)  # a number as a name is not an index
            here = (*loc, part)
            if not isinstance(key, str) and str(key) != key_node.value:
                read = {True: "true", False: "false", None: "null"}.get(key, key)
                self._complain(
                    (*loc, key_node.value),
                    key_node,
                    f"YAML reads the name `{key_node.value}` as {read}",
                    fix=f"put it in quotes: `'{key_node.value}':`",
                )
                continue
            line = key_node.start_mark.line + 1
            if key in first_line:
                self._complain(
                    here,
                    key_node,
                    f"given twice, first on line {first_line[key]}",
                    fix="keep one of the two",
                )
                continue
            first_line[key] = line
            self.lines[here] = line
            result[key] = self.build(value_node, here)
        return result

    def _entries(self, node: yaml.MappingNode, loc: Loc) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The mapping's own entries, then those of `<<` that it does not override."""
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        own_keys = set()
        for key_node, value_node in node.value:
            if key_node.tag != "tag:yaml.org,2002:merge":
                own_keys.add(key_node.value if isinstance(key_node, yaml.ScalarNode) else None)
                yield key_node, value_node
                continue
            sources = (
                value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            )
            for source in sources:
                self._count_repeated(loc, value_node)
                if not isinstance(source, yaml.MappingNode) or id(source) in self._open:
                    self._complain(loc, value_node, "`<<` needs a mapping, or a list of mappings")
                    continue
                for entry in self._entries(source, loc):
                    self._count_repeated(loc, value_node)
                    merged.append(entry)
        for key_node, value_node in merged:
            if key_node.value not in own_keys:
                own_keys.add(key_node.value)
                yield key_node, value_node

    def _count_repeated(self, loc: Loc, node: yaml.Node) -> None:
        self._num_repeated += 1
        if self._num_repeated > _MAX_REPEATED:
            raise ConfigError([self._issue(loc, node, "aliases expand to too many values")])

    def _issue(self, loc: Loc, node: yaml.Node, problem: str, fix: str = "") -> ConfigIssue:
        return ConfigIssue(
            dotted(loc), problem, fix=fix, file=self.file, line=node.start_mark.line + 1
        )

    def _complain(self, loc: Loc, node: yaml.Node, problem: str, fix: str = "") -> None:
        self.issues.append(self._issue(loc, node, problem, fix))


def _read_text(path: Path) -> str:
    def failed(problem: str, fix: str = "") -> ConfigError:
        return ConfigError([ConfigIssue("", problem, fix=fix, file=str(path))])

    try:
        if path.is_dir():
            raise failed("is a folder, not a file", "name the YAML file inside it")
        raw = read_plain(path, _MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise failed(
            "the file does not exist", f"check the path; it is relative to {Path.cwd()}"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise failed(f"the file cannot be read: {reason}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problem = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        issue = ConfigIssue("", problem, fix="save the file as UTF-8", file=str(path), line=line)
        raise ConfigError([issue]) from error


def _require_moderate(text: str, file: str) -> None:
    """Look at a file before it is read as a whole: PyYAML sets no limits, and overflows the stack.

    Raises:
        ConfigError: If it holds far more than a configuration can.
        yaml.YAMLError: If it is not YAML.
    """
    num_values = depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            continue
        num_values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        problem = ""
        if depth > _MAX_DEPTH:
            problem = _TOO_DEEP
        elif num_values > _MAX_VALUES:
            problem = f"more than {_MAX_VALUES:,} names and values, which no configuration has"
        if problem:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise ConfigError([ConfigIssue("", problem, file=file, line=line)])


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _syntax_issue(error: yaml.MarkedYAMLError, text: str, file: str) -> ConfigIssue:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    parts = [part for part in (error.context, error.problem) if part]
    problem = f"not valid YAML: {' '.join(parts)}"
    source = text.splitlines()
    shown = source[mark.line].rstrip() if mark and mark.line < len(source) else ""
    fix = ""
    if shown:
        problem += f"\n  {_shortened(redacted_url(redacted_text(shown.strip())))}"
    if "\t" in shown[: len(shown) - len(shown.lstrip())] or "'\\t'" in problem:
        fix = "indent with spaces; YAML does not allow tabs"
    return ConfigIssue("", problem, fix=fix, file=file, line=line)


def _kind_of(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "single value"
