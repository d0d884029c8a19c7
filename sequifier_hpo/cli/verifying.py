"""A winner check in the terminal: what is said before, while and after it trains."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.assembly.verify import OpenVerification, open_verification, read_search, top_runs
from sequifier_hpo.cli.running import NO_SUCCESS, why_it_gave_up
from sequifier_hpo.cli.tables import verification_table
from sequifier_hpo.cli.view import SearchProgress, make_view
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import progress
from sequifier_hpo.report.verification import (
    CheckedRun,
    Verdict,
    by_mean,
    verdict,
    verification_csv,
    verification_record,
)
from sequifier_hpo.study import StudySnapshot, verification_name


@dataclass(frozen=True)
class Wanted:
    """What the user asks for."""

    num_runs: int
    num_seeds: int
    retry_failed: bool


def run_verification(prepared: PreparedSearch, wanted: Wanted, output_format: str) -> int:
    """Train what is left of a winner check and show its result; returns the exit code."""
    snapshot = read_search(prepared)
    runs = top_runs(snapshot.runs, wanted.num_runs)
    if not runs:
        _say(f"no run of the study {prepared.name} is complete yet")
        return NO_SUCCESS
    with open_verification(prepared, runs, wanted.num_seeds) as verification:
        if wanted.retry_failed:
            _say(f"{verification.study.retry_failed()} failed trainings are repeated")
        _announce(prepared, snapshot, verification, runs, wanted)
        end = _run(prepared, verification)
        checked = verification.results()
    if output_format == "json":
        print(json.dumps(verification_record(prepared.name, checked), indent=2))
    elif output_format == "csv":
        print(verification_csv(checked), end="")
    else:
        print(_as_text(prepared, checked))
    return _exit_code(end, checked)


def _announce(
    prepared: PreparedSearch,
    snapshot: StudySnapshot,
    verification: OpenVerification,
    runs: Sequence[Run],
    wanted: Wanted,
) -> None:
    done = progress(snapshot.runs, snapshot.num_runs)
    if len(runs) < wanted.num_runs:
        _say(f"--verify is {wanted.num_runs:,}, but {len(runs):,} runs are complete: all are taken")
    if done.num_complete + done.num_failed < done.num_runs:
        _say(
            f"the search is not over, {done.num_complete:,} of {done.num_runs:,} runs are complete: "
            "its winner may change"
        )
    numbers = ", ".join(str(run.number) for run in runs)
    seeds = verification.seeds
    _say(
        f"winner check of the study {prepared.name}: run{'s' if len(runs) > 1 else ''} {numbers}, "
        f"each with {len(seeds)} new seeds, {seeds[0]} to {seeds[-1]}; kept as the study "
        f"`{verification_name(prepared.name)}` in {prepared.shown_storage}"
    )
    num_done = _num_ended(verification.results())
    num_all = len(runs) * len(seeds)
    _say(
        f"{num_all - num_done:,} of {num_all:,} trainings to go on {prepared.device}"
        if num_done < num_all
        else f"all of its {num_all:,} trainings are done; nothing is left to train"
    )


def _run(prepared: PreparedSearch, verification: OpenVerification) -> SearchEnd:
    before = verification.results()
    shown = SearchProgress(
        num_runs=sum(each.num_seeds for each in before),
        num_done=_num_ended(before),
        best_loss=None,
        best_run=None,
        names_best=False,
    )
    with make_view(shown, lambda: None, f"{prepared.name}: winner check") as view:
        return verification.run(view)


def _as_text(prepared: PreparedSearch, checked: Sequence[CheckedRun]) -> str:
    lines = [verification_table(by_mean(checked)).rstrip(), ""]
    for each in checked:
        lines += [
            f"run {each.run_number}, seed {seed} failed: {reason}"
            for seed, reason in each.failures.items()
        ]
    found = verdict(checked)
    if found is not None:
        lines.append(verdict_text(found))
        lines.append(_next(prepared, found))
    elif not all(each.is_done for each in checked):
        left = sum(each.num_seeds for each in checked) - _num_ended(checked)
        lines.append(f"{left:,} trainings are left: the same command goes on, and then compares")
    elif len(checked) == 1:
        lines.append("there is no other configuration to compare with: raise --verify")
    return "\n".join(lines)


def verdict_text(found: Verdict) -> str:
    """Who wins and by how much, in words."""
    winner, rival = f"run {found.winner.run_number}", f"run {found.rival.run_number}"
    if found.margin is None:
        loser = rival if found.still_wins else winner
        head = f"{winner} {'still wins' if found.still_wins else 'does not win any more'}: "
        return f"{head}{loser} failed with every new seed"
    side = "below" if found.still_wins else "above"
    text = (
        f"{winner} {'still wins' if found.still_wins else 'does not win any more'}: its mean is "
        f"{abs(found.margin):.6f} {side} that of {rival}"
    )
    ratio = found.margin_in_spreads
    if ratio is not None:
        text += f", {abs(ratio):.1f} times the spread between seeds"
    if found.is_clear:
        return f"{text}.\nChance alone would seldom (1 in 20) put them so far apart."
    return f"{text}.\nThat is no more than chance may do: more --seeds would tell."


def _next(prepared: PreparedSearch, found: Verdict) -> str:
    first = found.winner if found.still_wins else found.rival
    file = prepared.run_file(run_name(prepared.name, first.run_number))
    return f"\nnext:\n  sequifier-hpo train --config-path {file}"


def _exit_code(end: SearchEnd, checked: Sequence[CheckedRun]) -> int:
    if end.stopped_by is not None:
        _say(f"stopped by {end.stopped_by.name}; the same command goes on")
        return 128 + end.stopped_by
    if end.gave_up_after:
        _say(why_it_gave_up(end.gave_up_after))
        return NO_SUCCESS
    if not any(each.losses for each in checked):
        _say("no training succeeded; see logs/ for the reasons")
        return NO_SUCCESS
    return 0


def _num_ended(checked: Sequence[CheckedRun]) -> int:
    return sum(len(each.losses) + len(each.failures) for each in checked)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
