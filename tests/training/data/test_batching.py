from collections.abc import Callable
from typing import Any

import pytest
import torch
from numpy.typing import NDArray

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.batching import WindowBatches, epoch_order
from sequifier_hpo.training.data.windows import TrainingData

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
CPU = torch.device("cpu")


def test_targets_are_the_inputs_shifted_by_one_item(make_config: Config, make_data: Data) -> None:
    config, data = make_config(seq_length=4), make_data(window_length=6)

    batch = next(WindowBatches(data.training, config, CPU).in_order(8))

    newest = data.training.columns["cat1"].values[:8, -5:]
    assert torch.equal(batch.inputs["cat1"], newest[:, :-1])
    assert torch.equal(batch.targets["cat1"], newest[:, 1:].long())


def test_windows_share_the_memory_of_the_data(make_config: Config, make_data: Data) -> None:
    config, data = make_config(seq_length=4), make_data(window_length=6)

    batches = WindowBatches(data.training, config, CPU)

    stored = data.training.columns["cat1"].values
    assert batches._values["cat1"].data_ptr() == stored[:, 2:].data_ptr()


def test_every_window_is_dealt_once_per_epoch_the_last_batch_too(
    make_config: Config, make_data: Data
) -> None:
    data = make_data(num_training=11)
    data.training.columns["cat1"].values[:, 0] = torch.arange(11, dtype=torch.int32)
    batches = WindowBatches(data.training, make_config(), CPU)

    dealt = [batch.inputs["cat1"][:, 0] for batch in batches.shuffled(4, seed=1, epoch=1)]

    assert [len(part) for part in dealt] == [4, 4, 3]
    assert batches.num_batches(4) == 3
    assert sorted(torch.cat(dealt).tolist()) == list(range(11))


def test_an_epoch_can_be_entered_at_any_batch(make_config: Config, make_data: Data) -> None:
    batches = WindowBatches(make_data().training, make_config(), CPU)

    whole = list(batches.shuffled(4, seed=1, epoch=2))
    rest = list(batches.shuffled(4, seed=1, epoch=2, first_batch=3))

    for a, b in zip(whole[3:], rest, strict=True):
        assert torch.equal(a.inputs["cat1"], b.inputs["cat1"])


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    torch.manual_seed(1)
    first = epoch_order(50, seed=4, epoch=1)
    torch.manual_seed(2)

    assert torch.equal(first, epoch_order(50, seed=4, epoch=1))
    assert not torch.equal(first, epoch_order(50, seed=4, epoch=2))
    assert not torch.equal(first, epoch_order(50, seed=5, epoch=1))
    assert not torch.equal(epoch_order(50, seed=4, epoch=2), epoch_order(50, seed=5, epoch=1))


def test_an_id_column_can_be_a_real_target(make_config: Config, make_data: Data) -> None:
    config = make_config(
        target_columns=["val1"], target_column_types={"val1": "real"}, input_columns=["cat1"]
    )

    batch = next(WindowBatches(make_data().training, config, CPU).in_order(8))

    assert batch.targets["val1"].dtype is torch.float32
    assert list(batch.inputs) == ["cat1"]


def test_too_long_a_seq_length_is_refused(make_config: Config, make_data: Data) -> None:
    with pytest.raises(InputError, match=r"seq_length = 6 is longer .* which allow up to 5"):
        make_data(window_length=5).check(make_config(seq_length=6))


def test_a_missing_column_is_named(make_config: Config, make_data: Data) -> None:
    data = make_data()
    del data.validation.columns["cat2"]  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="split1 has no column `cat2`; it has cat1, val1, val2"):
        data.check(make_config(target_columns=["cat2"]))


@pytest.mark.parametrize("wrong", [7, -1])
def test_an_id_out_of_range_is_refused(make_config: Config, make_data: Data, wrong: int) -> None:
    def change(values: dict[str, NDArray[Any]]) -> None:
        values["cat1"][3, 2] = wrong

    with pytest.raises(InputError, match=f"holds the id {wrong}, but its ids go from 0 to 6"):
        make_data(change=change).check(make_config())


def test_ids_with_fractions_are_refused(make_config: Config, make_data: Data) -> None:
    def change(values: dict[str, NDArray[Any]]) -> None:
        values["cat1"] = values["cat1"] + 0.5

    with pytest.raises(InputError, match="column `cat1` of split0 holds values that are not ids"):
        make_data(change=change).check(make_config())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1e300])
def test_reals_that_are_no_float32_numbers_are_refused(
    make_config: Config, make_data: Data, wrong: float
) -> None:
    data = make_data()
    column = data.training.columns["val1"]
    object.__setattr__(column, "smallest" if wrong < 0 else "largest", wrong)

    with pytest.raises(InputError, match="column `val1` of split0 holds NaN, or numbers beyond"):
        data.check(make_config(target_columns=["val1"]))
