"""Runs whose validation loss counts the last positions of each window only."""

import json
from collections.abc import Callable

import onnx
import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import OutcomeKind
from sequifier_hpo.training.checkpoint import read_checkpoint
from sequifier_hpo.training.data.windows import TrainingData
from tests.training.conftest import Recorder, pad

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]


def odd_at_the_end(make_data: Data) -> TrainingData:
    """The better a run learns, the worse it is at the last two positions of validation."""
    data = make_data(change=pad)
    data.validation.columns["cat1"].values[:, -2:] = 3
    return data


def test_the_loss_that_counts_decides_and_the_other_is_kept_beside_it(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    config, data = make_config(epochs=4, learning_rate=0.03), odd_at_the_end(make_data)

    result = run(config, data, last_positions=2)

    losses = [report.validation_loss for report in run.epochs]
    beside = [report.validation_loss_all_positions or 0.0 for report in run.epochs]
    best = losses.index(min(losses))
    assert best != beside.index(min(beside)), "else it might be the other that decides"
    assert not set(losses) & set(beside)
    assert [report.is_best for report in run.epochs] == [
        loss < min(losses[:i], default=float("inf")) for i, loss in enumerate(losses)
    ]
    assert result.best_epoch == best + 1
    assert result.best_validation_loss == losses[best]
    assert result.best_validation_loss_all_positions == beside[best]


def test_training_is_the_same_whatever_counts(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    config, data = make_config(epochs=3), make_data(change=pad)
    run(config, data)
    usual = [(r.train_loss, r.validation_loss) for r in run.epochs]
    run.epochs.clear()

    run(config, data, last_positions=1)

    assert [(r.train_loss, r.validation_loss_all_positions) for r in run.epochs] == usual


@pytest.mark.parametrize("last_positions", [5, 6])
def test_a_run_all_of_whose_positions_count_has_one_loss(
    make_config: Config, make_data: Data, run: Recorder, last_positions: int
) -> None:
    config, data = make_config(), make_data(change=pad)
    usual = run(config, data)
    reports = [report.validation_loss for report in run.epochs]
    run.epochs.clear()

    result = run(config, data, last_positions=last_positions)

    assert [report.validation_loss for report in run.epochs] == reports
    assert {report.validation_loss_all_positions for report in run.epochs} == {None}
    assert result.best_validation_loss == usual.best_validation_loss
    assert result.best_validation_loss_all_positions is None


def test_the_schedule_follows_the_loss_that_counts(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    recipe = {"name": "ReduceLROnPlateau", "patience": 0}
    config = make_config(scheduler=recipe, epochs=6, learning_rate=0.03)

    run(config, odd_at_the_end(make_data), last_positions=2)

    followed, other = (
        rates(config, [getattr(report, name) for report in run.epochs])
        for name in ("validation_loss", "validation_loss_all_positions")
    )
    assert [report.learning_rate for report in run.epochs] == followed
    assert followed != other, "the losses of this run do not tell the two apart"


def rates(config: TrainConfig, losses: list[float]) -> list[float]:
    """The learning rate of every epoch, from the losses that torch's scheduler is told."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=config.training_spec.learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    found = []
    for loss in losses:
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    return found


def test_a_stopped_and_continued_run_keeps_both_losses_of_its_best_epoch(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    config, data = make_config(epochs=3), make_data(change=pad)
    whole = run(config, data, last_positions=2)
    expected = [r.model_dump(include={"validation_loss", "validation_loss_all_positions"}) for r in run.epochs]  # fmt: skip
    run.epochs.clear()

    stopped = run(config, data, last_positions=2, stop_after=14)
    continued = run(config, data, last_positions=2, resume=True)

    losses = [r.model_dump(include={"validation_loss", "validation_loss_all_positions"}) for r in run.epochs]  # fmt: skip
    assert stopped.kind is OutcomeKind.INTERRUPTED
    assert losses == expected
    assert continued.best_validation_loss_all_positions == whole.best_validation_loss_all_positions


def test_a_checkpoint_whose_losses_count_other_positions_is_not_continued(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    config, data = make_config(), make_data(change=pad)
    run(config, data, last_positions=2)

    run(config, data, last_positions=3, resume=True)

    (message,) = [text for text in run.messages if "does not fit this run" in text]
    assert message.endswith(
        "its losses are over the last 2 positions of every window, those of this run over the last 3"
    )


def test_a_checkpoint_that_does_not_say_what_it_counts_counts_all(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    config, data = make_config(), make_data(change=pad)
    whole = run(config, data)
    path = config.paths.checkpoint("small", 2)
    content = read_checkpoint(path)
    del content["sequifier_hpo"]["num_counted"]
    del content["sequifier_hpo"]["progress"]["best_validation_loss_all_positions"]
    torch.save(content, path)

    continued = run(config, data, resume=True)

    assert continued.best_validation_loss == whole.best_validation_loss


def test_a_model_file_says_what_its_loss_is_over(
    make_config: Config, make_data: Data, run: Recorder
) -> None:
    config = make_config(export_generative_model=True, export_onnx=True)

    result = run(config, make_data(change=pad), last_positions=2)

    file = onnx.load(config.paths.root / result.model_files[0])
    told = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(told["validation_positions"]) == 2
    assert float(told["best_validation_loss"]) == result.best_validation_loss
    assert (
        float(told["best_validation_loss_all_positions"])
        == result.best_validation_loss_all_positions
    )
