"""The run of a study that a command is to use."""

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import leaderboard
from sequifier_hpo.study import StudySnapshot
from sequifier_hpo.words import run_numbers


class NoRunError(InputError):
    """A study has no complete run yet."""

    exit_code = 4


def chosen_run(source: StudySource, snapshot: StudySnapshot, number: int | None) -> Run:
    """The run of that number; None = the best.

    Raises:
        NoRunError: If the best is wanted and none is complete.
        InputError: If there is no run of that number.
    """
    ranked = leaderboard(snapshot.runs)
    if number is None:
        if not ranked:
            raise NoRunError(
                f"no run of the study {source.name} is complete yet",
                f"`sequifier-hpo status {source.options}` shows what happened to them; --run takes "
                "any run that has a checkpoint",
            )
        return ranked[0]
    for run in snapshot.runs:
        if run.number == number:
            return run
    known = run_numbers([run.number for run in snapshot.runs])
    raise InputError(f"the study {source.name} has no run {number}", f"it has {known or 'none'}")
