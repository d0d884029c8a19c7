"""What a command tells its user besides its result."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads the models of all files, which takes a third of a second
    from sequifier_hpo.config.locate import StudySource


def say(text: str) -> None:
    """Tell the user something that is not the result, on standard error."""
    print(text, file=sys.stderr, flush=True)


def none_to_show(source: "StudySource") -> str:
    """That a study has no complete run, and where to see why."""
    return (
        f"no run of the study {source.name} is complete yet\n\n"
        f"next:\n  sequifier-hpo status {source.options}    # see what happened to them"
    )
