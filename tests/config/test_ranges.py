"""Ranges in the search file: where they may stand, and every mistake in one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequifier_hpo.config.ranges import NumberRange
from sequifier_hpo.config.search import SearchConfig, load_search
from sequifier_hpo.errors import ConfigError, ConfigIssue
from tests.conftest import WriteSearch
from tests.search_files import MODEL, TRAINING

DRAWS: dict[str, Any] = {"search_strategy": "sample", "n_samples": 5}


def load(write: WriteSearch, changes: dict[str, Any]) -> SearchConfig:
    return load_search(write({**DRAWS, **changes})).config


def issues_of(write: WriteSearch, changes: dict[str, Any]) -> list[ConfigIssue]:
    with pytest.raises(ConfigError) as caught:
        load_search(write({**DRAWS, **changes}))
    return list(caught.value.issues)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ({"low": 0.0, "high": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"low": 0.0, "high": 0.35, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"low": 0.1, "high": 0.7, "num": 3}, [0.1, 0.4, 0.7]),
        ({"low": 1e-4, "high": 1e-2, "num": 3, "log": True}, [0.0001, 0.001, 0.01]),
        ({"low": 2, "high": 6}, [2, 3, 4, 5, 6]),
        ({"low": 2, "high": 7, "step": 2}, [2, 4, 6]),
        ({"low": 16, "high": 128, "num": 4, "log": True}, [16, 32, 64, 128]),
        ({"low": 1, "high": 8, "num": 3}, [1, 4, 8]),
    ],
)
def test_a_range_has_the_decimal_numbers_that_a_person_would_write(
    written: dict[str, Any], values: list[float]
) -> None:
    span = NumberRange(**written)

    assert span.values() == values
    assert [type(value) for value in span.values()] == [type(values[0])] * len(values)
    assert span.num_values == len(values)
    assert all(span.has(value) or span.num for value in values)


@given(
    ends=st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)).filter(lambda e: e[0] < e[1]),
    share=st.floats(0, 1),
    is_log=st.booleans(),
    steps=st.none() | st.integers(1, 50),
)
def test_every_number_that_is_drawn_is_one_of_the_range(
    ends: tuple[float, float],
    share: float,
    is_log: bool,  # noqa: FBT001 - drawn
    steps: int | None,
) -> None:
    low, high = ends
    step = None if steps is None or is_log else (high - low) / steps
    span = NumberRange(low=low, high=high, log=is_log, step=step)

    number = span.at(share)

    assert span.has(number)
    assert span.nearest(number) == number
    assert low <= number <= high
    assert span.num_values is None or number in span.values()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{TRAINING}.dropout", {"low": 0.0, "high": 0.3}),
        (f"{TRAINING}.dropout", [0.0, {"low": 0.1, "high": 0.3}]),
        (f"{TRAINING}.dropout", {"low": 0, "high": "3e-1", "log": False}),
        (f"{MODEL}.n_kv_heads", [None, {"low": 1, "high": 4}]),
        (f"{TRAINING}.learning_rate", [{"low": 1e-4, "high": 1e-2, "log": True}]),
        (f"{TRAINING}.optimizer", [{"name": "Adam", "betas": [{"low": 0.8, "high": 0.95}, 0.99]}]),
        (f"{TRAINING}.scheduler", [{"name": "StepLR", "step_size": {"low": 1, "high": 5}}]),
        ("seq_length", {"low": 3, "high": 6}),
    ],
)
def test_a_range_may_stand_wherever_numbers_are_searched(
    write_search: WriteSearch, path: str, value: Any
) -> None:
    load(write_search, {path: value})


def test_its_ends_have_the_type_of_the_field(write_search: WriteSearch) -> None:
    config = load(
        write_search,
        {
            f"{TRAINING}.dropout": {"low": 0, "high": 1},
            f"{TRAINING}.batch_size": {"low": 4.0, "high": "8"},
            f"{TRAINING}.optimizer": [
                {"name": "AdamW", "weight_decay": {"low": 0, "high": 0.5}},
                {"name": "AdamW", "weight_decay": {"low": 0, "high": 5}},
            ],
        },
    )

    sampling = config.training_hyperparameter_sampling
    assert not sampling.dropout.is_whole
    assert (sampling.batch_size.low, sampling.batch_size.high) == (4, 8)
    assert sampling.batch_size.is_whole
    decays = [recipe["weight_decay"] for recipe in sampling.optimizer]
    assert [decay.is_whole for decay in decays] == [False, True]


BAD = [
    (f"{TRAINING}.dropout", {"low": 0.3, "high": 0.1}, ".high", "not larger than low = 0.3"),
    (f"{TRAINING}.dropout", {"low": 0.3, "high": 0.3}, ".high", "not larger"),
    (f"{TRAINING}.dropout", [0.1, {"low": 0, "high": 1.5}], "[1].high", "out of range"),
    (f"{TRAINING}.dropout", {"low": 0.0, "high": 0.5, "log": True}, ".low", "cannot begin at 0.0"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "log": True, "step": 0.1}, ".step", "distance"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "step": 0.1, "num": 3}, ".num", "already"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "step": 0.6}, ".step", "beyond high"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "step": 0}, ".step", "out of range"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "num": 1}, ".num", "out of range"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "num": 5000}, ".num", "out of range"),
    (f"{TRAINING}.dropout", {"low": 0.1, "hgih": 0.5}, ".high", "required and missing"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "lgo": True}, ".lgo", "no field `lgo`"),
    (f"{TRAINING}.dropout", {"low": "a", "high": 0.5}, ".low", "not a number"),
    (f"{TRAINING}.dropout", {"low": True, "high": 0.5}, ".low", "not a number"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": float("nan")}, ".high", "not a finite number"),
    (f"{TRAINING}.dropout", {"low": 0.1, "high": 0.5, "log": "x"}, ".log", "neither true nor"),
    (f"{TRAINING}.batch_size", {"low": 1.5, "high": 8}, ".low", "not a whole number"),
    (f"{TRAINING}.batch_size", {"low": 4, "high": 8, "step": 0.5}, ".step", "not a whole number"),
    (f"{TRAINING}.batch_size", {"low": 4, "high": 8, "num": 6}, ".num", "no 6 whole numbers"),
    (f"{TRAINING}.epochs", [{"low": 0, "high": 8}], "[0].low", "out of range"),
    (f"{TRAINING}.learning_rate", {"low": 0.0, "high": 0.1}, ".low", "out of range"),
    (f"{MODEL}.n_kv_heads", {"low": None, "high": 4}, ".low", "not a whole number"),
    (f"{MODEL}.activation_fn", {"low": 1, "high": 4}, "", "only where the candidates are numbers"),
    (f"{MODEL}.norm_first", [{"low": 0, "high": 1}], "[0]", "only where the candidates"),
    (f"{TRAINING}.log_interval", {"low": 1, "high": 4}, "", "only where the candidates"),
    (f"{TRAINING}.optimizer", {"low": 1, "high": 4}, "", "only where the candidates"),
    ("input_columns", {"low": 1, "high": 4}, "", "only where the candidates"),
    ("seed", {"low": 1, "high": 4}, "", "only where the candidates"),
    (
        f"{TRAINING}.optimizer",
        [{"name": "AdamW", "betas": [{"low": 0.9, "high": 0.8}, 0.99]}],
        "[0].betas[0].high",
        "not larger",
    ),
    (
        f"{TRAINING}.optimizer",
        [{"name": "AdamW", "weight_decay": {"low": 0.1, "hig": 1}}],
        "[0].weight_decay.high",
        "missing",
    ),
    (
        f"{TRAINING}.scheduler",
        [{"name": "OneCycleLR", "max_lr": 0.1, "total_steps": {"low": 1, "high": 2}}],
        "[0].total_steps",
        "differs from epochs[0] = 1",
    ),
    ("seq_length", {"low": 0, "high": 4}, ".low", "out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "words"), BAD)
def test_a_bad_range_is_refused_at_its_place(
    write_search: WriteSearch, path: str, value: Any, where: str, words: str
) -> None:
    issue = issues_of(write_search, {path: value})[0]

    assert issue.path == path + where
    assert words in issue.problem
    assert issue.line is not None
    assert issue.allowed or issue.fix


def test_all_mistakes_are_found_at_once(write_search: WriteSearch) -> None:
    issues = issues_of(
        write_search,
        {
            f"{TRAINING}.dropout": {"low": 0.3, "high": 0.1},
            f"{TRAINING}.learning_rate": {"low": 0.3, "hgih": 0.1},
            f"{MODEL}.rope_theta": [{"low": 1.0, "high": 0.1}],
            f"{MODEL}.num_layers": {"low": 1, "high": "three"},
        },
    )

    assert [issue.path.partition(".")[2] for issue in issues] == [
        "num_layers.high",
        "rope_theta[0].high",
        "learning_rate.high",
        "learning_rate.hgih",
        "dropout.high",
    ]


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"n_head": {"low": 2, "high": 4}}, "n_head", "3 does not divide dim_model = 64"),
        ({"n_head": [{"low": 2, "high": 4}]}, "n_head[0]", "3 does not divide dim_model = 64"),
        (
            {"n_head": {"low": 32, "high": 64, "step": 32}, "positional_encoding": ["rope"]},
            "n_head",
            "rope needs an even head size",
        ),
        ({"dim_model": {"low": 64, "high": 96, "step": 32}}, "dim_model", "must be equal to it"),
        ({"initial_embedding_dim": [{"low": 8, "high": 64}]}, "initial_embedding_dim[0]", "equal"),
        (
            {"joint_embedding_dim": {"low": 8, "high": 64}},
            "joint_embedding_dim",
            "dim_model must be equal",
        ),
        (
            {"initial_embedding_dim": {"low": 1, "high": 64}, "joint_embedding_dim": [64]},
            "initial_embedding_dim",
            "1 to 64 is too narrow for the 2 columns",
        ),
        (
            {
                "initial_embedding_dim": {"low": 8, "high": 64},
                "joint_embedding_dim": [64],
                "feature_embedding_dims": [{"product": 4, "price": 4}],
            },
            "feature_embedding_dims[0]",
            "sum to 8",
        ),
        ({"prediction_length": 7}, "seq_length", "5 to 9 is shorter than prediction_length = 7"),
    ],
)
def test_rules_between_fields_hold_for_every_number(
    write_search: WriteSearch, changes: dict[str, Any], where: str, words: str
) -> None:
    backbone = {"dim_model": [64], "n_head": [4], "initial_embedding_dim": [64]}
    fields = {f"{MODEL}.{name}": value for name, value in {**backbone, **changes}.items()}

    issue = issues_of(
        write_search,
        {
            "input_columns": [["product", "price"]],
            "seq_length": {"low": 5, "high": 9},
            **fields,
        },
    )[0]

    assert issue.path.endswith(where)
    assert words in issue.problem


def test_what_fits_for_every_number_is_taken(write_search: WriteSearch) -> None:
    load(
        write_search,
        {
            f"{MODEL}.dim_model": [64],
            f"{MODEL}.n_head": {"low": 4, "high": 8, "step": 4},
            f"{MODEL}.initial_embedding_dim": {"low": 8, "high": 64},
            f"{MODEL}.joint_embedding_dim": [64],
        },
    )


def test_a_range_in_place_of_a_list_stands_for_every_row(write_search: WriteSearch) -> None:
    rate = {"low": 1e-4, "high": 1e-2, "log": True}

    load(write_search, {f"{TRAINING}.learning_rate": rate, f"{TRAINING}.epochs": [1, 2, 3]})
    (issue,) = issues_of(
        write_search,
        {
            f"{TRAINING}.learning_rate": rate,
            f"{TRAINING}.epochs": [1, 2, 3],
            f"{TRAINING}.scheduler": [{"name": "StepLR", "step_size": 1}] * 2,
        },
    )

    assert "epochs has 3, scheduler has 2" in issue.problem
    assert "as many as `epochs`" in issue.allowed


@pytest.mark.parametrize(
    ("value", "where", "words", "fix"),
    [
        ({"low": 0.0, "high": 0.3}, "dropout", "values of 0 to 0.3 are meant", "add `num: 5`"),
        ([0.0, {"low": 0.1, "high": 0.3}], "dropout[1]", "a grid tries every value", "`num: 5`"),
        ({"low": 0.0, "high": 1.0, "step": 1e-6}, "dropout", "1,000,001 values", "larger `step`"),
    ],
)
def test_a_grid_refuses_what_it_cannot_list(
    write_search: WriteSearch, value: Any, where: str, words: str, fix: str
) -> None:
    (issue,) = issues_of(write_search, {"search_strategy": "grid", f"{TRAINING}.dropout": value})

    assert issue.path == f"{TRAINING}.{where}"
    assert words in issue.problem
    assert fix in issue.fix


def test_a_schedule_that_ends_before_some_of_the_epochs_is_named(
    write_search: WriteSearch,
) -> None:
    changes = {
        f"{TRAINING}.epochs": {"low": 2, "high": 9},
        f"{TRAINING}.scheduler": [{"name": "CosineAnnealingLR", "T_max": 9}],
    }

    (warning,) = load_search(write_search({**DRAWS, **changes})).warnings

    assert "T_max is 9 and epochs is 2 to 9: the learning rate stops before its" in warning.problem


@pytest.mark.parametrize(("low", "is_warned"), [(0, True), (0.0, False)])
def test_an_argument_that_can_only_be_0_or_1_is_named(
    write_search: WriteSearch,
    low: float,
    is_warned: bool,  # noqa: FBT001 - a column of the table
) -> None:
    recipe = {"name": "AdamW", "weight_decay": {"low": low, "high": 1}}

    warnings = load_search(write_search({**DRAWS, f"{TRAINING}.optimizer": [recipe]})).warnings

    assert [warning.path for warning in warnings] == (
        [f"{TRAINING}.optimizer[0].weight_decay"] if is_warned else []
    )
