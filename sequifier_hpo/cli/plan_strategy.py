"""What `plan` says of how runs are chosen, and which are stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.config.ranges import ends
from sequifier_hpo.records import Run, seconds_per_epoch
from sequifier_hpo.report.leaderboard import epochs_trained
from sequifier_hpo.words import busy_seconds, counted, duration


@dataclass(frozen=True)
class ExpectedEpochs:
    """Epochs that the runs of a search are trained for, all together."""

    of_all: int
    """If each is trained to its end."""
    with_pruning: int
    """If as many are stopped as the rungs are made for; the last round included."""


def strategy_lines(prepared: PreparedSearch) -> list[str]:
    """How many runs there are, what each is chosen from, and how many epochs that takes."""
    config = prepared.loaded.config
    strategy = config.search_strategy
    lines = [f"strategy {strategy}: {counted(prepared.num_runs, 'run')}"]
    if prepared.num_requested > prepared.num_runs and strategy != "grid":
        lines.append(
            f"  n_samples is {prepared.num_requested:,}, but no more configurations are distinct"
        )
    if strategy == "bayesian":
        lines.append(
            f"  each run is proposed from the results of runs at least {config.proposal_gap} "
            f"before it: up to {counted(config.proposal_gap, 'worker')} can be kept busy"
        )
    return [*lines, *_pruning_lines(prepared)]


def warm_start_lines(prepared: PreparedSearch) -> list[str]:
    """Which earlier studies will guide a search that was never started.

    Raises:
        InputError, EnvironmentFaultError: If one of them cannot.
    """
    # Optuna and what it brings take half a second: only when there is a study to read.
    from sequifier_hpo.assembly.read_study import study_plan  # noqa: PLC0415
    from sequifier_hpo.study import NO_CONSENT  # noqa: PLC0415
    from sequifier_hpo.study.warm_start import with_earlier  # noqa: PLC0415

    plan = with_earlier(study_plan(prepared), prepared.storage_url, NO_CONSENT)
    warm_start, _ = plan.earlier.learn()
    return [f"  warm start: {guide}" for guide in (warm_start.guides if warm_start else ())]


def _pruning_lines(prepared: PreparedSearch) -> list[str]:
    config, epochs = prepared.loaded.config, expected_epochs(prepared)
    if config.pruning is None:
        return [f"  about {counted(epochs.of_all, 'epoch')} in all"]
    pruning = config.pruning
    rungs = list(pruning.rungs(max(_lengths(prepared))))
    if pruning.method == "median":
        where = f"after every epoch from {pruning.first_rung} on"
        goes_on = "those better than the median go on"
    else:
        where = f"after {', '.join(map(str, rungs))} epochs"
        goes_on = f"the best 1 of {pruning.reduction_factor} go on"
    lines = [
        f"  runs are compared {where}, each with those at least {config.pruning_gap} before it: "
        f"{goes_on}",
    ]
    if config.num_to_finish:
        lines.append(
            f"  a last round gives the best {config.num_to_finish} of those that were stopped "
            "their full length"
        )
    return [
        *lines,
        f"  about {counted(epochs.with_pruning, 'epoch')} in all, instead of {epochs.of_all:,}",
    ]


def expected_epochs(prepared: PreparedSearch) -> ExpectedEpochs:
    """How long a search trains, by the mean length of its runs."""
    config, lengths = prepared.loaded.config, _lengths(prepared)
    of_all = mean(lengths) * prepared.num_runs
    if config.pruning is None:
        return ExpectedEpochs(round(of_all), round(of_all))
    expected = mean(config.pruning.expected_epochs(length) for length in lengths)
    num_finished = min(config.num_to_finish, prepared.num_runs)
    last_round = num_finished * (mean(lengths) - config.pruning.first_rung)
    with_pruning = expected * prepared.num_runs + max(0.0, last_round)
    return ExpectedEpochs(round(of_all), round(min(of_all, with_pruning)))


def budget_lines(prepared: PreparedSearch, runs: Sequence[Run]) -> list[str]:
    """What ends a search before its last run.

    Args:
        prepared: The search.
        runs: Those of its study so far.
    """
    config, pace = prepared.loaded.config, seconds_per_epoch(runs)
    lines = []
    if config.time_budget is not None:
        epochs = "" if pace is None else f": about {config.time_budget / pace:,.0f} epochs a worker"
        lines.append(f"time budget {duration(config.time_budget)} a start{epochs}")
    if config.epoch_budget is not None:
        trained = epochs_trained(runs)
        lines.append(f"epoch budget {config.epoch_budget:,}: {trained:,} trained so far")
    return lines


def epochs_per_second(runs: Sequence[Run]) -> float | None:
    """Pace of a study, by its runs that ended and were never interrupted; None without any."""
    timed = [
        (run.started.timestamp(), run.ended.timestamp(), run.epochs_trained)
        for run in runs
        if run.started and run.ended and run.num_trials == 1 and not run.is_of_other_data
    ]
    busy = busy_seconds((began, ended) for began, ended, epochs in timed if epochs)
    return sum(epochs for *_, epochs in timed) / busy if busy else None


def _lengths(prepared: PreparedSearch) -> list[int]:
    """Of the trainings that the search file names; of a range its ends."""
    named = prepared.loaded.config.training_hyperparameter_sampling.epochs
    return [length for value in named for length in dict.fromkeys(ends(value))]
