"""How long the models of a study take for an event: kept beside the study, as figures of its runs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import Field, FiniteFloat, ValidationError

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.plain_files import read_json
from sequifier_hpo.records import Run

_FILE = "latencies.json"


class Latency(FrozenModel):
    """Of a run's model, as it was measured last."""

    validation_loss: float
    """Of the run: another one under its number has another."""
    milliseconds_per_event: FiniteFloat = Field(gt=0)
    measured_on: str
    """The machine, and how."""


def keep_latencies(study_folder: Path, latencies: Mapping[int, Latency]) -> None:
    """Keep what was measured.

    Args:
        study_folder: Of the study.
        latencies: By run number, those that were kept before and still hold among them.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    content = {str(number): latencies[number].model_dump() for number in sorted(latencies)}
    write_atomically(study_folder / _FILE, json.dumps(content, indent=1) + "\n")


def read_latencies(study_folder: Path, runs: Iterable[Run]) -> dict[int, Latency]:
    """What is kept of those runs; what cannot be read, or is another run's, is left out."""
    found: dict[int, Latency] = {}
    with suppress(OSError, ValueError):
        content = read_json(study_folder / _FILE)
        kept = content if isinstance(content, dict) else {}
        for run in runs:
            with suppress(ValidationError):
                latency = Latency.model_validate(kept.get(str(run.number)))
                if latency.validation_loss == run.validation_loss:
                    found[run.number] = latency
    return found


def with_latencies(study_folder: Path, runs: Sequence[Run]) -> Sequence[Run]:
    """Runs with what is kept of their models, from the machine that has measured most of them.

    Those of other machines cannot be compared with them.
    """
    return with_these(read_latencies(study_folder, runs), runs)


def with_these(latencies: Mapping[int, Latency], runs: Sequence[Run]) -> Sequence[Run]:
    """The same with latencies that are at hand."""
    machines = Counter(sorted(latency.measured_on for latency in latencies.values()))
    if not machines:
        return runs
    ((machine, _),) = machines.most_common(1)
    return [
        run
        if (latency := latencies.get(run.number)) is None or latency.measured_on != machine
        else replace(
            run,
            attributes={**run.attributes, **latency.model_dump(exclude={"validation_loss"})},
        )
        for run in runs
    ]
