"""Write the runs of a finished grid search as a table with their loss curves.

Usage: python make_table.py STUDY.db TABLE.csv
"""

import argparse
import csv
from pathlib import Path

import optuna
from optuna.trial import TrialState

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
    rows = []
    for trial in trials:
        labels = [trial.params[name] for name in parameters]
        seconds = trial.user_attrs["seconds"] / len(trial.intermediate_values)
        losses = [trial.intermediate_values.get(epoch) for epoch in epochs]
        rows.append([*labels, f"{seconds:.3g}", *map(_text, losses)])
    with files.table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = [f"epoch_{epoch}" for epoch in epochs]
        writer.writerow([*parameters, "seconds_per_epoch", *columns])
        writer.writerows(sorted(rows))
    print(f"wrote {files.table}: {len(rows)} runs")


def _text(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.{DIGITS}g}"


if __name__ == "__main__":
    main()
