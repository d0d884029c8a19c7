"""Which runs come next in a space with ranges, asked of every proposer without a storage."""

import json
from math import log10
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sequifier_hpo.config.search import load_search
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace, compile_space
from sequifier_hpo.strategy import GridRuns, LearningRuns, SampledRuns
from sequifier_hpo.strategy.told import ToldSpace
from sequifier_hpo.study import EndedRun, Exhausted, Proposal, Proposer
from sequifier_hpo.study.distributions import distributions
from tests.conftest import WriteSearch
from tests.contract.conftest import DATA
from tests.search_files import MODEL, TRAINING
from tests.strategy.test_proposers import Past, all_of, keys_of

RATE = {"low": 1e-4, "high": 1e-1, "log": True}
MIXED: dict[str, Any] = {
    "search_strategy": "sample",
    "n_samples": 5,
    f"{TRAINING}.learning_rate": [RATE, 0.3],
    f"{TRAINING}.epochs": [4, {"low": 2, "high": 9, "step": 3}],
    f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3, "step": 0.05},
    f"{TRAINING}.batch_size": {"low": 4, "high": 64, "log": True},
    f"{TRAINING}.optimizer": [{"name": "AdamW", "weight_decay": {"low": 0, "high": 0.1}}, {"name": "SGD"}],
}  # fmt: skip
FLOAT = FloatDistribution
STORED: dict[str, BaseDistribution] = {
    "data_schema": CategoricalDistribution(("0: product", "1: product, price")),
    "training_schedule": CategoricalDistribution(
        (
            "0: learning_rate=(0.0001 to 0.1, log) epochs=4",
            "1: learning_rate=0.3 epochs=(2 to 9, step 3)",
        )
    ),
    "learning_rate[0]": FLOAT(1e-4, 1e-1, log=True),
    "epochs[1]": IntDistribution(2, 8, step=3),
    "dropout": FLOAT(0.0, 0.3, step=0.05),
    "batch_size": IntDistribution(4, 64, log=True),
    "optimizer": CategoricalDistribution(("0: AdamW weight_decay=(0 to 0.1)", "1: SGD")),
    "optimizer[0].weight_decay": FLOAT(0.0, 0.1),
    "model_backbone": CategoricalDistribution(
        ("0: dim_model=64 n_head=4", "1: dim_model=128 n_head=8")
    ),
    "num_layers": CategoricalDistribution(("0: 1", "1: 2")),
}


def parts_of(
    write: WriteSearch, changes: dict[str, Any]
) -> tuple[SearchSpace, EffectiveSpace, Keyer]:
    space = compile_space(load_search(write(changes)).config)
    return space, EffectiveSpace(space, 101), Keyer(space, DATA)


def sampled(write: WriteSearch, changes: dict[str, Any], n_samples: int) -> SampledRuns:
    return SampledRuns(*parts_of(write, changes), seed=101, n_samples=n_samples)


def learning(write: WriteSearch, changes: dict[str, Any], n_samples: int) -> LearningRuns:
    parts = parts_of(write, changes)
    return LearningRuns(*parts, seed=101, n_samples=n_samples, proposal_gap=1)


def loss_of(point: Point) -> float:
    """Best at a learning rate of 0.003, which the second row cannot have."""
    values = point.values
    rate = log10(values["training_schedule"]["learning_rate"] / 0.003)
    return 1 + rate**2 + float(values["dropout"]) + abs(int(values["batch_size"]) - 12) / 30


def searched(proposer: Proposer, num_runs: int) -> list[Proposal]:
    past = Past()
    found: list[Proposal] = []
    for ordinal in range(num_runs):
        proposal = proposer.propose(ordinal, past)
        assert isinstance(proposal, Proposal)
        found.append(proposal)
        past.keys.add(proposal.key)
        past.ends.append(EndedRun(proposal.point, loss_of(proposal.point), proposal.unused))
    return found


def test_ranges_are_stored_as_optunas_distributions(write_search: WriteSearch) -> None:
    space, _, _ = parts_of(write_search, MIXED)

    found = distributions(space)

    assert found == STORED
    for proposal in all_of(sampled(write_search, MIXED, 40)):
        for name, value in proposal.labels.items():
            assert found[name]._contains(found[name].to_internal_repr(value)), name


@pytest.mark.parametrize("propose", [sampled, learning])
def test_numbers_are_drawn_for_each_ordinal_and_never_twice(
    write_search: WriteSearch, propose: Any
) -> None:
    runs = searched(propose(write_search, MIXED, 40), 40)

    assert len(set(keys_of(runs))) == 40
    rates = [run.labels["learning_rate[0]"] for run in runs if "learning_rate[0]" in run.labels]
    assert 5 < len(rates) < 40, "it is there where its row is"
    assert len(set(rates)) == len(rates)
    assert all(1e-4 <= float(rate) <= 1e-1 for rate in rates)
    assert {run.labels["dropout"] for run in runs} <= {0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3}


def test_a_logarithmic_range_is_drawn_by_its_logarithm(write_search: WriteSearch) -> None:
    changes = {**MIXED, f"{TRAINING}.learning_rate": RATE, f"{TRAINING}.epochs": [1]}

    rates = [
        float(run.labels["learning_rate"]) for run in all_of(sampled(write_search, changes, 300))
    ]

    assert 60 < sum(rate < 1e-3 for rate in rates) < 140, "a third of the magnitudes"


@given(cuts=st.lists(st.integers(0, 15), max_size=3))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_search_that_is_taken_up_again_goes_on_as_it_would_have(
    write_search: WriteSearch, cuts: list[int]
) -> None:
    straight = searched(learning(write_search, MIXED, 16), 16)

    past = Past()
    proposer = learning(write_search, MIXED, 16)
    for ordinal, expected in enumerate(straight):
        if ordinal in cuts:
            proposer = learning(write_search, MIXED, 16)  # another process
        proposal = proposer.propose(ordinal, past)
        assert isinstance(proposal, Proposal)
        assert (proposal.key, proposal.labels) == (expected.key, expected.labels)
        past.keys.add(proposal.key)
        stored = Point.from_json(json.loads(json.dumps(proposal.point.as_json())))
        past.ends.append(EndedRun(stored, loss_of(stored), proposal.unused))


def test_a_search_that_learns_finds_the_numbers_of_a_row(write_search: WriteSearch) -> None:
    def mean(runs: list[Proposal]) -> float:
        losses = [loss_of(run.point) for run in runs[-20:]]
        return sum(losses) / len(losses)

    learned = searched(learning(write_search, MIXED, 60), 60)
    drawn = searched(sampled(write_search, MIXED, 60), 60)

    assert mean(learned) < 1.6 < mean(drawn)


def test_a_range_is_told_always_and_stored_where_it_is_used(write_search: WriteSearch) -> None:
    space, _, _ = parts_of(write_search, MIXED)
    told = ToldSpace(space)
    ranges = {part.name for part in space.parts}
    for run in all_of(sampled(write_search, MIXED, 20)):
        params = told.params(run.point, run.unused, "101:0")
        again = told.params(run.point, run.unused, "101:0")

        assert params is not None
        assert params == again
        assert params.keys() == told.distributions.keys()
        for name in ranges & run.labels.keys():
            assert params[name] == run.labels[name]
        for name, distribution in told.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(params[name]))
        cell, draws = told.place_of(params)
        assert space.point_at(cell, draws) == run.point


@pytest.mark.parametrize("propose", [sampled, learning])
def test_stepped_ranges_are_exhausted_like_lists(write_search: WriteSearch, propose: Any) -> None:
    changes = {
        "search_strategy": "sample",
        "n_samples": 5,
        "input_columns": [["product"]],
        f"{MODEL}.num_layers": [1],
        f"{TRAINING}.dropout": [0.0, {"low": 0.1, "high": 0.3, "step": 0.1}],
        f"{TRAINING}.epochs": {"low": 1, "high": 2},
    }

    proposer = propose(write_search, changes, 100)
    past = Past()
    while isinstance(proposal := proposer.propose(past.num_runs, past), Proposal):
        past.keys.add(proposal.key)
        past.ends.append(EndedRun(proposal.point, 1.0))

    assert past.num_runs == 2 * 4 * 2


def test_a_range_without_effect_does_not_make_new_runs(write_search: WriteSearch) -> None:
    changes = {
        "search_strategy": "sample",
        "n_samples": 5,
        f"{MODEL}.rope_theta": {"low": 100.0, "high": 900.0},
    }

    assert len(all_of(sampled(write_search, changes, 20))) == 8


def test_a_large_space_that_has_nothing_new_ends(write_search: WriteSearch) -> None:
    proposer = sampled(write_search, MIXED, 5)

    class Full(Past):
        def is_taken(self, key: str) -> bool:
            return True

    proposer._max_draws = 3
    assert isinstance(proposer.propose(0, Full()), Exhausted)


def test_a_grid_tries_every_value_of_its_ranges(write_search: WriteSearch) -> None:
    changes = {
        "input_columns": [["product"]],
        f"{MODEL}.num_layers": [1],
        f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3, "step": 0.1},
        f"{TRAINING}.learning_rate": [{"low": 1e-3, "high": 1e-1, "num": 3, "log": True}, 0.5],
        f"{TRAINING}.epochs": [3, {"low": 4, "high": 8, "step": 2}],
    }

    runs = all_of(GridRuns(*parts_of(write_search, changes)))

    assert len(runs) == 2 * 4 * (3 + 3)
    found = {
        (row["learning_rate"], row["epochs"], run.point.values["dropout"])
        for run in runs
        for row in [run.point.values["training_schedule"]]
    }
    rows = [(0.001, 3), (0.01, 3), (0.1, 3), (0.5, 4), (0.5, 6), (0.5, 8)]
    assert found == {(*row, dropout) for row in rows for dropout in (0.0, 0.1, 0.2, 0.3)}
    fourth = next(run for run in runs if run.point.values["training_schedule"]["epochs"] == 6)
    assert fourth.labels["epochs[3]"] == 6
