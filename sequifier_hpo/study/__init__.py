"""The study: all that the other rooms see of Optuna and its storages."""

from sequifier_hpo.study.locks import Lease, Owner
from sequifier_hpo.study.runs import Run, RunState
from sequifier_hpo.study.storages import HEARTBEAT_SECONDS, Storage, redacted, sqlite_url
from sequifier_hpo.study.study import (
    METRIC,
    Claim,
    LeaseLostError,
    SearchPlan,
    SearchStudy,
    SpaceChangedError,
    StudySnapshot,
    read_study,
)

__all__ = [
    "HEARTBEAT_SECONDS",
    "METRIC",
    "Claim",
    "Lease",
    "LeaseLostError",
    "Owner",
    "Run",
    "RunState",
    "SearchPlan",
    "SearchStudy",
    "SpaceChangedError",
    "Storage",
    "StudySnapshot",
    "read_study",
    "redacted",
    "sqlite_url",
]
