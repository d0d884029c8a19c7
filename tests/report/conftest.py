"""Studies as values: runs with plausible losses, without a storage."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.report.data import ReportData

START = datetime(2026, 3, 1, 12, 0, 0)  # noqa: DTZ001 - storages give local time without a zone

MakeRun = Callable[..., Run]
MakeData = Callable[..., ReportData]


def _make_run(number: int, loss: float | None = None, **changes: Any) -> Run:
    state = RunState.COMPLETE if loss is not None else RunState.FAILED
    started = START + timedelta(seconds=10 * (number // 2))
    losses = {} if loss is None else {1: loss + 0.5, 2: loss + 0.1, 3: loss, 4: loss + 0.01}
    values: dict[str, Any] = {
        "number": number,
        "trial_number": number,
        "state": state,
        "validation_loss": loss,
        "labels": {
            "model_backbone": ("0: dim_model=16 n_head=2", "1: dim_model=32 n_head=4")[number % 2],
            "dropout": ("0: 0.0", "1: 0.1", "2: 0.2")[number % 3],
        },
        "losses": losses,
        "attributes": {"best_epoch": 3, "seconds": 9.5, "oom_retries": 0, "owner": "{}"},
        "reason": "" if loss is not None else "diverged",
        "duplicate_of": None,
        "started": started,
        "ended": started + timedelta(seconds=9),
        "num_trials": 1,
    }
    return Run(**{**values, **changes})


@pytest.fixture
def make_run() -> MakeRun:
    """One run; a loss makes it complete, without one it has failed."""
    return _make_run


@pytest.fixture
def make_data() -> MakeData:
    """A study: by default of so many runs, the losses falling and rising with their numbers."""

    def make(num_runs: int = 8, **changes: Any) -> ReportData:
        runs = [_make_run(i, 1.0 + (i * 37 % 101) / 100) for i in range(num_runs)]
        values: dict[str, Any] = {
            "study_name": "shop",
            "storage": "sqlite:///studies/shop/study.db",
            "strategy": "sample",
            "num_runs": max(num_runs, 1),
            "runs": runs,
            "read_at": START + timedelta(hours=1),
            "baselines": (Baseline(name="class frequencies", loss=2.5),),
            "best_file": "configs/hp_search/shop-run-0.yaml",
            "best_yaml": "model_name: shop-run-0\n",
        }
        return ReportData(**{**values, **changes})

    return make
