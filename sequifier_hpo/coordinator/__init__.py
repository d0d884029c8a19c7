"""The coordinator: decides what runs (reducer), performs it (loop) in worker processes (pool)."""

from sequifier_hpo.coordinator.loop import ActiveRun, Coordinator, Observer, SearchEnd
from sequifier_hpo.coordinator.pool import WorkerGone, WorkerPool, WorkerSpec
from sequifier_hpo.coordinator.reducer import Policy

__all__ = [
    "ActiveRun",
    "Coordinator",
    "Observer",
    "Policy",
    "SearchEnd",
    "WorkerGone",
    "WorkerPool",
    "WorkerSpec",
]
