import math
from collections.abc import Callable

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.device import choose_precision
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.evaluate import Evaluation, Evaluator, describe_shares
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.training.conftest import pad

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
CPU = torch.device("cpu")


def evaluate(
    config: TrainConfig,
    data: TrainingData,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    last_positions: int | None = None,
) -> Evaluation | None:
    torch.manual_seed(config.seed)
    evaluator = Evaluator(
        WindowBatches(data.validation, config, CPU),
        TargetLosses(config, CPU),
        precision=choose_precision(config),
        device=CPU,
        batch_size=config.training_spec.batch_size,
        class_share_targets=config.training_spec.class_share_log_columns,
        team=Team(),
        last_positions=last_positions,
    )
    return evaluator.evaluate(SequenceTransformer(config), should_stop)


def test_the_loss_does_not_depend_on_the_batch_size(make_config: Config, make_data: Data) -> None:
    data = make_data(change=pad)

    found = [
        evaluate(make_config(batch_size=size, target_columns=["cat1", "val1"]), data)
        for size in (1, 4, 7, 64)
    ]

    assert found[0] is not None
    for other in found[1:]:
        assert other is not None
        assert other.loss == pytest.approx(found[0].loss, rel=1e-6)
        assert other.by_target == pytest.approx(found[0].by_target, rel=1e-6)


def test_the_loss_is_a_sum_over_the_split_divided_by_a_count(
    make_config: Config, make_data: Data
) -> None:
    data, config = make_data(change=pad), make_config(batch_size=4)
    torch.manual_seed(config.seed)
    model = SequenceTransformer(config).eval()
    windows = data.validation.columns["cat1"].values
    log_probabilities = model({"cat1": windows[:, :-1]})["cat1"].log_softmax(-1)
    picked = log_probabilities.transpose(0, 1).gather(2, windows[:, 1:, None].long())[..., 0]
    counts = windows[:, 1:] != 0

    found = evaluate(config, data)

    assert found is not None
    assert found.loss == pytest.approx(-picked[counts].mean().item(), rel=1e-6)


def test_dropout_is_off_and_comes_back(make_config: Config, make_data: Data) -> None:
    data = make_data()

    with_dropout = evaluate(make_config(dropout=0.5), data)
    without = evaluate(make_config(), data)

    assert with_dropout == without


def test_the_total_is_weighted_and_the_parts_are_not(make_config: Config, make_data: Data) -> None:
    config = make_config(target_columns=["cat1", "val1"], loss_weights={"cat1": 0.5, "val1": 3.0})

    found = evaluate(config, make_data())

    assert found is not None
    assert found.loss == pytest.approx(
        0.5 * found.by_target["cat1"] + 3.0 * found.by_target["val1"]
    )


def test_a_stop_gives_no_result(make_config: Config, make_data: Data) -> None:
    assert evaluate(make_config(), make_data(), should_stop=lambda: True) is None


def test_a_split_of_padding_cannot_be_judged(make_config: Config, make_data: Data) -> None:
    data = make_data()
    data.validation.num_padding.fill_(6)

    with pytest.raises(InputError, match="nothing but padding"):
        evaluate(make_config(), data)


@torch.no_grad()
def slow_loss(config: TrainConfig, data: TrainingData, last_positions: int) -> float:
    """One position after the other, with padding where every column of the split is 0 so far."""
    torch.manual_seed(config.seed)
    model = SequenceTransformer(config).eval()
    columns = {name: stored.values for name, stored in data.validation.columns.items()}
    num_items, t = data.validation.window_length + 1, config.seq_length
    losses = []
    for row in range(data.validation.num_windows):
        outputs = model({"cat1": columns["cat1"][row : row + 1, -t - 1 : -1]})
        for position in range(t - last_positions, t):
            item = num_items - t + position
            if any(bool(values[row, : item + 1].any()) for values in columns.values()):
                value = int(columns["cat1"][row, item])
                scores = outputs["cat1"][position, 0].double()
                losses.append(float(scores.logsumexp(0) - scores[value]))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("last_positions", [1, 2, 3])
def test_only_the_last_positions_count_and_all_are_told_beside(
    make_config: Config, make_data: Data, last_positions: int
) -> None:
    data, config = make_data(window_length=7, change=pad), make_config(seq_length=4)

    found = evaluate(config, data, last_positions=last_positions)

    assert found is not None
    expected = slow_loss(config, data, last_positions)
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert found.loss_all_positions == pytest.approx(slow_loss(config, data, 4), rel=1e-6)
    assert found.by_target == {"cat1": found.loss}


@pytest.mark.parametrize("last_positions", [None, 4, 9])
def test_the_loss_over_all_positions_is_not_told_twice(
    make_config: Config, make_data: Data, last_positions: int | None
) -> None:
    data, config = make_data(window_length=7, change=pad), make_config(seq_length=4)

    found = evaluate(config, data, last_positions=last_positions)

    assert found is not None
    assert found == evaluate(config, data)
    assert found.loss_all_positions is None


def test_the_loss_is_no_number_if_a_position_that_does_not_count_has_none(
    make_config: Config, make_data: Data
) -> None:
    data = make_data()
    config = make_config(input_columns=["val1"], target_columns=["val1"])
    data.validation.columns["val1"].values[3, 1] = 1e30  # its square is no float32

    found = evaluate(config, data, last_positions=1)

    assert found is not None
    assert not math.isfinite(found.loss)


def test_class_shares_count_the_most_probable_class_where_it_matters(
    make_config: Config, make_data: Data
) -> None:
    found = evaluate(make_config(class_share_log_columns=["cat1"]), make_data(change=pad))

    assert found is not None
    assert len(found.class_shares["cat1"]) == 7
    assert sum(found.class_shares["cat1"]) == pytest.approx(1)


def test_class_shares_are_shown_with_labels_largest_first() -> None:
    line = describe_shares("cat1", [0.25, 0.0, 0.75], {"rain": 1, "sun": 2})

    assert line == "predicted classes of cat1: sun 75.0%, unknown 25.0%"
