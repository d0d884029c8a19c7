"""The fields of a training run: Sequifier's `train.yaml`, and the one place where each is described.

A `TrainConfig` is what a trial is: the file written for it, the message sent to the worker and the
object it trains from are the same value. Field order is the order in which Sequifier writes. Of
every field the annotation says what it influences and how it stands in the search file; what that
means, and what is made of it, is in `description.py`.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sequifier_hpo.config.description import (
    FROM_METADATA,
    GROWING,
    GROWING_ON_CPU,
    IF_ANY,
    JUDGED,
    NEWER,
    NO_MEMORY,
    NOTHING,
    OF_ONE_RUN,
    SELECTION,
    WEIGHTS,
    Candidates,
    Section,
    Setting,
)
from sequifier_hpo.config.fields import (
    Columns,
    DtypeName,
    Float,
    Int,
    LayerType,
    ModelName,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Probability,
    ReadFormat,
    Recipe,
    Seed,
    StepOn,
    TargetType,
    TorchCompile,
)
from sequifier_hpo.config.model_fields import ModelSpec
from sequifier_hpo.config.paths import ProjectPaths
from sequifier_hpo.config.schema import FileModel

_SCHEDULE, _DATA = "training_schedule", "data_schema"
"""The linked groups, and the parameters that they become."""


def _keys_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {column: _plain_keys(mapping) for column, mapping in value.items()}
    return value


def _plain_keys(mapping: Any) -> Any:
    return {str(k): v for k, v in mapping.items()} if isinstance(mapping, dict) else mapping


IdMaps = Annotated[dict[str, dict[str, int]], BeforeValidator(_keys_as_text)]


class TrainingSpec(FileModel):
    """How the model is trained."""

    device: Annotated[
        str,
        Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$"),
        NOTHING,
        NO_MEMORY,
        Setting("cpu, cuda, cuda:n or mps; omitted = the best available.", default=None),
    ]
    """Torch device: cpu, cuda, cuda:n or mps."""
    device_max_concat_length: Annotated[Int, Field(ge=2), NOTHING] = 12
    """Most tensors that Sequifier concatenates at once; no effect on results."""
    epochs: Annotated[
        PositiveInt,
        SELECTION,
        NO_MEMORY,
        Candidates("List of epoch counts, one per `learning_rate`.", group=_SCHEDULE, position=1),
    ]
    """Number of passes over the training split."""
    log_interval: Annotated[
        PositiveInt,
        NOTHING,
        NO_MEMORY,
        Setting("Number of batches between two lines of a run's log."),
    ] = 10
    """Number of batches between two lines of the log."""
    class_share_log_columns: Annotated[list[str], NOTHING] = Field(default=[])
    """Categorical targets whose shares of predicted classes are logged."""
    early_stopping_epochs: Annotated[
        PositiveInt | None,
        SELECTION,
        NO_MEMORY,
        Setting("Epochs without improvement after which a run stops; null = never."),
    ] = None
    """Epochs without improvement after which training stops; null = never."""
    save_interval_epochs: Annotated[PositiveInt, NOTHING, NO_MEMORY, Setting(default=1)]
    """Epochs between two checkpoints."""
    save_latest_interval_minutes: Annotated[PositiveFloat | None, NOTHING, NO_MEMORY, NEWER] = None
    """Minutes between two checkpoints within an epoch, of which the newest is kept; null = none."""
    batch_size: Annotated[PositiveInt, WEIGHTS, GROWING, Candidates("List of batch sizes.")]
    """Number of windows per batch."""
    learning_rate: Annotated[
        PositiveFloat,
        WEIGHTS,
        NO_MEMORY,
        Candidates(
            "List of learning rates; anchor of the training schedule.", group=_SCHEDULE, position=0
        ),
    ]
    """Step size of the optimizer."""
    criterion: Annotated[
        dict[str, str],
        WEIGHTS,
        JUDGED,
        Setting(
            "Loss per target; omitted = CrossEntropyLoss for categorical, MSELoss for real targets.",
            default=None,
        ),
    ]
    """Loss per target column: the name of a class in torch.nn."""
    class_weights: Annotated[dict[str, list[Float]] | None, WEIGHTS, JUDGED] = None
    """Loss weight per class id (id 0 included) of categorical targets."""
    accumulation_steps: Annotated[
        PositiveInt | None,
        WEIGHTS,
        Candidates("List of batch counts per optimizer step.", takes_null=False),
    ] = None
    """Batches whose gradients are averaged into one optimizer step; null = 1."""
    dropout: Annotated[
        Probability, WEIGHTS, IF_ANY, Candidates("List of dropout probabilities.", default=[0.0])
    ] = 0.0
    """Dropout probability, everywhere."""
    loss_weights: Annotated[dict[str, Float] | None, WEIGHTS, JUDGED] = None
    """Weight of each target in the total loss; null = 1 each."""
    optimizer: Annotated[
        Recipe,
        WEIGHTS,
        IF_ANY,
        Candidates(
            "List of optimizers: `name` and constructor arguments.", default=[{"name": "Adam"}]
        ),
    ]
    """Optimizer: `name`, and arguments of its constructor."""
    scheduler: Annotated[
        Recipe,
        WEIGHTS,
        NO_MEMORY,
        Candidates(
            "List of schedulers, one per `learning_rate`; omitted = StepLR with gamma 0.99.",
            default=None,
            if_omitted={"name": "StepLR", "step_size": 1, "gamma": 0.99},
            group=_SCHEDULE,
            position=2,
        ),
    ]
    """Learning-rate scheduler: `name`, and arguments of its constructor."""
    scheduler_step_on: Annotated[
        StepOn, WEIGHTS, NO_MEMORY, Setting("When schedulers step: epoch or batch.")
    ] = "epoch"
    """When the scheduler steps: epoch or batch."""
    continue_training: Annotated[
        bool,
        NOTHING,
        NO_MEMORY,
        Setting(
            "Written to the run files; the search itself always resumes interrupted runs.",
            default=False,
        ),
    ] = True
    """Whether a run continues from its newest checkpoint."""
    enforce_determinism: Annotated[bool, NOTHING, Setting(default=True)] = False
    """Whether torch is asked for deterministic algorithms."""
    distributed: Annotated[bool, NOTHING] = False
    """Whether one run is spread over `world_size` processes, which share every batch."""
    load_full_data_to_ram: Annotated[
        bool,
        NOTHING,
        Setting(
            "Whether tensor shards are loaded into memory whole; false = only as much as `max_ram_gb` "
            "allows."
        ),
    ] = True
    """Whether tensor shards are loaded at once (false: what `max_ram_gb` allows)."""
    max_ram_gb: Annotated[PositiveFloat, NOTHING] = 16
    """Memory that the windows of lazily loaded shards may take, in GB; the rest stays on disk."""
    world_size: Annotated[PositiveInt, NOTHING] = 1
    """Number of processes of a distributed run; on GPUs, one for each."""
    num_workers: Annotated[
        NonNegativeInt,
        NOTHING,
        Setting(
            "Threads per run that prefetch windows from the disk or for a GPU; no effect on "
            "results."
        ),
    ] = 0
    """Threads that prefetch what is not in the device's memory; 0 = none."""
    backend: Annotated[str, NOTHING] = "nccl"
    """How the processes of a distributed run communicate: nccl or gloo; on the CPU always gloo."""
    layer_type_dtypes: Annotated[dict[LayerType, DtypeName] | None, WEIGHTS] = None
    """Number type per kind of layer; null = float32."""
    layer_autocast: Annotated[bool | None, WEIGHTS, Setting(takes_null=False)] = True
    """Whether training runs under autocast when `layer_type_dtypes` is set."""
    torch_compile: Annotated[
        TorchCompile,
        NOTHING,
        NEWER,
        Setting(
            "auto = compile the training step of runs long enough to repay it; none = never; "
            "Sequifier's outer and inner = auto."
        ),
    ] = "none"
    """auto = compile the training step if the run is long enough to repay it; none = never;
    Sequifier's outer and inner = auto."""

    @property
    def windows_per_step(self) -> int:
        """Number of windows per optimizer step."""
        return self.batch_size * (self.accumulation_steps or 1)

    @property
    def num_processes(self) -> int:
        """Processes that train one run."""
        return self.world_size if self.distributed else 1


class TrainConfig(FileModel):
    """A complete `train.yaml`, with everything from the metadata filled in."""

    project_root: Annotated[PathText, NOTHING, NO_MEMORY]
    """Root folder of the project."""
    metadata_config_path: Annotated[
        PathText, NOTHING, NO_MEMORY, Setting("Path of the metadata JSON written by preprocess.")
    ]
    """Metadata JSON of the data."""
    model_name: Annotated[ModelName, NOTHING, NO_MEMORY, OF_ONE_RUN]
    """Name of the run, used in file names."""
    training_data_path: Annotated[
        PathText,
        NOTHING,
        NO_MEMORY,
        FROM_METADATA,
        Setting("Training split; omitted = split 0 of the metadata.", default=None),
    ]
    """Training split."""
    validation_data_path: Annotated[
        PathText,
        NOTHING,
        NO_MEMORY,
        FROM_METADATA,
        Setting("Validation split; omitted = split 1 of the metadata.", default=None),
    ]
    """Validation split."""
    read_format: Annotated[ReadFormat, NOTHING] = "parquet"
    """Format of the splits: csv, parquet or pt."""
    input_columns: Annotated[
        Columns,
        WEIGHTS,
        Candidates(
            "List of input sets, each a list of columns; null = one set with all columns.",
            default=None,
            group=_DATA,
            position=0,
        ),
    ]
    """Columns the model reads; null = all."""
    column_types: Annotated[
        dict[str, str],
        NOTHING,
        FROM_METADATA,
        Candidates(
            "List of type maps, one per input set; omitted = those of the metadata.",
            default=None,
            group=_DATA,
            position=1,
        ),
    ]
    """Type per column, `Int64` (categorical) or `Float64` (real)."""
    categorical_columns: Annotated[
        list[str],
        WEIGHTS,
        FROM_METADATA,
        Candidates(
            "Categorical columns per input set; read only with --skip-metadata.",
            default=None,
            group=_DATA,
            position=2,
        ),
    ]
    """Categorical input columns, in the order of the metadata."""
    real_columns: Annotated[
        list[str],
        WEIGHTS,
        FROM_METADATA,
        Candidates(
            "Real columns per input set; read only with --skip-metadata.",
            default=None,
            group=_DATA,
            position=3,
        ),
    ]
    """Real input columns, in the order of the metadata."""
    target_columns: Annotated[Columns, WEIGHTS, JUDGED, Setting("Columns to predict.")]
    """Columns the model predicts."""
    target_column_types: Annotated[dict[str, TargetType], WEIGHTS, JUDGED]
    """Kind of each target, in the order of `target_columns`: categorical or real."""
    id_maps: Annotated[
        IdMaps,
        NOTHING,
        NO_MEMORY,
        FROM_METADATA,
        Setting("Ids per categorical column; read only with --skip-metadata.", default=None),
    ]
    """Per categorical column: raw value as text -> id."""
    seq_length: Annotated[
        PositiveInt,
        WEIGHTS,
        GROWING_ON_CPU,
        Candidates("List of window lengths, in past items that the model sees."),
    ]
    """Number of past items the model sees."""
    n_classes: Annotated[
        dict[str, PositiveInt],
        WEIGHTS,
        FROM_METADATA,
        Setting(
            "Number of ids per categorical column; omitted = that of the metadata.", default=None
        ),
    ]
    """Number of ids per categorical column, id 0 included."""
    inference_batch_size: Annotated[
        PositiveInt,
        NOTHING,
        NO_MEMORY,
        Setting("Batch size written into the run files for inference.", default=10),
    ]
    """Batch size of inference."""
    seed: Annotated[
        Seed, WEIGHTS, NO_MEMORY, Setting("Seed of the search and of every run.", default=101)
    ] = 1010
    """Seed of initial weights, data order and dropout."""
    export_generative_model: Annotated[bool, NOTHING, NO_MEMORY, Setting(default=True)]
    """Whether the generative (predicting) model is exported."""
    export_embedding_model: Annotated[bool, NOTHING, NO_MEMORY, Setting(default=False)]
    """Whether the embedding model is exported."""
    export_onnx: Annotated[bool, NOTHING, NO_MEMORY] = True
    """Whether models are exported as ONNX."""
    export_pt: Annotated[bool, NOTHING, NO_MEMORY] = False
    """Whether models are exported as torch state."""
    export_with_dropout: Annotated[bool, NOTHING, NO_MEMORY] = False
    """Whether exported models keep their dropout active."""
    model_spec: Annotated[
        ModelSpec, Section("model_hyperparameter_sampling", "Candidates for the architecture.")
    ]
    """Architecture."""
    training_spec: Annotated[
        TrainingSpec, Section("training_hyperparameter_sampling", "Candidates for training.")
    ]
    """Training."""

    def with_more_epochs(self, epochs: int) -> "TrainConfig":
        """The run under a name of its own, going on from its checkpoint until that epoch."""
        name = f"{self.model_name}-to-epoch-{epochs}"
        return self._trained_until(epochs, {"model_name": name})

    def refitted(self, name: str, training: str, epochs: int) -> "TrainConfig":
        """The run on other training data, for that many epochs whatever its losses say."""
        exported = {"export_generative_model": True, "export_onnx": True}
        return self._trained_until(
            epochs, {"model_name": name, "training_data_path": training, **exported}
        )

    def _trained_until(self, epochs: int, update: dict[str, Any]) -> "TrainConfig":
        """The run with other values, going on from its checkpoint to exactly that epoch."""
        length = {"epochs": epochs, "early_stopping_epochs": None, "continue_training": True}
        spec = self.training_spec.model_copy(update=length)
        return self.model_copy(update={**update, "training_spec": spec})

    @property
    def loss_definition(self) -> dict[str, Any]:
        """What the run's loss is made of; only where it is the same, losses can be compared."""
        spec = self.training_spec
        return {
            "criterion": spec.criterion,
            "class_weights": spec.class_weights,
            "loss_weights": spec.loss_weights,
        }

    @property
    def columns_read(self) -> set[str]:
        """Columns of the data that the run reads."""
        return {*self.input_columns, *self.target_columns}

    @property
    def paths(self) -> ProjectPaths:
        """Where the files of the run are."""
        return ProjectPaths(Path(self.project_root))
