"""Which items of the stored windows are padding: said by their position, or seen by their zeros."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.open import data_key, open_training_data
from sequifier_hpo.training.data.windows import TrainingData, leading_zeros
from sequifier_hpo.training.losses import TargetLosses
from tests.training.conftest import Recorder

pytestmark = pytest.mark.slow

Stored = Callable[..., TrainConfig]
Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
Arrays = dict[str, NDArray[Any]]

CPU = torch.device("cpu")
STARTS = [0, -3, 4, -1, -7, 0, 0, -6, 2, 0]
PADDING = [0, 3, 0, 1, 7, 0, 0, 6, 0, 0]
NUMBERS = {"input_columns": ["val1"], "target_columns": ["val1"]}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "parquet": ("parquet", {}),
    "csv": ("csv", {}),
    "pt": ("pt", {}),
    "lazy": ("pt", {"load_full_data_to_ram": False}),
    "from the disk": ("pt", {"load_full_data_to_ram": False, "max_ram_gb": 1e-9}),
}


def pad_as_positions_say(values: Arrays) -> None:
    """What `preprocess` writes; and a window of true zeros, the last."""
    for array in values.values():
        for row in range(len(array)):
            array[row, : PADDING[row]] = 0
        array[5] = 0


@pytest.mark.parametrize("way", WAYS)
def test_positions_say_how_many_items_are_padding(stored: Stored, way: str) -> None:
    read_format, changes = WAYS[way]
    config = stored(read_format, STARTS, change=pad_as_positions_say, **changes)

    data = open_training_data(config, padding_is_stored=True)

    assert data.training.num_padding.dtype is torch.int32
    assert data.training.num_padding.tolist() == PADDING
    assert data.validation.num_padding.tolist() == PADDING[:6]


@pytest.mark.parametrize("way", WAYS)
def test_without_positions_leading_zeros_of_all_columns_are_padding(
    stored: Stored, way: str
) -> None:
    read_format, changes = WAYS[way]
    config = stored(read_format, change=pad_as_positions_say, **changes)

    data = open_training_data(config)

    assert data.training.num_padding.tolist() == [*PADDING[:5], 7, *PADDING[6:]]
    assert data.validation.num_padding.tolist() == [*PADDING[:5], 7]


def test_zeros_are_padding_only_in_front_and_only_in_all_columns() -> None:
    first = torch.tensor([[0, 0, 5, 0], [0, 1, 0, 0], [0, 0, 0, 0], [7, 0, 0, 0]])
    second = torch.tensor([[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, -0.0], [0, 0, 0, 0]])

    assert leading_zeros([first, second]).tolist() == [2, 0, 4, 0]
    assert leading_zeros([first]).tolist() == [2, 1, 4, 0]
    assert leading_zeros([second]).tolist() == [4, 0, 4, 4]


@pytest.mark.parametrize("way", WAYS)
def test_batches_hand_out_the_padding_of_the_items_that_a_run_sees(
    stored: Stored, way: str
) -> None:
    read_format, changes = WAYS[way]
    config = stored(
        read_format, STARTS, change=pad_as_positions_say, seq_length=4, num_workers=1, **changes
    )
    split = open_training_data(config, padding_is_stored=True).training
    batches = WindowBatches(split, config, CPU)
    losses = TargetLosses(config, CPU)

    dealt = [batch.num_padding for batch in batches.in_order(4)]
    masks = [losses.mask(batch.num_padding) for batch in batches.in_order(4)]

    # Of the 7 stored items the oldest two are cut off.
    assert torch.cat(dealt).tolist() == [n - 2 for n in PADDING]
    assert torch.cat(masks).sum(1).tolist() == [4, 4, 4, 4, 0, 4, 4, 1, 4, 4]


def constant(values: Arrays) -> None:
    values["val1"][:] = 0.0


def mean_first(values: Arrays) -> None:
    values["val1"][:, :3] = 0.0


@pytest.mark.parametrize("change", [constant, mean_first])
@pytest.mark.parametrize("padding_is_stored", [True, False])
def test_values_equal_to_the_mean_are_data_whatever_stands_before_them(
    stored: Stored, run: Recorder, change: Callable[[Arrays], None], *, padding_is_stored: bool
) -> None:
    config = stored("parquet", [0] * 10, change=change, epochs=1, **NUMBERS)
    data = open_training_data(config, padding_is_stored=padding_is_stored)
    losses = TargetLosses(config, CPU)

    result = run(config, data)

    batches = WindowBatches(data.validation, config, CPU).in_order(6)
    assert [int(losses.mask(batch.num_padding).sum()) for batch in batches] == [6 * 5]
    assert result.best_validation_loss is not None


def test_a_lone_column_of_zeros_is_data_where_the_windows_say_so(
    stored: Stored, tmp_path: Path, write_table: Callable[..., None], run: Recorder
) -> None:
    config = stored("parquet", epochs=1, **NUMBERS)
    for path, number in ((config.training_data_path, 10), (config.validation_data_path, 6)):
        only = {"cat1": np.zeros((number, 7))}
        write_table(tmp_path / path, only)
    config = config.model_copy(
        update={
            "real_columns": ["cat1"],
            "target_columns": ["cat1"],
            "target_column_types": {"cat1": "real"},
            "training_spec": config.training_spec.model_copy(
                update={"criterion": {"cat1": "MSELoss"}}
            ),
        }
    )

    result = run(config, open_training_data(config, padding_is_stored=True))

    assert result.best_validation_loss is not None
    with pytest.raises(InputError, match="nothing but padding"):
        run(config, open_training_data(config))


@pytest.mark.parametrize("number", [0, 6])
def test_for_ids_the_mask_by_position_is_the_mask_by_value(
    make_config: Config, make_data: Data, number: int
) -> None:
    def change(values: Arrays) -> None:
        for array in values.values():
            array[:, :number] = 0

    data, config = make_data(change=change), make_config()

    for batch in WindowBatches(data.training, config, CPU).shuffled(8, seed=1, epoch=1):
        mask = TargetLosses(config, CPU).mask(batch.num_padding)

        by_value = (batch.targets["cat1"] != 0).float()
        assert mask.dtype is by_value.dtype
        assert mask.stride() == by_value.stride()
        assert torch.equal(mask, by_value)


def test_data_read_with_and_without_positions_have_different_keys(stored: Stored) -> None:
    config = stored()

    keys = {data_key(config, padding_is_stored=stored) for stored in (True, False)}

    assert len(keys) == 2


def test_a_window_file_made_by_zeros_is_not_taken_for_one_made_by_positions(
    stored: Stored,
) -> None:
    config = stored("pt", STARTS, load_full_data_to_ram=False)

    by_zeros = open_training_data(config).training.num_padding.tolist()
    by_position = open_training_data(config, padding_is_stored=True).training.num_padding.tolist()

    assert (by_zeros, by_position) == ([0] * 10, PADDING)


def test_shards_without_positions_are_refused_where_they_are_needed(stored: Stored) -> None:
    config = stored("pt")
    path = f"{config.training_data_path}/part-0.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content[:4], path)

    open_training_data(config)
    with pytest.raises(InputError, match=r"part-0\.pt is not a tensor shard"):
        open_training_data(config, padding_is_stored=True)


def test_positions_that_are_no_whole_numbers_are_refused(stored: Stored) -> None:
    config = stored("csv")
    path = Path(config.training_data_path)
    path.write_text(path.read_text().replace(",0,cat1", ",0.5,cat1"))

    with pytest.raises(
        InputError, match=r"the startItemPosition of .* holds a value that is not a whole"
    ):
        open_training_data(config, padding_is_stored=True)
