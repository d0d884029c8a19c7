"""One whole run: from a configuration and its data to checkpoints, models and a result."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import (
    Checkpoints,
    Counted,
    OutcomeKind,
    RunIdentity,
    TrainingResult,
)
from sequifier_hpo.training.checkpoint import CheckpointStore, FoundCheckpoint, origin_of
from sequifier_hpo.training.compile_plan import (
    CompilePlan,
    finds_cpp_compiler,
    plan_compilation,
)
from sequifier_hpo.training.compiled import CompiledPass, load_compiler
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.device import (
    choose_precision,
    current_gpu,
    fast_matrix_products,
    find_device,
    make_deterministic,
    seed_everything,
)
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.evaluate import Evaluator
from sequifier_hpo.training.export import export_models
from sequifier_hpo.training.forward import ComputeLoss, ForwardPass
from sequifier_hpo.training.loop import Apparatus, Ending, Hooks, Training, cpu_state, say_nothing
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.memory import peak_memory_bytes
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.optim import build_optimizer, build_scheduler
from sequifier_hpo.training.origin import Origin
from sequifier_hpo.training.schedule import Schedule
from sequifier_hpo.training.warm_start import load_weights
from sequifier_hpo.words import first_line

ALONE = Team()
ALL_COUNT = Counted()
"""Every position counts; padding is known by its zeros."""


def train(
    config: TrainConfig,
    data: TrainingData,
    hooks: Hooks,
    *,
    resume: bool,
    counted: Counted = ALL_COUNT,
    identity: RunIdentity | None = None,
    checkpoints: Checkpoints = Checkpoints.OWN,
    team: Team = ALONE,
    weights: Path | None = None,
    max_batches: int | None = None,
) -> TrainingResult:
    """Train one model, export it, and say how it went.

    On the CPU a run that was stopped and continued ends with the same weights and losses, bit for
    bit, as one that was not. One with a loss that is NaN or infinite has `diverged`; nothing is exported.

    Args:
        config: The run.
        data: Its data, from `open_training_data`; may serve many runs.
        hooks: Whom it talks to, and who may stop it.
        resume: Whether to continue from a checkpoint of this run; as `continue_training`.
        counted: Which positions the validation loss is over, for which `data` were opened.
        identity: What the run is; None = its configuration is all there is to know it by.
        checkpoints: What to do with those that are not known to be its own.
        team: The processes that train the run together, all of which call this function. Only the
            first is told anything, and only it writes files.
        weights: The file whose weights a run that starts afresh begins with; None = drawn ones.
        max_batches: After how many, of all epochs together, it ends; None = with its last epoch.

    Raises:
        InputError: If the data or a recipe do not fit the configuration, or a checkpoint under the
            run's name may neither be continued nor removed.
        EnvironmentFaultError: If the device is missing, or a file cannot be written.
    """
    data.check(config)
    hooks = _shared(hooks, team)
    device = find_device(config.training_spec.device)
    origin = origin_of(config, data.training.num_windows, identity)
    build = partial(build_apparatus, config, data, hooks, team, counted, max_batches)
    with current_gpu(device):
        with fast_matrix_products(device):
            training, ending = _ready(
                config, build, hooks, team, origin, resume=resume, checkpoints=checkpoints
            )
            _begin_with(training, weights, hooks)
            ending = ending or training.run()
        return _result(config, training, ending, team)


def _begin_with(training: Training, weights: Path | None, hooks: Hooks) -> None:
    if weights is not None and training.is_fresh:
        load_weights(training.model, weights)
        hooks.on_message(f"beginning with the weights of {weights}")


def prepare_for(config: TrainConfig, data: TrainingData) -> None:
    """Load what a run needs beyond torch, so that processes forked afterwards have it at once."""
    if _plan(config, data).compiles:
        load_compiler()


def _shared(hooks: Hooks, team: Team) -> Hooks:
    """The hooks of one of the processes: all stop together, and only the first says anything."""

    def should_stop() -> bool:
        return team.any(hooks.should_stop())

    if team.is_first:
        return replace(hooks, should_stop=should_stop)
    return Hooks(say_nothing, say_nothing, say_nothing, should_stop)


def _ready(
    config: TrainConfig,
    build: Callable[[], Apparatus],
    hooks: Hooks,
    team: Team,
    origin: Origin,
    *,
    resume: bool,
    checkpoints: Checkpoints,
) -> tuple[Training, Ending | None]:
    """The run as it stands: continued if there is something to continue, else fresh."""
    spec = config.training_spec
    store = CheckpointStore(config.paths, config.model_name, hooks.on_message)
    if checkpoints is not Checkpoints.REMOVED and (resume or spec.continue_training):
        # One looks for all: what another process found might not be the same.
        trusts = checkpoints is Checkpoints.TRUSTED
        found = team.from_first(
            store.newest(origin, spec.epochs, trusts=trusts) if team.is_first else None
        )
        if found is not None:
            training = Training(build(), store, origin, hooks)
            misfit = _restore(training, found, hooks)
            if misfit is None:
                if training.is_over:
                    store.tidy()  # an attempt was killed between its last checkpoint and this
                return training, None if found.is_own else training.judge_restored()
            store.pass_over(found.path, found.verdict.hindered(misfit), origin)
    elif checkpoints is not Checkpoints.REMOVED and team.is_first:
        store.check_replaceable(origin, spec.epochs)
    if team.is_first:
        store.remove_all()
    # Built again: a checkpoint that did not fit may have been loaded halfway.
    return Training(build(), store, origin, hooks), None


def _restore(training: Training, found: FoundCheckpoint, hooks: Hooks) -> str | None:
    """Continue the run from a checkpoint; returns what prevents that, or None."""
    try:
        training.restore(found.content)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        return f"it does not fit this run: {first_line(error)}"
    progress = training.progress
    hooks.on_restored(progress.validation_losses)
    hooks.on_message(
        f"continuing after epoch {progress.epoch} and {progress.batch} batches, from {found.path}"
    )
    return None


def build_apparatus(
    config: TrainConfig,
    data: TrainingData,
    hooks: Hooks,
    team: Team,
    counted: Counted = ALL_COUNT,
    max_batches: int | None = None,
) -> Apparatus:
    """Seed, and build the model, its optimizer and what feeds and judges it.

    Raises:
        InputError: If the optimizer or the scheduler cannot be built.
        EnvironmentFaultError: If the device is missing.
    """
    spec = config.training_spec
    device = find_device(spec.device)
    precision = choose_precision(config)
    make_deterministic(device, enforced=spec.enforce_determinism)
    seed_everything(config.seed)
    model = SequenceTransformer(config)
    model.cast_layers(precision.layer_dtypes)
    model.to(device)
    optimizer = build_optimizer(spec.optimizer, model.parameters(), spec.learning_rate)
    scheduler = build_scheduler(spec.scheduler, optimizer)
    losses = TargetLosses(config, device)
    forward = ForwardPass(model, losses, precision, device)
    if not team.is_first:
        torch.manual_seed(config.seed + team.rank)  # equal weights, but a dropout of its own
    return Apparatus(
        config=config,
        model=model,
        compute_loss=_choose_pass(config, data, forward, hooks),
        optimizer=optimizer,
        schedule=Schedule(scheduler, spec.scheduler_step_on, hooks.on_message),
        losses=losses,
        batches=WindowBatches(data.training, config, device),
        max_batches=max_batches,
        evaluator=Evaluator(
            WindowBatches(data.validation, config, device),
            losses,
            precision=precision,
            device=device,
            batch_size=spec.batch_size,
            class_share_targets=spec.class_share_log_columns,
            team=team,
            last_positions=counted.last_positions,
        ),
        device=device,
        team=team,
    )


def _plan(config: TrainConfig, data: TrainingData) -> CompilePlan:
    return plan_compilation(
        config, data.training.num_windows, has_cpp_compiler=finds_cpp_compiler()
    )


def _choose_pass(
    config: TrainConfig, data: TrainingData, usual: ForwardPass, hooks: Hooks
) -> ComputeLoss:
    """Compile the forward and backward pass if the run asks for it and has enough steps."""
    plan = _plan(config, data)
    if not plan.compiles:
        if plan.reason:
            hooks.on_message(f"the training step is not compiled: {plan.reason}")
        return usual
    return CompiledPass(
        usual,
        batch_size=config.training_spec.batch_size,
        is_narrow=choose_precision(config).is_narrow,
        on_message=hooks.on_message,
    )


def _result(
    config: TrainConfig, training: Training, ending: Ending | None, team: Team
) -> TrainingResult:
    """Export the models of a completed run and sum it up."""
    progress, model = training.progress, training.model
    kind = OutcomeKind.COMPLETED if ending is None else ending.kind
    files: list[str] = []
    if ending is None and team.is_first:
        assert progress.best_state is not None
        assert progress.best_epoch is not None
        assert progress.best_validation_loss is not None
        files = export_models(
            config,
            best_state=progress.best_state,
            last_state=cpu_state(model),
            last_epoch=progress.epoch,
            best_epoch=progress.best_epoch,
            best_validation_loss=progress.best_validation_loss,
            best_validation_loss_all_positions=progress.best_validation_loss_all_positions,
            num_counted=training.num_counted,
        )
    return TrainingResult(
        kind=kind,
        reason="" if ending is None else ending.reason,
        best_epoch=progress.best_epoch,
        best_validation_loss=progress.best_validation_loss,
        best_validation_loss_all_positions=progress.best_validation_loss_all_positions,
        last_epoch=progress.epoch,
        last_validation_loss=progress.last_validation_loss,
        batch_size=config.training_spec.batch_size,
        num_parameters=training.num_parameters,
        seconds=progress.seconds,
        tokens_per_second=progress.tokens_per_second,
        peak_memory_bytes=peak_memory_bytes(),
        model_files=files,
    )
