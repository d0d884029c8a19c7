"""The key of a run: what changes it, what does not, and that it is the class of its cell."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import TrainConfig, load_train_config, train_yaml
from sequifier_hpo.records import DataDigest, SplitDigest
from sequifier_hpo.searchspace import (
    EffectiveSpace,
    Keyer,
    SearchSpace,
    compile_space,
    decode,
    run_key,
)
from sequifier_hpo.training.checkpoint import weight_fields
from tests.conftest import WriteSearch
from tests.search_files import MODEL, NASTY, TRAINING, searches, write


def digest(**changes: Any) -> SplitDigest:
    columns = {"product": "p", "price": "f", "weekday": "w"}
    return SplitDigest(**{"num_windows": 9, "window_length": 20, "columns": columns, **changes})


DATA = DataDigest(training=digest(), validation=digest(num_windows=4))


def space_of(write: WriteSearch, changes: dict[str, Any] | None = None) -> SearchSpace:
    return compile_space(load_search(write(changes)).config)


def first_run(write: WriteSearch, changes: dict[str, Any] | None = None) -> TrainConfig:
    space = space_of(write, changes)
    return decode(space, space.point_at((0,) * len(space.parameters)), 0, device="cpu")[0]


def assert_keys_are_classes(space: SearchSpace, places: range) -> None:
    effective = EffectiveSpace(space, seed=1)
    keyer = Keyer(space, DATA)
    keys = set()
    for place in places:
        cells = [
            effective.representative(place),
            *itertools.islice(effective.equals(effective.representative(place)), 9),
        ]
        of_class = {keyer.key(space.point_at(cell)) for cell in cells}
        assert len(of_class) == 1
        keys |= of_class
    assert len(keys) == len(places)


def test_cells_have_one_key_exactly_if_they_are_one_run(write_search: WriteSearch) -> None:
    space = space_of(write_search, NASTY)

    assert_keys_are_classes(space, range(EffectiveSpace(space, seed=1).num_distinct))


WRITTEN = {f"{MODEL}.feature_embedding_dims": [None, {"product": 64}], f"{MODEL}.dim_model": [64] * 2,
           f"{MODEL}.n_head": [4] * 2, f"{MODEL}.initial_embedding_dim": [64] * 2,
           "input_columns": [["product"]], f"{MODEL}.num_layers": [1]}  # fmt: skip


def test_widths_that_are_shared_out_are_those_that_are_written(write_search: WriteSearch) -> None:
    space = space_of(write_search, WRITTEN)

    assert EffectiveSpace(space, seed=1).num_distinct == 1
    assert_keys_are_classes(space, range(1))


@pytest.mark.slow
@pytest.mark.usefixtures("project")
@given(data=searches())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_in_any_space_keys_are_those_of_the_classes_and_of_the_run_files(
    data: dict[str, Any],
) -> None:
    space = compile_space(load_search(write(data)).config)
    num = min(40, EffectiveSpace(space, seed=1).num_distinct)

    assert_keys_are_classes(space, range(num))
    for place in range(min(num, 3)):
        point = space.point_at(EffectiveSpace(space, seed=1).representative(place))
        config, _ = decode(space, point, place, device="cpu")
        assert run_key(config, DATA) == Keyer(space, DATA).key(point)


def test_a_run_file_that_is_read_back_has_the_key_of_its_run(
    write_search: WriteSearch, project: Any
) -> None:
    config = first_run(write_search, {f"{TRAINING}.optimizer": [{"name": "AdamW", "eps": 1e-9}]})
    file = project / "run.yaml"
    file.write_text(train_yaml(config))

    assert run_key(load_train_config(file), DATA) == run_key(config, DATA)


@pytest.mark.parametrize(
    "changes",
    [
        {"hp_search_name": "other", "model_config_write_path": "elsewhere"},
        {"read_format": "pt", "training_data_path": "data/a.pt", "validation_data_path": "b"},
        {"export": "best", "export_onnx": False, "export_pt": True, "export_embedding_model": True},
        {"inference_batch_size": 3, f"{MODEL}.prediction_length": 2, "workers": 3},
        {f"{TRAINING}.device": "cuda:1", f"{TRAINING}.enforce_determinism": False},
        {
            f"{TRAINING}.distributed": True,
            f"{TRAINING}.world_size": 2,
            f"{TRAINING}.backend": "gloo",
        },
        {f"{TRAINING}.num_workers": 2, f"{TRAINING}.load_full_data_to_ram": False},
        {f"{TRAINING}.log_interval": 1, f"{TRAINING}.save_interval_epochs": 3},
        {f"{TRAINING}.continue_training": True, f"{TRAINING}.torch_compile": "auto"},
        {
            f"{TRAINING}.class_share_log_columns": ["product"],
            "on_out_of_memory": "halve_and_accumulate",
        },
        {f"{TRAINING}.loss_weights": {"product": 1.0}},
        {f"{TRAINING}.criterion": {"product": "CrossEntropyLoss"}},
        {f"{TRAINING}.scheduler": [{"gamma": 0.99, "step_size": 1, "name": "StepLR"}]},
        {f"{TRAINING}.layer_autocast": False},
        {f"{MODEL}.rope_theta": [5.0]},
        {f"{MODEL}.attention_type": ["gqa"], f"{MODEL}.n_kv_heads": [4]},
        {"input_columns": [["product"]]},
        {"n_classes": {"product": 10, "weekday": 100}},
        {f"{TRAINING}.batch_size": [8, 16]},
    ],
)
def test_what_does_not_change_a_result_does_not_change_the_key(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    plain = run_key(first_run(write_search), DATA)

    assert run_key(first_run(write_search, changes), DATA) == plain


INFLUENCES = {
    "seed": {"seed": 7},
    "sets": {"input_columns": [["product", "price"]]},
    "length": {"seq_length": [5]},
    "ids": {"n_classes": {"product": 11, "weekday": 8}},
    "targets": {"target_column_types": {"product": "real"}},
    "depth": {f"{MODEL}.num_layers": [3]},
    "heads": {f"{MODEL}.attention_type": ["gqa"], f"{MODEL}.n_kv_heads": [2]},
    "rope": {f"{MODEL}.positional_encoding": ["rope"]},
    "rate": {f"{TRAINING}.learning_rate": [0.01]},
    "decay": {f"{TRAINING}.optimizer": [{"name": "Adam", "weight_decay": 0.0}]},
    "schedule": {f"{TRAINING}.scheduler": [{"name": "StepLR", "step_size": 2, "gamma": 0.99}]},
    "accumulation": {f"{TRAINING}.accumulation_steps": [2]},
    "weights": {f"{TRAINING}.class_weights": {"product": [1.0] * 10}},
    "types": {f"{TRAINING}.layer_type_dtypes": {"linear": "bfloat16"}},
    "step": {f"{TRAINING}.scheduler_step_on": "batch"},
}
SELECTIONS = {
    "epochs": {f"{TRAINING}.epochs": [2]},
    "early stopping": {f"{TRAINING}.early_stopping_epochs": 2},
}


@pytest.mark.parametrize("changes", [*INFLUENCES.values(), *SELECTIONS.values()])
def test_what_changes_a_result_changes_the_key(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    plain = run_key(first_run(write_search), DATA)

    assert run_key(first_run(write_search, changes), DATA) != plain


@pytest.mark.parametrize("changes", SELECTIONS.values())
def test_when_a_run_ends_is_no_part_of_what_decides_its_weights(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    plain = weight_fields(first_run(write_search))

    assert weight_fields(first_run(write_search, changes)) == plain


@pytest.mark.parametrize("changes", INFLUENCES.values())
def test_what_changes_the_weights_is_part_of_what_decides_them(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    plain = weight_fields(first_run(write_search))

    assert weight_fields(first_run(write_search, changes)) != plain


@pytest.mark.parametrize(
    ("changed", "num_keys"),
    [
        (lambda: digest(columns={"product": "other", "price": "f", "weekday": "w"}), 2),
        (lambda: digest(columns={"product": "p", "price": "f", "weekday": "other"}), 1),
        (lambda: digest(columns={"product": "p", "new": "n"}), 1),
        (lambda: digest(num_windows=8), 2),
        (lambda: digest(window_length=21), 2),
        (lambda: digest(padding="x"), 2),
    ],
)
@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_key_takes_exactly_the_columns_that_the_run_reads(
    write_search: WriteSearch, split: str, changed: Callable[[], SplitDigest], num_keys: int
) -> None:
    space = space_of(write_search)
    point = space.point_at((0, 0, 0))  # reads `product` alone
    before = DataDigest(training=digest(), validation=digest())
    after = before.model_copy(update={split: changed()})

    keys = {Keyer(space, data).key(point) for data in (before, after)}

    assert len(keys) == num_keys


def test_a_column_that_is_read_must_have_a_digest(write_search: WriteSearch) -> None:
    without = DataDigest(training=digest(columns={"price": "f"}), validation=digest())

    with pytest.raises(KeyError, match="product"):
        run_key(first_run(write_search), without)


def test_the_data_of_a_run_are_those_of_its_columns(write_search: WriteSearch) -> None:
    space = space_of(write_search)
    point = space.point_at((1, 0, 0))

    data = Keyer(space, DATA).data_of(point)

    assert data.training.columns == {"product": "p", "price": "f"}
    assert data == DATA.reading(["product", "price"])


def test_another_seed_has_the_key_of_the_run_that_is_trained_with_it(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search)
    point = space.point_at((1, 0, 0))
    config, _ = decode(space, point, 0, device="cpu")

    again = config.model_copy(update={"seed": 102})

    assert Keyer(space, DATA).key(point, seed=102) == run_key(again, DATA)
    assert Keyer(space, DATA).key(point, seed=102) != Keyer(space, DATA).key(point)


def test_an_absent_number_of_accumulation_steps_is_one(write_search: WriteSearch) -> None:
    config = first_run(write_search)
    none = config.training_spec.model_copy(update={"accumulation_steps": None})

    assert run_key(config.model_copy(update={"training_spec": none}), DATA) == run_key(config, DATA)


def test_the_key_of_a_run_never_changes(write_search: WriteSearch) -> None:
    # It is stored: a version that computed another would train everything again.
    assert run_key(first_run(write_search), DATA) == (
        "4ac06d070391d3f71c844bc775def1c769569963d6dc10e1f6134427b57831e8"
    )


def test_a_key_costs_microseconds(write_search: WriteSearch) -> None:
    space = space_of(write_search, NASTY)
    keyer = Keyer(space, DATA)
    point = space.point_at((0,) * len(space.parameters))

    best = min(seconds_of(lambda: keyer.key(point)) for _ in range(200))

    assert best < 500e-6  # measured: 60


def seconds_of(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
