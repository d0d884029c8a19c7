"""How the product trains what is frozen here, and what losses it leaves on disk.

`train_run_files` and its `_order` are all that know of our own code; the rest are commands and their files.
"""

import csv
import json
import platform
import shutil
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from sequifier_hpo.config.train import TrainConfig, load_train_config
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerGone, WorkerPool
from sequifier_hpo.messages import RunTrial, TrialEnded

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "losses.json"
RUNS = Path("configs/runs")
SEARCHES = Path("configs/searches")
RUN_NAMES = sorted(path.stem for path in (FOLDER / "project" / RUNS).glob("*.yaml"))
SEARCH_NAMES = sorted(path.stem for path in (FOLDER / "project" / SEARCHES).glob("*.yaml"))

# Two processors with equal vector instructions may still multiply bfloat16 matrices differently.
_MATRIX_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "amx_tile", "bf16", "i8mm"})


@dataclass(frozen=True)
class Epoch:
    """The losses of an epoch."""

    train_loss: float
    validation_loss: float
    """The number that runs are ranked by."""
    validation_loss_all_positions: float

    def comparable(self) -> list[float]:
        """What the golden file keeps: it is older than the choice of positions."""
        return [self.train_loss, self.validation_loss_all_positions]


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and its losses on the way."""

    kind: str
    epochs: dict[int, Epoch]
    best_epoch: int | None
    best_validation_loss: float | None

    def record(self) -> dict[str, Any]:
        """JSON values; all numbers in full precision."""
        return {
            "kind": self.kind,
            "epochs": {str(number): e.comparable() for number, e in sorted(self.epochs.items())},
            "best_epoch": self.best_epoch,
            "best_validation_loss": self.best_validation_loss,
        }


def copy_project(target: Path) -> Path:
    """A copy of the frozen project, to be trained in."""
    return shutil.copytree(FOLDER / "project", target)


def train_run_files(root: Path, names: list[str]) -> None:
    """Train run files of a project in one worker process, two at the same time."""
    with chdir(root):
        configs = [load_train_config(RUNS / f"{name}.yaml") for name in names]
        configs.sort(key=lambda config: config.training_data_path)  # each is loaded once
        waiting = list(enumerate(configs))
        pool = WorkerPool(worker_specs("cpu", 2, len(configs)), Path("logs/workers.log"))
        free = list(pool.slots)
        slot_of_trial: dict[int, int] = {}
        try:
            while waiting or slot_of_trial:
                while waiting and free:
                    number, config = waiting.pop(0)
                    slot_of_trial[number] = free.pop()
                    pool.run(slot_of_trial[number], _order(number, config))
                for event in pool.poll(0.5):
                    assert not isinstance(event, WorkerGone), event
                    if isinstance(event, TrialEnded):
                        free.append(slot_of_trial.pop(event.trial_number))
        finally:
            pool.close()


def _order(number: int, config: TrainConfig) -> RunTrial:
    return RunTrial(trial_number=number, attempt=1, config=config, config_path=None, resume=False)


def outcome_of(root: Path, model_name: str) -> Outcome:
    """What the metrics of a run say; of an epoch that was told twice, what was told last."""
    events = _events(root / f"logs/sequifier-{model_name}-metrics.jsonl")
    end = [event for event in events if event["event"] == "end"][-1]
    epochs = {event["epoch"]: _epoch(event) for event in events if event["event"] == "epoch"}
    return Outcome(end["kind"], epochs, end["best_epoch"], end["best_validation_loss"])


def _events(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _epoch(event: dict[str, Any]) -> Epoch:
    all_positions = event.get("validation_loss_all_positions")
    counted = event["validation_loss"]
    return Epoch(event["train_loss"], counted, counted if all_positions is None else all_positions)


def has_event(root: Path, name: str, **fields: str) -> bool:
    """Whether the metrics of any run in a project hold such an event."""
    return any(
        event.items() >= {"event": name, **fields}.items()
        for path in root.glob("logs/*-metrics.jsonl")
        for event in _events(path)
    )


def outcomes_of_search(root: Path, name: str) -> dict[str, Outcome]:
    """Configuration -> outcome of every run of a search that is over."""
    found: dict[str, Outcome] = {}
    for row in leaderboard_of(root, name):
        if not row["duplicate_of"]:
            configuration = configuration_of(root, row["model_name"])
            assert configuration not in found, f"{row['model_name']} was trained before"
            found[configuration] = outcome_of(root, row["model_name"])
    return found


def leaderboard_of(root: Path, name: str) -> list[dict[str, str]]:
    """The rows of a search's results."""
    with (root / f"studies/{name}/results.csv").open() as file:
        return list(csv.DictReader(file))


def configuration_of(root: Path, model_name: str) -> str:
    """What a generated run file says about the model and its training, as one text."""
    content = yaml.safe_load((root / f"configs/generated/{model_name}.yaml").read_text())
    training = {key: value for key, value in content["training_spec"].items() if key != "device"}
    kept = {key: content[key] for key in ("input_columns", "seq_length", "seed", "model_spec")}
    return json.dumps({**kept, "training_spec": training}, sort_keys=True)


def machine() -> dict[str, str]:
    """What the last bits of a loss depend on, the product aside."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = set(facts.get("flags", "").split()) | set(facts.get("Features", "").split())
    return {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": facts.get("vendor_id") or platform.machine(),
        "matrix_units": " ".join(sorted(flags & _MATRIX_FLAGS)),
        "system": platform.system(),
    }
