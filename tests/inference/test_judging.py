"""What a model file is worth is found from the file, and equals what the search found."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import polars as pl
import pytest
import torch
from onnx import TensorProto, helper

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Counted
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.device import choose_precision
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.evaluate import Evaluator
from sequifier_hpo.training.judging.every_position import NotOursError, answer_everywhere
from sequifier_hpo.training.judging.judge import Order, judge, judge_on
from sequifier_hpo.training.judging.scores import ClassScores, NumberScores
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.inference.conftest import ALL, export, small_config
from tests.training.conftest import N_CLASSES, arrays, make_data, pad, write_table

__all__ = ["make_data", "write_table"]

CPU = torch.device("cpu")
LENGTH = 7
"""Of the stored windows; models see 5 items."""
UNITS = {"val1": (4.0, 10.0), "val2": (0.5, -3.0)}
LABELS = {c: ["unknown", *(f"{c}-{i}" for i in range(1, n))] for c, n in N_CLASSES.items()}


@pytest.fixture
def values() -> dict[str, Any]:
    """The windows that are judged, some of which begin with padding."""
    values = arrays(17, LENGTH, seed=1)
    pad(values)
    return values


@pytest.fixture
def data(make_data: Callable[..., TrainingData]) -> TrainingData:
    """They, and others to learn from."""
    return make_data(12, 17, LENGTH, pad)


def order(config: TrainConfig, root: Path, last_positions: int | None = None) -> Order:
    return Order(
        model=export(config, root),
        config=config,
        counted=Counted(last_positions=last_positions, padding_is_stored=True),
        labels={t: LABELS[t] for t in config.target_columns if t in LABELS},
        units={t: UNITS[t] for t in config.target_columns if t in UNITS},
        has_training=True,
    )


def recomputed(
    config: TrainConfig, root: Path, values: dict[str, Any], num_counted: int
) -> dict[str, tuple[Any, Any]]:
    """Target -> (outputs (N, n), what came (N,)), from a model of as many outputs as positions.

    By onnxruntime and numpy; of ours is the file alone.
    """
    spec = config.model_spec.model_copy(update={"prediction_length": 5})
    path = export(config.model_copy(update={"model_name": "all", "model_spec": spec}), root)
    cut = {c: v[:, -6:] for c, v in values.items()}
    session = onnxruntime.InferenceSession(path)
    inputs = {
        node.name: cut[node.name][:, :-1].astype(np.int64 if "int" in node.type else np.float32)
        for node in session.get_inputs()
    }
    num_padding = np.arange(17) % 6 - (LENGTH - 5)
    items = np.arange(1, 6)
    counts = (items >= num_padding[:, None]) & (items > 5 - num_counted)
    return {
        target: (output.swapaxes(0, 1)[counts], cut[target][:, 1:][counts])
        for target, output in zip(config.target_columns, session.run(None, inputs), strict=True)
    }


@pytest.mark.parametrize("last_positions", [None, 2])
@pytest.mark.parametrize(
    ("targets", "changes"),
    [
        (["cat1"], {}),
        (["cat1"], {"positional_encoding": "rope", "attention_type": "mqa", "n_kv_heads": 1}),
        (["cat1"], {"positional_encoding": "rope", "norm_first": False, "num_layers": 2}),
        (["cat1"], {"prediction_length": 5}),
        (["val1"], {"criterion": {"val1": "L1Loss"}}),
        (["val2", "cat1", "cat2"], {"loss_weights": {"val2": 2.0, "cat1": 0.5, "cat2": 1.0}}),
    ],
)
def test_the_loss_is_that_of_onnxruntime_and_numpy_and_that_of_the_search(
    tmp_path: Path,
    values: dict[str, Any],
    data: TrainingData,
    targets: list[str],
    changes: dict[str, Any],
    last_positions: int | None,
) -> None:
    config = small_config(tmp_path, ALL, targets, **changes)

    found = judge_on(data, order(config, tmp_path, last_positions))

    expected = 0.0
    for target, (outputs, actual) in recomputed(
        config, tmp_path, values, last_positions or 5
    ).items():
        if target.startswith("cat"):
            losses = -np.take_along_axis(outputs, actual[:, None], 1)
        elif config.training_spec.criterion[target] == "L1Loss":
            losses = np.abs(outputs[:, 0] - actual)
        else:
            losses = (outputs[:, 0] - actual) ** 2
        assert found["targets"][target]["loss"] == pytest.approx(losses.mean(), abs=1e-5)
        assert found["num_events"] == len(actual)
        expected += (config.training_spec.loss_weights or {}).get(target, 1.0) * losses.mean()
    assert found["loss"] == pytest.approx(expected, abs=1e-5)
    assert found["loss"] == pytest.approx(loss_of_search(config, data, last_positions), abs=1e-5)


def loss_of_search(config: TrainConfig, data: TrainingData, last_positions: int | None) -> float:
    """What a search minimises, with the weights of `export`."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = SequenceTransformer(config)
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    evaluator = Evaluator(
        WindowBatches(data.validation, config, CPU),
        TargetLosses(config, CPU),
        precision=choose_precision(config),
        device=CPU,
        batch_size=8,
        class_share_targets=[],
        team=Team(),
        last_positions=last_positions,
    )
    found = evaluator.evaluate(network, lambda: False)
    assert found is not None
    return found.loss


def test_figures_of_classes_are_what_their_definitions_say(
    tmp_path: Path, values: dict[str, Any], data: TrainingData
) -> None:
    config = small_config(tmp_path, ALL, ["cat1"])

    found = judge_on(data, order(config, tmp_path))

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    found = found["targets"]["cat1"]

    outputs, actual = recomputed(config, tmp_path, values, 5)["cat1"]
    chosen = outputs.argmax(1)
    assert found["log_loss"] == pytest.approx(found["loss"], abs=1e-6)
    assert found["accuracy"] == pytest.approx((chosen == actual).mean(), abs=1e-6)
    top = np.argsort(-outputs, axis=1)[:, :3]
    expected = (top == actual[:, None]).any(1).mean()
    assert found["top_k_accuracy"]["3"] == pytest.approx(expected, abs=1e-6)
    scores = []
    for label in set(actual) | set(chosen):
        hits = ((chosen == label) & (actual == label)).sum()
        scores.append(2 * hits / ((chosen == label).sum() + (actual == label).sum()))
    assert found["macro_f1"] == pytest.approx(np.mean(scores), abs=1e-6)
    matrix = np.array(found["confusion"]["counts"])
    assert matrix.sum() == len(actual)
    row = found["confusion"]["labels"].index("cat1-3")
    assert matrix[row].sum() == (actual == 3).sum()
    assert matrix[row][row] == ((actual == 3) & (chosen == 3)).sum()
    highest = np.exp(outputs.max(1))
    places = np.minimum((highest * 10).astype(int), 9)
    gaps = [abs((highest[places == i] - (chosen == actual)[places == i]).sum()) for i in range(10)]
    assert found["calibration"]["error"] == pytest.approx(sum(gaps) / len(actual), abs=1e-6)
    assert list(found["baselines"]) == [
        "class frequencies",
        "class frequencies after the last value",
    ]


def test_figures_of_numbers_are_in_the_units_of_the_column(
    tmp_path: Path, values: dict[str, Any], data: TrainingData
) -> None:
    config = small_config(tmp_path, ALL, ["val1"])

    found = judge_on(data, order(config, tmp_path, 1))["targets"]["val1"]

    outputs, actual = recomputed(config, tmp_path, values, 1)["val1"]
    errors = 4 * (outputs[:, 0] - actual)
    assert found["mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), abs=1e-5)
    spread = ((4 * (actual - actual.mean())) ** 2).sum()
    assert found["r2"] == pytest.approx(1 - (errors**2).sum() / spread, abs=1e-5)
    last = 4 * (values["val1"][:, -2] - values["val1"][:, -1])
    assert found["trivial"]["last value"]["mae"] == pytest.approx(np.abs(last).mean(), abs=1e-5)
    assert found["trivial"]["mean"]["mae"] == pytest.approx(np.abs(4 * actual).mean(), abs=1e-5)


def test_every_event_has_a_row_and_every_sequence_its_loss(
    tmp_path: Path, values: dict[str, Any], write_table: Callable[..., None]
) -> None:
    config = small_config(tmp_path, ALL, ["cat1", "val1"])
    starts = np.array([-(row % 6) for row in range(17)])
    for i in range(2):
        write_table(tmp_path / f"data/small-split{i}.parquet", values, starts.tolist())
    starts += LENGTH - 5
    np.save(tmp_path / "places.npy", np.stack([np.arange(17) // 2, starts], 1))
    files = [tmp_path / name for name in ("places.npy", "events.csv", "sequences.npz")]
    asked = order(config, tmp_path)

    found = judge(replace(asked, places=files[0], events=files[1], sequences=files[2]))

    events = pl.read_csv(files[1])
    assert events.height == found["num_events"]
    total = events["cat1.loss"] + events["val1.loss"]
    assert total.mean() == pytest.approx(found["loss"], abs=1e-5)
    # The last item of the first window, which has no padding, lies at its end.
    row = events.filter((pl.col("sequenceId") == 0) & (pl.col("position") == LENGTH)).row(
        0, named=True
    )
    assert row["cat1"] == f"cat1-{values['cat1'][0, -1]}"
    assert row["val1"] == pytest.approx(values["val1"][0, -1] * 4 + 10, abs=1e-5)
    sequences = np.load(files[2])
    by_hand = events.with_columns(total.alias("loss")).group_by("sequenceId", maintain_order=True)
    assert sequences["ids"].tolist() == list(range(9))
    assert sequences["counts"].tolist() == by_hand.len()["len"].to_list()
    assert sequences["sums"] == pytest.approx(by_hand.agg(pl.sum("loss"))["loss"].to_numpy())


def test_rare_classes_are_others_and_of_too_many_there_is_no_f1() -> None:
    scores = ClassScores([str(i) for i in range(5000)])
    actual = torch.arange(20)

    scores.add(torch.nn.functional.one_hot(actual, 5000).float(), actual, actual)

    found = scores.result()
    assert found["macro_f1"] is None
    assert found["accuracy_of_last_value"] == 1
    assert found["confusion"]["labels"][-1] == "others"
    assert np.array(found["confusion"]["counts"]).diagonal().tolist() == [1] * 12 + [8]


def test_a_single_number_has_no_share_of_explained_variance() -> None:
    scores = NumberScores(2.0)

    scores.add(torch.ones(1, 1), torch.zeros(1), torch.zeros(1))

    assert (scores.result()["mae"], scores.result()["r2"]) == (2.0, None)


def test_what_holds_nothing_but_padding_cannot_be_judged(
    tmp_path: Path, make_data: Callable[..., TrainingData]
) -> None:
    def empty(values: dict[str, Any]) -> None:
        for array in values.values():
            array[:] = 0

    with pytest.raises(InputError, match="nothing but padding"):
        judge_on(
            make_data(12, 17, LENGTH, empty),
            order(small_config(tmp_path, ALL, ["cat1"]), tmp_path),
        )


def test_a_model_that_is_laid_out_in_another_way_is_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"], name="y")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 2)) for n in "xy")
    model = helper.make_model(helper.make_graph([node], "other", [x], [y]))

    with pytest.raises(NotOursError):
        answer_everywhere(model)
