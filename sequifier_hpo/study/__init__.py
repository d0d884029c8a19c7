"""The ledger of a study: all that the other rooms see of Optuna's storages."""

from sequifier_hpo.study.batch_plans import batch_plan_attributes, batch_plan_of
from sequifier_hpo.study.claims import Claim, Description, LeaseLostError, Place
from sequifier_hpo.study.ledger import Ledger
from sequifier_hpo.study.locks import Owner, OwnerLock
from sequifier_hpo.study.notes import Artifact
from sequifier_hpo.study.opening import (
    METRIC,
    NO_CONSENT,
    Consent,
    DataChangedError,
    Permit,
    SpaceChangedError,
    StudyIdentity,
    StudyMovedOnError,
    StudyPlan,
    UnknownDataError,
)
from sequifier_hpo.study.proposing import EndedRun, Exhausted, History, Proposal, Proposer, Wait
from sequifier_hpo.study.snapshot import StudySnapshot, read_study
from sequifier_hpo.study.storages import (
    HEARTBEAT_SECONDS,
    Storage,
    StorageFaultError,
    StudyMissingError,
)

__all__ = [
    "HEARTBEAT_SECONDS",
    "METRIC",
    "NO_CONSENT",
    "Artifact",
    "Claim",
    "Consent",
    "DataChangedError",
    "Description",
    "EndedRun",
    "Exhausted",
    "History",
    "LeaseLostError",
    "Ledger",
    "Owner",
    "OwnerLock",
    "Permit",
    "Place",
    "Proposal",
    "Proposer",
    "SpaceChangedError",
    "Storage",
    "StorageFaultError",
    "StudyIdentity",
    "StudyMissingError",
    "StudyMovedOnError",
    "StudyPlan",
    "StudySnapshot",
    "UnknownDataError",
    "Wait",
    "batch_plan_attributes",
    "batch_plan_of",
    "read_study",
]
