import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from sequifier_hpo import __version__
from sequifier_hpo.config.train import TrainConfig, train_yaml
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.training.export import ExportCheckError, export_models
from sequifier_hpo.training.export.models import require_onnx_size
from sequifier_hpo.training.export.properties import class_labels
from sequifier_hpo.training.export.verification import evaluate
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.full_disk import largest_file


def export(
    config: TrainConfig, best: Mapping[str, Tensor], last: Mapping[str, Tensor] | None = None
) -> list[str]:
    return export_models(
        config,
        best_state=best,
        last_state=best if last is None else last,
        last_epoch=10,
        best_epoch=4,
        best_validation_loss=1 / 3,
    )


def properties(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def files_in(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir())


@pytest.mark.parametrize(
    ("generative", "embedding", "as_onnx", "as_pt", "expected"),
    [
        (True, False, True, False, ["best-10.onnx", "last-10.onnx"]),
        (False, True, False, True, ["best-embedding-10.pt", "last-embedding-10.pt"]),
        (True, False, True, True, ["best-10.onnx", "best-10.pt", "last-10.onnx", "last-10.pt"]),
        (False, False, True, True, []),
        (True, True, False, False, []),
    ],
)
def test_files_are_those_the_flags_ask_for_and_carry_the_last_epoch(
    make_config: Any,
    make_state: Any,
    tmp_path: Path,
    *,
    generative: bool,
    embedding: bool,
    as_onnx: bool,
    as_pt: bool,
    expected: list[str],
) -> None:
    config = make_config(
        tmp_path,
        export_generative_model=generative,
        export_embedding_model=embedding,
        export_onnx=as_onnx,
        export_pt=as_pt,
    )

    written = export(config, make_state(config, 1), make_state(config, 2))

    assert written == [f"models/sequifier-shop-run-0-{name}" for name in expected]
    assert files_in(tmp_path) == written


def test_best_and_last_hold_their_own_weights(
    make_config: Any, make_state: Any, make_inputs: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    states = {"best": make_state(config, 1), "last": make_state(config, 2)}
    inputs = make_inputs(config, 2)

    export(config, **states)

    for kind, state in states.items():
        model = SequenceTransformer(config).eval()
        model.load_state_dict(state)
        file = onnx.load(tmp_path / f"models/sequifier-shop-run-0-{kind}-10.onnx")
        with torch.no_grad():
            torch.testing.assert_close(
                evaluate(ReferenceEvaluator(file), inputs), [*model.predict(inputs).values()]
            )


def test_equal_states_make_two_files_with_one_graph(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path)

    best, last = export(config, make_state(config), make_state(config))

    assert onnx.load(tmp_path / best).graph == onnx.load(tmp_path / last).graph
    assert properties(tmp_path / best)["kind"] == "best"
    assert properties(tmp_path / last)["kind"] == "last"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_number_types_become_float32(
    make_config: Any, make_state: Any, make_inputs: Any, tmp_path: Path, dtype: torch.dtype
) -> None:
    config = make_config(tmp_path)
    state = {
        name: tensor if "inv_freq" in name else tensor.to(dtype)
        for name, tensor in make_state(config).items()
    }
    model = SequenceTransformer(config).eval()
    model.load_state_dict(state)
    inputs = make_inputs(config, 2)

    best, _ = export(config, state)

    file = onnx.load(tmp_path / best)
    types = {constant.data_type for constant in file.graph.initializer}
    assert types == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    with torch.no_grad():
        torch.testing.assert_close(
            evaluate(ReferenceEvaluator(file), inputs), [*model.predict(inputs).values()]
        )


def test_an_onnx_file_tells_where_it_comes_from(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, targets=("price", "product"), spec={"prediction_length": 2})

    best, last = export(config, make_state(config, 1), make_state(config, 2))

    told = properties(tmp_path / best)
    assert told["run_name"] == "shop-run-0"
    assert told["train_yaml_sha256"] == hashlib.sha256(train_yaml(config).encode()).hexdigest()
    assert told["sequifier_hpo_version"] == __version__
    assert (told["kind"], told["model_type"]) == ("best", "generative")
    assert (told["epoch"], told["best_epoch"], told["last_epoch"]) == ("4", "4", "10")
    assert float(told["best_validation_loss"]) == 1 / 3
    assert (told["seq_length"], told["prediction_length"]) == ("5", "2")
    assert json.loads(told["input_columns"]) == ["product", "price"]
    assert json.loads(told["target_columns"]) == ["price", "product"]
    assert "standardised" in told["real_outputs"]
    assert properties(tmp_path / last)["epoch"] == "10"


def test_class_labels_are_indexed_by_id_and_begin_with_unknown(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, id_maps={"product": {"tea": 2, "größe": 1, "milk": 4}})

    best, _ = export(config, make_state(config))

    labels = json.loads(properties(tmp_path / best)["class_labels"])
    assert labels == {"product": ["unknown", "größe", "tea", None, "milk"]}


def test_a_label_of_a_map_that_begins_at_two_is_unknown(make_config: Any, tmp_path: Path) -> None:
    config = make_config(tmp_path, id_maps={"product": {"tea": 2, "unknown": 4}})

    assert class_labels(config, "product") == ["unknown", "unknown", "tea", None, "unknown"]


def test_an_embedding_file_says_that_it_is_one(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, export_generative_model=False, export_embedding_model=True)

    best, _ = export(config, make_state(config))

    assert properties(tmp_path / best)["model_type"] == "embedding"


@pytest.mark.parametrize("with_dropout", [False, True])
def test_a_pt_file_holds_the_state_and_the_dropout_flag_and_loads_restricted(
    make_config: Any, make_state: Any, tmp_path: Path, *, with_dropout: bool
) -> None:
    config = make_config(
        tmp_path, export_onnx=False, export_pt=True, export_with_dropout=with_dropout
    )
    state = make_state(config)

    best, _ = export(config, state)

    saved = torch.load(tmp_path / best, weights_only=True)
    assert list(saved) == ["model_state_dict", "export_with_dropout"]
    assert saved["export_with_dropout"] is with_dropout
    assert list(saved["model_state_dict"]) == list(state)
    torch.testing.assert_close(saved["model_state_dict"], state, rtol=0, atol=0)


def test_keys_of_an_embedding_pt_file_carry_sequifiers_prefix(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path,
        export_generative_model=False,
        export_embedding_model=True,
        export_onnx=False,
        export_pt=True,
    )
    state = make_state(config)

    best, _ = export(config, state)

    saved = torch.load(tmp_path / best, weights_only=True)["model_state_dict"]
    assert list(saved) == [f"transformer_model.{name}" for name in state]


def test_a_pt_file_keeps_number_types(make_config: Any, make_state: Any, tmp_path: Path) -> None:
    config = make_config(tmp_path, export_onnx=False, export_pt=True)
    state = make_state(config)
    state["decoder.product.weight"] = state["decoder.product.weight"].bfloat16()

    best, _ = export(config, state)

    saved = torch.load(tmp_path / best, weights_only=True)["model_state_dict"]
    assert saved["decoder.product.weight"].dtype == torch.bfloat16
    assert saved["decoder.price.weight"].dtype == torch.float32


def test_a_pt_file_does_not_drag_along_a_shared_buffer(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, export_onnx=False, export_pt=True)
    buffer = torch.zeros(1_000_000)
    state = make_state(config)
    for name, tensor in state.items():
        state[name] = buffer[: tensor.numel()].view(tensor.shape)

    best, _ = export(config, state)

    assert (tmp_path / best).stat().st_size < 100_000


def test_parameters_that_need_gradients_can_be_exported(make_config: Any, tmp_path: Path) -> None:
    config = make_config(tmp_path, export_pt=True)
    state = dict(SequenceTransformer(config).named_parameters())

    written = export(config, state)

    assert len(written) == 4


def test_a_new_export_replaces_the_files_of_the_same_name(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    best, _ = export(config, make_state(config, 1))
    before = (tmp_path / best).read_bytes()

    export(config, make_state(config, 2))

    assert (tmp_path / best).read_bytes() != before


def test_a_full_disk_leaves_no_file_and_is_named(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, export_pt=True)
    written = [tmp_path / path for path in export(config, make_state(config))]
    largest = max(written, key=lambda path: path.stat().st_size)
    num_bytes = largest.stat().st_size
    for path in written:
        path.unlink()

    # The others are written well.
    with largest_file(num_bytes - 1), pytest.raises(EnvironmentFaultError) as caught:
        export(config, make_state(config))

    assert f"cannot write {largest}: File too large" in caught.value.problem

    assert files_in(tmp_path) == []


def test_a_models_folder_that_cannot_be_made_is_named(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    (tmp_path / "models").write_text("a file in the way")

    with pytest.raises(EnvironmentFaultError, match=r"cannot write .*models/sequifier-shop"):
        export(config, make_state(config))


def test_a_state_that_predicts_nan_is_refused_and_leaves_no_file(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, export_pt=True)
    diverged = make_state(config)
    diverged["decoder.product.bias"][0] = torch.nan

    with pytest.raises(ExportCheckError, match="predicts NaN or infinity"):
        export(config, make_state(config), diverged)

    assert files_in(tmp_path) == []


def test_a_state_of_another_architecture_is_refused(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    state = make_state(make_config(spec={"num_layers": 3}))

    with pytest.raises(RuntimeError, match="Unexpected key"):
        export(config, state)

    assert files_in(tmp_path) == []


def test_a_model_too_large_for_onnx_is_refused_with_the_way_out() -> None:
    with pytest.raises(EnvironmentFaultError, match=r"2\.0 GiB.*\n.*export_pt: true"):
        require_onnx_size(2**31)


def test_a_model_just_small_enough_for_onnx_is_accepted() -> None:
    require_onnx_size(2**31 - 2**27)


def test_exporting_leaves_the_random_state_alone(
    make_config: Any, make_state: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    state = make_state(config)
    before = torch.get_rng_state()

    export(config, state)

    assert torch.equal(torch.get_rng_state(), before)
