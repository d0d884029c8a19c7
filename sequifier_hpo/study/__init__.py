"""The ledger of a study: all that the other rooms see of Optuna's storages."""

from sequifier_hpo.study.batch_plans import batch_plan_attributes, batch_plan_of, memory_attributes
from sequifier_hpo.study.claims import Claim, Description, LeaseLostError, Place
from sequifier_hpo.study.identity import Strategy, StudyIdentity
from sequifier_hpo.study.ledger import Ledger
from sequifier_hpo.study.lessons import NOTHING_EARLIER, Earlier, WarmStart
from sequifier_hpo.study.liveness import as_it_stands
from sequifier_hpo.study.locks import Owner, OwnerLock
from sequifier_hpo.study.notes import Artifact
from sequifier_hpo.study.opening import METRIC, NO_CONSENT, Consent
from sequifier_hpo.study.plan import Permit, StudyPlan
from sequifier_hpo.study.proposing import (
    Again,
    Answer,
    Curves,
    EndedRun,
    Exhausted,
    GoOn,
    History,
    KnownRuns,
    Limit,
    NoPruner,
    Proposal,
    Proposer,
    Pruner,
    SpaceRevision,
    StopAt,
    TrainedRun,
    Undecided,
    Verdict,
    Wait,
)
from sequifier_hpo.study.refusals import (
    DataChangedError,
    SpaceChange,
    SpaceChangedError,
    StudyMovedOnError,
    UnknownDataError,
)
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
    "NOTHING_EARLIER",
    "NO_CONSENT",
    "Again",
    "Answer",
    "Artifact",
    "Claim",
    "Consent",
    "Curves",
    "DataChangedError",
    "Description",
    "Earlier",
    "EndedRun",
    "Exhausted",
    "GoOn",
    "History",
    "KnownRuns",
    "LeaseLostError",
    "Ledger",
    "Limit",
    "NoPruner",
    "Owner",
    "OwnerLock",
    "Permit",
    "Place",
    "Proposal",
    "Proposer",
    "Pruner",
    "SpaceChange",
    "SpaceChangedError",
    "SpaceRevision",
    "StopAt",
    "Storage",
    "StorageFaultError",
    "Strategy",
    "StudyIdentity",
    "StudyMissingError",
    "StudyMovedOnError",
    "StudyPlan",
    "StudySnapshot",
    "TrainedRun",
    "Undecided",
    "UnknownDataError",
    "Verdict",
    "Wait",
    "WarmStart",
    "as_it_stands",
    "batch_plan_attributes",
    "batch_plan_of",
    "memory_attributes",
    "read_study",
]
