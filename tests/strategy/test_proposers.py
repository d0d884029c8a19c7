"""Which run comes next, asked of every proposer without a storage."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import RandomSampler

from sequifier_hpo.config.search import SearchConfig, load_search
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace, compile_space
from sequifier_hpo.strategy import ChosenRuns, GridRuns, LearningRuns, SampledRuns
from sequifier_hpo.strategy.sample import seed_of
from sequifier_hpo.strategy.told import ToldSpace
from sequifier_hpo.study import (
    EndedRun,
    Exhausted,
    Proposal,
    Proposer,
    SpaceRevision,
    Wait,
)
from tests.conftest import WriteSearch
from tests.contract.conftest import DATA

MODEL = "model_hyperparameter_sampling"
Configure = Callable[[dict[str, Any]], SearchConfig]


@pytest.fixture
def search_config(write_search: WriteSearch) -> Configure:
    """The usual small search with changes."""
    return lambda changes: load_search(write_search(changes)).config


@dataclass
class Past:
    """Runs that were handed out."""

    keys: set[str] = field(default_factory=set)
    ends: list[EndedRun | None] = field(default_factory=list)
    lessons: Sequence[EndedRun] = ()
    spaces: tuple[SpaceRevision, ...] = ()
    known: dict[str, Point] = field(default_factory=dict)

    def points(self, num_runs: int) -> dict[str, Point]:
        return dict(list(self.known.items())[:num_runs])

    @property
    def num_runs(self) -> int:
        return len(self.keys)

    def is_taken(self, key: str) -> bool:
        return key in self.keys

    def ended(self, num_runs: int) -> list[EndedRun | None] | None:
        return self.ends[:num_runs] if num_runs <= len(self.ends) else None


def space_of(config: SearchConfig) -> tuple[SearchSpace, EffectiveSpace, Keyer]:
    space = compile_space(config)
    return space, EffectiveSpace(space, config.seed), Keyer(space, DATA)


def sampled(config: SearchConfig, n_samples: int, seed: int = 101) -> SampledRuns:
    return SampledRuns(*space_of(config), seed=seed, n_samples=n_samples)


def all_of(proposer: Proposer, past: Past | None = None) -> list[Proposal]:
    """Hand out everything."""
    past = past or Past()
    found: list[Proposal] = []
    while isinstance(proposal := proposer.propose(past.num_runs, past), Proposal):
        found.append(proposal)
        past.keys.add(proposal.key)
    assert isinstance(proposal, Exhausted)
    return found


def keys_of(proposals: Iterable[Proposal]) -> list[str]:
    return [proposal.key for proposal in proposals]


WIDE = {f"{MODEL}.dim_feedforward": list(range(1, 400)), f"{MODEL}.num_layers": [1, 2, 3]}
TWINS = {f"{MODEL}.attention_type": ["mha"], f"{MODEL}.n_kv_heads": [None, 2, 4]}


def test_a_draw_is_that_of_optunas_own_sampler(search_config: Configure) -> None:
    config = search_config(WIDE)
    space, _, _ = space_of(config)
    (proposal,) = all_of(sampled(config, n_samples=1))
    names = {parameter.name: parameter.labels for parameter in space.parameters}

    sampler = RandomSampler(seed=seed_of(101, 0, 0))
    trial = optuna.create_study(sampler=sampler).ask()
    drawn = {name: trial.suggest_categorical(name, choices) for name, choices in names.items()}

    assert proposal.labels == drawn


@pytest.mark.slow
@given(pauses=st.lists(st.integers(1, 9), max_size=3), n_samples=st.integers(10, 30))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_sample_that_is_taken_up_again_has_the_runs_of_a_straight_one(
    search_config: Configure, pauses: list[int], n_samples: int
) -> None:
    config = search_config(WIDE)
    straight = keys_of(all_of(sampled(config, n_samples)))

    past = Past()
    found: list[str] = []
    for pause in [*pauses, n_samples]:
        fresh = sampled(config, n_samples)  # another process, or another machine
        for _ in range(min(pause, n_samples - len(found))):
            proposal = fresh.propose(past.num_runs, past)
            assert isinstance(proposal, Proposal)
            found.append(proposal.key)
            past.keys.add(proposal.key)

    assert found == straight
    assert len(set(found)) == n_samples


def test_more_samples_begin_with_those_of_fewer(search_config: Configure) -> None:
    config = search_config(WIDE)

    few, many = all_of(sampled(config, 10)), all_of(sampled(config, 40))

    assert keys_of(many)[:10] == keys_of(few)


def test_samples_of_other_seeds_are_others(search_config: Configure) -> None:
    config = search_config(WIDE)

    one, other = (keys_of(all_of(sampled(config, 20, seed))) for seed in (1, 2))

    assert len(set(one) & set(other)) < 5


def test_a_sample_is_uniform_over_the_choices_of_every_parameter(search_config: Configure) -> None:
    config = search_config(WIDE)

    layers = Counter(proposal.labels["num_layers"] for proposal in all_of(sampled(config, 600)))

    # 600 draws of three choices: a standard deviation of 11.5 around 200.
    assert len(layers) == 3
    assert all(150 < number < 250 for number in layers.values())


def test_a_sample_of_everything_needs_no_luck(search_config: Configure) -> None:
    config = search_config(TWINS)
    _, effective, _ = space_of(config)

    found = all_of(sampled(config, effective.num_distinct))

    assert len(set(keys_of(found))) == effective.num_distinct


def test_a_run_of_a_sample_is_named_by_the_first_of_the_cells_that_mean_it(
    search_config: Configure,
) -> None:
    config = search_config(TWINS)

    labels = {proposal.labels["n_kv_heads"] for proposal in all_of(sampled(config, 6))}

    assert labels == {"0: null"}


def test_a_grid_is_every_distinct_run_once_in_a_seeded_order(search_config: Configure) -> None:
    config = search_config(TWINS)
    space, effective, keyer = space_of(config)

    found = all_of(GridRuns(space, effective, keyer))
    again = all_of(GridRuns(space, effective, keyer))

    assert len(set(keys_of(found))) == effective.num_distinct < space.num_cells
    assert keys_of(found) == keys_of(again)


def test_a_grid_gives_the_cells_that_mean_a_run_its_result(search_config: Configure) -> None:
    config = search_config(TWINS)
    space, effective, keyer = space_of(config)
    grid = GridRuns(space, effective, keyer)

    cells = {
        space.cell_of(proposal.labels)
        for run in all_of(grid)
        for proposal in (run, *grid.twins(run.key, run.point))
    }

    assert len(cells) == space.num_cells
    assert all(
        twin.key == run.key for run in all_of(grid) for twin in grid.twins(run.key, run.point)
    )


@pytest.mark.slow
def test_a_grid_that_no_machine_could_write_out_costs_nothing(search_config: Configure) -> None:
    many = list(range(1, 10_000))
    config = search_config(
        {
            f"{MODEL}.dim_feedforward": many,
            f"{MODEL}.num_layers": many,
            "training_hyperparameter_sampling.batch_size": many,
            "training_hyperparameter_sampling.accumulation_steps": many,
        }
    )
    space, effective, keyer = space_of(config)
    grid, past = GridRuns(space, effective, keyer), Past()

    first = grid.propose(0, past)

    assert space.num_cells > 10**15
    assert isinstance(first, Proposal)


@pytest.mark.parametrize("num_taken", [0, 1, 3])
def test_chosen_runs_come_in_their_order_and_no_others_are_wanted(
    search_config: Configure, num_taken: int
) -> None:
    runs = all_of(sampled(search_config(WIDE), 4))
    chosen, others = runs[1:], runs[:1]
    proposer = ChosenRuns(chosen)

    rest = all_of(proposer, Past(set(keys_of([*others, *chosen[:num_taken]]))))

    assert rest == chosen[num_taken:]
    assert all(proposer.is_wanted(run.key) for run in chosen)
    assert not proposer.is_wanted(others[0].key)


def learning(config: SearchConfig, n_samples: int, gap: int = 4) -> LearningRuns:
    space = space_of(config)
    return LearningRuns(*space, seed=101, n_samples=n_samples, proposal_gap=gap)


def loss_of(proposal: Proposal) -> float:
    """A loss that knows what is good, so that there is something to learn."""
    spec = proposal.point.values
    return float(spec["dropout"]) + abs(int(spec["batch_size"]) - 16) / 100


def ends_of(proposals: Iterable[Proposal]) -> list[EndedRun | None]:
    return [EndedRun(each.point, loss_of(each)) for each in proposals]


ORDERED: dict[str, Any] = {
    f"{MODEL}.num_layers": [1, 2, 3, 4],
    "training_hyperparameter_sampling.batch_size": [4, 8, 16, 32, 64],
    "training_hyperparameter_sampling.dropout": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
}


def played(proposer: LearningRuns) -> list[Proposal]:
    """Hand out one after the other, each when all before it have ended."""
    past = Past()
    found: list[Proposal] = []
    while isinstance(proposal := proposer.propose(past.num_runs, past), Proposal):
        found.append(proposal)
        past.keys.add(proposal.key)
        past.ends = ends_of(found)
    return found


def test_a_learning_search_waits_for_the_runs_that_it_may_see_and_for_no_others(
    search_config: Configure,
) -> None:
    proposer = learning(search_config(ORDERED), n_samples=40, gap=4)
    runs = played(proposer)
    past = Past({run.key for run in runs[:20]}, ends_of(runs[:16]))

    assert proposer.propose(20, past) == Wait(17, "proposal_gap")
    past.ends = ends_of(runs[:17])
    assert proposer.propose(20, past) == runs[20]


def test_a_learning_search_begins_as_a_sample_and_goes_on_to_what_is_better(
    search_config: Configure,
) -> None:
    config = search_config(ORDERED)
    learned, drawn = played(learning(config, 40)), all_of(sampled(config, 40))

    assert learned[:13] == drawn[:13]  # ten ends are seen by the run after thirteen
    assert len({run.key for run in learned}) == 40
    better = (sum(map(loss_of, runs[20:])) for runs in (learned, drawn))
    assert next(better) < 0.7 * next(better)


def test_runs_that_the_machine_lost_teach_nothing(search_config: Configure) -> None:
    config = search_config(ORDERED)
    proposer = learning(config, n_samples=40, gap=4)
    runs = played(proposer)
    past = Past({run.key for run in runs[:20]}, [None] * 17)

    assert proposer.propose(20, past) == sampled(config, 40).propose(20, past)


def test_a_learning_search_ends_with_the_space(search_config: Configure) -> None:
    config = search_config({"training_hyperparameter_sampling.dropout": [0.0, 0.1, 0.2]})
    num_distinct = space_of(config)[1].num_distinct

    runs = played(learning(config, num_distinct))

    assert len({run.key for run in runs}) == num_distinct


def test_numbers_are_told_in_order_and_groups_by_their_anchor(search_config: Configure) -> None:
    config = search_config(
        {
            "training_hyperparameter_sampling.batch_size": [64, 4, 16],
            f"{MODEL}.activation_fn": ["gelu", "swiglu"],
        }
    )
    space = compile_space(config)
    told = ToldSpace(space)

    assert told.distributions["batch_size"] == IntDistribution(0, 2)
    assert told.distributions["activation_fn"] == CategoricalDistribution((0, 1))
    for cell in ((0,) * len(space.sizes), tuple(size - 1 for size in space.sizes)):
        params = told.params(space.point_at(cell), {}, "seed")
        assert params is not None
        assert told.place_of(params) == (cell, {})
    first = told.params(space.point_at((0,) * len(space.sizes)), {}, "seed")
    assert first is not None
    assert first["batch_size"] == 2
