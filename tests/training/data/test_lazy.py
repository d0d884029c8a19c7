import json
import os
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.records import OutcomeKind
from sequifier_hpo.training.checkpoint import read_checkpoint
from sequifier_hpo.training.data.batching import Batch, WindowBatches
from sequifier_hpo.training.data.lazy import open_lazily
from sequifier_hpo.training.data.open import data_key, open_training_data
from sequifier_hpo.training.data.shards import read_shards
from sequifier_hpo.training.data.windows import SplitWindows

Stored = Callable[..., TrainConfig]
Run = Any  # the fixture `run`: a recorder of training runs

CPU = torch.device("cpu")
WINDOW_GB = 4 * 7 * 4 / 1e9  # four columns of L + 1 = 7 items
MIXED: dict[str, Any] = {
    "input_columns": ["cat1", "val1"],
    "feature_embedding_dims": {"cat1": 7, "val1": 1},
    "target_columns": ["cat2", "val2"],
    "seq_length": 4,
}
LIMITS = {"nothing": 0.5 * WINDOW_GB, "a part": 6.5 * WINDOW_GB, "all": 1.0}


@pytest.fixture
def lazy(stored: Stored) -> Stored:
    """A function that stores shards and returns a config that reads them lazily."""
    return lambda **changes: stored("pt", load_full_data_to_ram=False, **changes)


def in_memory(config: TrainConfig) -> TrainConfig:
    spec = config.training_spec.model_copy(update={"load_full_data_to_ram": True})
    return config.model_copy(update={"training_spec": spec})


def all_batches(split: SplitWindows, config: TrainConfig) -> list[Batch]:
    batches = WindowBatches(split, config, CPU)
    return [*batches.in_order(4), *batches.shuffled(3, seed=1, epoch=2, first_batch=1)]


def window_file(config: TrainConfig) -> Path:
    (path,) = config.paths.window_cache.glob("small-split0-*.windows")
    return path


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("fits", LIMITS)
def test_batches_are_those_of_data_in_memory_bit_for_bit(
    lazy: Stored, fits: str, num_workers: int
) -> None:
    config = lazy(max_ram_gb=LIMITS[fits], num_workers=num_workers, **MIXED)
    data, expected_data = open_training_data(config), open_training_data(in_memory(config))
    data.check(config)

    for split in ("training", "validation"):
        batches = all_batches(getattr(data, split), config)
        expected = all_batches(getattr(expected_data, split), config)

        for a, b in zip(batches, expected, strict=True):
            for tensor, same in zip(
                (*a.inputs.values(), *a.targets.values(), a.num_padding),
                (*b.inputs.values(), *b.targets.values(), b.num_padding),
                strict=True,
            ):
                assert tensor.dtype is same.dtype
                assert torch.equal(tensor, same)


def test_a_stopped_and_continued_lazy_run_ends_like_one_with_data_in_memory(
    lazy: Stored, run: Run
) -> None:
    config = lazy(max_ram_gb=LIMITS["a part"], num_workers=1, dropout=0.2, batch_size=3, **MIXED)
    whole = run(in_memory(config), open_training_data(in_memory(config)))
    losses = run.losses
    weights = read_checkpoint(config.paths.checkpoint("small", 2))["model_state_dict"]
    run.epochs.clear()

    stopped = run(config, open_training_data(config), stop_after=3)
    continued = run(config, open_training_data(config), resume=True)

    assert stopped.kind is OutcomeKind.INTERRUPTED
    assert continued.best_validation_loss == whole.best_validation_loss
    assert run.losses == losses
    ours = read_checkpoint(config.paths.checkpoint("small", 2))["model_state_dict"]
    assert all(torch.equal(ours[name], value) for name, value in weights.items())


def test_the_limit_is_for_both_splits_together(lazy: Stored) -> None:
    data = open_training_data(lazy(max_ram_gb=12.5 * WINDOW_GB))

    assert data.training.file is not None
    assert data.validation.file is not None
    assert (data.training.file.num_mapped, data.validation.file.num_mapped) == (10, 2)


class _Reading(NamedTuple):
    grown_bytes: int
    total: float


def peak_growth(open_split: Callable[[], SplitWindows], config: TrainConfig) -> _Reading:
    """How much memory the process took at most for opening a split and dealing it twice."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_bytes("VmRSS")
    batches, total = WindowBatches(open_split(), config, CPU), 0.0
    for batch in [batches.in_order(500), batches.shuffled(500, seed=1, epoch=1)]:
        total += sum(float(part.inputs["val1"].double().sum()) for part in batch)
    return _Reading(memory_bytes("VmHWM") - before, total)


def memory_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return int(kibibytes) * 1024


def write_large(folder: Path, *, num_shards: int, num_windows: int) -> None:
    """Shards of `num_windows` windows of 128 reals."""
    folder.mkdir()
    for i in range(num_shards):
        items = torch.randn(num_windows, 128)
        numbers = [torch.arange(num_windows)] * 3
        shard = ({"val1": items[:, :-1].clone()}, {"val1": items[:, 1:].clone()}, *numbers)
        torch.save(shard, folder / f"{i}.pt")
    files = [{"path": f"{i}.pt", "samples": num_windows} for i in range(num_shards)]
    listing = {"total_samples": num_shards * num_windows, "batch_files": files}
    (folder / "metadata.json").write_text(json.dumps(listing))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak there")
def test_data_larger_than_the_limit_never_take_more_memory_than_it(
    tmp_path: Path, make_config: Stored
) -> None:
    folder, limit, slack = tmp_path / "large", 4_000_000, 20_000_000
    write_large(folder, num_shards=4, num_windows=20_000)
    config = make_config(input_columns=["val1"], target_columns=["val1"], seq_length=127)
    cache = tmp_path / "cache"

    making = peak_growth(
        lambda: open_lazily([str(folder)], cache, limit, padding_is_stored=False)[0], config
    )
    reading = peak_growth(
        lambda: open_lazily([str(folder)], cache, limit, padding_is_stored=False)[0], config
    )
    loaded = peak_growth(lambda: read_shards(str(folder), padding_is_stored=False), config)

    shutil.rmtree(folder)
    shutil.rmtree(cache)
    assert loaded.grown_bytes > 80_000 * 128 * 4
    assert making.grown_bytes < limit + slack
    assert reading.grown_bytes < limit + slack
    assert making.total == reading.total == loaded.total


def test_the_file_is_made_once_and_again_when_a_shard_changes(lazy: Stored) -> None:
    config = lazy()
    before = open_training_data(config).training.columns["cat1"].values[-1]
    oldest = int(before[0])
    made = window_file(config).stat()

    open_training_data(config)
    again = window_file(config).stat()
    shard = Path(config.training_data_path) / "part-1.pt"
    inputs, targets, *numbers = torch.load(shard, weights_only=True)
    inputs["cat1"][-1, 0] = 7 - oldest
    torch.save((inputs, targets, *numbers), shard)
    changed = open_training_data(config)

    assert (again.st_ino, again.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert changed.training.columns["cat1"].values[-1, 0] == 7 - oldest
    # Whoever has the old one open goes on with what it was.
    assert before[0] == oldest


def test_nothing_else_is_left_beside_the_file(lazy: Stored) -> None:
    config = lazy()

    open_training_data(config)

    names = sorted(path.name for path in config.paths.window_cache.iterdir())
    assert [name.rpartition(".")[2] for name in names] == ["lock", "windows"] * 2


def test_an_incomplete_file_is_made_again(lazy: Stored) -> None:
    config = lazy(max_ram_gb=LIMITS["nothing"])
    open_training_data(config)
    whole = window_file(config).read_bytes()
    window_file(config).write_bytes(whole[:-1])

    open_training_data(config)

    assert window_file(config).read_bytes() == whole


def test_splits_of_the_same_name_have_files_of_their_own(lazy: Stored, tmp_path: Path) -> None:
    config = lazy()
    other = tmp_path / "other" / "small-split0"
    shutil.copytree(config.validation_data_path, other)

    open_training_data(config)
    (split,) = open_lazily([str(other)], config.paths.window_cache, 10**6, padding_is_stored=False)

    assert split.num_windows == 6
    assert len(list(config.paths.window_cache.glob("small-split0-*.windows"))) == 2


@pytest.mark.parametrize("kept_bytes", [0, 700, -100])
def test_a_damaged_shard_is_named_and_nothing_is_written(lazy: Stored, kept_bytes: int) -> None:
    config = lazy()
    shard = Path(config.training_data_path) / "part-1.pt"
    shard.write_bytes(shard.read_bytes()[:kept_bytes])

    with pytest.raises(InputError, match=r"part-1\.pt is not a tensor shard"):
        open_training_data(config)

    assert [path.suffix for path in config.paths.window_cache.iterdir()] == [".lock"]


def test_shards_that_do_not_add_up_are_refused(lazy: Stored) -> None:
    config = lazy()
    path = Path(config.training_data_path) / "metadata.json"
    path.write_text(path.read_text().replace('"total_samples": 10', '"total_samples": 11'))

    with pytest.raises(InputError, match=r"holds 10 windows, but its metadata\.json says 11"):
        open_training_data(config)


def test_too_little_space_is_said_before_anything_is_written(
    lazy: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lazy()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))

    with pytest.raises(
        EnvironmentFaultError, match=r"needs 1\.16e-06 GB, but only 1e-09 GB are free"
    ):
        open_training_data(config)

    assert [path.suffix for path in config.paths.window_cache.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_is_named(lazy: Stored) -> None:
    config = lazy()
    config.paths.window_cache.write_text("in the way")

    with pytest.raises(EnvironmentFaultError, match=r"window-cache/.* cannot be written"):
        open_training_data(config)


def test_what_a_killed_process_has_left_is_removed(lazy: Stored) -> None:
    config = lazy()
    open_training_data(config)
    name = window_file(config).name
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = config.paths.window_cache / f".{name}~{socket.gethostname()}~{dead.pid}.tmp"
    window_file(config).rename(left)

    open_training_data(config)

    assert not left.exists()


def test_a_file_that_cannot_be_written_to_its_end_is_named_and_removed(lazy: Stored) -> None:
    config = lazy()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, hard))
    try:
        with pytest.raises(EnvironmentFaultError, match=r"cannot write .*: File too large"):
            open_training_data(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [path.suffix for path in config.paths.window_cache.iterdir()] == [".lock"]


def test_a_file_that_shrinks_while_it_is_read_is_named(lazy: Stored) -> None:
    config = lazy(max_ram_gb=LIMITS["nothing"])
    data = open_training_data(config)
    os.truncate(window_file(config), window_file(config).stat().st_size - 1)

    with pytest.raises(EnvironmentFaultError, match="it is truncated"):
        all_batches(data.training, config)


def test_the_copy_for_a_gpu_holds_all_windows(lazy: Stored) -> None:
    config = lazy(max_ram_gb=LIMITS["a part"], **MIXED)
    batches = WindowBatches(open_training_data(config).training, config, CPU)

    copied = batches._copied(3)

    expected = read_shards(config.training_data_path, padding_is_stored=False)
    assert list(copied) == ["cat1", "val1", "cat2", "val2"]
    for name, values in copied.items():
        assert torch.equal(values, expected.columns[name].values[:, -5:])


def test_data_in_memory_are_dealt_without_threads(stored: Stored) -> None:
    config = stored("pt", num_workers=3)
    before = threading.active_count()

    batches = WindowBatches(open_training_data(config).training, config, CPU).in_order(2)
    next(batches)

    assert threading.active_count() == before


def test_the_key_of_the_data_tells_limits_apart(lazy: Stored) -> None:
    loaded, some, more = in_memory(lazy()), lazy(max_ram_gb=1), lazy(max_ram_gb=2)

    assert len({data_key(config) for config in (loaded, some, more)}) == 3
