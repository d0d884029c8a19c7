"""What is printed before and after a winner check."""

from collections.abc import Collection, Sequence

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.cli.options import NO_SUCCESS
from sequifier_hpo.cli.say import say
from sequifier_hpo.cli.search_text import why_it_gave_up, why_none_succeeded
from sequifier_hpo.cli.tables import verification_table
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import progress
from sequifier_hpo.report.verification import CheckedRun, Verdict, by_mean, verdict
from sequifier_hpo.study import StudySnapshot
from sequifier_hpo.words import counted


def announce_check(
    prepared: PreparedSearch,
    snapshot: StudySnapshot,
    check_name: str,
    runs: Sequence[Run],
    checked: Sequence[CheckedRun],
    seeds: Sequence[int],
    num_wanted: int,
) -> None:
    """Say what the winner check is about to do.

    Args:
        prepared: The search file.
        snapshot: The study of the search.
        check_name: That of the check.
        runs: What is checked.
        checked: What is known of it already.
        seeds: The new seeds.
        num_wanted: How many runs the user asked for.
    """
    done = progress(snapshot.runs, snapshot.num_runs)
    if len(runs) < num_wanted:
        say(
            f"--runs {num_wanted:,} asks for more than there are: "
            f"checking {counted(len(runs), 'complete run')}"
        )
    if done.num_complete + done.num_failed < done.num_runs:
        say(
            f"the search is unfinished, {done.num_complete:,} of {counted(done.num_runs, 'run')} "
            "complete: its winner may change"
        )
    numbers = ", ".join(str(run.number) for run in runs)
    say(
        f"winner check of the study {prepared.name}: run{'s' if len(runs) > 1 else ''} {numbers}, "
        f"each with {len(seeds)} new seeds, {seeds[0]} to {seeds[-1]}; stored as the study "
        f"`{check_name}` in {prepared.shown_storage}"
    )
    num_done = num_ended(checked)
    num_all = len(runs) * len(seeds)
    say(
        f"{num_all - num_done:,} of {counted(num_all, 'training run')} left, on {prepared.device}"
        if num_done < num_all
        else f"all {num_all:,} training runs are done; nothing is left to train"
    )


def check_text(prepared: PreparedSearch, checked: Sequence[CheckedRun]) -> str:
    """The result of a winner check."""
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
        left = sum(each.num_seeds for each in checked) - num_ended(checked)
        lines.append(
            f"{counted(left, 'training run')} left: run the same command again to finish and compare"
        )
    elif len(checked) == 1:
        lines.append("there is no other configuration to compare with: raise --runs")
    return "\n".join(lines)


def verdict_text(found: Verdict) -> str:
    """Who wins and by how much, in words."""
    winner, rival = f"run {found.winner.run_number}", f"run {found.rival.run_number}"
    if found.margin is None:
        loser = rival if found.still_wins else winner
        head = f"{winner} {'still wins' if found.still_wins else 'no longer wins'}: "
        return f"{head}{loser} failed with every new seed"
    side = "below" if found.still_wins else "above"
    text = (
        f"{winner} {'still wins' if found.still_wins else 'no longer wins'}: its mean is "
        f"{abs(found.margin):.6f} {side} that of {rival}"
    )
    ratio = found.margin_in_standard_deviations
    if ratio is not None:
        text += f", {abs(ratio):.1f} times the standard deviation between seeds"
    if found.is_clear:
        return f"{text}.\nThe difference is significant (Welch's t-test, 95 %)."
    return (
        f"{text}.\nThe difference is not significant (Welch's t-test, 95 %); "
        "more --seeds may settle it."
    )


def _next(prepared: PreparedSearch, found: Verdict) -> str:
    first = found.winner if found.still_wins else found.rival
    file = prepared.loaded.config.run_path(run_name(prepared.name, first.run_number))
    # The search may have trained it on another machine.
    return f"\nnext:\n  sequifier-hpo train --config-path {file}" if file.is_file() else ""


def exit_code_of_check(
    end: SearchEnd,
    checked: Sequence[CheckedRun],
    trained: Sequence[Run],
    varying: Collection[str],
) -> int:
    """The exit code of a winner check, which is explained on standard error if it is not 0."""
    if end.stopped_by is not None:
        say(f"stopped by {end.stopped_by.name}; the same command resumes")
        return 128 + end.stopped_by
    if end.gave_up_after:
        say(why_it_gave_up(end.gave_up_after, trained, varying))
        return NO_SUCCESS
    if not any(each.losses for each in checked):
        say(why_none_succeeded("training run", trained, varying))
        return NO_SUCCESS
    return 0


def num_ended(checked: Sequence[CheckedRun]) -> int:
    """Training runs that have ended, successfully or not."""
    return sum(len(each.losses) + len(each.failures) for each in checked)
