"""The commands of the program, each loaded when it is run: to list them takes no libraries."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

import typer
from typer.core import TyperGroup

from sequifier_hpo.cli.options import ListsLikeSequifier

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "init": ("init", "Create a project with real data, ready to run."),
    "preprocess": ("preprocess", "Turn a table of events into windows to train on."),
    "plan": ("plan", "Show what a search would run; runs nothing."),
    "hyperparameter-search": ("search", "Run a hyperparameter search."),
    "status": ("status", "Show the progress of a study and its best runs."),
    "best": ("best", "Show the best run of a study, copy or verify it."),
    "verify": ("verify", "Check the winner of a search with other seeds."),
    "export": ("export", "Write all runs of a study as CSV or JSON."),
    "report": ("report", "Write a study as one HTML file that opens offline."),
    "replay": ("replay", "Compare ways to search on a table of trained runs."),
    "dashboard": ("dashboard", "Open optuna-dashboard on a study, read-only."),
    "train": ("train", "Train one model from a `train.yaml`."),
    "evaluate": ("evaluate", "Say what a model is worth."),
    "compare": ("compare", "Compare runs or studies on the same events."),
    "refit": ("refit", "Train the best run on validation data too."),
    "predict": ("predict", "Predict the next event of each sequence of a table."),
    "doctor": ("doctor", "Check that everything a search needs is there."),
}
"""Name of a command, with dashes for the underscores of its function -> its module in this room, and
the first sentence of its help."""

MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("search", "hpo", "tune", "optimize", "sweep", "run", "resume"), "hyperparameter-search"
    ),
    **dict.fromkeys(("infer", "inference"), "predict"),
    "test": "evaluate",
    **dict.fromkeys(("fit", "retrain"), "train"),
    **dict.fromkeys(("prepare", "encode"), "preprocess"),
    **dict.fromkeys(("list", "ls", "show"), "status"),
    **dict.fromkeys(("create", "new"), "init"),
}
"""What people type who know another program -> the command that it is here."""


class Commands(TyperGroup):
    """The program: it loads a command's module only to run it, or to show its help."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        """Names of all commands, in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as above
        """A command, loaded; None if there is none of that name."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.add_command(_loaded(cmd_name), cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that arguments begin with; a word that is none is answered by what is meant."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command `{word}`{_hint(word)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


def function_of(name: str) -> Callable[..., None]:
    """The function behind a command."""
    module = importlib.import_module(f"sequifier_hpo.cli.{COMMANDS[name][0]}")
    function: Callable[..., None] = getattr(module, name.replace("-", "_"))
    return function


def _loaded(name: str) -> Any:
    function = function_of(name)
    program = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.command(name, cls=ListsLikeSequifier, help=_help_of(function))(function)
    return typer.main.get_command(program)


def _help_of(function: Callable[..., None]) -> str:
    """The docstring of a command, with examples that no terminal width breaks."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{text}" if text.startswith("Example:") else text for text in paragraphs
    )


def _hint(word: str) -> str:
    word = word.lower()
    close = get_close_matches(word, (*COMMANDS, *MEANT), n=1, cutoff=0.6)
    return "".join(f"; did you mean `{MEANT.get(found, found)}`?" for found in close)
