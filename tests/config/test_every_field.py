"""Every field of the search file: a good value is taken, each kind of bad value is refused.

The table is checked to be complete, so a field without a row here cannot exist.
"""

from typing import Any

import pytest

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.config.search import SearchConfig, load_search
from sequifier_hpo.errors import ConfigError
from tests.conftest import WriteSearch

MODEL = "model_hyperparameter_sampling"
TRAINING = "training_hyperparameter_sampling"
TYPES = {"product": "Int64", "price": "Float64", "weekday": "Int64"}

NOT_TEXT = [5, None, ["x"], ""]
NOT_A_BOOL = ["maybe", 2, []]
NOT_POSITIVE = [0, -1, 1.5, "x", True, [1], 10**30]
BAD_POSITIVE_LIST = [3, [], ["x"], [0], [-2], [1.5], [True], [None], None, {}, [10**30]]
BAD_FLOAT_LIST = [0.1, [], ["x"], [-0.5], [True], [None], [float("inf")], {}]


def section(name: str) -> type[FrozenModel]:
    found = SearchConfig.model_fields[name].annotation
    assert isinstance(found, type)
    assert issubclass(found, FrozenModel)
    return found


def choices(*wrong: Any) -> list[Any]:
    return ["swiglu", [], ["nope"], [1], [None], *wrong]


# path -> (good value, bad values)
ROOT: dict[str, tuple[Any, list[Any]]] = {
    "project_root": (".", [5, None, ""]),
    "metadata_config_path": ("configs/metadata_configs/shop.json", [5, None, "nope.json"]),
    "hp_search_name": ("a.b", [*NOT_TEXT, "a/b", "my-embedding", "..", "x" * 300, "a\nb"]),
    "model_config_write_path": ("configs/new/folder", [*NOT_TEXT, "../out", "a/../../b"]),
    "search_strategy": ("grid", ["bayes", 1, None, ["grid"]]),
    "n_samples": (5, NOT_POSITIVE),
    "training_data_path": ("data/x.parquet", [5, "", ["x"]]),
    "validation_data_path": ("data/x.parquet", [5, "", ["x"]]),
    "read_format": ("csv", ["xlsx", 1, None]),
    "input_columns": ([["product"], ["weekday", "product"]], [["product"], [], [[]], [["nope"]], "x", [[1]]]),
    "column_types": ([TYPES, TYPES], [TYPES, [], [{"product": 1}] * 2, [{"price": "Float64"}] * 2]),
    "target_columns": (["product"], [[], "product", ["nope"], [1], ["product", "product"], None]),
    "target_column_types": ({"product": "categorical"}, [{}, {"product": "text"}, {"price": "real"}, [], None]),
    "seq_length": ([1, 20], BAD_POSITIVE_LIST),
    "inference_batch_size": (8, [*NOT_POSITIVE, None]),
    "export_generative_model": (False, NOT_A_BOOL),
    "export_embedding_model": (True, NOT_A_BOOL),
    "export_onnx": (False, NOT_A_BOOL),
    "export_pt": (True, NOT_A_BOOL),
    "export_with_dropout": (True, NOT_A_BOOL),
    "override_input": (True, NOT_A_BOOL),
    "n_classes": ({"product": 12, "weekday": 8}, [{"weekday": 8}, {"product": 0}, {"product": "x"}, [1]]),
    "seed": (0, [-1, 2**32, "x", 1.5, True, None]),
    "storage": ("sqlite:///x.db", [5, ["x"]]),
    "workers": (3, [0, -1, "many", 1.5, True]),
    "on_out_of_memory": ("halve_and_accumulate", ["ignore", 1, None]),
    "max_consecutive_failures": (1, [*NOT_POSITIVE, None]),
    "proposal_gap": (3, [*NOT_POSITIVE, None]),
    "warm_start": ([], ["old", 3, None, {}, [3], [None], [{}], [{"name": "x"}], [""], [{"study": 4}], ["same", "same"]]),
    "pruning": ("median", ["hyperband", 1, True, [], {"method": "x"}, {"first_rung": 0}, {"eta": 3}, {"reduction_factor": 1}, {"first_rung": True}]),
    "pruning_gap": (2, [*NOT_POSITIVE, None]),
    "time_budget": ("1h30m", [0, -1, "x", "8x", True, [1]]),
    "epoch_budget": (100, NOT_POSITIVE),
    "finish_best": (0, [-1, 1.5, "x", True, [1], 10**30]),
    "export": ("best", ["none", 1, None]),
}  # fmt: skip

MODEL_FIELDS: dict[str, tuple[Any, list[Any]]] = {
    "dim_model": ([64, 128], [*BAD_POSITIVE_LIST, [64], [64, 100]]),
    "n_head": ([4, 16], [*BAD_POSITIVE_LIST, [4], [3, 8], [4, 8, 8]]),
    "initial_embedding_dim": ([64, 128], [*BAD_POSITIVE_LIST, [64], [64, 64]]),
    "joint_embedding_dim": ([None, 128], [[], [None], [64, 64], [0, 128], ["x", None], 64]),
    "feature_embedding_dims": (None, [[], [None], {}, [{"product": 64}, None], [{"product": 0}, None]]),
    "dim_feedforward": ([8, "16"], BAD_POSITIVE_LIST),
    "num_layers": ([1, 2.0], BAD_POSITIVE_LIST),
    "activation_fn": (["swiglu", "gelu", "relu"], choices("silu", None)),
    "normalization": (["rmsnorm", "layer_norm"], choices("layernorm", None)),
    "positional_encoding": (["learned", "rope"], choices(None)),
    "attention_type": (["mha", "mqa", "gqa"], choices(None)),
    "norm_first": ([True, False], [True, [], ["maybe"], [None], None]),
    "n_kv_heads": ([None, 1, 2, 3], [2, [], [0], [-1], ["x"], [1.5], None]),
    "rope_theta": ([10000.0, 500], [*BAD_FLOAT_LIST, [0], None]),
    "prediction_length": (6, [*NOT_POSITIVE, 7, None]),
}  # fmt: skip

TRAINING_FIELDS: dict[str, tuple[Any, list[Any]]] = {
    "learning_rate": (["1e-3"], [*BAD_FLOAT_LIST, [0], [0.1, 0.2], None]),
    "epochs": ([3], [*BAD_POSITIVE_LIST, [1, 2]]),
    "scheduler": (
        [{"name": "StepLR", "step_size": 1}],
        [[], {}, ["StepLR"], [{}], [{"name": "Nope"}], [{"name": "StepLR"}], [{"name": "StepLR", "step_size": 1, "x": 1}],
         [{"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 9}], [{"name": "LambdaLR"}], [{"name": "ExponentialLR", "gamma": 0.9}] * 2],
    ),
    "batch_size": ([1, 512], BAD_POSITIVE_LIST),
    "accumulation_steps": ([1, 4], BAD_POSITIVE_LIST),
    "dropout": ([0, 0.5, 1], [*BAD_FLOAT_LIST, [1.1], None]),
    "optimizer": (
        [{"name": "AdamW"}, {"name": "AdEMAMix", "alpha": "3"}],
        [[], {}, ["AdamW"], [{}], [{"name": "Adamw"}], [{"name": "AdamW", "lr": 0.1}], [{"name": "AdamW", "alpha": 1}], [{"name": "LBFGS"}], None],
    ),
    "device": ("cuda:1", ["gpu", "cuda:x", 1, ""]),
    "criterion": ({"product": "CrossEntropyLoss"}, [{}, {"product": "Linear"}, {"product": "MSELoss"}, {"price": "MSELoss"}, "MSELoss"]),
    "save_interval_epochs": (2, [*NOT_POSITIVE, None]),
    "save_latest_interval_minutes": ("0.5", [0, -1, "x", True, [1]]),
    "continue_training": (True, NOT_A_BOOL),
    "log_interval": (1, [*NOT_POSITIVE, None]),
    "class_share_log_columns": (["product"], [["nope"], "product", [1], None]),
    "early_stopping_epochs": (2, NOT_POSITIVE),
    "class_weights": ({"product": [1.0] * 10}, [{"product": [1.0]}, {"price": [1.0]}, {"product": "x"}, [1.0]]),
    "loss_weights": ({"product": 2.0}, [{}, {"price": 1.0}, {"product": "x"}, [1.0]]),
    "scheduler_step_on": ("batch", ["step", 1, None]),
    "distributed": (True, NOT_A_BOOL),
    "load_full_data_to_ram": (False, NOT_A_BOOL),
    "max_ram_gb": (0.5, [0, -1, "x", True, None]),
    "device_max_concat_length": (2, [1, 0, "x", True, None]),
    "world_size": (1, [*NOT_POSITIVE, 2, None]),
    "num_workers": (0, [-1, "x", True, None]),
    "backend": ("gloo", [1, None, ["x"]]),
    "layer_type_dtypes": ({"linear": "bfloat16"}, [{"linear": "float16"}, {"linear": "int8"}, {"attention": "float32"}, "bfloat16"]),
    "layer_autocast": (False, NOT_A_BOOL),
    "enforce_determinism": (False, NOT_A_BOOL),
    "torch_compile": ("outer", ["always", True, None, ["auto"]]),
}  # fmt: skip

# Filled in from the metadata, whatever the file says; tested with --skip-metadata elsewhere.
DERIVED = {"categorical_columns", "real_columns", "id_maps"}
SECTIONS = {MODEL, TRAINING}

TABLE = {
    **ROOT,
    **{f"{MODEL}.{name}": row for name, row in MODEL_FIELDS.items()},
    **{f"{TRAINING}.{name}": row for name, row in TRAINING_FIELDS.items()},
}


def test_every_field_of_the_search_file_has_a_row() -> None:
    assert set(ROOT) == set(SearchConfig.model_fields) - DERIVED - SECTIONS
    assert set(MODEL_FIELDS) == set(section(MODEL).model_fields)
    assert set(TRAINING_FIELDS) == set(section(TRAINING).model_fields)


@pytest.mark.parametrize("path", TABLE)
def test_a_good_value_is_taken(write_search: WriteSearch, path: str) -> None:
    load_search(write_search({path: TABLE[path][0]}))


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, (_, bad) in TABLE.items() for value in bad]
)
def test_a_bad_value_is_refused_with_a_place_and_a_reason(
    write_search: WriteSearch, path: str, value: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_search(write_search({path: value}))

    issues = caught.value.issues
    assert all(issue.problem and issue.line is not None for issue in issues)
    own_field = path.rsplit(".", maxsplit=1)[-1]
    related = {"dim_model", "n_head", "initial_embedding_dim", "seq_length", "input_columns",
               "target_columns", "target_column_types", "criterion", "epochs",
               "column_types"}  # fmt: skip
    assert any(own_field in issue.path for issue in issues) or any(
        name in issue.path for issue in issues for name in related
    )


@pytest.mark.parametrize(
    "path",
    [
        "project_root", "metadata_config_path", "hp_search_name", "model_config_write_path",
        "target_columns", "target_column_types", "seq_length", MODEL, TRAINING,
        *(f"{MODEL}.{name}" for name, info in section(MODEL).model_fields.items() if info.is_required()),
        *(f"{TRAINING}.{name}" for name, info in section(TRAINING).model_fields.items() if info.is_required()),
    ],
)  # fmt: skip
def test_a_mandatory_field_that_is_missing_is_named(write_search: WriteSearch, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_search(write_search(remove=(path,)))

    assert path in {issue.path for issue in caught.value.issues}
