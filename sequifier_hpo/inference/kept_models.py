"""The models of a study's runs, judged once more when its losses come to count other positions."""

from collections.abc import Callable, Sequence

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.records import EvaluatedLoss, Run
from sequifier_hpo.report.study_reader import read_source


class ModelsOfRuns:
    """Those that are kept in the folders of the project, as ONNX files or in checkpoints."""

    def __init__(self, source: StudySource, on_progress: Callable[[str], None]) -> None:
        """Look at nothing yet.

        Args:
            source: The study.
            on_progress: Takes a line of text before a model is judged.
        """
        self._source, self._tell = source, on_progress

    def missing(self, runs: Sequence[Run]) -> list[int]:
        """As `KeptModels` says; a checkpoint is opened only when it is needed."""
        # What judges models takes half a second to load, and is hardly ever needed.
        from sequifier_hpo.inference.chosen_model import has_model  # noqa: PLC0415

        snapshot = read_source(self._source)
        return [run.number for run in runs if not has_model(self._source, snapshot, run)]

    def losses(self, runs: Sequence[Run], last_positions: int) -> dict[int, EvaluatedLoss]:
        """As `KeptModels` says, on the validation split."""
        # As in `missing`.
        from sequifier_hpo.inference.chosen_model import model_of  # noqa: PLC0415
        from sequifier_hpo.inference.evaluating import Judged, evaluate  # noqa: PLC0415

        snapshot = read_source(self._source)
        losses: dict[int, EvaluatedLoss] = {}
        judged = Judged(last_positions=last_positions, with_baselines=False)
        for i, run in enumerate(runs, start=1):
            self._tell(f"evaluating run {run.number} anew ({i} of {len(runs)})")
            with model_of(self._source, snapshot, run, None, lambda _: None) as chosen:
                found = evaluate(chosen, judged)
            losses[run.number] = EvaluatedLoss(found["loss"], found["loss_all_positions"])
        return losses
