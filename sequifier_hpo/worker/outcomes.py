"""What an error means for a trial."""

from sequifier_hpo.errors import SequifierHpoError
from sequifier_hpo.records import OutcomeKind, TrainingResult
from sequifier_hpo.training.memory import is_out_of_memory


def outcome_of_error(error: Exception, batch_size: int) -> TrainingResult:
    """The outcome of a trial that raised an error."""
    if is_out_of_memory(error):
        kind, reason = OutcomeKind.OUT_OF_MEMORY, _first_line(error)
    elif isinstance(error, SequifierHpoError):
        kind, reason = OutcomeKind.INVALID, str(error)
    else:
        kind, reason = OutcomeKind.CRASHED, f"{type(error).__name__}: {_first_line(error)}"
    return TrainingResult(kind=kind, reason=reason, batch_size=batch_size)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["(no message)"])[0]
