"""Steps of training here and in Sequifier: from one seed, over one checkpoint, to one model file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig, train_yaml
from sequifier_hpo.training.checkpoint import CheckpointStore, read_checkpoint
from sequifier_hpo.training.data.batching import Batch
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.export import export_models
from sequifier_hpo.training.loop import Hooks, Training, cpu_state
from sequifier_hpo.training.origin import Origin
from sequifier_hpo.training.run import build_apparatus
from tests.conformance.reference import ask_reference, needs_reference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), needs_reference]

MIXED: dict[str, Any] = {
    "input_columns": ["cat1", "val1"],
    "target_columns": ["cat1", "val1"],
    "feature_embedding_dims": {"cat1": 6, "val1": 2},
    "criterion": {"cat1": "CrossEntropyLoss", "val1": "SmoothL1Loss"},
    "class_weights": {"cat1": [0.0, 1.0, 2.0, 0.5, 1.0, 1.0, 3.0]},
    "loss_weights": {"cat1": 0.5, "val1": 2.0},
}
RUNS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": {"name": "AdamW", "weight_decay": 0.1}},
    "mixed": {**MIXED, "optimizer": {"name": "AdEMAMix", "T_alpha_beta3": 4, "alpha": 2.0}},
    "reals": {
        "input_columns": ["val1", "val2"],
        "target_columns": ["val2"],
        "optimizer": {"name": "AdEMAMix", "weight_decay": 0.1},
    },
    "cycle": {
        **MIXED,
        "optimizer": {"name": "Adam"},
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.05, "total_steps": 20},
        "scheduler_step_on": "batch",
    },
    "clipped": {"optimizer": {"name": "SGD", "momentum": 0.9}, "learning_rate": 3.0},
    "package": {"optimizer": {"name": "Lamb"}},
}

# For each run: the same steps; then those after our checkpoint; then, from its own checkpoint, those
# that we are to repeat; and predictions of our model files.
REPEAT = """
import json, sys
from pathlib import Path
import numpy, random, torch
from sequifier.config.train_config import load_train_config
from sequifier.train import TransformerModel, load_inference_model

def steps(model, batches):
    losses = []
    model.train()
    for inputs, targets in batches:
        loss, _ = model._calculate_loss(model.forward_train(inputs), targets)
        losses.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        model.optimizer.step()
        model.optimizer.zero_grad()
        if model.scheduler_step_on == "batch":
            model.scheduler.step()
    return losses

torch.set_num_threads(1)
answers = {}
for name in sys.argv[1:]:
    path = f"{name}.yaml"
    config = load_train_config(path, {}, True)
    ours = torch.load(f"{name}.pt", weights_only=True)
    random.seed(config.seed), numpy.random.seed(config.seed), torch.manual_seed(config.seed)
    config.training_spec.continue_training = False
    fresh = TransformerModel(config)
    fresh._load_weights_conditional()
    answer = {"first": steps(fresh, ours["first"])}
    config.training_spec.continue_training = True
    continued = TransformerModel(config, 0)
    if not hasattr(continued, "start_epoch"):
        continued._load_weights_conditional()
    answer["start_epoch"] = continued.start_epoch
    answer["second"] = steps(continued, ours["second"])
    Path(f"{config.project_root}/checkpoints/{name}-epoch-1.pt").unlink()
    continued._save(7, numpy.float32(1.5))
    answer["third"] = steps(continued, ours["third"])
    Path(f"{config.project_root}/checkpoints/{name}-epoch-7.pt").rename(f"{name}-of-sequifier.pt")
    inputs = ours["third"][0][0]
    for kind, ending in (("generative", ""), ("embedding", "-embedding")):
        file = f"models/sequifier-{name}-last{ending}-1.pt"
        model = load_inference_model(kind, file, path, {"skip_metadata": True}, "cpu", False)
        with torch.no_grad():
            outputs = model(inputs)
        torch.save(outputs, f"{name}-{kind}.pt")
    answers[name] = answer
print(json.dumps(answers))
"""

Content = list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]


def padded(arrays: dict[str, Any]) -> None:
    """Some windows begin with padding, one is nothing else."""
    for row, length in ((0, 2), (3, 4), (5, 6)):
        for values in arrays.values():
            values[row, :length] = 0


def ready(config: TrainConfig, data: TrainingData) -> Training:
    hooks = Hooks(print, print, print, lambda: False)
    apparatus = build_apparatus(config, data, hooks, Team())
    store = CheckpointStore(config.paths, config.model_name, print)
    training = Training(apparatus, store, Origin(None, {}, ""), hooks)
    training._totals = training._start_totals()
    return training


def steps(training: Training, batches: list[Batch]) -> list[float]:
    """Make a step with each batch: their losses."""
    parts, losses = training._parts, []
    for batch in batches:
        mask = parts.losses.mask(batch.num_padding)
        losses.append(parts.compute_loss(batch, mask, mask.sum())[0].item())
        training._train_batch(batch)
    return losses


def as_tensors(batches: list[Batch]) -> Content:
    return [
        (
            {
                name: values.contiguous().long() if not values.is_floating_point() else values
                for name, values in batch.inputs.items()
            },
            {name: values.contiguous() for name, values in batch.targets.items()},
        )
        for batch in batches
    ]


def test_steps_go_on_in_either_program_from_the_others_checkpoint_to_the_same_losses(
    make_config: Callable[..., TrainConfig], make_data: Callable[..., TrainingData], tmp_path: Path
) -> None:
    data = make_data(change=padded)
    ours: dict[str, dict[str, list[float]]] = {}
    trained: dict[str, tuple[Training, list[Batch]]] = {}
    for folder in ("logs", "models", "checkpoints"):
        (tmp_path / folder).mkdir()
    for name, changes in RUNS.items():
        config = make_config(
            model_name=name,
            export_generative_model=True,
            export_embedding_model=True,
            export_pt=True,
            continue_training=True,
            prediction_length=2,
            **changes,
        )
        (tmp_path / f"{name}.yaml").write_text(train_yaml(config))
        training = ready(config, data)
        batches = list(training._parts.batches.in_order(8))[:5]
        first, second, third = batches[:3], batches[1:4], batches[2:5]
        parts = {"first": first, "second": second, "third": third}
        torch.save({key: as_tensors(part) for key, part in parts.items()}, tmp_path / f"{name}.pt")
        losses = {"first": steps(training, first)}
        training.progress.epoch = 1
        training._store.save_epoch(1, training._content(), is_final=False)
        losses["second"] = steps(training, second)
        state = cpu_state(training.model)
        export_models(
            config,
            best_state=state,
            last_state=state,
            last_epoch=1,
            best_epoch=1,
            best_validation_loss=1.0,
        )
        ours[name], trained[name] = losses, (training, third)

    answers = ask_reference(REPEAT, *RUNS, folder=tmp_path)

    for name, answer in answers.items():
        training, third = trained[name]
        predicted = training.model.eval().predict(third[0].inputs)
        embedded = training.model.embedding(third[0].inputs)
        theirs = torch.load(tmp_path / f"{name}-generative.pt", weights_only=True)
        for target, values in predicted.items():
            torch.testing.assert_close(values, theirs[target], rtol=0, atol=1e-5)
        their_embedding = torch.load(tmp_path / f"{name}-embedding.pt", weights_only=True)
        torch.testing.assert_close(embedded, their_embedding, rtol=0, atol=1e-5)
        assert answer["start_epoch"] == 2
        assert answer["first"] == pytest.approx(ours[name]["first"], rel=1e-5)
        assert answer["second"] == pytest.approx(ours[name]["second"], rel=1e-4)

        config = training._parts.config
        continued = ready(config, data)
        content = read_checkpoint(tmp_path / f"{name}-of-sequifier.pt")
        continued.restore(content)
        assert continued.progress.epoch == 7
        assert steps(continued, third) == pytest.approx(answer["third"], rel=1e-4)
