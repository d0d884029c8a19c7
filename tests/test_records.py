"""What the end of a process says about the trial in it."""

import signal

import pytest

from sequifier_hpo.records import OutcomeKind, result_of_exit


@pytest.mark.parametrize(
    ("exit_code", "kind", "word"),
    [
        (-signal.SIGKILL, OutcomeKind.OUT_OF_MEMORY, "SIGKILL"),
        (-signal.SIGSEGV, OutcomeKind.CRASHED, "SIGSEGV"),
        (-signal.SIGABRT, OutcomeKind.CRASHED, "SIGABRT"),
        (0, OutcomeKind.CRASHED, "exited with code 0 before"),
        (3, OutcomeKind.CRASHED, "exited with code 3 before"),
    ],
)
def test_a_process_that_ends_without_a_word_has_an_outcome_with_a_reason(
    exit_code: int, kind: OutcomeKind, word: str
) -> None:
    result = result_of_exit(exit_code, batch_size=32)

    assert (result.kind, result.batch_size) == (kind, 32)
    assert word in result.reason
