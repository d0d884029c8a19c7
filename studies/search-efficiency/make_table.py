"""Write the runs of a finished grid search as a table with their loss curves.

Usage: python make_table.py STUDY.db TABLE.csv

The seconds per epoch are the median of the runs that differ in `training_schedule` and `dropout`
alone: these change nothing about the work, and other jobs of the machine disturb a single run.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

OF_THE_SAME_WORK = {"training_schedule", "dropout"}
DIGITS = 6
"""Significant ones of a loss: a table is small, and the ranks of its runs stay."""


def main() -> None:
    """A row per complete run, in the order of its labels."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="studies/NAME/study.db")
    parser.add_argument("table", type=Path, help="the CSV to write")
    files = parser.parse_args()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{files.study}")
    trials = study.get_trials(states=[TrialState.COMPLETE])
    parameters = sorted(trials[0].params)
    epochs = range(1, 1 + max(max(trial.intermediate_values) for trial in trials))
    seconds = defaultdict(list)
    for trial in trials:
        per_epoch = trial.user_attrs["seconds"] / len(trial.intermediate_values)
        seconds[_work(trial)].append(per_epoch)
    rows = []
    for trial in trials:
        labels = [trial.params[name] for name in parameters]
        losses = [trial.intermediate_values.get(epoch) for epoch in epochs]
        rows.append([*labels, f"{median(seconds[_work(trial)]):.3g}", *map(_text, losses)])
    with files.table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = [f"epoch_{epoch}" for epoch in epochs]
        writer.writerow([*parameters, "seconds_per_epoch", *columns])
        writer.writerows(sorted(rows))
    print(f"wrote {files.table}: {len(rows)} runs")


def _work(trial: FrozenTrial) -> tuple[str, ...]:
    return tuple(trial.params[name] for name in sorted(trial.params.keys() - OF_THE_SAME_WORK))


def _text(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.{DIGITS}g}"


if __name__ == "__main__":
    main()
