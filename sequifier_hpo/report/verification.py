"""Results of a winner check: mean and standard deviation of each configuration, and the verdict."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report.leaderboard import value_of
from sequifier_hpo.report.tables import csv_cell

# Two-sided 95 % quantiles of Student's t for 1, 2, 3 ... degrees of freedom.
_T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class CheckedRun:
    """One configuration of a winner check."""

    run_number: int
    search_loss: float
    """Validation loss in the search; not part of the mean, since it was selected for being small."""
    losses: Mapping[int, float]
    """Seed -> validation loss of the complete training runs."""
    num_seeds: int
    """New seeds that were requested."""
    failures: Mapping[int, str]
    """Seed -> reason of the failed training runs."""
    parameters: Mapping[str, str]
    """The values that vary in the search."""

    @property
    def is_done(self) -> bool:
        """Whether the training run of every seed has ended."""
        return len(self.losses) + len(self.failures) == self.num_seeds

    @property
    def mean(self) -> float | None:
        """Mean validation loss over the seeds; None without one."""
        return mean(self.losses.values()) if self.losses else None

    @property
    def standard_deviation(self) -> float | None:
        """Sample standard deviation between the seeds; None with fewer than two."""
        return stdev(self.losses.values()) if len(self.losses) > 1 else None


@dataclass(frozen=True)
class Verdict:
    """How the winner of the search compares with the best of the others."""

    winner: CheckedRun
    rival: CheckedRun
    """The other configuration with the smallest mean."""
    margin: float | None
    """Mean of the rival less that of the winner; None if one of them has no result at all."""
    standard_deviation: float | None
    """Between seeds, pooled over the two; None if one of them has none."""
    still_wins: bool
    is_clear: bool
    """Whether the means differ significantly (Welch's t-test at 95 %)."""

    @property
    def margin_in_standard_deviations(self) -> float | None:
        """The margin as a multiple of the standard deviation; None where there is none."""
        if self.margin is None or not self.standard_deviation:
            return None
        return self.margin / self.standard_deviation


def checked_runs(
    runs: Sequence[Run], seeds: Sequence[int], trained: Mapping[tuple[int, int], Run]
) -> list[CheckedRun]:
    """What a winner check has found so far, in the order of the search.

    Args:
        runs: The runs that are checked, all of them complete.
        seeds: The new seeds of each.
        trained: (run number, seed) -> its training run, if it was started.
    """
    checked = []
    for run in runs:
        assert run.validation_loss is not None, "only complete runs are checked"
        own = {s: trained[run.number, s] for s in seeds if (run.number, s) in trained}
        checked.append(
            CheckedRun(
                run_number=run.number,
                search_loss=run.validation_loss,
                losses={
                    seed: found.validation_loss
                    for seed, found in own.items()
                    if found.validation_loss is not None
                },
                num_seeds=len(seeds),
                failures={
                    seed: found.figures.explanation or found.reason
                    for seed, found in own.items()
                    if found.state == RunState.FAILED
                },
                parameters={name: value_of(label) for name, label in run.labels.items()},
            )
        )
    return checked


def verdict(checked: Sequence[CheckedRun]) -> Verdict | None:
    """Compare the first configuration with the best of the others.

    Args:
        checked: In the order of the search: its winner first.

    Returns:
        None while training runs are left, if there is only one configuration, or none has a result.
    """
    winner, others = checked[0], [other for other in checked[1:] if other.mean is not None]
    if not all(each.is_done for each in checked) or len(checked) < 2:
        return None
    if winner.mean is None and not others:
        return None
    rival = min(others, key=_mean_of) if others else checked[1]
    if winner.mean is None or rival.mean is None:
        return Verdict(
            winner,
            rival,
            margin=None,
            standard_deviation=None,
            still_wins=winner.mean is not None,
            is_clear=False,
        )
    margin = rival.mean - winner.mean
    deviations = (winner.standard_deviation, rival.standard_deviation)
    return Verdict(
        winner,
        rival,
        margin=margin,
        standard_deviation=None
        if deviations[0] is None or deviations[1] is None
        else sqrt((deviations[0] ** 2 + deviations[1] ** 2) / 2),
        still_wins=margin >= 0,
        is_clear=_are_apart(list(winner.losses.values()), list(rival.losses.values())),
    )


def _mean_of(checked: CheckedRun) -> float:
    assert checked.mean is not None
    return checked.mean


def _are_apart(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two means differ by more than chance explains, at 95 %.

    Source: Welch 1947, Biometrika 34; degrees of freedom rounded down.
    """
    if min(len(first), len(second)) < 2:
        return False
    parts = [stdev(values) ** 2 / len(values) for values in (first, second)]
    difference, error = abs(mean(first) - mean(second)), sqrt(sum(parts))
    if error == 0:
        return difference > 0
    weights = [part**2 / (len(v) - 1) for part, v in zip(parts, (first, second), strict=True)]
    freedom = sum(parts) ** 2 / sum(weights)
    # Rounding errors must not cost a whole degree of freedom.
    quantile = _T_QUANTILES[min(int(freedom + 1e-9), len(_T_QUANTILES)) - 1]
    return difference > quantile * error


def by_mean(checked: Sequence[CheckedRun]) -> list[CheckedRun]:
    """The configurations, smallest mean first; those without a result last."""
    with_mean = [each for each in checked if each.mean is not None]
    return [
        *sorted(with_mean, key=_mean_of),
        *(each for each in checked if each.mean is None),
    ]


def verification_record(study_name: str, checked: Sequence[CheckedRun]) -> dict[str, Any]:
    """A winner check as JSON values, in full precision."""
    found = verdict(checked)
    return {
        "study": study_name,
        "is_complete": all(each.is_done for each in checked),
        "winner": checked[0].run_number,
        "still_wins": found and found.still_wins,
        "is_clear": found and found.is_clear,
        "rival": found and found.rival.run_number,
        "margin": found and found.margin,
        "standard_deviation": found and found.standard_deviation,
        "margin_in_standard_deviations": found and found.margin_in_standard_deviations,
        "configurations": [
            {
                "run": each.run_number,
                "validation_loss_in_search": each.search_loss,
                "mean": each.mean,
                "standard_deviation": each.standard_deviation,
                "num_seeds": len(each.losses),
                "num_seeds_wanted": each.num_seeds,
                "validation_loss_by_seed": {str(s): loss for s, loss in each.losses.items()},
                "failures_by_seed": {str(s): reason for s, reason in each.failures.items()},
                "parameters": dict(each.parameters),
            }
            for each in by_mean(checked)
        ],
    }


def verification_csv(checked: Sequence[CheckedRun]) -> str:
    """A winner check as a table, one row per configuration, smallest mean first."""
    parameters = list(checked[0].parameters)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "run",
            "mean",
            "standard_deviation",
            "num_seeds",
            "num_seeds_wanted",
            "num_failed",
            "validation_loss_in_search",
            *map(csv_cell, parameters),
            "validation_loss_by_seed",
        ]
    )
    for each in by_mean(checked):
        writer.writerow(
            [
                each.run_number,
                _text(each.mean),
                _text(each.standard_deviation),
                len(each.losses),
                each.num_seeds,
                len(each.failures),
                repr(each.search_loss),
                *(csv_cell(each.parameters[name]) for name in parameters),
                " ".join(f"{seed}:{loss!r}" for seed, loss in each.losses.items()),
            ]
        )
    return text.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)
