"""What can go wrong, as data: configuration issues and the exceptions that carry them.

Exit codes are part of the command line's contract: 0 done, 1 our bug, 2 the user's input,
3 the environment, 4 a search that ended without one successful run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sequifier_hpo.redaction import redacted_text

_MAX_SHOWN = 100  # mistakes in one message


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One mistake in one file: what is wrong, where, what is allowed, how to fix it."""

    path: str
    """Dotted path inside the file, as in `model_hyperparameter_sampling.n_head[1]`; "" = the file."""
    problem: str
    """What is wrong, with the value that was given."""
    allowed: str = ""
    """The values that would be accepted."""
    fix: str = ""
    """What to type next."""
    file: str = ""
    """The file as the user named it."""
    line: int | None = None
    """Line number from 1, or None when the issue has no line."""

    def __str__(self) -> str:
        """The issue as it is shown to a person: a headline and indented lines."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        lines = ["  ".join(part for part in (place, self.path) if part) or "configuration"]
        lines += [f"    {line}" for line in redacted_text(self.problem).splitlines()]
        if self.allowed:
            lines.append(f"    allowed: {self.allowed}")
        if self.fix:
            lines.append(f"    fix: {self.fix}")
        return "\n".join(lines)


class SequifierHpoError(Exception):
    """An error whose message is written for the user; shown without a traceback."""

    exit_code = 1


class ConfigError(SequifierHpoError):
    """One or more mistakes in the user's files; carries all of them."""

    exit_code = 2

    def __init__(self, issues: Sequence[ConfigIssue]) -> None:
        assert issues, "a ConfigError needs at least one issue"
        self.issues = tuple(issues)
        shown = [str(issue) for issue in self.issues[:_MAX_SHOWN]]
        if len(self.issues) > _MAX_SHOWN:
            shown.append(f"and {len(self.issues) - _MAX_SHOWN:,} more mistakes")
        super().__init__("\n\n".join(shown))


class InputError(SequifierHpoError):
    """The user's input is wrong in a way that has no line in a YAML file (data, arguments)."""

    exit_code = 2

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}\n    fix: {fix}" if fix else problem)


class NoSuccessError(SequifierHpoError):
    """A search ended without one successful run, or gave up."""

    exit_code = 4


class EnvironmentFaultError(SequifierHpoError):
    """The environment is at fault: storage unreachable, disk full, worker lost."""

    exit_code = 3

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}\n    fix: {fix}" if fix else problem)
