"""What a trial is trained with, and what is told of it at its end: pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.coordinator.reducer import ActiveTrial, Policy, halved
from sequifier_hpo.records import (
    BatchPlan,
    MemoryNeed,
    OutcomeKind,
    RunFigures,
    TrainingResult,
)
from sequifier_hpo.study import batch_plan_attributes, memory_attributes


def first_plan(config: TrainConfig, stored: BatchPlan | None, policy: Policy) -> BatchPlan:
    """What a claimed trial begins with.

    Args:
        config: The run as it was asked.
        stored: The batch plan that out-of-memory retries of an earlier trial left, if any.
        policy: For a plan of 0.1.0, which did not store the accumulation steps.
    """
    spec = config.training_spec
    asked_steps = spec.accumulation_steps or 1
    if stored is None:
        return BatchPlan(batch_size=spec.batch_size, accumulation_steps=asked_steps, oom_retries=0)
    if stored.accumulation_steps is not None:
        return stored
    steps = asked_steps * (2**stored.oom_retries if policy.accumulates else 1)
    return stored.model_copy(update={"accumulation_steps": steps})


def begun(run: ActiveRun, slot: int, policy: Policy) -> ActiveTrial:
    """A claimed trial as it begins: a new run without the attempts that are known to fail.

    Args:
        run: The run as it was asked.
        slot: Where it is to be trained.
        policy: How batches are halved.
    """
    claim = run.claim
    plan, num_foreseen = first_plan(run.config, claim.batch_plan, policy), 0
    # One that is continued may have gone a long way with its plan.
    is_known = bool(claim.ran_out) and not claim.is_continuation
    following: BatchPlan | None = plan if is_known else None
    while following is not None and _is_too_large(run.need(following), claim.ran_out):
        plan, num_foreseen = following, num_foreseen + 1
        following = halved(plan, policy)
    return ActiveTrial(
        claim.trial_number,
        slot,
        following or plan,
        num_foreseen=num_foreseen,
        is_hopeless=following is None and num_foreseen > 0,
    )


def _is_too_large(need: MemoryNeed | None, ran_out: Sequence[MemoryNeed]) -> bool:
    return need is not None and any(need.is_at_least(known) for known in ran_out)


def with_batches(config: TrainConfig, plan: BatchPlan) -> TrainConfig:
    """The configuration that is trained: as it was asked, with the batches of a plan."""
    batches = {"batch_size": plan.batch_size, "accumulation_steps": plan.accumulation_steps}
    spec = config.training_spec.model_copy(update=batches)
    return config.model_copy(update={"training_spec": spec})


def interrupted(result: TrainingResult) -> TrainingResult:
    """An end in the place of another, that leaves its run to be continued."""
    return TrainingResult(kind=OutcomeKind.INTERRUPTED, batch_size=result.batch_size)


def figures_of(result: TrainingResult) -> RunFigures:
    """What was measured of a run that its worker has ended."""
    return RunFigures(
        best_epoch=result.best_epoch,
        epochs_run=result.last_epoch,
        seconds=round(result.seconds, 3),
        tokens_per_second=round(result.tokens_per_second, 1),
        num_parameters=result.num_parameters,
        peak_memory_mib=_mebibytes(result.peak_memory_bytes),
        validation_loss_all_positions=result.best_validation_loss_all_positions,
    )


def figures_at(run: ActiveRun, rung: int, losses: Mapping[int, float]) -> RunFigures:
    """What was measured of a run up to a rung, given its losses up to there.

    Of epochs that another coordinator saw, nothing else is known.
    """
    best_epoch = min(losses, key=lambda epoch: (losses[epoch], epoch))
    at_rung, at_best = run.reports.get(rung), run.reports.get(best_epoch)
    return RunFigures(
        best_epoch=best_epoch,
        epochs_run=rung,
        seconds=at_rung and round(at_rung.total_seconds, 3),
        tokens_per_second=at_rung and round(at_rung.tokens_per_second, 1),
        num_parameters=at_rung and at_rung.num_parameters,
        peak_memory_mib=at_rung and _mebibytes(at_rung.peak_memory_bytes),
        validation_loss_all_positions=at_best and at_best.validation_loss_all_positions,
    )


def attributes_of(run: ActiveRun, trial: ActiveTrial, figures: RunFigures) -> dict[str, Any]:
    """What a finished trial carries in the storage: flat, so that tables can sort by it."""
    return {
        "run": run.config.model_name,
        **figures.model_dump(exclude_none=True, exclude={"explanation"}),
        **attributes_of_batches(run, trial),
    }


def attributes_of_batches(run: ActiveRun, trial: ActiveTrial) -> dict[str, Any]:
    """What is stored of the batches of a trial, and of those that it had no memory for."""
    needs = [need for need in map(run.need, trial.too_large) if need is not None]
    return batch_plan_attributes(trial.plan) | memory_attributes(trial.num_foreseen, needs)


def _mebibytes(num_bytes: int) -> float:
    return round(num_bytes / 2**20, 1)
