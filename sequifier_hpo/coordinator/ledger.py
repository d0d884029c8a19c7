"""What a coordinator needs from a study: runs to train, and a place for their results."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sequifier_hpo.records import Baseline
from sequifier_hpo.study import Artifact, Claim, Verdict


class Ledger(Protocol):
    """Who holds which run, and its outcome.

    Every method that touches the storage may raise `StorageFaultError`. It can then be called
    again with the same arguments, whether or not the storage had carried it out. What changes a
    trial raises `LeaseLostError` if another coordinator has taken it over.
    """

    waits_for: Sequence[int]
    """Runs that must end before there is one to claim, as of the last claim that gave none."""
    could_free: str
    """Which setting would shorten that wait if it was larger; "" = none."""

    def claim(self) -> Claim | None:
        """Take the next run; None = all are taken, or others must end first."""

    def is_anything_left(self) -> bool:
        """Whether a claim may still succeed, now or when another coordinator's run is lost."""

    def look_at_others(self) -> None:
        """Read the newest epochs of the runs that other coordinators train."""

    def verdict(self, claim: Claim) -> Verdict:
        """What becomes of a run after the epochs that it has been through, as far as is known."""

    def report(self, claim: Claim, epoch: int, validation_loss: float) -> None:
        """Store an epoch's validation loss."""

    def annotate(self, claim: Claim, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a running trial."""

    def losses(self, claim: Claim) -> Mapping[int, float]:
        """Validation loss per epoch of the run of a claim, those of earlier trials included."""

    def complete(
        self,
        claim: Claim,
        validation_loss: float,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store the result of a run."""

    def prune(
        self,
        claim: Claim,
        rung: int,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store that a run was stopped at a rung, and nothing of what came after it."""

    def fail(
        self,
        claim: Claim,
        reason: str,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store that a trial failed; the reason `interrupted` leaves its run to be continued."""

    def keep_baselines(self, baselines: Sequence[Baseline]) -> None:
        """Store the losses of the trivial predictors."""

    def beat(self, claims: Sequence[Claim]) -> None:
        """Tell the others that these trials are alive."""

    def judge_later(self) -> None:
        """Let everyone beat again before anyone is taken for dead."""
