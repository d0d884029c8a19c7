import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.open import data_key, open_training_data
from sequifier_hpo.training.data.read_table import read_splits

Arrays = dict[str, NDArray[Any]]
Config = Callable[..., TrainConfig]
WriteTable = Callable[[Path, Arrays], None]
MakeArrays = Callable[[int, int, int], Arrays]


def batch_tensors(config: TrainConfig) -> list[torch.Tensor]:
    """Everything the first batch of the training split holds."""
    data = open_training_data(config)
    data.check(config)
    batches = WindowBatches(data.training, config, torch.device("cpu"))
    batch = next(batches.in_order(4))
    return [*batch.inputs.values(), *batch.targets.values()]


@pytest.mark.slow
def test_all_formats_give_the_same_batches(stored: Callable[..., TrainConfig]) -> None:
    changes: dict[str, Any] = {
        "input_columns": ["cat1", "val1"],
        "feature_embedding_dims": {"cat1": 7, "val1": 1},
        "target_columns": ["cat2", "val2"],
        "seq_length": 4,
    }

    parquet, csv, shards = (batch_tensors(stored(f, **changes)) for f in ("parquet", "csv", "pt"))

    for a, b, c in zip(parquet, csv, shards, strict=True):
        assert a.shape == (4, 4)
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize("read_format", ["parquet", "pt"])
def test_windows_are_the_stored_ones_oldest_item_first(
    stored: Callable[..., TrainConfig], make_arrays: MakeArrays, read_format: str
) -> None:
    data = open_training_data(stored(read_format))

    expected = make_arrays(6, 6, 1)
    assert data.validation.num_windows == 6
    assert data.validation.window_length == 6
    for name, array in expected.items():
        values = data.validation.columns[name].values
        assert values.dtype is (torch.int32 if array.dtype.kind == "i" else torch.float32)
        np.testing.assert_array_equal(values.numpy(), array.astype(values.numpy().dtype))


@pytest.mark.slow
def test_reading_tables_leaves_the_process_without_threads_and_table_library(
    stored: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = stored()
    (tmp_path / "config.json").write_text(config.model_dump_json())
    script = (
        "import sys, pathlib, threading, os, torch\n"
        "torch.set_num_threads(1)\n"
        "from sequifier_hpo.config.train import TrainConfig\n"
        "from sequifier_hpo.training.data.open import open_training_data\n"
        "text = pathlib.Path(sys.argv[1]).read_text()\n"
        "data = open_training_data(TrainConfig.model_validate_json(text))\n"
        "assert data.training.num_windows == 10\n"
        "assert 'polars' not in sys.modules\n"
        "tasks = '/proc/self/task'\n"
        "print(len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "config.json")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )

    assert (done.stdout.strip(), done.stderr) == ("1", "")


def test_the_same_data_serve_runs_with_other_columns_and_windows(
    stored: Callable[..., TrainConfig],
) -> None:
    data = open_training_data(stored())

    for changes in (
        {"input_columns": ["cat2"], "target_columns": ["val1"], "seq_length": 6},
        {"input_columns": ["val1", "val2"], "seq_length": 3},
    ):
        data.check(stored(**changes))


def test_the_key_changes_when_a_file_does(
    stored: Callable[..., TrainConfig], write_table: WriteTable, make_arrays: MakeArrays
) -> None:
    config = stored()
    before, again = data_key(config), data_key(config)

    write_table(Path(config.training_data_path), make_arrays(11, 6, 0))

    assert before == again
    assert before != data_key(config)


def test_a_missing_file_is_named(stored: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = stored()
    Path(config.validation_data_path).unlink()

    with pytest.raises(InputError, match=r"small-split1\.parquet does not exist"):
        open_training_data(config)


@pytest.mark.parametrize("read_format", ["parquet", "csv", "pt"])
def test_a_file_of_another_kind_is_refused(
    stored: Callable[..., TrainConfig], read_format: str
) -> None:
    config = stored(read_format)
    path = Path(config.training_data_path)
    path = path / "part-1.pt" if read_format == "pt" else path
    path.write_bytes(b"\x00\x01 neither this nor that")

    with pytest.raises(InputError, match=path.name):
        open_training_data(config)


def test_a_table_without_windows_is_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("csv")
    Path(config.training_data_path).write_text("sequenceId,itemPosition,cat1\n1,1,5\n")

    with pytest.raises(InputError, match=r"not a split .*: it has no column `subsequenceId`"):
        read_in_this_process(config)


def read_in_this_process(config: TrainConfig) -> list[dict[str, Any]]:
    """What the reader process does, without its start; it takes most of the time."""
    with tempfile.TemporaryFile() as file:
        paths = [config.training_data_path]
        return read_splits(paths, config.read_format, file, padding_is_stored=False)


def edited_csv(config: TrainConfig, edit: Callable[[list[str]], list[str]]) -> None:
    path = Path(config.training_data_path)
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")


def test_columns_with_unequal_rows_are_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("csv")
    edited_csv(config, lambda lines: lines[:-1])

    with pytest.raises(InputError, match="10 windows of column `cat1`, but 9 of `val2`"):
        read_in_this_process(config)


def test_columns_in_different_orders_are_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("csv")
    edited_csv(config, lambda lines: [*lines[:2], lines[6], *lines[3:6], lines[2], *lines[7:]])

    with pytest.raises(InputError, match="`cat1` and `val1` in different orders"):
        read_in_this_process(config)


def test_empty_items_are_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("csv")
    edited_csv(config, lambda lines: [*lines[:4], lines[4].rsplit(",", 1)[0] + ",", *lines[5:]])

    with pytest.raises(InputError, match=r"column `val2` of .* holds empty items"):
        read_in_this_process(config)


def test_text_items_are_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("csv")
    edited_csv(config, lambda lines: [*lines[:4], lines[4].rsplit(",", 1)[0] + ",x", *lines[5:]])

    with pytest.raises(InputError, match="its column `0` holds String, not numbers"):
        read_in_this_process(config)


def test_a_split_without_windows_is_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("csv")
    edited_csv(config, lambda lines: lines[:1])

    with pytest.raises(InputError, match=r"small-split0\.csv holds no windows"):
        open_training_data(config).check(config)


def test_shards_that_do_not_add_up_are_refused(stored: Callable[..., TrainConfig]) -> None:
    config = stored("pt")
    path = Path(config.training_data_path) / "metadata.json"
    path.write_text(path.read_text().replace('"total_samples": 10', '"total_samples": 11'))

    with pytest.raises(InputError, match=r"holds 10 windows, but its metadata\.json says 11"):
        open_training_data(config)


def test_a_missing_shard_is_named(stored: Callable[..., TrainConfig]) -> None:
    config = stored("pt")
    (Path(config.training_data_path) / "part-0.pt").unlink()

    with pytest.raises(InputError, match=r"part-0\.pt does not exist"):
        open_training_data(config)


def test_a_shard_whose_targets_are_not_shifted_inputs_is_refused(
    stored: Callable[..., TrainConfig],
) -> None:
    config = stored("pt")
    path = Path(config.training_data_path) / "part-0.pt"
    inputs, targets, *rest = torch.load(path, weights_only=True)
    targets["cat2"] = targets["cat2"].roll(1, 1)
    torch.save((inputs, targets, *rest), path)

    with pytest.raises(InputError, match=r"targets of `cat2` in .* are not its inputs shifted"):
        open_training_data(config)


def test_a_reader_process_that_fails_is_a_fault_of_the_environment(
    stored: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stored()
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(EnvironmentFaultError, match="reading the data failed: exit code 1"):
        open_training_data(config)


@pytest.mark.parametrize("read_format", ["csv", "parquet"])
def test_other_columns_of_a_table_are_left_out(
    stored: Callable[..., TrainConfig], read_format: str
) -> None:
    config = stored(read_format)
    path = Path(config.training_data_path)
    table = pl.read_csv(path) if read_format == "csv" else pl.read_parquet(path)
    table = table.select(pl.lit("u7").alias("userId"), pl.all())
    table.write_csv(path) if read_format == "csv" else table.write_parquet(path)

    [split] = read_in_this_process(config)

    assert (split["num_windows"], split["window_length"]) == (10, 6)


def test_shards_of_whole_windows_give_the_windows_of_inputs_and_targets(
    stored: Callable[..., TrainConfig],
) -> None:
    config = stored("pt")
    before = open_training_data(config).training
    for path in Path(config.training_data_path).glob("*.pt"):
        inputs, targets, *numbers = torch.load(path, weights_only=True)
        whole = {name: torch.cat([inputs[name], targets[name][:, -1:]], 1) for name in inputs}
        torch.save((whole, *numbers), path)

    for lazily in (False, True):
        spec = config.training_spec.model_copy(update={"load_full_data_to_ram": not lazily})
        now = open_training_data(config.model_copy(update={"training_spec": spec})).training
        assert torch.equal(now.num_padding, before.num_padding)
        for name, column in before.columns.items():
            assert torch.equal(now.columns[name].values, column.values)


def test_a_folder_of_tables_gives_the_windows_of_one_table(
    stored: Callable[..., TrainConfig],
) -> None:
    config = stored("parquet")
    [one] = read_in_this_process(config)
    path = Path(config.training_data_path)
    table = pl.read_parquet(path)
    path.unlink()
    path.mkdir()
    table.head(12).write_parquet(path / "b.parquet")
    table.slice(12).write_parquet(path / "a.parquet")
    files = [{"path": "b.parquet", "samples": 3}, {"path": "a.parquet", "samples": 7}]
    (path / "metadata.json").write_text(json.dumps({"total_samples": 10, "batch_files": files}))

    assert read_in_this_process(config) == [one]
