"""The two logs of a run: lines for people, and one JSON object a line for machines."""

import json
import time
from datetime import datetime
from typing import Any

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.log_lines import LogLines
from sequifier_hpo.records import BatchReport, EpochReport, TrainingResult


class RunLog:
    """Appends to `logs/sequifier-{run}.log` and `logs/sequifier-{run}-metrics.jsonl`."""

    def __init__(self, config: TrainConfig) -> None:
        """Open both.

        Raises:
            EnvironmentFaultError: If they cannot be opened.
        """
        self._text = LogLines(config.paths.log(config.model_name))
        self._metrics = LogLines(config.paths.metrics(config.model_name))
        self._digits = len(str(config.training_spec.epochs))

    def message(self, text: str, level: str = "INFO") -> None:
        """One line for people."""
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        for line in text.splitlines() or [""]:
            self._text.append(f"{now} | {level} | {line}")

    def event(self, name: str, **fields: Any) -> None:
        """One object for machines; times are seconds since the epoch."""
        record = {"event": name, "time": time.time(), **fields}
        self._metrics.append(json.dumps(record))

    def batch(self, report: BatchReport) -> None:
        """Progress inside an epoch."""
        self.message(
            f"[INFO] Epoch {report.epoch:3d} | Batch {report.batch:5d}/{report.num_batches:5d} | "
            f"Loss: {report.train_loss:.4e} | LR: {report.learning_rate:.3e} | "
            f"{report.tokens_per_second:,.0f} tokens/s"
        )
        self.event("batch", **report.model_dump())

    def epoch(self, report: EpochReport) -> None:
        """The end of an epoch."""
        best = "  (best)" if report.is_best else ""
        self.message(
            f"[INFO] Validation | Epoch: {report.epoch:{self._digits}d} | "
            f"Loss: {report.validation_loss:.6e} | Training loss: {report.train_loss:.6e} | "
            f"Time: {report.seconds:5.2f}s | LR {report.learning_rate:.3e}{best}"
        )
        if len(report.validation_loss_by_target) > 1:
            parts = (f"{c}_loss: {v:.6e}" for c, v in report.validation_loss_by_target.items())
            self.message(f"[INFO]  - {', '.join(parts)}")
        if report.validation_loss_all_positions is not None:
            self.message(f"[INFO]  - all positions: {report.validation_loss_all_positions:.6e}")
        self.event("epoch", **report.model_dump())

    def result(self, result: TrainingResult) -> None:
        """The end of the attempt."""
        self.message(f"--- {result.kind.value}{': ' if result.reason else ''}{result.reason} ---")
        for path in result.model_files:
            self.message(f"[INFO] Saved model to {path}")
        self.event("end", **result.model_dump())

    def close(self) -> None:
        """Close both files."""
        self._text.close()
        self._metrics.close()
