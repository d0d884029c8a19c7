"""What a search leaves besides its study: the leaderboard, and the models that are kept."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from sequifier_hpo.atomic import explaining, write_atomically
from sequifier_hpo.config.paths import is_model_of, run_name
from sequifier_hpo.config.search import SearchFile
from sequifier_hpo.records import Run
from sequifier_hpo.report.latencies import with_latencies
from sequifier_hpo.report.leaderboard import leaderboard
from sequifier_hpo.report.tables import results_csv


def write_outcome(config: SearchFile, runs: Sequence[Run]) -> None:
    """Bring what lies beside a study up to date: the leaderboard, and the models that are kept.

    Raises:
        EnvironmentFaultError: If a file cannot be written or removed.
    """
    if config.export == "best":
        keep_best_models(config.paths.models, config.hp_search_name, runs)
    write_results(config.results_path, config.hp_search_name, runs)


def write_results(target: Path, study_name: str, runs: Sequence[Run]) -> None:
    """Rewrite the leaderboard file in the study's folder, atomically.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    write_atomically(target, results_csv(study_name, with_latencies(target.parent, runs)))


def remove_models(files: Iterable[str]) -> None:
    """Remove the models of a run that was trained to its end before it was stopped at a rung.

    Raises:
        EnvironmentFaultError: If a file cannot be removed.
    """
    for path in map(Path, files):
        with explaining(path):
            path.unlink(missing_ok=True)


def keep_best_models(folder: Path, study_name: str, runs: Sequence[Run]) -> None:
    """Remove the models of all runs but the best.

    Raises:
        EnvironmentFaultError: If a file cannot be removed.
    """
    ranked = leaderboard(run for run in runs if run.duplicate_of is None)
    for run in ranked[1:]:
        name = run_name(study_name, run.number)
        for path in folder.glob(f"sequifier-{glob.escape(name)}-*"):
            # The run may have been trained again with other seeds: those keep theirs.
            if is_model_of(name, path.name):
                with explaining(path):
                    path.unlink(missing_ok=True)
