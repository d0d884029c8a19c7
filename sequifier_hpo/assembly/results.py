"""What a search leaves besides its study: the leaderboard, and the models that are kept."""

import glob
from collections.abc import Sequence

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.atomic import explaining, write_atomically
from sequifier_hpo.config.paths import is_model_of, run_name
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import leaderboard
from sequifier_hpo.report.tables import results_csv


def write_results(prepared: PreparedSearch, runs: Sequence[Run]) -> None:
    """Rewrite the leaderboard file, atomically.

    With `export: best` the models of all runs but the best are removed.

    Raises:
        EnvironmentFaultError: If a file cannot be written or removed.
    """
    if prepared.loaded.config.export == "best":
        _remove_models_except_best(prepared, runs)
    write_atomically(prepared.results_path, results_csv(prepared.name, runs))


def _remove_models_except_best(prepared: PreparedSearch, runs: Sequence[Run]) -> None:
    ranked = leaderboard(run for run in runs if run.duplicate_of is None)
    folder = prepared.loaded.config.paths.models
    for run in ranked[1:]:
        name = run_name(prepared.name, run.number)
        for path in folder.glob(f"sequifier-{glob.escape(name)}-*"):
            # The run may have been trained again with other seeds: those keep theirs.
            if is_model_of(name, path.name):
                with explaining(path):
                    path.unlink(missing_ok=True)
