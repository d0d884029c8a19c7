"""Answers one request for how fast configurations train on this machine; see `answering`.

Each is trained for a moment, in a folder that is removed, without a compiled step.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.answering import answer
from sequifier_hpo.training.data.open import open_training_data
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.loop import Hooks, say_nothing
from sequifier_hpo.training.process import prepare_process
from sequifier_hpo.training.run import train

_ENDLESS = 10**9


def _handle(request: Mapping[str, Any]) -> dict[str, Any]:
    """Per configuration its training positions per second; and how many windows splits have."""
    configs = [TrainConfig.model_validate(config) for config in request["configs"]]
    prepare_process(is_forking=configs[0].training_spec.device == "cpu")
    data = open_training_data(configs[0])
    with TemporaryDirectory() as folder:
        paces = [_pace(config, data, Path(folder), request["seconds"]) for config in configs]
    return {
        "positions_per_second": paces,
        "num_training": data.training.num_windows,
        "num_validation": data.validation.num_windows,
    }


def _pace(config: TrainConfig, data: TrainingData, folder: Path, seconds: float) -> float:
    began: list[float] = []

    def should_stop() -> bool:
        """Asked before the first step too: what comes before it does not count."""
        began.append(time.monotonic())
        return began[-1] - began[0] > seconds

    spec = config.training_spec.model_copy(update={"epochs": _ENDLESS, "torch_compile": "none"})
    endless = config.model_copy(update={"project_root": str(folder), "training_spec": spec})
    hooks = Hooks(say_nothing, say_nothing, say_nothing, should_stop)
    return train(endless, data, hooks, resume=False).tokens_per_second


if __name__ == "__main__":
    answer(_handle)
