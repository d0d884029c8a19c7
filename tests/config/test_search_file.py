"""The search file: defaults, links, and every class of mistake with its place and its fix."""

from typing import Any

import pytest

from sequifier_hpo.config.search import SearchConfig, load_search
from sequifier_hpo.errors import ConfigError, ConfigIssue
from tests.conftest import WriteSearch

MODEL = "model_hyperparameter_sampling"
TRAINING = "training_hyperparameter_sampling"


def load_ok(write: WriteSearch, changes: dict[str, Any] | None = None) -> SearchConfig:
    return load_search(write(changes)).config


def issues_of(
    write: WriteSearch, changes: dict[str, Any] | None = None, *, remove: tuple[str, ...] = ()
) -> list[ConfigIssue]:
    with pytest.raises(ConfigError) as caught:
        load_search(write(changes, remove=remove))
    return list(caught.value.issues)


def test_a_file_with_only_the_guides_fields_loads_with_the_documented_defaults(
    write_search: WriteSearch,
) -> None:
    config = load_ok(write_search)

    assert config.seed == 101
    assert config.training_data_path == "./data/shop-split0.parquet"
    assert config.categorical_columns == [["product"], ["product"]]
    assert config.real_columns == [[], ["price"]]
    assert config.training_hyperparameter_sampling.optimizer == [{"name": "Adam"}]


def test_a_missing_field_is_named_with_where_to_add_it(write_search: WriteSearch) -> None:
    (issue,) = issues_of(write_search, remove=(f"{MODEL}.num_layers",))

    assert issue.path == f"{MODEL}.num_layers"
    assert f"below `{MODEL}:`" in issue.fix


def test_a_mistyped_field_gets_a_suggestion_and_its_line(write_search: WriteSearch) -> None:
    (issue,) = issues_of(write_search, {f"{MODEL}.norm_frist": [True]})

    assert "norm_first" in issue.fix
    assert issue.line is not None
    assert issue.file.endswith("search.yaml")


def test_a_field_in_the_wrong_section_is_told_where_it_belongs(write_search: WriteSearch) -> None:
    (issue,) = issues_of(write_search, {"dropout": [0.1]})

    assert TRAINING in issue.fix


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        (
            f"{TRAINING}.save_batch_interval_minutes",
            5,
            "`save_latest_interval_minutes` says how often",
        ),
        (f"{TRAINING}.data_parallelism", "FSDP", "each process of a run holds the whole model"),
        (f"{TRAINING}.float32_matmul_precision", "high", "float32 is computed in float32"),
        ("prune_trials", True, "`pruning: median`"),
        ("n_trials", 5, "call it `n_samples`"),
        ("evaluation_script", "x.py", "no script is run"),
    ],
)
def test_what_later_versions_of_sequifier_have_is_refused_with_what_to_do(
    write_search: WriteSearch, field: str, value: Any, fix: str
) -> None:
    (issue,) = issues_of(write_search, {field: value})

    assert issue.path == field
    assert fix in issue.fix


def test_a_wrong_choice_gets_the_choices_and_the_nearest(write_search: WriteSearch) -> None:
    (issue,) = issues_of(write_search, {f"{MODEL}.activation_fn": ["swigl"]})

    assert issue.path == f"{MODEL}.activation_fn[0]"
    assert issue.allowed == "swiglu, gelu, relu"
    assert "swiglu" in issue.fix


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        (f"{MODEL}.num_layers", 2, f"{MODEL}.num_layers", "not a list"),
        (f"{MODEL}.num_layers", [], f"{MODEL}.num_layers", "empty"),
        (f"{MODEL}.num_layers", ["two"], f"{MODEL}.num_layers[0]", "whole number"),
        (f"{MODEL}.num_layers", [True], f"{MODEL}.num_layers[0]", "not a number"),
        (f"{MODEL}.num_layers", [0], f"{MODEL}.num_layers[0]", "out of range"),
        (f"{MODEL}.n_kv_heads", [0], f"{MODEL}.n_kv_heads[0]", "out of range"),
        (f"{TRAINING}.dropout", [1.5], f"{TRAINING}.dropout[0]", "out of range"),
        (f"{TRAINING}.learning_rate", [0], f"{TRAINING}.learning_rate[0]", "out of range"),
        (f"{TRAINING}.learning_rate", [float("nan")], f"{TRAINING}.learning_rate[0]", "finite"),
        (f"{TRAINING}.device", "gpu", f"{TRAINING}.device", "form"),
        ("hp_search_name", "my-embedding", "hp_search_name", "embedding"),
        ("hp_search_name", "../evil", "hp_search_name", "separator"),
        ("hp_search_name", "", "hp_search_name", "empty"),
        ("hp_search_name", 2024, "hp_search_name", "not text"),
        ("model_config_write_path", "../../etc", "model_config_write_path", "points outside the project"),
        ("seq_length", [-1], "seq_length[0]", "out of range"),
        ("target_columns", [], "target_columns", "empty"),
        ("target_columns", ["produkt"], "target_columns[0]", "no column"),
        ("input_columns", ["product"], "input_columns[0]", "not a list"),
        ("input_columns", [["product", "pirce"]], "input_columns[0][1]", "no column"),
        ("input_columns", [["product", "product"]], "input_columns[0]", "twice"),
        ("target_column_types", {"price": "real"}, "target_column_types", "the targets are"),
        ("n_samples", 0, "n_samples", "out of range"),
        (f"{TRAINING}.criterion", {"product": "Linear"}, f"{TRAINING}.criterion.product", "loss"),
        (f"{TRAINING}.criterion", {}, f"{TRAINING}.criterion", "the targets are"),
        (f"{TRAINING}.optimizer", [{"lr": 1}], f"{TRAINING}.optimizer[0]", "no name"),
        (f"{TRAINING}.world_size", 2, f"{TRAINING}.world_size", "need distributed: true"),
        (f"{TRAINING}.layer_type_dtypes", {"linear": "float16"}, f"{TRAINING}.layer_type_dtypes.linear", "float16"),
        (f"{TRAINING}.class_weights", {"product": [1.0]}, f"{TRAINING}.class_weights.product", "10 ids"),
        (f"{MODEL}.prediction_length", 7, "seq_length[0]", "shorter"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_at_its_place(
    write_search: WriteSearch, path: str, value: Any, where: str, words: str
) -> None:
    issues = issues_of(write_search, {path: value})

    found = [issue for issue in issues if issue.path == where]
    assert found, f"no issue at {where}: {[issue.path for issue in issues]}"
    assert words in found[0].problem
    assert found[0].line is not None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("device", "cuda:1", "is one device"),
        ("device", "mps", "is one device"),
        ("backend", "mpi", "cannot communicate through mpi"),
    ],
)
def test_processes_of_a_run_need_a_device_each_and_a_way_to_communicate(
    write_search: WriteSearch, field: str, value: str, words: str
) -> None:
    changes = {f"{TRAINING}.distributed": True, f"{TRAINING}.world_size": 2}

    load_ok(write_search, changes)
    (issue,) = issues_of(write_search, {**changes, f"{TRAINING}.{field}": value})

    assert issue.path == f"{TRAINING}.{field}"
    assert words in issue.problem


def test_numbers_written_as_text_are_understood(write_search: WriteSearch) -> None:
    changes = {f"{TRAINING}.learning_rate": ["1e-3"], f"{TRAINING}.batch_size": ["16", 8.0]}

    config = load_ok(write_search, changes)

    assert config.training_hyperparameter_sampling.learning_rate == [0.001]
    assert config.training_hyperparameter_sampling.batch_size == [16, 8]


def test_numbers_written_as_text_inside_optimizer_maps_are_understood(
    write_search: WriteSearch,
) -> None:
    recipe = {"name": "AdamW", "weight_decay": "1e-05", "betas": ["0.9", "0.99"]}

    config = load_ok(write_search, {f"{TRAINING}.optimizer": [recipe]})

    assert config.training_hyperparameter_sampling.optimizer == [
        {"name": "AdamW", "weight_decay": 1e-05, "betas": [0.9, 0.99]}
    ]


def test_linked_lists_of_different_length_name_every_list(write_search: WriteSearch) -> None:
    issues = issues_of(write_search, {f"{MODEL}.n_head": [4]})

    (issue,) = [issue for issue in issues if "linked lists" in issue.problem]
    assert issue.path == f"{MODEL}.n_head"
    assert "dim_model has 2" in issue.problem
    assert "n_head has 1" in issue.problem


def test_heads_that_do_not_divide_the_width_are_found_in_their_row(
    write_search: WriteSearch,
) -> None:
    (issue,) = issues_of(write_search, {f"{MODEL}.n_head": [4, 6]})

    assert issue.path == f"{MODEL}.n_head[1]"
    assert "6 does not divide dim_model = 128" in issue.problem


def test_an_odd_head_size_is_refused_when_rope_is_a_candidate(write_search: WriteSearch) -> None:
    changes = {f"{MODEL}.n_head": [64, 8], f"{MODEL}.positional_encoding": ["learned", "rope"]}

    (issue,) = issues_of(write_search, changes)

    assert issue.path == f"{MODEL}.n_head[0]"
    assert "even head size" in issue.problem


def test_a_scheduler_whose_total_steps_contradict_its_epochs_is_refused(
    write_search: WriteSearch,
) -> None:
    scheduler = {"name": "OneCycleLR", "max_lr": 0.01, "total_steps": 7}

    (issue,) = issues_of(write_search, {f"{TRAINING}.scheduler": [scheduler]})

    assert issue.path == f"{TRAINING}.scheduler[0].total_steps"
    assert issue.allowed == "1"


def test_an_embedding_too_narrow_for_an_input_set_is_refused(write_search: WriteSearch) -> None:
    changes = {
        f"{MODEL}.dim_model": [1, 128],
        f"{MODEL}.n_head": [1, 8],
        f"{MODEL}.initial_embedding_dim": [1, 128],
    }

    (issue,) = issues_of(write_search, changes)

    assert issue.path == f"{MODEL}.initial_embedding_dim[0]"
    assert "input_columns[1]" in issue.problem


def test_written_feature_widths_must_fit_every_input_set(write_search: WriteSearch) -> None:
    changes = {f"{MODEL}.feature_embedding_dims": [{"product": 64}, {"product": 128}]}

    issues = issues_of(write_search, changes)

    assert {issue.path for issue in issues} == {
        f"{MODEL}.feature_embedding_dims[0]",
        f"{MODEL}.feature_embedding_dims[1]",
    }
    assert all("null" in issue.fix for issue in issues)


def test_sample_without_a_number_of_samples_is_refused(write_search: WriteSearch) -> None:
    (issue,) = issues_of(write_search, {"search_strategy": "sample"})

    assert issue.path == "n_samples"


def test_a_missing_metadata_file_is_reported_together_with_other_mistakes(
    write_search: WriteSearch,
) -> None:
    changes = {"metadata_config_path": "configs/nope.json", f"{MODEL}.num_layers": [0]}

    issues = issues_of(write_search, changes)

    paths = {issue.path for issue in issues}
    assert {"metadata_config_path", f"{MODEL}.num_layers[0]"} <= paths
    assert any("preprocess" in issue.fix for issue in issues)


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines(
    write_search: WriteSearch,
) -> None:
    changes = {
        "seq_length": ["x"],
        f"{MODEL}.n_head": [4],
        f"{TRAINING}.batch_size": [0],
        "target_columns": ["nope"],
    }

    issues = issues_of(write_search, changes)

    assert len(issues) >= 4
    lines = [issue.line or 0 for issue in issues]
    assert lines == sorted(lines)


def test_a_v1_file_that_spells_everything_out_loads(write_search: WriteSearch) -> None:
    changes = {
        "n_samples": None,
        "override_input": True,
        "read_format": "parquet",
        "inference_batch_size": 8,
        f"{MODEL}.joint_embedding_dim": [None, 128],
        f"{MODEL}.initial_embedding_dim": [64, 96],
        f"{MODEL}.feature_embedding_dims": None,
        f"{TRAINING}.continue_training": False,
        f"{TRAINING}.save_interval_epochs": 1,
        f"{TRAINING}.criterion": {"product": "CrossEntropyLoss"},
        "column_types": [{"product": "Int64", "price": "Float64", "weekday": "Int64"}] * 2,
    }

    assert load_ok(write_search, changes).inference_batch_size == 8


def test_skip_metadata_needs_the_derived_fields_in_the_file(write_search: WriteSearch) -> None:
    with pytest.raises(ConfigError) as caught:
        load_search(write_search(), skip_metadata=True)

    missing = {issue.path for issue in caught.value.issues}
    assert {"column_types", "id_maps", "n_classes", "training_data_path"} <= missing


def test_a_categorical_column_as_a_real_target_is_a_warning(write_search: WriteSearch) -> None:
    usual = load_search(write_search())
    odd = load_search(write_search({"target_column_types": {"product": "real"}}))

    assert usual.warnings == ()
    assert [warning.path for warning in odd.warnings] == ["target_column_types.product"]
