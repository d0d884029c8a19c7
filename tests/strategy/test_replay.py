"""Proposals and stops on tables of trained runs: pure functions of a fixed part of the past."""

import random
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from sequifier_hpo.errors import InputError
from sequifier_hpo.strategy.bayesian import Taught, suggest
from sequifier_hpo.strategy.efficiency import efficiency
from sequifier_hpo.strategy.past import Past, PastRun
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.replay import ReplaySettings, replay
from sequifier_hpo.strategy.table import RunTable, TableRun, read_table


def table_of(seed: int = 0, *, are_speeds_equal: bool = True, num_epochs: int = 9) -> RunTable:
    """120 runs whose losses depend on their choices; some runs are shorter."""
    rng = random.Random(seed)
    runs = []
    for width, rate, kind in product(range(6), range(5), range(4)):
        end = 0.7 + 0.02 * abs(width - 3) + 0.03 * abs(rate - 2) + 0.01 * kind + rng.gauss(0, 0.003)
        epochs = num_epochs if kind else num_epochs - 4
        speed = rng.uniform(0.2, 0.8)
        curve = tuple(end + (1.6 - end) * (1 - speed) ** epoch for epoch in range(1, epochs + 1))
        labels = (f"{width}: {8 * (width + 1)}", f"{rate}: rate={rate}", f"{kind}: kind {kind}")
        runs.append(TableRun(labels, curve, 1.0 if are_speeds_equal else rng.uniform(0.3, 3.0)))
    return RunTable(("width", "rate", "kind"), tuple(runs))


def what_happened(table: RunTable, settings: ReplaySettings, seed: int) -> list[object]:
    done = replay(table, settings, seed=seed)
    return [
        *zip(done.tried, (run.stopped_at for run in done.past.runs), strict=True),
        done.finished,
    ]


@settings(max_examples=10, deadline=None)
@given(
    workers=st.integers(1, 7),
    seed=st.integers(0, 2**32 - 1),
    speeds=st.integers(0, 2**16),
    method=st.sampled_from(["successive_halving", "median"]),
    gaps=st.tuples(st.integers(1, 9), st.integers(1, 6)),
)
def test_neither_workers_nor_their_speed_change_what_is_tried_or_where_it_is_stopped(
    workers: int, seed: int, speeds: int, method: str, gaps: tuple[int, int]
) -> None:
    table = table_of()
    runs = tuple(
        TableRun(run.labels, run.losses, run_speed)
        for run, run_speed in zip(
            table.runs,
            (random.Random(speeds).uniform(0.2, 5) for _ in table.runs),
            strict=False,
        )
    )
    shuffled = RunTable(table.parameters, runs)
    pruning = Pruning.model_validate({"method": method})

    def with_workers(workers: int) -> ReplaySettings:
        return ReplaySettings("bayesian", pruning, *gaps, 3, 28, workers)

    alone = what_happened(table, with_workers(1), seed)

    assert what_happened(shuffled, with_workers(workers), seed) == alone


def test_a_longer_search_begins_with_the_shorter_one() -> None:
    """24 runs and 24 more are the same as 48 at once."""
    table = table_of()
    settings = ReplaySettings("bayesian", Pruning(), n_samples=24)
    longer = ReplaySettings("bayesian", Pruning(), n_samples=48)

    short, long = (what_happened(table, each, 7)[:-1] for each in (settings, longer))

    assert long[:24] == short


@pytest.mark.parametrize("strategy", ["sample", "bayesian"])
def test_each_run_of_the_table_is_tried_once(strategy: str) -> None:
    table = table_of()

    done = replay(table, ReplaySettings(strategy), seed=3)  # type: ignore[arg-type]

    assert sorted(done.tried) == list(range(len(table.runs)))
    assert done.epochs == sum(run.num_epochs for run in table.runs)
    assert done.best_after(done.epochs) == table.best(0)


@pytest.mark.slow
def test_it_learns_and_stops_to_advantage() -> None:
    table = table_of(are_speeds_equal=False)
    settings = (ReplaySettings(), ReplaySettings("bayesian", Pruning(), n_samples=90))

    random_search, learning = (efficiency(table, each, seeds=range(5)) for each in settings)

    assert learning.to_best_1_percent.median < random_search.to_best_1_percent.median
    assert learning.to_best_5_percent.high < random_search.to_best_5_percent.high


def test_the_last_round_trains_the_best_stopped_runs_to_their_end() -> None:
    table = table_of()

    done = replay(table, ReplaySettings("sample", Pruning(), finish_best=2), seed=1)

    runs = done.past.runs
    stopped = {k: run.best_loss for k, run in enumerate(runs) if run.stopped_at is not None}
    assert done.finished == sorted(stopped, key=lambda k: stopped[k] or 0)[:2]
    trained = sum(len(run.best_losses) for run in runs)
    rest = sum(runs[k].num_epochs - (runs[k].stopped_at or 0) for k in done.finished)
    assert done.epochs == trained + rest


def test_what_failed_is_avoided_and_not_forgotten() -> None:
    """A run without a loss teaches as a bad one."""
    space = {"x": IntDistribution(0, 9), "y": CategoricalDistribution(range(3))}
    ended = [Taught(i, {"x": i % 9, "y": i % 3}, 0.5 + 0.01 * (i % 9)) for i in range(20)]
    failed = [Taught(20 + i, {"x": 9, "y": 0}, None) for i in range(15)]

    def proposed(runs: list[Taught]) -> int:
        found = (
            suggest(space, runs, ordinal=50, seed=seed, is_used=lambda _params: False)
            for seed in range(40)
        )
        return sum(params is not None and params["x"] >= 8 for params in found)

    assert proposed(ended + failed) <= proposed(ended)
    assert suggest(space, failed, ordinal=50, seed=1, is_used=lambda _params: False) is not None


def test_the_best_unused_candidate_is_proposed() -> None:
    space = {"x": IntDistribution(0, 30)}
    ended = [Taught(i, {"x": i}, abs(i - 20) / 100) for i in range(0, 31, 2)]
    used: set[int | float] = set()

    def proposal() -> int | float | None:
        params = suggest(space, ended, ordinal=40, seed=5, is_used=lambda p: p["x"] in used)
        return None if params is None else params["x"]

    while (x := proposal()) is not None:
        assert x not in used
        used.add(x)
    assert 1 < len(used) <= 24


def test_nothing_is_proposed_from_too_few_runs() -> None:
    ended = [Taught(i, {"x": i}, 0.1) for i in range(9)]
    space = {"x": IntDistribution(0, 9)}

    assert suggest(space, ended, ordinal=9, seed=1, is_used=lambda _params: False) is None


@pytest.mark.parametrize(
    ("loss", "rung", "others", "stops"),
    [
        (0.5, 2, [], False),
        (0.5, 2, [0.4], True),
        (0.5, 2, [0.6], False),
        (0.5, 2, [0.6, 0.4, 0.7], True),
        (0.5, 2, [0.6, 0.4, 0.7, 0.8, 0.9], False),
        (0.5, 6, [0.4, 0.45, 0.7], True),
    ],
)
def test_the_better_third_goes_on_at_each_rung(
    loss: float, rung: int, others: list[float], *, stops: bool
) -> None:
    assert Pruning().stops(rung, loss, others) is stops


def test_rungs_grow_and_end_before_the_last_epoch() -> None:
    assert list(Pruning().rungs(10)) == [2, 3, 4, 6, 9]
    assert list(Pruning(reduction_factor=2).rungs(9)) == [2, 3, 4, 6]
    assert list(Pruning(first_rung=1).rungs(3)) == [1, 2]
    assert list(Pruning(first_rung=8).rungs(20)) == [8, 12, 18]
    assert list(Pruning(method="median", first_rung=3).rungs(6)) == [3, 4, 5]


def test_the_median_needs_five_runs_to_compare_with() -> None:
    median = Pruning(method="median")

    assert not median.stops(2, 9.0, [0.1, 0.2, 0.3, 0.4])
    assert median.stops(2, 9.0, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert not median.stops(2, 0.25, [0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_run_that_still_learns_fast_has_a_better_outlook_than_its_loss() -> None:
    def run(*losses: float) -> PastRun:
        run = PastRun({}, 9)
        for loss in losses:
            run.report(loss)
        return run

    assert run(0.9, 0.7, 0.6, 0.5).outlook_at(4) == pytest.approx(0.4)
    assert run(0.9, 0.7, 0.5, 0.5).outlook_at(4) == pytest.approx(0.4)  # one idle epoch is luck
    assert run(0.9, 0.5, 0.5, 0.5).outlook_at(4) == 0.5
    assert run(0.5, 0.6).outlook_at(2) == 0.5  # best so far: it does not get worse
    assert run(0.9).outlook_at(1) == 0.9
    assert run(float("nan"), 0.6).outlook_at(1) is None
    assert run(float("inf"), 0.6).outlook_at(2) == 0.6


def test_a_run_that_falls_behind_goes_on_while_it_learns() -> None:
    slow, idle = PastRun({}, 9), PastRun({}, 9)
    for run, losses in ((slow, (1.2, 0.8)), (idle, (0.8, 0.8))):
        for loss in losses:
            run.report(loss)
    others = [0.7, 0.75, 0.9, 0.65, 1.0, 0.72]

    stops = [Pruning().stops(2, run.outlook_at(2) or 0, others) for run in (slow, idle)]

    assert stops == [False, True]


def test_a_loss_is_known_at_a_rung_once_no_earlier_rung_is_open() -> None:
    past = Past()
    past.runs = [PastRun({}, 9, (2, 4)), PastRun({}, 9, (2, 4))]
    first, second = past.runs
    for loss in (0.9, 0.7, 0.8, 0.6):
        first.report(loss)

    assert past.losses_at(2, 1) == [0.7]
    assert past.losses_at(4, 1) is None  # it may still be stopped at rung 2
    first.num_rungs_passed = 1
    assert past.losses_at(4, 1) == [0.6]
    assert past.losses_at(2, 2) is None
    second.report(0.5)
    second.has_ended = True  # it failed before the rung
    assert past.losses_at(2, 2) == [0.7]


def test_labels_that_are_numbers_are_told_in_order(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(
        "rate,kind,backbone,epoch_1,epoch_2\n"
        "0: 0.1,0: AdamW weight_decay=0.1,0: dim_model=16 n_head=2,0.9,0.8\n"
        "1: 0.003,1: SGD,1: dim_model=8 n_head=2,0.7,\n"
    )

    table = read_table(file)

    assert table.space == {
        "rate": IntDistribution(0, 1),
        "kind": CategoricalDistribution((0, 1)),
        "backbone": IntDistribution(0, 1),
    }
    assert table.params(0) == {"rate": 1, "kind": 0, "backbone": 1}
    assert [run.losses for run in table.runs] == [(0.9, 0.8), (0.7,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "not a table of runs"),
        ("a,epoch_1\n", "not a table of runs"),
        ("a,epoch_1\n1,0.5\n2,often\n", "line 3"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(text)

    with pytest.raises(InputError, match=message):
        read_table(file)
