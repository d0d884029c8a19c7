"""The training losses of a run, from its log: a study stores those of the validation split only."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from sequifier_hpo.plain_files import read_plain
from sequifier_hpo.records import Run


def training_losses(metrics: Path, run: Run) -> dict[int, float]:
    """Epoch -> training loss; empty where there is no such log.

    Args:
        metrics: The log for machines under the run's name.
        run: The run; what another run has left under its name does not count.
    """
    losses: dict[int, float] = {}
    with suppress(OSError):
        for line in read_plain(metrics).splitlines():
            # The last line may be half written; most lines are of batches, and are not read.
            if b'"event": "epoch"' in line:
                with suppress(ValueError, TypeError, KeyError, AttributeError):
                    event = json.loads(line)
                    if _is_of(run, event) and math.isfinite(event["train_loss"]):
                        losses[event["epoch"]] = event["train_loss"]
    return losses


def _is_of(run: Run, event: dict[str, Any]) -> bool:
    """Whether the study knows the epoch, with the same validation loss."""
    return math.isclose(run.losses[event["epoch"]], event["validation_loss"], rel_tol=1e-9)
