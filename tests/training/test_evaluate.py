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

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
CPU = torch.device("cpu")


def evaluate(
    config: TrainConfig,
    data: TrainingData,
    *,
    should_stop: Callable[[], bool] = lambda: False,
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
    )
    return evaluator.evaluate(SequenceTransformer(config), should_stop)


def with_padding(data: TrainingData) -> TrainingData:
    """Rows with different numbers of padded positions: a mean of batch means would be wrong."""
    for row, values in enumerate(data.validation.columns["cat1"].values):
        values[: row % 6] = 0
    return data


def test_the_loss_does_not_depend_on_the_batch_size(make_config: Config, make_data: Data) -> None:
    data = with_padding(make_data())

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
    data, config = with_padding(make_data()), make_config(batch_size=4)
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
    data.validation.columns["cat1"].values.zero_()

    with pytest.raises(InputError, match="nothing but padding"):
        evaluate(make_config(), data)


def test_class_shares_count_the_most_probable_class_where_it_matters(
    make_config: Config, make_data: Data
) -> None:
    found = evaluate(make_config(class_share_log_columns=["cat1"]), with_padding(make_data()))

    assert found is not None
    assert len(found.class_shares["cat1"]) == 7
    assert sum(found.class_shares["cat1"]) == pytest.approx(1)


def test_class_shares_are_shown_with_labels_largest_first() -> None:
    line = describe_shares("cat1", [0.25, 0.0, 0.75], {"rain": 1, "sun": 2})

    assert line == "predicted classes of cat1: sun 75.0%, unknown 25.0%"
