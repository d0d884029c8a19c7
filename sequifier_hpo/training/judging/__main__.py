"""Answers one request to judge a model; see `answering`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import Counted
from sequifier_hpo.training.answering import answer
from sequifier_hpo.training.judging.judge import Order, judge


def _handle(request: Mapping[str, Any]) -> dict[str, Any]:
    def path(name: str) -> Path | None:
        return None if request.get(name) is None else Path(request[name])

    return judge(
        Order(
            model=Path(request["model"]),
            config=TrainConfig.model_validate(request["config"]),
            counted=Counted.model_validate(request["counted"]),
            labels=request["labels"],
            units=request["units"],
            has_training=request["has_training"],
            sequence_column=request["sequence_column"],
            names=path("names"),
            places=path("places"),
            events=path("events"),
            sequences=path("sequences"),
        )
    )


if __name__ == "__main__":
    answer(_handle)
