"""What is proposed in a space that was revised, asked without a storage."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.search import SearchConfig, load_search
from sequifier_hpo.searchspace import (
    AllSpaces,
    EffectiveSpace,
    Keyer,
    Point,
    SearchSpace,
    compile_space,
    describe_space,
    same_run_in,
)
from sequifier_hpo.strategy import GridRuns, SampledRuns
from sequifier_hpo.strategy.redrawing import Redrawing
from sequifier_hpo.study import EndedRun, Proposal, Proposer, SpaceRevision
from tests.conftest import WriteSearch
from tests.contract.conftest import DATA

MODEL, TRAINING = "model_hyperparameter_sampling", "training_hyperparameter_sampling"
Configure = Callable[[dict[str, Any]], SearchConfig]


@pytest.fixture
def search_config(write_search: WriteSearch) -> Configure:
    """A small search with changes."""
    few: dict[str, Any] = {"input_columns": [["product"]], f"{MODEL}.num_layers": [1]}
    few |= {f"{MODEL}.{name}": [8] for name in ("dim_model", "initial_embedding_dim")}
    few |= {f"{MODEL}.n_head": [2]}
    return lambda changes: load_search(write_search({**few, **changes})).config


Parts = tuple[SearchSpace, EffectiveSpace, Keyer]


def parts_of(config: SearchConfig) -> Parts:
    space = compile_space(config)
    return space, EffectiveSpace(space, config.seed), Keyer(space, DATA)


@dataclass
class Study:
    """A study that is revised, without a storage: what a ledger keeps of it."""

    runs: dict[str, Point] = field(default_factory=dict)
    """Every run that was handed out, by ordinal."""
    revisions: list[SpaceRevision] = field(default_factory=list)
    inside: set[str] = field(default_factory=set)
    lessons: Sequence[EndedRun] = ()

    def revise(self, parts: Parts) -> Parts:
        """Go on with another space."""
        space, _, keyer = parts
        self.revisions.append(
            SpaceRevision(since_ordinal=len(self.runs), space=describe_space(space))
        )
        self.inside = {
            key
            for key, point in self.runs.items()
            if same_run_in(space, point, key, keyer.key) is not None
        }
        return parts

    def hand_out(self, proposer: Proposer, most: int = 1000) -> list[Proposal]:
        """Take the next runs."""
        found: list[Proposal] = []
        while len(found) < most:
            proposal = proposer.propose(len(self.runs), self)
            if not isinstance(proposal, Proposal):
                break
            assert proposal.key not in self.runs
            self.runs[proposal.key] = proposal.point
            self.inside.add(proposal.key)
            found.append(proposal)
        return found

    @property
    def spaces(self) -> Sequence[SpaceRevision]:
        return self.revisions if len(self.revisions) > 1 else ()

    @property
    def num_runs(self) -> int:
        return len(self.inside)

    def is_taken(self, key: str) -> bool:
        return key in self.runs

    def points(self, num_runs: int) -> dict[str, Point]:
        first = list(self.runs.items())[:num_runs]
        return {key: point for key, point in first if key in self.inside}

    def ended(self, num_runs: int) -> list[EndedRun | None] | None:
        return None


def sampled(parts: Parts, study: Study, n_samples: int, seed: int) -> SampledRuns:
    return SampledRuns(*study.revise(parts), seed=seed, n_samples=n_samples)


SPACES = [
    {f"{MODEL}.dim_feedforward": sizes, f"{TRAINING}.batch_size": batches}
    for sizes, batches in (
        ([8, 16], [4]),
        ([8, 16, 24, 32], [4]),
        ([8, 24, 32], [4]),
        ([8, 24, 32], [4, 2]),
    )
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "num_runs"),
    [
        ([0, 1], [1]),
        ([0, 1], [2]),
        ([1, 2], [2]),
        ([0, 1, 2], [1, 2]),
        ([2, 3, 2], [2, 2]),
    ],
    ids=["widened", "used up and widened", "narrowed", "both", "widened and back"],
)
def test_draws_with_earlier_runs_in_their_places_are_an_order_at_random(
    search_config: Configure, steps: list[int], num_runs: list[int]
) -> None:
    """Each place of it has each run equally often, and each pair of first runs is equally likely."""
    spaces = [parts_of(search_config(SPACES[step])) for step in steps]
    places: list[Counter[str]] = []
    pairs: Counter[tuple[str, ...]] = Counter()
    num_seeds = 300
    for seed in range(num_seeds):
        study = Study()
        for parts, number in zip(spaces[:-1], num_runs, strict=True):
            study.hand_out(sampled(parts, study, 99, seed), number)
        order = drawn_order(sampled(spaces[-1], study, 99, seed), study)
        places = places or [Counter() for _ in order]
        for place, key in zip(places, order, strict=True):
            place[key] += 1
        pairs[tuple(sorted(order[:2]))] += 1

    size = len(places)
    expected = num_seeds / size
    for place in places:
        assert len(place) == size
        assert chi_square(place.values(), expected) < quantile(size - 1)
    num_pairs = size * (size - 1) // 2
    assert len(pairs) == num_pairs
    assert chi_square(pairs.values(), num_seeds / num_pairs) < quantile(num_pairs - 1)


def chi_square(found: Iterable[int], expected: float) -> float:
    return sum((number - expected) ** 2 / expected for number in found)


def quantile(freedom: int) -> float:
    """The 99.9 % quantile of chi square, as Wilson and Hilferty approximate it."""
    spread = 2 / (9 * freedom)
    return freedom * float(1 - spread + 3.09 * spread**0.5) ** 3


def drawn_order(proposer: SampledRuns, study: Study) -> list[str]:
    """The runs in the order in which they are drawn, earlier ones in the place of draws."""
    drawn: list[str] = []

    class Recorded(set[str]):
        def add(self, key: str) -> None:
            drawn.append(key)
            super().add(key)

    size = proposer._cells.effective.num_distinct
    proposer._max_draws = 80  # so that the last one is drawn, too
    redrawing = Redrawing(proposer._draws)
    redrawing._drawn = Recorded()
    while len(drawn) < size:
        proposal = redrawing.propose(study)
        assert proposal is not None or len(drawn) == size
        if proposal is not None:
            study.runs[proposal.key] = proposal.point
    return drawn


def test_runs_that_no_draw_calls_are_what_a_small_sample_has_too_many_of(
    search_config: Configure,
) -> None:
    small, large = (parts_of(search_config(SPACES[i])) for i in (0, 1))
    for seed in range(20):
        study = Study()
        assert len(study.hand_out(sampled(small, study, 2, seed))) == 2, "all of it"

        (more,) = study.hand_out(sampled(large, study, 3, seed))

        assert more.point.values["dim_feedforward"] > 16, "what the former space did not have"


def test_ranges_that_grow_are_filled_up(search_config: Configure) -> None:
    def span(high: float, n_samples: int) -> Parts:
        dropout = {f"{TRAINING}.dropout": {"low": 0.0, "high": high}}
        sample = {"n_samples": n_samples, "search_strategy": "sample"}
        return parts_of(search_config({**dropout, **sample}))

    study = Study()
    study.hand_out(sampled(span(0.25, 60), study, 60, 7))
    study.hand_out(sampled(span(0.5, 120), study, 120, 7))

    below = sum(point.values["dropout"] <= 0.25 for point in study.runs.values())
    assert len(study.runs) == 120
    assert 60 <= below <= 66, "sixty were there, and about sixty are right"


def test_a_sample_that_is_taken_up_again_after_a_revision_has_the_same_runs(
    search_config: Configure,
) -> None:
    small, large = (parts_of(search_config(SPACES[i])) for i in (0, 3))

    def go_on(sizes: list[int]) -> list[str]:
        study = Study()
        study.hand_out(sampled(small, study, 1, 5))
        study.revise(large)
        for size in sizes:
            study.hand_out(SampledRuns(*large, seed=5, n_samples=5), size)
        return list(study.runs)

    assert go_on([1, 2, 99]) == go_on([99])


LISTS: dict[str, list[Any]] = {
    f"{MODEL}.dim_feedforward": [8, 16, 24],
    f"{MODEL}.attention_type": ["mha", "mqa", "gqa"],
    f"{MODEL}.n_kv_heads": [None, 1, 2],
    f"{TRAINING}.dropout": [0.0, 0.1, {"low": 0.2, "high": 0.4, "step": 0.1}],
    f"{TRAINING}.batch_size": [4, 2, {"low": 1, "high": 3, "step": 1}],
}


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    return {
        name: draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique_by=str))
        for name, values in LISTS.items()
    }


@given(
    steps=st.lists(st.tuples(spaces(), st.integers(0, 12)), min_size=1, max_size=4),
    strategy=st.sampled_from(["grid", "sample"]),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_becomes_of_a_space_no_run_is_trained_twice_and_none_is_lost(
    search_config: Configure, steps: list[tuple[dict[str, Any], int]], strategy: str
) -> None:
    study = Study()
    parts = parts_of(search_config(steps[-1][0]))
    for changes, number in (*steps, (steps[-1][0], 10_000)):
        parts = study.revise(parts_of(search_config(changes)))
        proposer: Proposer = GridRuns(*parts)
        if strategy == "sample":
            proposer = SampledRuns(*parts, seed=3, n_samples=10_000)
        study.hand_out(proposer, number)

    space, effective, keyer = parts
    cells = (effective.representative(place) for place in range(effective.num_distinct))
    assert study.inside == {keyer.key(space.point_at(cell)) for cell in cells}
    shown = AllSpaces(revision.space for revision in study.revisions)
    stored = {key: shown.stored(point) for key, point in study.runs.items()}
    names = {parameter.name for parameter in shown.parameters if len(parameter.candidates) > 1}
    assert all(names <= labels.keys() for labels in stored.values())
