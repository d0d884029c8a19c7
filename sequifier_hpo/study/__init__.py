"""The study: all that the other rooms see of Optuna and its storages."""

from sequifier_hpo.study.batch_plans import batch_plan_attributes, batch_plan_of
from sequifier_hpo.study.locks import Lease, Owner
from sequifier_hpo.study.notes import Artifact
from sequifier_hpo.study.snapshot import StudyMissingError, StudySnapshot, read_study
from sequifier_hpo.study.storages import HEARTBEAT_SECONDS, Storage, StorageFaultError
from sequifier_hpo.study.study import SearchPlan, SearchStudy
from sequifier_hpo.study.trials import (
    METRIC,
    Claim,
    LeaseLostError,
    SpaceChangedError,
    TrialStudy,
)
from sequifier_hpo.study.verification import Retraining, VerificationStudy, verification_name

__all__ = [
    "HEARTBEAT_SECONDS",
    "METRIC",
    "Artifact",
    "Claim",
    "Lease",
    "LeaseLostError",
    "Owner",
    "Retraining",
    "SearchPlan",
    "SearchStudy",
    "SpaceChangedError",
    "Storage",
    "StorageFaultError",
    "StudyMissingError",
    "StudySnapshot",
    "TrialStudy",
    "VerificationStudy",
    "batch_plan_attributes",
    "batch_plan_of",
    "read_study",
    "verification_name",
]
