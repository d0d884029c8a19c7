"""The contents of a report: plain values, gathered by whoever can reach them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.report.evaluations import KeptEvaluation
from sequifier_hpo.report.leaderboard import Progress, progress
from sequifier_hpo.report.study_facts import StudyFacts
from sequifier_hpo.study import WarmStart


def unbeaten(loss: float, baselines: Sequence[Baseline]) -> Baseline | None:
    """The best trivial predictor, if a loss is no better than its own."""
    best = min(baselines, key=lambda baseline: baseline.loss, default=None)
    return None if best is None or loss < best.loss else best


@dataclass(frozen=True)
class ReportData:
    """A study, and what is known about it."""

    study_name: str
    storage: str
    """Without secrets."""
    strategy: str
    num_runs: int
    """Distinct runs planned for the study."""
    runs: Sequence[Run]
    read_at: datetime
    study_id: str | None = None
    """The study's unique id; None in studies of 0.1.0."""
    recounted_to: int | None = None
    """How many positions its losses count, if there were more of them once."""
    facts: StudyFacts | None = None
    """What it is about."""
    warm_start: WarmStart | None = None
    """The earlier studies that guide it."""
    baselines: Sequence[Baseline] = ()
    """Losses of trivial predictors, over the events that the runs' losses count."""
    importances: Mapping[str, float] = field(default_factory=dict)
    """Parameter -> its share of the importance of all; empty with too few runs."""
    is_rewritten: bool = False
    """Whether the search that writes the report is still running, and will write it again."""
    stopped_by: str = ""
    """The budget that left runs when its last search ended; "" = none."""
    evaluations: Sequence[KeptEvaluation] = ()
    """What its runs were found to be worth."""
    best_file: str | None = None
    """Path of the best run's `train.yaml`, and host and folder where it is elsewhere."""
    best_yaml: str | None = None
    """Its content; None if it cannot be read here."""
    best_training_losses: Mapping[int, float] = field(default_factory=dict)
    """Its training losses by epoch, as far as its log is here."""

    @cached_property
    def progress(self) -> Progress:
        """The study in numbers."""
        return progress(self.runs, self.num_runs)

    @cached_property
    def own_runs(self) -> list[Run]:
        """The runs that are compared: no duplicate grid cells, none of other data or outside the space."""
        return [run for run in self.runs if run.duplicate_of is None and run.is_current]

    @cached_property
    def failed(self) -> list[Run]:
        """Those of them that failed."""
        return [run for run in self.own_runs if run.state is RunState.FAILED]

    @property
    def is_running(self) -> bool:
        """Whether the study is still running."""
        return self.is_rewritten or any(run.state == RunState.RUNNING for run in self.runs)
