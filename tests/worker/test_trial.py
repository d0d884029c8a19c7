"""What a worker does about a trial besides training it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sequifier_hpo.config.run_file import run_file_text
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.messages import BaselinesFound, EpochDone, FromWorker, RunTrial
from sequifier_hpo.records import Counted, DataDigest, OutcomeKind, RunIdentity, SplitDigest
from sequifier_hpo.training.baselines import compute_baselines
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.worker.trial import run_trial
from tests.training.conftest import make_config, make_data, pad

__all__ = ["make_config", "make_data"]

MakeConfig = Callable[..., TrainConfig]
MakeData = Callable[..., TrainingData]


def order_of(config: TrainConfig, **changes: Any) -> RunTrial:
    usual = {"trial_number": 3, "attempt": 1, "config_path": None, "resume": False}
    return RunTrial(config=config, **{**usual, **changes})


@pytest.fixture
def carry_out(make_data: MakeData) -> Callable[[RunTrial], list[FromWorker]]:
    """A function: order -> the messages that come of it."""

    def carry_out(order: RunTrial) -> list[FromWorker]:
        sent: list[FromWorker] = []
        result = run_trial(order, lambda: make_data(change=pad), sent.append, lambda: False)
        assert result.kind is OutcomeKind.COMPLETED
        return sent

    return carry_out


CarryOut = Callable[[RunTrial], list[FromWorker]]


def test_baselines_are_sent_before_the_first_epoch(
    make_config: MakeConfig, make_data: MakeData, carry_out: CarryOut
) -> None:
    config, counted = make_config(), Counted(last_positions=2)

    sent = carry_out(order_of(config, wants_baselines=True, counted=counted))

    found = compute_baselines(config, make_data(change=pad), counted, lambda: False)
    assert len(found) == 2
    assert sent[0] == BaselinesFound(trial_number=3, baselines=found)
    text = config.paths.log("small").read_text()
    assert f"trivial predictor, class frequencies: {found[0].loss:.6e}" in text


def test_a_run_has_the_same_losses_with_and_without_baselines(
    make_config: MakeConfig, carry_out: CarryOut
) -> None:
    runs = [
        [
            (message.report.train_loss, message.report.validation_loss)
            for message in carry_out(order_of(make_config(dropout=0.2), wants_baselines=wants))
            if isinstance(message, EpochDone)
        ]
        for wants in (True, False)
    ]

    assert runs[0] == runs[1] != []


def test_unwanted_baselines_are_not_sent(make_config: MakeConfig, carry_out: CarryOut) -> None:
    sent = carry_out(order_of(make_config()))

    assert not [message for message in sent if isinstance(message, BaselinesFound)]


def test_baselines_that_cannot_be_computed_cost_a_line_of_the_log(
    make_config: MakeConfig, carry_out: CarryOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes")

    monkeypatch.setattr("sequifier_hpo.training.baselines.frequencies_after", fail)
    config = make_config()

    sent = carry_out(order_of(config, wants_baselines=True))

    assert not [message for message in sent if isinstance(message, BaselinesFound)]
    text = config.paths.log("small").read_text()
    assert "WARNING | the trivial predictors were not computed: DefaultCPUAllocator" in text


def test_a_trial_that_is_known_to_run_out_of_memory_is_not_trained(
    make_config: MakeConfig, make_data: MakeData
) -> None:
    config = make_config(batch_size=2)
    path = config.paths.root / "small.yaml"
    sent: list[FromWorker] = []
    order = order_of(config, config_path=str(path), foreseen="too large", notes=["too large"])

    result = run_trial(order, make_data, sent.append, lambda: False)

    assert (result.kind, result.reason) == (OutcomeKind.OUT_OF_MEMORY, "too large")
    assert (result.batch_size, result.is_certain) == (2, False)
    assert [message.kind for message in sent] == ["trial_ended"]
    assert "batch_size: 2" in path.read_text()
    assert "too large" in config.paths.log("small").read_text()


def test_the_run_file_says_what_counts_and_whose_it_is(
    make_config: MakeConfig, carry_out: CarryOut
) -> None:
    config = make_config()
    split = SplitDigest(num_windows=1, window_length=5, columns={})
    identity = RunIdentity(
        study_id="3f2a-77", key="k", data=DataDigest(training=split, validation=split)
    )
    path = config.paths.root / "small.yaml"

    carry_out(
        order_of(
            config, config_path=str(path), counted=Counted(last_positions=2), identity=identity
        )
    )

    assert path.read_text() == run_file_text(config, 2, "3f2a-77")


@pytest.mark.parametrize(("last_positions", "is_shown"), [(2, True), (5, False), (None, False)])
def test_the_logs_show_the_loss_over_all_positions_where_it_is_another(
    make_config: MakeConfig, carry_out: CarryOut, last_positions: int | None, *, is_shown: bool
) -> None:
    config = make_config()

    sent = carry_out(order_of(config, counted=Counted(last_positions=last_positions)))

    reports = [message.report for message in sent if isinstance(message, EpochDone)]
    lines = [json.loads(line) for line in config.paths.metrics("small").read_text().splitlines()]
    beside = [line["validation_loss_all_positions"] for line in lines if line["event"] == "epoch"]
    assert beside == [report.validation_loss_all_positions for report in reports]
    text = config.paths.log("small").read_text()
    assert ("all positions: " in text) is is_shown
    assert all((loss is not None) is is_shown for loss in beside)
    (end,) = [line for line in lines if line["event"] == "end"]
    assert end["best_validation_loss_all_positions"] in beside
