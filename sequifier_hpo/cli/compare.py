"""`sequifier-hpo compare`: models on the same events."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.cli.comparison_text import comparison_text
from sequifier_hpo.cli.options import AsJson
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import DEFAULT_SEARCH_FILE
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.config.train import VALIDATION
from sequifier_hpo.errors import InputError

_Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL ...",
        help="A search file (its best run), FILE:5 (its run 5), 5, or an ONNX model.",
    ),
]
_Split = Annotated[
    str, typer.Option(metavar="NAME", help="validation or test; default: validation.")
]
_Report = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write a page with tables and a chart: one HTML file that opens offline.",
        parser=expanded_path,
    ),
]


def compare(
    models: _Models,
    split: _Split = VALIDATION,
    report: _Report = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Compare runs or studies on the same events.

    Their losses, and how far the differences may be chance: intervals from the losses of each
    sequence, drawn again and again.

    Example: sequifier-hpo compare configs/old.yaml configs/new.yaml
    """
    if len(models) < 2:
        raise InputError("there is nothing to compare with", "name two models or more")
    # What reads studies and models takes half a second to load.
    from sequifier_hpo.cli.chosen import chosen_model  # noqa: PLC0415
    from sequifier_hpo.inference.comparing import compare as compared  # noqa: PLC0415
    from sequifier_hpo.inference.evaluating import what_is_judged  # noqa: PLC0415
    from sequifier_hpo.report.comparison_page import comparison_page  # noqa: PLC0415
    from sequifier_hpo.report.page_frame import read_assets  # noqa: PLC0415

    judged = what_is_judged(split, None)
    with ExitStack() as stack:
        chosen = [
            stack.enter_context(chosen_model(file, None, None, run, model, None))
            for file, run, model in map(named, models)
        ]
        found = compared(chosen, judged.split, say)
    print(json.dumps(found, indent=2) if as_json else comparison_text(found))
    if report is not None:
        write_atomically(report, comparison_page(found, read_assets()))
        say(f"wrote {report}")


def named(text: str) -> tuple[Path | None, int | None, Path | None]:
    """What an argument names: (search file, run, model file); None = the usual one, or the best."""
    if text.endswith(".onnx"):
        return None, None, Path(text)
    if text.isdecimal():
        return DEFAULT_SEARCH_FILE, int(text), None
    file, colon, run = text.rpartition(":")
    if colon and run.isdecimal():
        return Path(file), int(run), None
    return Path(text), None, None
