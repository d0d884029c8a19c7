"""A study whose losses come to count fewer positions: which of its trials take what, on every storage."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from sequifier_hpo.preprocessing.inputs import recounted
from sequifier_hpo.records import Baseline, Counted, EvaluatedLoss, Run, RunState
from sequifier_hpo.report.leaderboard import leaderboard
from sequifier_hpo.strategy import pruner_of
from sequifier_hpo.study import (
    Claim,
    Consent,
    GoOn,
    Ledger,
    SpaceChangedError,
    StopAt,
    StudyMovedOnError,
    Verdict,
    read_study,
)
from sequifier_hpo.study.refusals import RunsMovedOnError
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener, Plan, data_of
from tests.contract.test_faults import claimed
from tests.contract.test_revisions import DROPOUT, LAYERS, optunas_view
from tests.contract.test_study import finish_all, plan_of
from tests.search_files import NASTY, TRAINING

ACCEPTED = Consent(changes=True)
LONG, BOTH = {"seq_length": [6]}, {"seq_length": [6, 4]}
EIGHT_EPOCHS: dict[str, Any] = {
    f"{TRAINING}.epochs": [8],
    f"{TRAINING}.scheduler": [{"name": "StepLR", "step_size": 1}],
}
PRUNING = {**EIGHT_EPOCHS, "pruning": "successive_halving", "pruning_gap": 1}
GOOD = (1.0, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4)


@dataclass(frozen=True)
class Models:
    """Those of the runs; evaluated anew, a loss is a tenth of what it was."""

    gone: Collection[int] = ()
    meanwhile: Callable[[], object] = lambda: None

    def missing(self, runs: Sequence[Run]) -> list[int]:
        return [run.number for run in runs if run.number in self.gone]

    def losses(self, runs: Sequence[Run], last_positions: int) -> dict[int, EvaluatedLoss]:
        self.meanwhile()
        found = {run.number: loss for run in runs if (loss := run.loss) is not None}
        return {number: EvaluatedLoss(loss / 10, 2 * loss) for number, loss in found.items()}


def opened(
    opener: Opener, plan: Plan, models: Models | None = None, consent: Consent = ACCEPTED
) -> Ledger:
    study = replace(
        plan.study,
        recount=partial(recounted, plan.space.config),
        models=models or Models(),
    )
    return opener.ledger(
        study,
        plan.proposer,
        pruner=lambda strategies: pruner_of(plan.space, strategies),
        describe=plan.describe,
        consent=consent,
    )


def train(study: Ledger, *losses: float) -> int:
    """Train the next run to its end; returns its number."""
    claim = claimed(study)
    for epoch, loss in enumerate(losses, start=1):
        study.report(claim, epoch, loss)
    best = min(losses)
    study.complete(claim, best, {"best_epoch": 1 + losses.index(best), "epochs_run": len(losses)})
    return claim.run_number


@dataclass(frozen=True)
class BadRun:
    claim: Claim
    verdict: Verdict


def bad_run(study: Ledger) -> BadRun:
    """Train two epochs of a run that is worse than all others."""
    claim = claimed(study)
    for epoch in (1, 2):
        study.report(claim, epoch, 9.0)
    return BadRun(claim, study.verdict(claim))


def by_number(opener: Opener) -> Mapping[int, Run]:
    return {run.number: run for run in read_study(opener.storage, "shop").runs}


@pytest.fixture
def long(write_search: WriteSearch) -> Plan:
    return plan_of(write_search, LONG)


@pytest.fixture
def both(write_search: WriteSearch) -> Plan:
    return plan_of(write_search, BOTH)


def test_what_was_evaluated_anew_takes_the_place_of_what_was_and_that_is_kept(
    opener: Opener, long: Plan, both: Plan
) -> None:
    before = opened(opener, long)
    first, second = train(before, 3.0, 2.0, 2.5), train(before, 1.0)
    before.keep_baselines([Baseline(name="last value", loss=4.0)])

    study = opened(opener, both)

    runs = by_number(opener)
    assert runs[first].validation_loss == 0.2
    assert runs[first].losses == {2: 0.2}, "of the other epochs there is no model"
    assert runs[first].loss_as_trained == 2.0
    as_trained = runs[first].figures.as_trained
    assert as_trained is not None
    assert as_trained.last_positions == 6
    assert as_trained.losses == {1: 3.0, 2: 2.0, 3: 2.5}
    assert runs[first].figures.validation_loss_all_positions == 4.0
    assert [run.number for run in leaderboard(runs.values())] == [second, first]
    assert study.identity.counted == Counted(last_positions=4)
    assert study.identity.counted_before == (6,)
    assert study.baselines == (), "they are to be computed anew"
    assert optunas_view(opener).user_attrs["best"] == second
    assert train(study, 0.05) not in {first, second}
    assert opened(opener, both, consent=Consent()).change is None, "once and for all"


def test_cells_that_share_a_result_share_the_new_one(
    write_search: WriteSearch, opener: Opener
) -> None:
    grid = {**NASTY, "search_strategy": "grid"}
    before = opened(opener, plan_of(write_search, {**grid, **LONG}))
    first = train(before, 2.0)
    assert (twins := [run for run in before.runs() if run.duplicate_of == first])

    opened(opener, plan_of(write_search, {**grid, **BOTH}))

    runs = by_number(opener)
    assert {runs[twin.number].validation_loss for twin in twins} == {0.2}


def test_what_was_interrupted_starts_afresh(opener: Opener, long: Plan, both: Plan) -> None:
    before = opened(opener, long)
    train(before, 1.0)
    claim = claimed(before)
    before.report(claim, 1, 3.0)
    opener.die()

    study = opened(opener, both)

    again = claimed(study)
    assert again.run_number == claim.run_number
    assert not study.losses(again)
    study.report(again, 1, 0.3)
    study.complete(again, 0.3, {})
    run = by_number(opener)[claim.run_number]
    assert (run.validation_loss, run.losses, run.figures.as_trained) == (0.3, {1: 0.3}, None)


def test_while_somebody_trains_it_is_refused(opener: Opener, long: Plan, both: Plan) -> None:
    before = opened(opener, long)
    claim = claimed(before)

    with pytest.raises(SpaceChangedError, match=f"and run {claim.run_number} is in training"):
        opened(opener, both)

    before.complete(claim, 1.0, {})
    assert by_number(opener)[claim.run_number].validation_loss == 1.0


@pytest.mark.parametrize("what", ["a run begins", "one goes on", "one ends", "a stop is undone"])
def test_what_happens_while_models_are_judged_is_not_passed_over(
    write_search: WriteSearch, opener: Opener, what: str
) -> None:
    long, both = (plan_of(write_search, {**EIGHT_EPOCHS, **each}) for each in (LONG, BOTH))
    before = opened(opener, long)
    train(before, 1.0)
    stopped = bad_run(before).claim
    before.prune(stopped, 2, {})
    interrupted = claimed(before)
    before.fail(interrupted, "interrupted", {})

    def meanwhile() -> None:
        if what == "a stop is undone":
            before.finish([stopped.run_number])
        claim = claimed(before)  # the interrupted one, or the stopped one
        if what != "one goes on":
            before.complete(claim, 2.0, {})
        if what == "a run begins":
            claimed(before)

    with pytest.raises(RunsMovedOnError, match="begun or ended while"):
        opened(opener, both, Models(meanwhile=meanwhile))

    assert read_study(opener.storage, "shop").identity == before.identity
    assert leaderboard(by_number(opener).values())[0].validation_loss == 1.0


def test_a_run_that_is_on_the_way_from_its_stop_to_its_end_must_end_first(
    write_search: WriteSearch, opener: Opener
) -> None:
    long, both = (plan_of(write_search, {**EIGHT_EPOCHS, **each}) for each in (LONG, BOTH))
    before = opened(opener, long)
    stopped = bad_run(before).claim
    before.prune(stopped, 2, {})
    before.finish([stopped.run_number])
    again = claimed(before)
    before.fail(again, "interrupted", {})

    with pytest.raises(SpaceChangedError, match=f"run {again.run_number}, stopped early, went on"):
        opened(opener, both)


def test_a_run_that_was_given_its_full_length_stays_one_of_the_study(
    write_search: WriteSearch, opener: Opener
) -> None:
    rules = {**PRUNING, "n_samples": 6, "search_strategy": "sample", "finish_best": 1}
    long, both = (plan_of(write_search, {**rules, **each}) for each in (LONG, BOTH))
    before = opener.study(long)
    for _ in range(4):
        train(before, *GOOD)
    for _ in range(2):
        before.prune(bad_run(before).claim, 2, {})
    finished = train(before, *[0.5] * 8)
    assert before.claim() is None

    after = opened(opener, both)

    assert after.claim() is None, "neither a seventh run nor a second last round"
    run = by_number(opener)[finished]
    assert (run.state, run.validation_loss, run.is_current) == (RunState.COMPLETE, 0.05, True)


def test_who_works_with_the_former_file_is_given_nothing_more(
    opener: Opener, long: Plan, both: Plan
) -> None:
    before = opened(opener, long)
    train(before, 1.0)

    opened(opener, both)

    with pytest.raises(StudyMovedOnError):
        before.claim()


def test_a_run_without_a_model_is_in_the_way_only_if_it_is_inside(
    write_search: WriteSearch, opener: Opener
) -> None:
    space = {LAYERS: [1, 2], DROPOUT: [0.0]}
    before = opened(opener, plan_of(write_search, {**space, **LONG}))
    numbers = [train(before, loss) for loss in (1.0, 2.0, 3.0, 4.0)]
    outside = {n for n, run in by_number(opener).items() if run.point["num_layers"] == 2}
    assert 0 < len(outside) < len(numbers)
    lost = min(outside)
    left = {**space, **BOTH, LAYERS: [1]}

    with pytest.raises(SpaceChangedError, match=f"no model is kept here of run {lost}\n"):
        opened(opener, plan_of(write_search, {**space, **BOTH}), Models(gone=[lost]))
    opened(opener, plan_of(write_search, left), Models(gone=[lost]))

    shown = read_study(opener.storage, "shop").with_outside
    ranked = {run.number: run.validation_loss for run in leaderboard(shown.runs)}
    assert ranked == {
        n: loss / 10 for n, loss in zip(numbers, (1, 2, 3, 4), strict=True) if n != lost
    }
    whole = opened(opener, plan_of(write_search, {**space, **BOTH}))
    finish_all(whole)
    runs = by_number(opener)
    assert {n for n, run in runs.items() if not run.is_current} == {lost}
    again = [n for n, run in runs.items() if run.point == runs[lost].point and n != lost]
    assert len(again) == 1, "its cell is trained anew"


def test_on_other_data_nothing_is_evaluated_and_nothing_comes_back(
    opener: Opener, long: Plan, both: Plan
) -> None:
    number = train(opened(opener, long), 1.0)
    other = replace(both, data=data_of(product="x", price="b", weekday="c"))

    opened(opener, other, consent=Consent(changes=True, new_data=True))
    opened(opener, both, consent=Consent(new_data=True))

    run = by_number(opener)[number]
    assert run.validation_loss == 1.0
    assert not run.is_current, (
        "its data are back, and its loss is over other positions all the same"
    )


def test_of_other_data_too_no_epoch_of_the_former_kind_is_left(
    opener: Opener, long: Plan, both: Plan
) -> None:
    before = opened(opener, long)
    claim = claimed(before)
    before.report(claim, 1, 3.0)
    before.fail(claim, "interrupted", {})
    other = data_of(product="x", price="b", weekday="c")
    opened(opener, replace(long, data=other), consent=Consent(new_data=True))
    opened(opener, replace(both, data=other))

    study = opened(opener, both, consent=Consent(new_data=True))

    again = claimed(study)
    assert again.run_number == claim.run_number
    assert not study.losses(again)


def test_a_run_that_is_still_trained_on_former_data_is_in_the_way(
    opener: Opener, long: Plan, both: Plan
) -> None:
    claimed(opened(opener, long))
    other = data_of(product="x", price="b", weekday="c")
    opened(opener, replace(long, data=other), consent=Consent(new_data=True))

    with pytest.raises(SpaceChangedError, match="is in training"):
        opened(opener, replace(both, data=other))


def test_a_failed_run_keeps_the_number_of_its_epochs(
    opener: Opener, long: Plan, both: Plan
) -> None:
    before = opened(opener, long)
    claim = claimed(before)
    for epoch in (1, 2, 3):
        before.report(claim, epoch, 1.0)
    before.fail(claim, "crashed", {})

    opened(opener, both)

    assert by_number(opener)[claim.run_number].epochs_trained == 3


def test_cells_that_come_to_share_a_result_later_know_how_it_was_trained(
    write_search: WriteSearch, opener: Opener
) -> None:
    grid = {**NASTY, "search_strategy": "grid"}
    few = {**grid, "input_columns": [["product", "price"]]}
    first = train(opened(opener, plan_of(write_search, {**few, **LONG})), 2.0)

    opened(opener, plan_of(write_search, {**grid, **BOTH}))

    twins = [run for run in by_number(opener).values() if run.duplicate_of == first]
    assert {run.loss_as_trained for run in twins} == {2.0}


def test_a_run_that_was_evaluated_anew_stops_no_other_one(
    write_search: WriteSearch, opener: Opener
) -> None:
    long = plan_of(write_search, {**PRUNING, **LONG})
    both = plan_of(write_search, {**PRUNING, **BOTH})
    before = opener.study(long)
    for _ in range(4):
        train(before, *GOOD)
    stopped = bad_run(before)
    assert stopped.verdict == StopAt(2)
    before.prune(stopped.claim, 2, {})

    after = opened(opener, both)

    assert bad_run(after).verdict == GoOn()
    run = by_number(opener)[stopped.claim.run_number]
    assert (run.state, run.loss, run.losses) == (RunState.PRUNED, 0.9, {2: 0.9})


def test_what_earlier_studies_taught_is_over_other_positions(
    write_search: WriteSearch, opener: Opener
) -> None:
    small = replace(plan_of(write_search, LONG), name="small")
    train(opener.study(small), 1.0)
    named: dict[str, Any] = {"warm_start": ["small"], "search_strategy": "bayesian", "n_samples": 4}
    before = opener.study(plan_of(write_search, {**named, **LONG}))
    assert before.identity.warm_start is not None
    assert before.identity.warm_start.num_lessons == 1
    train(before, 1.0)

    opened(opener, plan_of(write_search, {**named, **BOTH}))
    study = opened(opener, plan_of(write_search, {**named, "seq_length": [6, 4, 2]}))

    assert study.identity.warm_start is not None
    assert study.identity.warm_start.num_lessons == 0
    said = "".join(study.identity.warm_start.lines())
    assert said.count("losses over other positions") == 1
    assert not study._index.lessons
    assert all(run.state is RunState.COMPLETE for run in study.runs())


def test_what_was_left_behind_teaches_no_later_study(
    write_search: WriteSearch, opener: Opener
) -> None:
    space = {LAYERS: [1, 2], DROPOUT: [0.0]}
    before = opened(opener, plan_of(write_search, {**space, **LONG}))
    for number in range(1, 5):
        train(before, float(number))
    lost = min(n for n, run in by_number(opener).items() if run.point["num_layers"] == 2)
    loss = by_number(opener)[lost].validation_loss
    opened(opener, plan_of(write_search, {**space, **BOTH, LAYERS: [1]}), Models(gone=[lost]))
    named: dict[str, Any] = {"warm_start": ["shop"], "search_strategy": "bayesian", "n_samples": 6}
    own = {**space, **BOTH, **named, "hp_search_name": "next"}
    pupil = replace(plan_of(write_search, own), name="next")

    study = opener.study(replace(pupil, counted=Counted(last_positions=4)))

    lessons = [lesson.loss for lesson in study._index.lessons]
    assert len(lessons) == 3
    assert loss not in lessons
