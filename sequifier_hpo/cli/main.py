"""The `sequifier-hpo` program: its commands, and how errors become text and exit codes."""

import errno
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from sequifier_hpo import __version__
from sequifier_hpo.atomic import MAKE_ROOM
from sequifier_hpo.cli.best import best
from sequifier_hpo.cli.compare import compare
from sequifier_hpo.cli.dashboard import dashboard
from sequifier_hpo.cli.doctor import doctor
from sequifier_hpo.cli.evaluate import evaluate
from sequifier_hpo.cli.export import export
from sequifier_hpo.cli.init import init
from sequifier_hpo.cli.lasting import lasting_output, why_incomplete
from sequifier_hpo.cli.options import ListsLikeSequifier
from sequifier_hpo.cli.plan import plan
from sequifier_hpo.cli.predict import predict
from sequifier_hpo.cli.preprocess import preprocess
from sequifier_hpo.cli.refit import refit
from sequifier_hpo.cli.replay import replay
from sequifier_hpo.cli.report import report
from sequifier_hpo.cli.search import hyperparameter_search
from sequifier_hpo.cli.status import status
from sequifier_hpo.cli.train import train
from sequifier_hpo.cli.verify import verify
from sequifier_hpo.cli.visible_output import visible_output
from sequifier_hpo.errors import EnvironmentFaultError, SequifierHpoError

_FIX_OF_FAULT = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), MAKE_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check that it is writable"),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE),
        "raise the limit on open files, for example with `ulimit -n 1024`",
    ),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "close other programs, or lower `workers`"),
    errno.EIO: "check the disk",
    errno.ELOOP: "look at it, and remove it if nobody needs it",
}
"""Operating-system errors that are not our bugs."""


def _help_of(command: Callable[..., None]) -> str:
    """The docstring of a command, with examples that no terminal width breaks."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{text}" if text.startswith("Example:") else text for text in paragraphs
    )


app = typer.Typer(
    name="sequifier-hpo",
    help="Hyperparameter search for Sequifier models.\n\n"
    "Start with `sequifier-hpo init my-project`: a project with real data, ready to run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init,
    preprocess,
    plan,
    hyperparameter_search,
    status,
    best,
    verify,
    export,
    report,
    replay,
    dashboard,
    train,
    evaluate,
    compare,
    refit,
    predict,
    doctor,
):
    app.command(cls=ListsLikeSequifier, help=_help_of(command))(command)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - the callback's signature
    if wanted:
        print(f"sequifier-hpo {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[  # noqa: FBT002 - handled by its callback
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options that come before the command."""


def run() -> None:
    """Entry point of the program."""
    sys.exit(exit_code_of(app))


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command; turn its errors into messages and an exit code."""
    with lasting_output(), visible_output():
        code = _exit_code_of(command)
        sys.stdout.flush()
        if reason := why_incomplete(sys.stdout):
            print(f"warning: the output is incomplete: {reason}", file=sys.stderr)
    return code


def _exit_code_of(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as end:  # typer's way to end, usage errors included
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except SequifierHpoError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the edge of the program
        if (fault := _fault_of_the_machine(error)) is not None:
            print(f"error: {fault}", file=sys.stderr)
            return fault.exit_code
        traceback.print_exc()
        print("\nthis is a bug in sequifier-hpo; please report the lines above", file=sys.stderr)
        return 1
    return 0


def _fault_of_the_machine(error: Exception) -> EnvironmentFaultError | None:
    """What an error says about the machine; None if it is a bug."""
    if isinstance(error, MemoryError):
        return EnvironmentFaultError("out of memory", _FIX_OF_FAULT[errno.ENOMEM])
    encoding = sys.getfilesystemencoding()
    if isinstance(error, UnicodeEncodeError) and error.encoding == encoding != "utf-8":
        return EnvironmentFaultError(
            f"{error.object}: the encoding {encoding} of file names lacks a letter of it",
            "set LC_ALL=C.UTF-8, or PYTHONUTF8=1",
        )
    if not isinstance(error, OSError) or error.errno not in _FIX_OF_FAULT:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return EnvironmentFaultError(f"{where}{error.strerror}", _FIX_OF_FAULT[error.errno])
