"""Why runs failed, and what they have in common."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import comb

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report.series import number_in
from sequifier_hpo.searchspace import value_text

_MAX_SHOWN = 3
_MOST_CHANCE = 0.25
"""Values that failures share by chance as often as that are not named."""
_INDEX = re.compile(r"\[\d+\]")
"""What the name of a range has where there are other choices beside it."""


def what_failures_share(
    runs: Sequence[Run], failed_trials: Collection[int], varying: Collection[str]
) -> list[str]:
    """Values that all of some failures have and that failed more often than the other values did.

    Args:
        runs: All runs of the study.
        failed_trials: Trial numbers of the failures.
        varying: Fields of which the space has more than one value. What no run can have otherwise
            explains nothing.

    Returns:
        The most telling values first, as in `8 of 8 failed at learning_rate=1e+30 (0 of 7 elsewhere)`;
        fields that vary together in one line. Values that nearly all runs have tell nothing.
    """
    ended = [
        run
        for run in runs
        if (run.loss is not None or run.state is RunState.FAILED)
        and run.duplicate_of is None
        and run.is_current
    ]
    failures = [run for run in ended if run.trial_number in failed_trials]
    if not failures:
        return []
    values = {run.number: _texts(run, failures) for run in ended}
    shared = set.intersection(*(set(values[run.number]) for run in failures))
    by_runs: dict[frozenset[int], list[str]] = {}
    for text, field in values[failures[0].number].items():
        having = frozenset(number for number, texts in values.items() if text in texts)
        if text in shared and (field in varying or len(having) < len(ended)):
            by_runs.setdefault(having, []).append(text)
    found = []
    for having, texts in by_runs.items():
        here = [run for run in ended if run.number in having]
        elsewhere = [run for run in ended if run.number not in having]
        gain = _share_of_failures(here) - _share_of_failures(elsewhere)
        chance = comb(len(here), len(failures)) / comb(len(ended), len(failures))
        if gain > 0 and (chance < _MOST_CHANCE or not elsewhere):
            rest = (
                f"{_of_how_many(elsewhere)} elsewhere" if elsewhere else "no run had another value"
            )
            found.append((gain, f"{_of_how_many(here)} failed at {', '.join(texts)} ({rest})"))
    found.sort(key=lambda each: -each[0])
    return [line for _, line in found[:_MAX_SHOWN]]


def reasons(failed: Iterable[Run]) -> str:
    """Why runs failed, the most frequent reason first, with numbers if there are several."""
    counts = Counter(run.reason for run in failed)
    words = [
        (reason.replace("_", " ") or "reason unknown", n) for reason, n in counts.most_common()
    ]
    return ", ".join(word if len(words) == 1 else f"{word}: {n:,}" for word, n in words)


def _texts(run: Run, failures: Sequence[Run]) -> dict[str, str]:
    """`field=value` -> field.

    Of a range, whose numbers all differ, on which side of the failures a run is -> no field: that
    tells nothing if all runs are there.
    """
    texts = {}
    drawn = {_INDEX.sub("", name): name for name in run.labels if number_in(run, name) is not None}
    for field, value in run.values.items():
        if field not in drawn:
            texts[f"{field}={value_text(value)}"] = field
            continue
        numbers = [number_in(failure, drawn[field]) for failure in failures]
        known = [number for number in numbers if number is not None]
        if known and value >= min(known):
            texts[f"{field}>={value_text(min(known))}"] = ""
        if known and value <= max(known):
            texts[f"{field}<={value_text(max(known))}"] = ""
    return texts


def _share_of_failures(runs: Sequence[Run]) -> float:
    return _num_failed(runs) / len(runs) if runs else 0.0


def _of_how_many(runs: Sequence[Run]) -> str:
    return f"{_num_failed(runs):,} of {len(runs):,}"


def _num_failed(runs: Sequence[Run]) -> int:
    return sum(run.state is RunState.FAILED for run in runs)
