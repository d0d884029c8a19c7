"""A search that stops runs early has the same runs, stops and losses whoever trains them, and how."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.strategy import pruner_of
from sequifier_hpo.strategy.last_round import LastRound
from sequifier_hpo.study import Claim, GoOn, Ledger, StopAt, StudyMovedOnError, Undecided
from tests.conftest import WriteSearch
from tests.contract.conftest import Once, Opener, Plan
from tests.contract.test_study import plan_of

SPACE: dict[str, Any] = {
    "search_strategy": "sample",
    "n_samples": 24,
    "pruning": {"method": "successive_halving", "first_rung": 2},
    "pruning_gap": 3,
    "finish_best": 2,
    "model_hyperparameter_sampling.num_layers": [1, 2, 3],
    "training_hyperparameter_sampling.batch_size": [4, 8, 16, 32, 64],
    "training_hyperparameter_sampling.dropout": [0.0, 0.1, 0.2, 0.3],
    "training_hyperparameter_sampling.epochs": [9],
}
BAYESIAN = {**SPACE, "search_strategy": "bayesian"}
MEDIAN = {**SPACE, "pruning": "median"}
NUM_EPOCHS = 9
SLOW = pytest.mark.slow


def loss_of(claim: Claim, epoch: int) -> float:
    """What training would give: bound to the configuration, with good and bad starters."""
    values = claim.point.values
    final = 1 + float(values["dropout"]) + abs(int(values["batch_size"]) - 16) / 50
    early = int(values["batch_size"]) % 7 / 4
    return final + early / epoch + (0.05 if epoch > 7 else 0)


def fails(claim: Claim, epoch: int) -> bool:
    """Every run with a dropout of 0.3 and the smallest batch diverges, some epochs on."""
    values = claim.point.values
    return values["dropout"] == 0.3 and values["batch_size"] == 4 and epoch == 5


@dataclass
class Training:
    """A claimed run, as a worker has it that never waits at a rung."""

    study: Ledger
    claim: Claim
    epoch: int
    is_held: bool = True

    def go_on(self) -> None:
        """An epoch, or the end; whatever comes after a rung at which it is stopped is dropped."""
        if self.is_decided():
            return
        if self.epoch < NUM_EPOCHS and not fails(self.claim, self.epoch + 1):
            self.epoch += 1
            self.study.report(self.claim, self.epoch, loss_of(self.claim, self.epoch))
            self.is_decided()
        elif isinstance(self.study.verdict(self.claim), GoOn):
            self.is_held = False
            if self.epoch < NUM_EPOCHS:
                self.study.fail(self.claim, "diverged", {})
            else:
                best = min(self.study.losses(self.claim).values())
                self.study.complete(self.claim, best, {"best_epoch": 1})
        else:
            self.study.look_at_others()

    def is_decided(self) -> bool:
        verdict = self.study.verdict(self.claim)
        if isinstance(verdict, StopAt):
            self.study.prune(self.claim, verdict.rung, {})
            self.is_held = False
        return not self.is_held


def claimed(study: Ledger) -> Training | None:
    claim = study.claim()
    if claim is None:
        return None
    return Training(study, claim, max(study.losses(claim), default=0))


def trained(opener: Opener, plan: Plan) -> list[Run]:
    study = opener.study(plan)
    while (training := claimed(study)) is not None:
        while training.is_held:
            training.go_on()
    return runs_of(study)


def runs_of(study: Ledger) -> list[Run]:
    return sorted(study.runs(), key=lambda run: run.ordinal)


def results(runs: list[Run]) -> list[tuple[object, ...]]:
    """What must be the same: runs, states, stops and losses, bit for bit."""
    return [
        (run.ordinal, run.key, run.state, run.stopped_at, run.validation_loss, dict(run.losses))
        for run in runs
    ]


@pytest.mark.parametrize("changes", [SPACE, BAYESIAN, MEDIAN], ids=["sample", "bayesian", "median"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=SLOW) for seed in (1, 2))])
def test_workers_coordinators_and_kills_change_neither_stops_nor_losses(
    seed: int, changes: dict[str, Any], write_search: WriteSearch, opener: Opener, once: Once
) -> None:
    plan = plan_of(write_search, changes)
    expected = once(changes, lambda: results(trained(opener, replace(plan, name="straight"))))
    random = Random(seed)
    studies = [opener.study(plan) for _ in range(2)]
    held: list[Training] = []
    patience = 3_000

    while patience > 0:
        patience -= 1
        deed = random.random()
        if deed < 0.01:
            opener.die()  # all of them at once; their runs are found interrupted
            studies, held = [opener.study(plan) for _ in range(random.randint(1, 3))], []
        elif deed < 0.8 and held:
            random.choice(held).go_on()
            held = [training for training in held if training.is_held]
        elif len(held) < 5:
            study = random.choice(studies)
            if (training := claimed(study)) is not None:
                held.append(training)
            elif not held and not study.waits_for:
                break

    assert results(runs_of(studies[0])) == expected
    assert {state for _, _, state, *_ in expected} >= {RunState.COMPLETE, RunState.PRUNED}


def test_a_run_that_is_stopped_keeps_its_losses_up_to_the_rung_and_is_never_ranked(
    write_search: WriteSearch, opener: Opener
) -> None:
    runs = trained(opener, plan_of(write_search, SPACE))

    pruned = [run for run in runs if run.state is RunState.PRUNED]
    assert pruned
    for run in pruned:
        assert run.stopped_at in {2, 3, 4, 6}
        assert list(run.losses) == list(range(1, run.stopped_at + 1))
        assert run.validation_loss is None
        assert run.best_loss == min(run.losses.values())


def test_the_last_round_gives_the_best_of_the_stopped_runs_their_full_length(
    write_search: WriteSearch, opener: Opener
) -> None:
    runs = trained(opener, plan_of(write_search, SPACE))

    stopped = [run for run in runs if run.stopped_at is not None]
    finished = [run for run in stopped if run.state is RunState.COMPLETE]
    assert len(finished) == 2
    assert all(list(run.losses) == list(range(1, NUM_EPOCHS + 1)) for run in finished)
    at_the_stop = sorted(
        stopped, key=lambda run: min(run.losses[e] for e in range(1, (run.stopped_at or 0) + 1))
    )
    assert {run.number for run in at_the_stop[:2]} == {run.number for run in finished}


@SLOW
def test_24_runs_and_24_more_are_48(write_search: WriteSearch, opener: Opener) -> None:
    plan = plan_of(write_search, {**BAYESIAN, "n_samples": 48})
    straight = trained(opener, replace(plan, name="straight"))
    first = plan_of(write_search, BAYESIAN)

    halfway = trained(opener, first)
    whole = trained(opener, plan)

    def stops(runs: list[Run]) -> list[tuple[object, ...]]:
        return [(run.key, run.stopped_at, run.losses.get(run.stopped_at or 9)) for run in runs]

    assert stops(whole) == stops(straight)
    assert stops(halfway) == stops(whole)[:24]
    finished = {run.key for run in straight if run.stopped_at and run.state is RunState.COMPLETE}
    assert finished <= {run.key for run in whole if run.state is RunState.COMPLETE}


def test_a_run_is_finished_by_hand(write_search: WriteSearch, opener: Opener) -> None:
    plan = plan_of(write_search, {**SPACE, "finish_best": 0})
    runs = trained(opener, plan)
    stopped = [run.number for run in runs if run.state is RunState.PRUNED]
    complete = [run.number for run in runs if run.state is RunState.COMPLETE]
    study = opener.study(plan)

    assert study.finish([stopped[1], complete[0], 99]) == [complete[0], 99]
    training = claimed(study)

    assert training is not None
    assert training.claim.run_number == stopped[1]
    assert training.claim.is_continuation
    while training.is_held:
        training.go_on()
    assert study.claim() is None
    run = next(run for run in study.runs() if run.number == stopped[1])
    assert run.state is RunState.COMPLETE
    assert run.stopped_at == runs[run.ordinal].stopped_at


def test_what_is_decided_late_drops_what_came_after_the_rung_also_of_earlier_trials(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {**SPACE, "pruning_gap": 1, "finish_best": 0})
    study = opener.study(plan)
    first, second = study.claim(), study.claim()
    assert first is not None
    assert second is not None
    for epoch in range(1, 8):
        study.report(second, epoch, 5.0 - epoch / 10)
    assert study.verdict(second) == Undecided(2, 1)
    study.fail(second, "interrupted", {})
    again = study.claim()
    assert again is not None
    study.report(again, 8, 4.0)
    for epoch in (1, 2):
        study.report(first, epoch, 1.0)

    verdict = study.verdict(again)
    assert verdict == StopAt(2)
    study.prune(again, 2, {})

    for look in (study, opener.study(plan)):
        run = next(run for run in look.runs() if run.number == second.run_number)
        assert run.losses == {1: 4.9, 2: 4.8}
        assert (run.state, run.num_trials) == (RunState.PRUNED, 2)


def test_pruning_that_is_added_later_holds_for_what_comes_next(
    write_search: WriteSearch, opener: Opener
) -> None:
    plain = plan_of(write_search, {k: v for k, v in SPACE.items() if k not in _OF_PRUNING})
    before = opener.study(plain)
    early = [claim for _ in range(6) if (claim := before.claim()) is not None]

    after = opener.study(plan_of(write_search, SPACE))

    assert [each.since_ordinal for each in after.identity.strategies] == [0, 6]
    with pytest.raises(StudyMovedOnError, match="pruning"):
        before.claim()
    for claim in early:
        for epoch in range(1, NUM_EPOCHS + 1):
            before.report(claim, epoch, 2.0)
            assert before.verdict(claim) == GoOn()
        before.complete(claim, 2.0, {})
    late = after.claim()
    assert late is not None
    for epoch in (1, 2):
        after.report(late, epoch, 3.0)
    assert after.verdict(late) == StopAt(2)  # the runs before it count, stopped or not


_OF_PRUNING = {"pruning", "pruning_gap", "finish_best"}


def test_a_study_that_was_begun_with_the_first_rule_keeps_it_for_its_runs(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {**SPACE, "pruning_gap": 1})
    rules = {k: v for k, v in plan.study.strategy.items() if k != "pruning_rule"}
    of_then = LastRound(plan.first_rounds, 2, {k: rules[k] for k in ("pruning", "pruning_gap")})
    before = opener.ledger(
        replace(plan.study, strategy=rules),
        of_then,
        pruner=lambda strategies: pruner_of(plan.space, strategies),
        describe=plan.describe,
    )
    early = [claim for _ in range(2) if (claim := before.claim()) is not None]
    after = opener.study(plan)
    late = after.claim()
    assert late is not None

    idle = (5.0, 1.8, 1.8, 1.8)
    curves = [(3.0, 2.0, 1.0, 1.0), idle, idle]
    for claim, losses in zip([*early, late], curves, strict=True):
        for epoch, loss in enumerate(losses, start=1):
            after.report(claim, epoch, loss)

    assert [each.since_ordinal for each in after.identity.strategies] == [0, 2]
    assert after.verdict(early[1]) == GoOn()  # its next rung is 6
    assert after.verdict(late) == StopAt(4)
