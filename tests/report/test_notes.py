"""Notes: what a study and a run are, in Markdown."""

from typing import Any

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.records import DataDigest, SplitDigest
from sequifier_hpo.report.notes import Places, _code, study_note, trial_attributes, trial_note
from sequifier_hpo.searchspace import SearchSpace, compile_space
from tests.conftest import WriteSearch

PLACES = Places(
    search_file="configs/search.yaml",
    run_file="configs/hp_search/{run}.yaml",
    log="logs/sequifier-{run}.log",
    metrics="logs/sequifier-{run}-metrics.jsonl",
    models="models/sequifier-{run}-*",
    study_folder="studies/{odd} name",
)


def space_of(write: WriteSearch, changes: dict[str, Any] | None = None) -> SearchSpace:
    return compile_space(load_search(write(changes)).config)


def note_on(space: SearchSpace) -> str:
    return study_note(space, num_runs=8, num_distinct=8, places=PLACES)


def test_the_note_on_a_study_says_what_on_which_data_in_which_space_and_how_to_go_on(
    write_search: WriteSearch,
) -> None:
    note = note_on(space_of(write_search))

    assert "predicts `product` (categorical) best?" in note
    assert "grid: every one of 8 combinations, 8 of them distinct; seed 101" in note
    assert "| validation&ensp; | `./data/shop-split1.parquet` |" in note
    assert "| `data_schema`&ensp; | `product` · `product, price` |" in note
    assert "| `dim_feedforward`&ensp; | `32` |" in note
    assert "    sequifier-hpo hyperparameter-search --config-path configs/search.yaml" in note
    assert "`studies/{odd} name/report.html`" in note


def test_the_note_on_a_study_says_how_many_data_there_are_and_what_importances_mean(
    write_search: WriteSearch,
) -> None:
    data = DataDigest(
        training=SplitDigest(num_windows=1234, window_length=32, columns={}),
        validation=SplitDigest(num_windows=1, window_length=32, columns={}),
    )

    note = study_note(space_of(write_search), num_runs=8, num_distinct=8, places=PLACES, data=data)

    assert "-split0.parquet`, 1,234 windows of 33 events |" in note
    assert "-split1.parquet`, 1 window of 33 events |" in note
    assert "How important a parameter seems is chance before 20 runs have ended." in note


def test_the_note_on_a_run_holds_its_values_and_its_files(write_search: WriteSearch) -> None:
    space = space_of(write_search)

    note = trial_note(space, space.point_at((0, 1, 0)), 5, PLACES)

    assert note.startswith("# `shop-run-5`\n")
    assert "| `input_columns`&ensp; | `product` |" in note
    assert "| `dim_model`&ensp; | `128` |" in note
    assert "| `batch_size`&ensp; | `8` |" in note
    assert "- `configs/hp_search/shop-run-5.yaml`" in note
    assert "- `models/sequifier-shop-run-5-*`" in note
    assert "Adjusted" not in note


def test_the_note_on_a_run_says_what_was_adjusted(write_search: WriteSearch) -> None:
    model = "model_hyperparameter_sampling"
    space = space_of(write_search, {f"{model}.attention_type": ["gqa"], f"{model}.n_kv_heads": [3]})

    note = trial_note(space, space.point_at((0, 0, 0)), 0, PLACES)

    assert "- `n_kv_heads: 3 -> null (3 does not divide n_head = 4)`" in note


def test_names_can_neither_end_a_cell_nor_a_code_span(write_search: WriteSearch) -> None:
    space = space_of(write_search)
    path = "a`b|c<img src=x>"
    config = space.config.model_copy(update={"validation_data_path": path})

    note = note_on(compile_space(config))

    assert "| validation&ensp; | `a'b\\|c<img src=x>` |" in note


def test_a_note_keeps_passwords_to_itself(write_search: WriteSearch) -> None:
    space = space_of(write_search, {"storage": "postgresql://me:hunter2@db/studies"})

    assert "hunter2" not in note_on(space) + trial_note(space, space.point_at((0, 0, 0)), 0, PLACES)


def test_a_trials_attributes_are_the_values_of_its_rows_and_of_fixed_fields(
    write_search: WriteSearch,
) -> None:
    space = space_of(
        write_search, {"training_hyperparameter_sampling.optimizer": [{"name": "Adam", "eps": 0.1}]}
    )

    attributes = trial_attributes(space, space.point_at((1, 1, 0)))

    assert attributes["input_columns"] == "product, price"
    assert (attributes["dim_model"], attributes["n_head"]) == (128, 8)
    assert (attributes["batch_size"], attributes["learning_rate"]) == (8, 0.001)
    assert attributes["optimizer"] == "name: Adam, eps: 0.1"
    assert attributes["adjustments"].startswith("feature_embedding_dims: null -> ")
    assert len(attributes["adjustments"]) == 100
    assert not {"num_layers", "column_types", "n_kv_heads"} & set(attributes)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        (r"a\\|b", r"a\\\|b"),
        ("a`|`b", r"a'\|'b"),
        (r"a\b", r"a\b"),
    ],
)
def test_a_bar_in_a_value_never_ends_its_cell(value: str, shown: str) -> None:
    """Whether a backslash escapes a backslash or not, one that is left escapes the bar."""
    assert _code(value) == f"`{shown}`"
