"""What an error means for a trial."""

from sequifier_hpo.errors import SequifierHpoError
from sequifier_hpo.records import OutcomeKind, TrainingResult
from sequifier_hpo.training.memory import is_certain, is_out_of_memory
from sequifier_hpo.words import first_line


def outcome_of_error(error: Exception, batch_size: int) -> TrainingResult:
    """The outcome of a trial that raised an error."""
    said = first_line(error, if_silent="(no message)")
    certain = False
    if is_out_of_memory(error):
        kind, reason, certain = OutcomeKind.OUT_OF_MEMORY, said, is_certain(error)
    elif isinstance(error, SequifierHpoError):
        kind, reason = OutcomeKind.INVALID, str(error)
    else:
        kind, reason = OutcomeKind.CRASHED, f"{type(error).__name__}: {said}"
    return TrainingResult(kind=kind, reason=reason, batch_size=batch_size, is_certain=certain)
