import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.model.transformer import SequenceTransformer

pytestmark = pytest.mark.slow

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]


class Run(Protocol):
    """The fixture that trains and keeps what it is told."""

    epochs: list[EpochReport]
    batches: list[BatchReport]
    messages: list[str]

    def __call__(
        self,
        config: TrainConfig,
        data: TrainingData,
        *,
        stop_after: int | None = None,
        resume: bool = False,
    ) -> TrainingResult: ...


def checkpoint(config: TrainConfig, epoch: int) -> dict[str, Any]:
    path = config.paths.checkpoint(config.model_name, epoch)
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


VARIANTS: dict[str, dict[str, Any]] = {
    "swiglu": {},
    "gelu": {"activation_fn": "gelu"},
    "relu": {"activation_fn": "relu"},
    "rope": {"positional_encoding": "rope"},
    "layer norm": {"normalization": "layer_norm"},
    "post-norm": {"norm_first": False},
    "grouped heads": {"n_head": 4, "attention_type": "gqa", "n_kv_heads": 2},
    "one shared head": {"attention_type": "mqa", "n_kv_heads": 1},
    "joint layer": {"initial_embedding_dim": 6, "joint_embedding_dim": 8},
    "mixed inputs": {
        "input_columns": ["cat1", "val1"],
        "feature_embedding_dims": {"cat1": 7, "val1": 1},
        "target_columns": ["cat1", "val1"],
    },
    "real target": {"target_columns": ["val1"], "input_columns": ["val1", "val2"]},
    "dropout": {"dropout": 0.1},
    "accumulated": {"accumulation_steps": 2},
    "bfloat16": {"layer_type_dtypes": {"linear": "bfloat16"}},
    "float64": {"layer_type_dtypes": {"linear": "float64", "embedding": "float64"}},
    "AdEMAMix": {"optimizer": {"name": "AdEMAMix", "weight_decay": 0.01}},
    "Lamb": {"optimizer": {"name": "Lamb"}},
    "plateau": {"scheduler": {"name": "ReduceLROnPlateau"}},
    "one cycle": {
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.02, "total_steps": 18},
        "scheduler_step_on": "batch",
    },
}


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")  # torch_optimizer's, inside Lamb
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_learns(
    make_config: Config, make_data: Data, run: Run, changes: dict[str, Any]
) -> None:
    result = run(make_config(epochs=3, **changes), make_data())

    losses = [report.validation_loss for report in run.epochs]
    assert result.kind is OutcomeKind.COMPLETED
    assert losses[2] < losses[1] < losses[0]


def test_the_result_sums_the_run_up(make_config: Config, make_data: Data, run: Run) -> None:
    config = make_config(epochs=3)

    result = run(config, make_data())

    best = min(run.epochs, key=lambda report: report.validation_loss)
    assert (result.best_epoch, result.best_validation_loss) == (best.epoch, best.validation_loss)
    assert (result.last_epoch, result.last_validation_loss) == (3, run.epochs[2].validation_loss)
    assert result.batch_size == 8
    assert result.num_parameters == sum(p.numel() for p in SequenceTransformer(config).parameters())
    assert min(result.seconds, result.tokens_per_second, result.peak_memory_bytes) > 0


def test_the_same_config_gives_the_same_losses_bit_for_bit(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(dropout=0.2)

    run(config, make_data())
    torch.manual_seed(99)
    run(config, make_data())

    first, second = ([r.validation_loss for r in run.epochs[i : i + 2]] for i in (0, 2))
    assert first == second


def test_batches_are_reported_every_log_interval(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=1, log_interval=2), make_data(num_training=44))

    assert [(report.batch, report.num_batches) for report in run.batches] == [
        (2, 6),
        (4, 6),
        (6, 6),
    ]


def test_the_epochs_training_loss_is_the_mean_of_its_equally_long_batches(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(epochs=1, log_interval=1), make_data(num_training=40))

    mean = sum(report.train_loss for report in run.batches) / len(run.batches)
    assert run.epochs[0].train_loss == pytest.approx(mean, rel=1e-6)


def test_the_learning_rate_told_is_that_of_the_last_step(
    make_config: Config, make_data: Data, run: Run
) -> None:
    run(make_config(scheduler={"name": "StepLR", "step_size": 1, "gamma": 0.5}), make_data())

    assert [report.learning_rate for report in run.epochs] == [0.01, 0.005]


def test_accumulated_batches_equal_one_big_batch(
    make_config: Config, make_data: Data, run: Run
) -> None:
    sgd = {"optimizer": {"name": "SGD"}, "epochs": 2, "learning_rate": 0.5}
    data = make_data(num_training=48)

    run(make_config(batch_size=4, accumulation_steps=3, model_name="a", **sgd), data)
    run(make_config(batch_size=12, model_name="b", **sgd), data)

    weights = [
        checkpoint(make_config(model_name=name), 2)["model_state_dict"] for name in ("a", "b")
    ]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=1e-5, rtol=1e-4)


def test_left_over_batches_of_an_epoch_make_a_step_of_their_own(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(
        optimizer={"name": "SGD"}, epochs=1, learning_rate=0.3, accumulation_steps=4
    )
    data = make_data(num_training=40)
    torch.manual_seed(config.seed)
    model = SequenceTransformer(config)
    batches = WindowBatches(data.training, config, torch.device("cpu"))
    losses = [
        (batch.inputs, batch.targets["cat1"].reshape(-1))
        for batch in batches.shuffled(8, seed=config.seed, epoch=1)
    ]
    for group in (losses[:4], losses[4:]):
        mean = torch.stack(
            [
                cross_entropy(model(inputs)["cat1"].transpose(0, 1).flatten(0, 1), ids)
                for inputs, ids in group
            ]
        ).mean()
        gradients = torch.autograd.grad(mean, list(model.parameters()))
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.data -= 0.3 * min(1.0, 0.5 / norm) * gradient

    run(config, data)

    found = checkpoint(config, 1)["model_state_dict"]
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-4)


def test_gradients_are_clipped_to_norm_one_half(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(
        epochs=1,
        learning_rate=1.0,
        batch_size=64,
        optimizer={"name": "SGD"},
        loss_weights={"cat1": 1000.0},
    )
    torch.manual_seed(config.seed)
    before = SequenceTransformer(config).state_dict()

    run(config, make_data(num_training=44))

    after = checkpoint(config, 1)["model_state_dict"]
    moved = math.sqrt(sum(float((after[n] - before[n]).square().sum()) for n in before))
    assert moved == pytest.approx(0.5, rel=1e-3)


def test_training_stops_after_epochs_without_improvement(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=9, early_stopping_epochs=2, learning_rate=1e-30)

    result = run(config, make_data())

    assert result.kind is OutcomeKind.COMPLETED
    assert (result.best_epoch, result.last_epoch) == (1, 3)
    assert [report.is_best for report in run.epochs] == [True, False, False]


def test_the_best_weights_are_kept_not_the_last(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=4, learning_rate=0.3, optimizer={"name": "Adam"})

    result = run(config, make_data(num_validation=9))

    state = checkpoint(config, 4)
    progress = state["sequifier_hpo"]["progress"]
    assert result.best_epoch == progress["best_epoch"]
    assert result.best_epoch is not None
    assert result.best_epoch < 4
    assert not all(
        torch.equal(progress["best_state"][name], value)
        for name, value in state["model_state_dict"].items()
    )


@pytest.mark.parametrize("log_interval", [1, 100])
def test_a_training_loss_that_is_no_number_ends_the_run_as_diverged(
    make_config: Config, make_data: Data, run: Run, log_interval: int
) -> None:
    def change(values: dict[str, NDArray[Any]]) -> None:
        values["val1"][:] = 1e25  # its square is beyond float32

    config = make_config(target_columns=["val1"], log_interval=log_interval, export_pt=True)

    result = run(config, make_data(change=change))

    assert result.kind is OutcomeKind.DIVERGED
    assert "the training loss became inf in epoch 1" in result.reason
    assert (result.best_epoch, result.best_validation_loss, result.model_files) == (None, None, [])


def test_a_validation_loss_that_is_no_number_ends_the_run_and_keeps_the_best_so_far(
    make_config: Config, make_data: Data, run: Run
) -> None:
    data = make_data()
    data.validation.columns["val1"].values[:] = 1e25

    result = run(make_config(target_columns=["val1"]), data)

    assert result.kind is OutcomeKind.DIVERGED
    assert result.reason.startswith("the validation loss became inf in epoch 1")
    assert run.epochs == []


def test_a_training_split_of_padding_is_refused(
    make_config: Config, make_data: Data, run: Run
) -> None:
    data = make_data()
    data.training.num_padding.fill_(6)

    with pytest.raises(InputError, match="training split holds nothing but padding"):
        run(make_config(), data)


def test_predicted_class_shares_are_told(make_config: Config, make_data: Data, run: Run) -> None:
    run(make_config(epochs=1, class_share_log_columns=["cat1"]), make_data())

    assert run.messages[0].startswith("predicted classes of cat1: cat1-")


def test_models_are_exported_with_the_number_of_the_last_epoch(
    make_config: Config, make_data: Data, run: Run, tmp_path: Path
) -> None:
    config = make_config(
        export_generative_model=True, export_embedding_model=True, export_onnx=True, export_pt=True
    )

    result = run(config, make_data())

    assert sorted(result.model_files) == sorted(
        f"models/sequifier-small-{kind}-2.{suffix}"
        for kind in ("best", "last", "best-embedding", "last-embedding")
        for suffix in ("onnx", "pt")
    )
    assert all((tmp_path / file).exists() for file in result.model_files)
