"""What a study trains: the runs of a search, or those of a winner check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.config.paths import verification_name
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.clock import time_to_train
from sequifier_hpo.records import Counted
from sequifier_hpo.report.notes import (
    places_of,
    retraining_attributes,
    retraining_note,
    study_note,
    trial_attributes,
    trial_note,
    verification_note,
)
from sequifier_hpo.searchspace import Point, decode
from sequifier_hpo.strategy import (
    Budget,
    ChosenRuns,
    Retraining,
    budget_of,
    proposer_of,
    pruner_of,
)
from sequifier_hpo.study import Claim, Description, NoPruner, Proposer, Pruner, Strategy
from sequifier_hpo.study.identity import StudyIdentity
from sequifier_hpo.study.snapshot import NUM_RUNS, STOPPED_BY, STRATEGY, VERIFIES


@dataclass(frozen=True)
class Job:
    """A study and what it trains."""

    study_name: str
    log_name: str
    """Part of the name of the log that receives the workers' error output."""
    proposer: Proposer
    pruner: Callable[[Sequence[Strategy]], Pruner]
    """From how the runs of the study are chosen, oldest first, to which are stopped."""
    num_trainings: int
    describe: Callable[[str, Point], Description]
    """(key, point) -> what people are shown of a run."""
    decode: Callable[[Claim], tuple[TrainConfig, list[str]]]
    """The configuration of a claim as it was asked, and notes for its log."""
    attributes: Mapping[str, Any]
    """User attributes of the study."""
    note: str
    """Markdown that says what the study is."""
    budget: Budget
    """What may keep its runs from starting."""
    counted: Counted | None = None
    """What the losses of a new study count; None = what its search file says."""


def search_job(prepared: PreparedSearch) -> Job:
    """The runs of a search."""
    space, effective, config = prepared.space, prepared.effective, prepared.loaded.config
    places = places_of(prepared.loaded)

    def describe(_key: str, point: Point) -> Description:
        return Description(
            attributes=trial_attributes(space, point),
            note=lambda run: trial_note(space, point, run, places),
        )

    return Job(
        study_name=prepared.name,
        log_name=prepared.name,
        proposer=proposer_of(space, effective, prepared.keyer, num_runs=prepared.num_runs),
        pruner=lambda strategies: pruner_of(space, strategies),
        num_trainings=prepared.num_runs,
        describe=describe,
        decode=lambda claim: decode_claim(prepared, claim, claim.run_number),
        attributes={STRATEGY: config.search_strategy, NUM_RUNS: prepared.num_runs, STOPPED_BY: ""},
        note=study_note(
            space,
            num_runs=prepared.num_runs,
            num_distinct=effective.num_distinct,
            places=places,
            data=prepared.data,
        ),
        budget=budget_of(space, time_to_train(config.time_budget, prepared.began)),
    )


def check_job(
    prepared: PreparedSearch, identity: StudyIdentity, retrainings: Sequence[Retraining]
) -> Job:
    """A winner check: some runs of a search again, with other seeds."""
    space, places = prepared.space, places_of(prepared.loaded)
    by_key = {retraining.key: retraining for retraining in retrainings}

    def describe(key: str, point: Point) -> Description:
        what = by_key[key]
        return Description(
            title=lambda _run: what.title,
            attributes=retraining_attributes(space, point, what.run, what.seed),
            note=lambda _run: retraining_note(space, point, what.model_name, places),
        )

    def decode(claim: Claim) -> tuple[TrainConfig, list[str]]:
        what = by_key[claim.key]
        config, notes = decode_claim(prepared, claim, what.run.number)
        update: dict[str, Any] = {"model_name": what.model_name, "seed": what.seed}
        if prepared.loaded.config.export == "best":
            update |= {"export_onnx": False, "export_pt": False}
        notes.append(f"winner check: run {what.run.number} again, with seed {what.seed}")
        return config.model_copy(update=update), notes

    return Job(
        study_name=verification_name(prepared.name, identity.recounted_to),
        log_name=f"{prepared.name}-verify",
        proposer=ChosenRuns([each.proposal for each in retrainings]),
        pruner=lambda _strategies: NoPruner(),
        num_trainings=len(retrainings),
        describe=describe,
        decode=decode,
        attributes={VERIFIES: prepared.name},
        note=verification_note(prepared.name, places),
        budget=Budget(space.num_epochs_at),
        counted=identity.counted,
    )


def decode_claim(
    prepared: PreparedSearch, claim: Claim, run_number: int
) -> tuple[TrainConfig, list[str]]:
    """The configuration of a claim as it was asked, and notes for its log."""
    config, adjustments = decode(prepared.space, claim.point, run_number, device=prepared.device)
    return config, [f"adjusted: {adjustment}" for adjustment in adjustments]
