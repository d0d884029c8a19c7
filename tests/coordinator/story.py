"""What may happen to a search, as a test tells it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sequifier_hpo.config.train import TrainConfig

NUM_EPOCHS = 3


class Deed(Enum):
    """What may happen from one look of the coordinator to the next; most of it to one trial."""

    NOTHING = auto()
    BATCH = auto()
    EPOCH = auto()
    BASELINES = auto()
    COMPLETE = auto()
    FAIL = auto()
    RUN_OUT_OF_MEMORY = auto()
    LOSE_WORKER = auto()
    BE_STOPPED_BY_OTHERS = auto()
    HANG = auto()
    """From now on it does not heed a stop."""
    STRAY_END = auto()
    """The end of a trial that was killed arrives late."""
    BE_TAKEN_OVER = auto()
    LET_GO = auto()
    """The other coordinators lose what they have taken over, or complete it."""
    OUTAGE = auto()
    """It begins, or is over."""
    LOSE_ANSWER = auto()
    """The storage carries one of the next changes out, but does not live to say so."""
    SLEEP = auto()
    """The whole machine, for some minutes."""
    SIGNAL = auto()
    BREAK = auto()
    """The pool finds that it cannot go on."""


@dataclass(frozen=True)
class Story:
    """A search, and what happens to it; when nothing more does, all goes well."""

    steps: Sequence[tuple[Deed, int]] = ()
    """What happens, and to which of the running trials."""
    num_runs: int = 3
    num_slots: int = 2
    batch_size: int = 8
    accumulates: bool = False
    max_consecutive_failures: int = 3
    has_baselines: bool = True
    proposal_gap: int | None = None
    """Runs that come next depend on the ends of those so many before them; None: on none."""
    loss_of: Callable[[int, int], float] | None = None
    """(run, epoch) -> validation loss, whoever trains it; None: bound to the attempt."""


def config_of(run_number: int, batch_size: int) -> TrainConfig:
    """What a run of a story is asked to train."""
    spec = _CONFIG.training_spec.model_copy(update={"batch_size": batch_size})
    name = f"story-run-{run_number}"
    return _CONFIG.model_copy(update={"model_name": name, "training_spec": spec})


_CONFIG = TrainConfig.model_validate(
    {
        "project_root": ".",
        "metadata_config_path": "story.json",
        "model_name": "story-run",
        "training_data_path": "story-split0.parquet",
        "validation_data_path": "story-split1.parquet",
        "input_columns": ["product"],
        "column_types": {"product": "Int64"},
        "categorical_columns": ["product"],
        "real_columns": [],
        "target_columns": ["product"],
        "target_column_types": {"product": "categorical"},
        "id_maps": {"product": {"1": 1}},
        "n_classes": {"product": 2},
        "seq_length": 4,
        "inference_batch_size": 4,
        "export_generative_model": False,
        "export_embedding_model": False,
        "model_spec": {
            "initial_embedding_dim": 4,
            "dim_model": 4,
            "n_head": 1,
            "dim_feedforward": 4,
            "num_layers": 1,
            "prediction_length": 1,
        },
        "training_spec": {
            "device": "cpu",
            "epochs": NUM_EPOCHS,
            "save_interval_epochs": 1,
            "batch_size": 8,
            "learning_rate": 0.1,
            "criterion": {"product": "CrossEntropyLoss"},
            "optimizer": {"name": "Adam"},
            "scheduler": {"name": "StepLR"},
        },
    }
)
