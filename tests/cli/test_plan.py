"""`plan` beside a study: a new search where options make it one, and how long the rest takes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.cli.plan import _existing_study
from sequifier_hpo.cli.plan_strategy import epochs_per_second
from sequifier_hpo.config.search import load_search
from sequifier_hpo.records import Run, RunState
from sequifier_hpo.searchspace import EffectiveSpace, compile_space
from sequifier_hpo.study import SpaceChangedError
from tests.cli.conftest import Study
from tests.contract.conftest import data_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_other_input_columns_beside_a_study_are_planned_as_a_new_search(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_search(Path(study.file), overrides={"input_columns": [["price"]]})
    space = compile_space(loaded.config)
    prepared = PreparedSearch(
        loaded, space, EffectiveSpace(space, loaded.config.seed), study.url, None, print
    )

    vars(prepared)["data"] = data_of(product="a", price="b")  # there are none to be read

    assert _existing_study(prepared, may_be_other=True) is None
    told = capsys.readouterr().err
    assert "input_columns" in told
    assert "it is planned as a new one, and needs a name of its own" in told
    with pytest.raises(SpaceChangedError):
        _existing_study(prepared, may_be_other=False)


def run_of(number: int, began: int, ended: int, **changes: Any) -> Run:
    """A run of four epochs, from second to second after noon."""
    values: dict[str, Any] = {
        "number": number,
        "trial_number": number,
        "state": RunState.COMPLETE,
        "validation_loss": 1.0,
        "labels": {},
        "losses": dict.fromkeys(range(1, 5), 1.0),
        "attributes": {},
        "reason": "",
        "duplicate_of": None,
        "started": NOON + timedelta(seconds=began),
        "ended": NOON + timedelta(seconds=ended),
        "num_trials": 1,
    }
    return Run(**{**values, **changes})


def test_the_pace_of_a_study_is_that_of_its_runs_side_by_side_without_its_rests() -> None:
    beside, after_a_rest = [run_of(0, 0, 10), run_of(1, 2, 12)], run_of(2, 9000, 9012)
    interrupted = run_of(3, 0, 9000, num_trials=2)

    assert epochs_per_second([*beside, after_a_rest, interrupted]) == 12 / 24
    assert epochs_per_second([run_of(0, 0, 9, losses={})]) is None
