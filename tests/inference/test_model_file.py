"""A model file says all that is needed to use it, or why it cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.inference.chosen_model import model_of_file
from sequifier_hpo.inference.model_file import Model
from tests.inference.conftest import STATISTICS, export, small_config, write_metadata

MakeModel = Callable[..., Path]


def test_a_file_says_what_its_run_was_and_what_its_data_mean(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = make_model(["cat1", "val1"], ["val1"])
    config = small_config(tmp_path, ["cat1", "val1"], ["val1"])

    about = Model(path).about

    assert about.config == config
    metadata = read_metadata(tmp_path / config.metadata_config_path)
    assert about.metadata is not None
    assert about.metadata.selected_columns_statistics == {
        "val1": metadata.selected_columns_statistics["val1"]
    }
    assert about.metadata.id_maps == metadata.id_maps
    assert about.metadata.padding == "startItemPosition"


@pytest.mark.parametrize("changes", [{"id_maps": {"cat1": {"x": 1}}}, {"id_maps": 3}])
def test_metadata_that_changed_while_the_run_trained_are_not_written(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    config = small_config(tmp_path, ["cat1", "val1"], ["cat1"])
    write_metadata(tmp_path, config, **changes)

    about = Model(export(config, tmp_path)).about

    assert about.metadata is not None
    assert about.metadata.selected_columns_statistics == {}


def without_properties(path: Path, *keys: str, **changes: str) -> Path:
    model = onnx.load(path)
    properties = {p.key: p.value for p in model.metadata_props if p.key not in keys} | changes
    del model.metadata_props[:]
    helper.set_model_props(model, properties)
    onnx.save(model, path)
    return path


def test_a_model_of_0_1_0_is_used_with_the_metadata_of_its_data(
    make_model: MakeModel, tmp_path: Path
) -> None:
    path = without_properties(
        make_model(["cat1"], ["cat1"]), "properties_version", "train_config", "statistics"
    )

    with pytest.raises(InputError, match="does not say what the ids of its columns are"):
        model_of_file(path, None)
    chosen = model_of_file(path, next(tmp_path.rglob("small.json")))

    assert set(chosen.metadata.selected_columns_statistics) == set(STATISTICS)


@pytest.mark.parametrize(
    ("missing", "changes", "kind", "words"),
    [
        ("seq_length", {}, InputError, "is not a model that sequifier-hpo wrote"),
        ("", {"model_type": "embedding"}, InputError, "returns embeddings"),
        ("", {"properties_version": "99"}, EnvironmentFaultError, "later version"),
        ("", {"seq_length": "many"}, InputError, "cannot be read: invalid literal"),
        ("", {"train_config": json.dumps({"seed": 3})}, InputError, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_words(
    make_model: MakeModel, missing: str, changes: dict[str, str], kind: type, words: str
) -> None:
    path = without_properties(make_model(["cat1"], ["cat1"]), missing, **changes)

    with pytest.raises(kind, match=words):
        Model(path)


def test_what_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")

    for name, words in [
        ("text.onnx", "is not an ONNX model"),
        ("none", "there is no"),
        ("", "it is a folder"),
    ]:
        with pytest.raises(InputError, match=words):
            Model(tmp_path / name)
