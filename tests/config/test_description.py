"""One description per field: what is declared in one place is found everywhere."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest

import sequifier_hpo
from sequifier_hpo.cli.reference import search_file_reference, train_file_reference
from sequifier_hpo.config.description import (
    NOTHING,
    SELECTION,
    WEIGHTS,
    Candidates,
    Section,
    description_of,
)
from sequifier_hpo.config.fields import NonNegativeInt, PositiveInt
from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.search_fields import search_model
from sequifier_hpo.config.train import TrainConfig, TrainingSpec
from sequifier_hpo.records import DataDigest, SplitDigest
from sequifier_hpo.searchspace import (
    EffectiveSpace,
    Keyer,
    SearchSpace,
    compile_space,
    decode,
    describe_space,
    run_key,
)
from sequifier_hpo.training.checkpoint import weight_fields
from tests.conftest import WriteSearch

MODEL, TRAINING = "model_hyperparameter_sampling", "training_hyperparameter_sampling"


class MoreTraining(TrainingSpec):
    """The section on training with more fields."""

    warmup_steps: Annotated[
        NonNegativeInt, WEIGHTS, Candidates("List of numbers of steps to warm up.", default=[0])
    ] = 0
    """Number of steps to warm up."""
    patience: Annotated[PositiveInt, SELECTION] = 3
    """How long to wait for better epochs."""
    log_colour: Annotated[str, NOTHING] = "blue"
    """Colour of the log."""


class MoreConfig(TrainConfig):
    """A run file with more fields."""

    training_spec: Annotated[MoreTraining, Section(TRAINING, "Candidates for training.")]


MoreSearch = search_model(MoreConfig)
SPLIT = SplitDigest(num_windows=9, window_length=20, columns={"product": "p", "price": "f"})
DATA = DataDigest(training=SPLIT, validation=SPLIT)


def space_of(write: WriteSearch, **training: Any) -> SearchSpace:
    """The space of a search file with more fields than there are."""
    data = load_search(write()).config.model_dump()
    return compile_space(
        MoreSearch.model_validate({**data, TRAINING: {**data[TRAINING], **training}})
    )


def first_run(space: SearchSpace) -> TrainConfig:
    return decode(space, space.point_at((0,) * len(space.parameters)), 0, device="cpu")[0]


def test_a_field_with_candidates_is_a_parameter_of_the_space_and_varies_the_runs(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search, warmup_steps=[0, 5])
    cells = [(0, 0, 0, 0), (0, 1, 0, 0)]

    points = [space.point_at(cell) for cell in cells]
    runs = [decode(space, point, 0, device="cpu")[0] for point in points]

    assert [parameter.name for parameter in space.parameters] == [
        "data_schema",
        "warmup_steps",
        "model_backbone",
        "num_layers",
    ]
    assert [point.values["warmup_steps"] for point in points] == [0, 5]
    assert [run.model_dump()["training_spec"]["warmup_steps"] for run in runs] == [0, 5]
    assert len({Keyer(space, DATA).key(point) for point in points}) == 2
    assert len({run_key(run, DATA) for run in runs}) == 2
    assert weight_fields(runs[0]) != weight_fields(runs[1])
    assert EffectiveSpace(space, seed=1).num_distinct == 16
    assert describe_space(space)["warmup_steps"] == [0, 5]


@pytest.mark.parametrize(
    ("training", "has_other_key", "has_other_weights"),
    [
        ({"warmup_steps": [5]}, True, True),
        ({"patience": 4}, True, False),
        ({"log_colour": "red"}, False, False),
    ],
)
def test_a_field_counts_where_it_has_an_influence(
    write_search: WriteSearch,
    training: dict[str, Any],
    has_other_key: bool,  # noqa: FBT001 - a column of the table above
    has_other_weights: bool,  # noqa: FBT001 - the same
) -> None:
    before, after = space_of(write_search), space_of(write_search, **training)

    runs = [first_run(space) for space in (before, after)]

    assert (run_key(runs[0], DATA) != run_key(runs[1], DATA)) == has_other_key
    assert (describe_space(before) != describe_space(after)) == has_other_key
    assert (weight_fields(runs[0]) != weight_fields(runs[1])) == has_other_weights


def test_a_field_is_on_the_reference_pages() -> None:
    in_search = (
        "| `warmup_steps` | list of int, ≥ 0 | `[0]` | List of numbers of steps to warm up. |"
    )
    in_run = "| `warmup_steps` | int, ≥ 0 | `0` | Number of steps to warm up. |"

    assert in_search in search_file_reference(MoreSearch)
    assert in_run in train_file_reference(MoreConfig)
    assert "`patience`" in search_file_reference(MoreSearch)


def test_every_field_of_a_run_is_described() -> None:
    for name, field in description_of(TrainConfig).fields.items():
        assert field.words, name


# In how many modules a field's name is spelled: its description, its reader, its use.
BOUND = 3
# Fields whose names are words that everyone uses for the thing itself, be it a field or not.
WORDS = {
    "batch_size", "criterion", "device", "dropout", "epochs", "learning_rate", "model_name",
    "normalization", "optimizer", "project_root", "scheduler", "seed",
}  # fmt: skip
# What is used in more places, and in how many at most.
MORE = {
    # What a window holds: said by the data and by model files, asked by the rules, the network, its
    # graph, the losses.
    "categorical_columns": 15,
    "column_types": 16,
    "id_maps": 8,
    "input_columns": 17,
    "metadata_config_path": 7,
    "n_classes": 16,
    "read_format": 8,
    "real_columns": 15,
    "seq_length": 26,
    "target_column_types": 14,
    "target_columns": 13,
    "training_data_path": 7,
    "validation_data_path": 7,
    # The network is built with torch and as an ONNX graph, and its size is counted beforehand; some
    # of its fields do not go together, or mean the same.
    "activation_fn": 4,
    "attention_type": 4,
    "dim_feedforward": 4,
    "dim_model": 9,
    "feature_embedding_dims": 7,
    "initial_embedding_dim": 7,
    "joint_embedding_dim": 6,
    "n_head": 7,
    "n_kv_heads": 5,
    "norm_first": 4,
    "num_layers": 5,
    "positional_encoding": 9,
    "prediction_length": 6,
    "rope_theta": 4,
    # An out-of-memory retry changes it.
    "accumulation_steps": 7,
    # How long an epoch takes is measured without it; what may be compiled takes other memory.
    "torch_compile": 4,
    # Losses and schedules: their rules look at other fields too.
    "layer_type_dtypes": 4,
    "loss_weights": 4,
    "scheduler_step_on": 4,
}


def names_spelled(source: str) -> set[str]:
    """Names that code gives to fields: attributes, class fields, and text that is a name or a path."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+", str(node.value)):
            found.add(str(node.value).rpartition(".")[2])
    return found


@pytest.fixture(scope="module")
def num_modules() -> Counter[str]:
    """Per name, the number of modules that spell it."""
    package = Path(sequifier_hpo.__file__).parent
    counted: Counter[str] = Counter()
    for path in package.rglob("*.py"):
        counted.update(names_spelled(path.read_text()))
    return counted


def test_a_fields_name_is_spelled_in_few_modules(num_modules: Counter[str]) -> None:
    fields = set(description_of(TrainConfig).fields) - WORDS

    too_often = {
        name: num_modules[name] for name in fields if num_modules[name] > MORE.get(name, BOUND)
    }

    assert too_often == {}


def test_no_field_is_excepted_without_need(num_modules: Counter[str]) -> None:
    assert (WORDS | set(MORE)) <= set(description_of(TrainConfig).fields)
    assert [name for name in (*WORDS, *MORE) if num_modules[name] <= BOUND] == []
