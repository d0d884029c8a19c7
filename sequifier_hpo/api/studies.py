"""A study as a program sees it: runs with typed values, tables and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sequifier_hpo.api.frames import as_pandas, losses_table, runs_table
from sequifier_hpo.api.runs import StudyRun
from sequifier_hpo.config.locate import StudySource, find_study
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.report.chosen_run import chosen_run
from sequifier_hpo.report.figures import light_figures
from sequifier_hpo.report.leaderboard import leaderboard, progress
from sequifier_hpo.report.study_reader import read_source
from sequifier_hpo.report.writing import report_data
from sequifier_hpo.study import StudySnapshot
from sequifier_hpo.words import counted

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped]


def open_study(
    path: str | Path | None = None,
    *,
    storage: str | None = None,
    study_name: str | None = None,
    with_outside: bool = False,
) -> "Study":
    """Read a study as it stands, without changing it, also while its search runs.

    Args:
        path: The search file; None = `configs/hyperparameter_search.yaml`, unless both others are
            given.
        storage: URL of the storage; None = that of the file.
        study_name: The study; None = that of the file.
        with_outside: Whether runs outside the present search space are ranked among the others.

    Raises:
        ConfigError: If the search file is missing, or does not name a study.
        InputError: If there is no such study.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    file = None if path is None else expanded_path(str(path))
    source = find_study(file, storage, study_name, with_outside=with_outside)
    return Study(source, read_source(source))


class Study:
    """A study at the moment it was read; `open_study` reads it again."""

    def __init__(self, source: StudySource, snapshot: StudySnapshot) -> None:
        """Wrap what was read; `search` and `open_study` do it."""
        self._source = source
        self._snapshot = snapshot
        ranks = {run.number: rank for rank, run in enumerate(leaderboard(snapshot.runs), start=1)}
        self._runs = {
            run.number: StudyRun.of(run, ranks.get(run.number), source, snapshot.study_id)
            for run in snapshot.runs
        }

    def __repr__(self) -> str:
        """The study in a line."""
        done = progress(self._snapshot.runs, self.num_runs)
        best = done.best
        of_best = f", best {best.validation_loss:.6g} (run {best.number})" if best else ""
        counts = f"{done.num_complete:,} of {counted(done.num_runs, 'run')} complete"
        return f"<Study {self.name}: {counts}{of_best}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self._snapshot.name

    @property
    def strategy(self) -> str:
        """How its runs were chosen."""
        return self._snapshot.strategy

    @property
    def num_runs(self) -> int:
        """Distinct runs that its search is to have."""
        return self._snapshot.num_runs

    @property
    def baselines(self) -> Mapping[str, float]:
        """Trivial predictor -> its validation loss."""
        return {baseline.name: baseline.loss for baseline in self._snapshot.baselines}

    @property
    def runs(self) -> list[StudyRun]:
        """All runs by number; grid cells that share another run's result are among them."""
        return [self._runs[number] for number in sorted(self._runs)]

    @property
    def leaderboard(self) -> list[StudyRun]:
        """The complete runs of the present search space on the present data, best first."""
        return [self._runs[run.number] for run in leaderboard(self._snapshot.runs)]

    @property
    def best(self) -> StudyRun:
        """The run with the smallest validation loss.

        Raises:
            NoRunError: If none is complete; an InputError.
        """
        return self._runs[chosen_run(self._source, self._snapshot, None).number]

    def run(self, number: int) -> StudyRun:
        """The run of that number.

        Raises:
            InputError: If there is none.
        """
        return self._runs[chosen_run(self._source, self._snapshot, number).number]

    def to_polars(self) -> pl.DataFrame:
        """A row per run, best first: rank, losses, the fields that vary, measurements, the others."""
        others = [run for run in self.runs if run.rank is None]
        return runs_table([*self.leaderboard, *others])

    def to_pandas(self) -> Any:
        """The same as `pandas.DataFrame`.

        Raises:
            EnvironmentFaultError: If pandas is not installed.
        """
        return as_pandas(self.to_polars())

    def losses(self) -> pl.DataFrame:
        """A row per run and epoch: `run`, `epoch`, `validation_loss`."""
        return losses_table(self.runs)

    def figures(self) -> "dict[str, go.Figure]":
        """The report's charts as plotly figures, which show themselves in a notebook.

        Returns:
            Name -> figure, of those that there is something to draw in: `history`, `rungs`,
            `curves`, `importance` (from 20 runs on), `losses by PARAMETER`, `size`,
            `time`, `parallel`, `timeline`.
        """
        import plotly.graph_objects as go  # noqa: PLC0415 - takes a while, and few need it

        drawn = light_figures(report_data(self._source, self._snapshot))
        return {name: go.Figure(figure) for name, figure in drawn.items()}
