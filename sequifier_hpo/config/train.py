"""One training run: Sequifier's `train.yaml`, complete and validated.

A `TrainConfig` is what a trial is: the file written for it, the message sent to the worker and the
object it trains from are the same value. Field order is the order in which Sequifier writes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field

from sequifier_hpo.config.fields import (
    ActivationFn,
    AttentionType,
    Columns,
    DtypeName,
    Float,
    LayerType,
    ModelName,
    NonNegativeInt,
    Normalization,
    PathText,
    PositionalEncoding,
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
from sequifier_hpo.config.metadata import DataMetadata, is_categorical, is_real, read_metadata
from sequifier_hpo.config.other_metadata import leftovers_of_own_metadata
from sequifier_hpo.config.paths import ProjectPaths, project_path
from sequifier_hpo.config.recipes import recipe_findings
from sequifier_hpo.config.schema import Check, Finding, FrozenModel, check, did_you_mean, load
from sequifier_hpo.config.yaml_file import YamlDocument, dump_yaml, parse_path, read_yaml
from sequifier_hpo.errors import ConfigError

CATEGORICAL_CRITERIA = ("CrossEntropyLoss", "MultiMarginLoss", "NLLLoss")
REAL_CRITERIA = (
    "MSELoss",
    "L1Loss",
    "SmoothL1Loss",
    "HuberLoss",
    "BCEWithLogitsLoss",
    "PoissonNLLLoss",
    "SoftMarginLoss",
)

_BACKENDS = ("nccl", "gloo")
PROCESS_FIELDS = ("distributed", "world_size", "device", "backend")
_TRAINED_DTYPES = ("float32", "bfloat16", "float64")

# Names that torch's module containers refuse as keys, because they are attributes of their own.
_RESERVED_COLUMN_NAMES_TEXT = (
    "add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double "
    "dump_patches eval extra_repr float forward fromkeys get_buffer get_extra_state get_parameter "
    "get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children "
    "named_modules named_parameters parameters pop register_backward_hook register_buffer "
    "register_forward_hook register_forward_pre_hook register_full_backward_hook "
    "register_full_backward_pre_hook register_load_state_dict_post_hook "
    "register_load_state_dict_pre_hook register_module register_parameter "
    "register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state "
    "set_submodule share_memory state_dict to to_empty train training type update values xpu "
    "zero_grad"
)
_RESERVED_COLUMN_NAMES = frozenset(_RESERVED_COLUMN_NAMES_TEXT.split())


def _keys_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {column: _plain_keys(mapping) for column, mapping in value.items()}
    return value


def _plain_keys(mapping: Any) -> Any:
    return {str(k): v for k, v in mapping.items()} if isinstance(mapping, dict) else mapping


IdMaps = Annotated[dict[str, dict[str, int]], BeforeValidator(_keys_as_text)]


class ModelSpec(FrozenModel):
    """Architecture of the transformer."""

    initial_embedding_dim: PositiveInt
    """Width of all feature embeddings together."""
    feature_embedding_dims: dict[str, PositiveInt] | None = None
    """Embedding width per input column, in the order of `input_columns`; null = shared out."""
    joint_embedding_dim: PositiveInt | None = None
    """Width of a linear layer after the embeddings; null = no such layer."""
    dim_model: PositiveInt
    """Width of the residual stream."""
    n_head: PositiveInt
    """Number of attention heads."""
    dim_feedforward: PositiveInt
    """Inner width of the feed-forward layers."""
    num_layers: PositiveInt
    """Number of transformer blocks."""
    activation_fn: ActivationFn = "swiglu"
    """Activation of the feed-forward layers: swiglu, gelu or relu."""
    normalization: Normalization = "rmsnorm"
    """Kind of norm: rmsnorm or layer_norm."""
    positional_encoding: PositionalEncoding = "learned"
    """Position information: learned tables or rope."""
    attention_type: AttentionType = "mha"
    """Sharing of key/value heads: mha, mqa or gqa."""
    norm_first: bool = True
    """Whether norms come before attention and feed-forward (pre-norm)."""
    n_kv_heads: PositiveInt | None = None
    """Number of key/value heads; null = as many as `n_head`."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the rotary angles."""
    prediction_length: PositiveInt
    """Number of last positions that the exported model returns."""


class TrainingSpec(FrozenModel):
    """How the model is trained."""

    device: str = Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Torch device: cpu, cuda, cuda:n or mps."""
    device_max_concat_length: Annotated[int, Field(ge=2)] = 12
    """Most tensors that Sequifier concatenates at once; no effect on results."""
    epochs: PositiveInt
    """Number of passes over the training split."""
    log_interval: PositiveInt = 10
    """Number of batches between two lines of the log."""
    class_share_log_columns: list[str] = Field(default=[])
    """Categorical targets whose predicted class shares are logged."""
    early_stopping_epochs: PositiveInt | None = None
    """Epochs without improvement after which training stops; null = never."""
    save_interval_epochs: PositiveInt
    """Epochs between two checkpoints."""
    batch_size: PositiveInt
    """Number of windows per batch."""
    learning_rate: PositiveFloat
    """Step size of the optimizer."""
    criterion: dict[str, str]
    """Loss per target column: the name of a class in torch.nn."""
    class_weights: dict[str, list[Float]] | None = None
    """Loss weight per class id (id 0 included) of categorical targets."""
    accumulation_steps: PositiveInt | None = None
    """Batches whose gradients are averaged into one optimizer step; null = 1."""
    dropout: Probability = 0.0
    """Dropout probability, everywhere."""
    loss_weights: dict[str, Float] | None = None
    """Weight of each target in the total loss; null = 1 each."""
    optimizer: Recipe
    """Optimizer: `name`, and arguments of its constructor."""
    scheduler: Recipe
    """Learning-rate scheduler: `name`, and arguments of its constructor."""
    scheduler_step_on: StepOn = "epoch"
    """When the scheduler steps: epoch or batch."""
    continue_training: bool = True
    """Whether a run continues from its newest checkpoint."""
    enforce_determinism: bool = False
    """Whether torch is asked for deterministic algorithms."""
    distributed: bool = False
    """Whether one run is spread over `world_size` processes, which share every batch."""
    load_full_data_to_ram: bool = True
    """Whether tensor shards are loaded at once (false: what `max_ram_gb` allows)."""
    max_ram_gb: PositiveFloat = 16
    """Memory that the windows of lazily loaded shards may take, in GB; the rest stays on disk."""
    world_size: PositiveInt = 1
    """Number of processes of a distributed run; on GPUs, one for each."""
    num_workers: NonNegativeInt = 0
    """Threads that read ahead what is not in the device's memory; 0 = none."""
    backend: str = "nccl"
    """How GPUs communicate in a distributed run: nccl or gloo; on the CPU always gloo."""
    layer_type_dtypes: dict[LayerType, DtypeName] | None = None
    """Number type per kind of layer; null = float32."""
    layer_autocast: bool | None = True
    """Whether training runs under autocast when `layer_type_dtypes` is set."""
    torch_compile: TorchCompile = "none"
    """auto = the training step is compiled where the run's steps repay it; none = never."""

    @property
    def num_processes(self) -> int:
        """Processes that train the run."""
        return self.world_size if self.distributed else 1


class TrainConfig(FrozenModel):
    """A complete `train.yaml`: nothing is left to be filled in from the metadata."""

    project_root: PathText
    """Root folder of the project."""
    metadata_config_path: PathText
    """Metadata JSON of the data."""
    model_name: ModelName
    """Name of the run, used in file names."""
    training_data_path: PathText
    """Training split."""
    validation_data_path: PathText
    """Validation split."""
    read_format: ReadFormat = "parquet"
    """Format of the splits: csv, parquet or pt."""
    input_columns: Columns
    """Columns the model reads."""
    column_types: dict[str, str]
    """Type per column, `Int64` (categorical) or `Float64` (real)."""
    categorical_columns: list[str]
    """Categorical input columns, in the order of the metadata."""
    real_columns: list[str]
    """Real input columns, in the order of the metadata."""
    target_columns: Columns
    """Columns the model predicts."""
    target_column_types: dict[str, TargetType]
    """Kind of each target, in the order of `target_columns`: categorical or real."""
    id_maps: IdMaps
    """Per categorical column: raw value as text -> id."""
    seq_length: PositiveInt
    """Number of past items the model sees."""
    n_classes: dict[str, PositiveInt]
    """Number of ids per categorical column, id 0 included."""
    inference_batch_size: PositiveInt
    """Batch size of inference."""
    seed: Seed = 1010
    """Seed of initial weights, data order and dropout."""
    export_generative_model: bool
    """Whether the predicting model is exported."""
    export_embedding_model: bool
    """Whether the embedding model is exported."""
    export_onnx: bool = True
    """Whether models are exported as ONNX."""
    export_pt: bool = False
    """Whether models are exported as torch state."""
    export_with_dropout: bool = False
    """Whether exported models keep their dropout active."""
    model_spec: ModelSpec
    """Architecture."""
    training_spec: TrainingSpec
    """Training."""

    @property
    def paths(self) -> ProjectPaths:
        """Where the files of the run are."""
        return ProjectPaths(Path(self.project_root))


def load_train_config(
    path: Path, *, overrides: Mapping[str, Any] | None = None, skip_metadata: bool = False
) -> TrainConfig:
    """Read a `train.yaml`, fill it in from the metadata, and check it.

    Args:
        path: The YAML file.
        overrides: Root keys given on the command line; they replace those of the file.
        skip_metadata: Take the derived fields from the file instead of from the metadata.

    Raises:
        ConfigError: With every mistake of the file.
    """
    document = read_yaml(path)
    data = {**document.data, **(overrides or {})}
    skip = bool(data.pop("skip_metadata", False)) or skip_metadata
    if not skip:
        data = _filled_from_metadata(document, data)
    document = document.completed(data, overrides or {})
    return load(TrainConfig, document, TRAIN_CHECKS)


def train_yaml(config: TrainConfig) -> str:
    """The text of the run's standalone `train.yaml`.

    Sequifier 1.0.0.6 refuses keys it does not know, so `torch_compile` stands there only if it says
    something.
    """
    content = config.model_dump()
    if config.training_spec.torch_compile == "none":
        del content["training_spec"]["torch_compile"]
    return dump_yaml(content)


def effective_columns(
    input_columns: list[str], column_types: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """(categorical, real) input columns, both in the order of the metadata's `column_types`."""
    # No set: raw YAML values, which may not be hashable, come through here as well.
    chosen = [(name, kind) for name, kind in column_types.items() if name in input_columns]
    return [n for n, t in chosen if is_categorical(t)], [n for n, t in chosen if is_real(t)]


def _filled_from_metadata(document: YamlDocument, data: dict[str, Any]) -> dict[str, Any]:
    metadata_path = data.get("metadata_config_path")
    project_root = data.get("project_root")
    if not isinstance(metadata_path, str) or not isinstance(project_root, str):
        return data  # reported as missing or mistyped by the model
    place = document.issue(("metadata_config_path",), "")
    metadata = read_metadata(Path(project_path(metadata_path, project_root)), where=place)
    if issues := leftovers_of_own_metadata(document, project_root, metadata_path, metadata):
        raise ConfigError(issues)
    return filled(data, metadata, project_root)


def filled(data: dict[str, Any], metadata: DataMetadata, project_root: str) -> dict[str, Any]:
    """Root keys of a train config with everything that the metadata supplies."""
    data = dict(data)
    splits = metadata.split_paths
    if splits:
        data.setdefault("training_data_path", splits[0])
        data.setdefault("validation_data_path", splits[min(1, len(splits) - 1)])
    for key in ("training_data_path", "validation_data_path"):
        if isinstance(data.get(key), str) and data[key].strip():
            data[key] = project_path(data[key], project_root)
    data.setdefault("column_types", dict(metadata.column_types))
    data["n_classes"] = data.get("n_classes") or dict(metadata.n_classes)
    if data.get("input_columns", ...) is None and isinstance(data["column_types"], dict):
        data["input_columns"] = list(data["column_types"])
    if isinstance(data.get("input_columns"), list):
        categorical, real = effective_columns(data["input_columns"], metadata.column_types)
        data["categorical_columns"], data["real_columns"] = categorical, real
    data["id_maps"] = metadata.id_maps
    return data


# Rules between fields. Each yields findings at the field that should be changed.


@check("input_columns", "column_types", "target_columns")
def _columns_are_known(config: TrainConfig) -> Iterator[Finding]:
    known = config.column_types
    for key in ("input_columns", "target_columns"):
        for i, column in enumerate(getattr(config, key)):
            if column not in known:
                yield Finding(
                    (key, i),
                    f"the data has no column `{column}`",
                    ", ".join(known),
                    did_you_mean(column, known),
                )


@check("input_columns", "target_columns")
def _columns_can_be_module_names(config: TrainConfig) -> Iterator[Finding]:
    for key in ("input_columns", "target_columns"):
        for i, column in enumerate(getattr(config, key)):
            if problem := column_name_problem(column):
                yield Finding((key, i), problem, fix="rename the column in the data")


def column_name_problem(column: str) -> str | None:
    """Why a column cannot be embedded or predicted by that name, or None if it can."""
    if not column:
        return "a column name is empty"
    if "." in column:
        return f"the column name `{column}` contains a dot, which torch parameter names cannot"
    if column in _RESERVED_COLUMN_NAMES:
        return f"the column name `{column}` is a reserved name of torch modules"
    return None


@check("target_columns", "target_column_types")
def _target_types_match_targets(config: TrainConfig) -> Iterator[Finding]:
    if list(config.target_column_types) != config.target_columns:
        yield Finding(
            ("target_column_types",),
            f"lists {list(config.target_column_types)}, but the targets are {config.target_columns}",
            "exactly the columns of `target_columns`, in the same order",
        )


@check("target_columns", "target_column_types", "n_classes")
def _categorical_columns_have_classes(config: TrainConfig) -> Iterator[Finding]:
    for column, kind in config.target_column_types.items():
        if kind == "categorical" and column not in config.n_classes:
            yield Finding(
                ("target_column_types", column),
                f"`{column}` is not a categorical column of the data: it has no n_classes entry",
                "categorical for columns with ids, real for the others",
            )
    for column in getattr(config, "categorical_columns", ()):
        if column not in config.n_classes:
            yield Finding(("n_classes",), f"no entry for the categorical input `{column}`")


@check("training_spec.criterion", "target_columns", "target_column_types")
def _criteria_fit_targets(config: TrainConfig) -> Iterator[Finding]:
    yield from criterion_findings(
        config.training_spec.criterion, config.target_column_types, ("training_spec", "criterion")
    )


def criterion_findings(
    criterion: Mapping[str, str], target_types: Mapping[str, str], loc: tuple[str, ...]
) -> Iterator[Finding]:
    """Check one loss per target, each fit for its kind."""
    if set(criterion) != set(target_types):
        yield Finding(
            loc,
            f"names the losses of {sorted(criterion)}, but the targets are {sorted(target_types)}",
            "one loss for each target column",
        )
    for column, name in criterion.items():
        allowed = (
            CATEGORICAL_CRITERIA if target_types.get(column) == "categorical" else REAL_CRITERIA
        )
        if column in target_types and name not in allowed:
            kind = target_types[column]
            problem = f"`{name}` is not a loss for a {kind} target"
            yield Finding((*loc, column), problem, ", ".join(allowed), did_you_mean(name, allowed))


@check("training_spec", "n_classes", "target_column_types")
def _weights_fit_targets(config: TrainConfig) -> Iterator[Finding]:
    yield from weight_findings(
        config.training_spec, config.target_column_types, config.n_classes, ("training_spec",)
    )


def weight_findings(
    spec: Any, target_types: Mapping[str, str], n_classes: Mapping[str, int], loc: tuple[str, ...]
) -> Iterator[Finding]:
    """Check class_weights, loss_weights and class_share_log_columns against the targets."""
    categorical = [column for column, kind in target_types.items() if kind == "categorical"]
    for column, weights in (spec.class_weights or {}).items():
        here = (*loc, "class_weights", column)
        if column not in categorical:
            yield Finding(here, f"`{column}` is not a categorical target", ", ".join(categorical))
        elif column in n_classes and len(weights) != n_classes[column]:
            yield Finding(
                here,
                f"has {len(weights)} weights, but `{column}` has {n_classes[column]} ids",
                f"{n_classes[column]} numbers: first that of id 0 (padding), then one per class",
            )
    if spec.loss_weights is not None and set(spec.loss_weights) != set(target_types):
        yield Finding(
            (*loc, "loss_weights"),
            f"weighs {sorted(spec.loss_weights)}, but the targets are {sorted(target_types)}",
            "one weight for each target column, or null",
        )
    for i, column in enumerate(spec.class_share_log_columns):
        if column not in categorical:
            yield Finding(
                (*loc, "class_share_log_columns", i),
                f"`{column}` is not a categorical target",
                ", ".join(categorical),
                did_you_mean(column, categorical),
            )


@check("model_spec")
def _dimensions_fit(config: TrainConfig) -> Iterator[Finding]:
    spec = config.model_spec
    yield from dimension_findings(
        {
            "dim_model": (spec.dim_model, ("model_spec", "dim_model")),
            "n_head": (spec.n_head, ("model_spec", "n_head")),
            "initial_embedding_dim": (
                spec.initial_embedding_dim,
                ("model_spec", "initial_embedding_dim"),
            ),
            "joint_embedding_dim": (
                spec.joint_embedding_dim,
                ("model_spec", "joint_embedding_dim"),
            ),
        },
        with_rope=spec.positional_encoding == "rope",
    )
    kv_loc = ("model_spec", "n_kv_heads")
    kv = spec.n_kv_heads
    if spec.attention_type == "mha" and kv not in (None, spec.n_head):
        yield Finding(kv_loc, f"{kv} under mha", f"null or n_head = {spec.n_head}")
    if spec.attention_type == "mqa" and kv != 1 and "n_kv_heads" in spec.model_fields_set:
        yield Finding(kv_loc, f"{'null' if kv is None else kv} under mqa", "1")
    is_written_gqa = spec.attention_type == "gqa" and "n_kv_heads" in spec.model_fields_set
    if is_written_gqa and (kv is None or spec.n_head % kv):
        problem = f"{'null' if kv is None else kv} under gqa with n_head = {spec.n_head}"
        yield Finding(kv_loc, problem, _divisors(spec.n_head))


def _divisors(number: int) -> str:
    """The divisors that can be numbers of heads, for a message."""
    return ", ".join(str(d) for d in range(1, min(number, 1024) + 1) if number % d == 0)


def dimension_findings(
    values: Mapping[str, tuple[int | None, tuple[str | int, ...]]], *, with_rope: bool
) -> Iterator[Finding]:
    """Check one backbone: name -> (value, where it stands)."""
    dim_model, _ = values["dim_model"]
    n_head, n_head_loc = values["n_head"]
    initial, initial_loc = values["initial_embedding_dim"]
    joint, joint_loc = values["joint_embedding_dim"]
    assert dim_model is not None
    assert n_head is not None
    if dim_model % n_head:
        problem = f"{n_head} does not divide dim_model = {dim_model}"
        yield Finding(n_head_loc, problem, _divisors(dim_model))
    elif with_rope and (dim_model // n_head) % 2:
        yield Finding(
            n_head_loc,
            f"rope needs an even head size, but dim_model / n_head = {dim_model} / {n_head} "
            f"= {dim_model // n_head}",
            "an n_head that makes dim_model / n_head even, or positional_encoding: learned",
        )
    if joint is None and initial != dim_model:
        yield Finding(
            initial_loc,
            f"{initial} differs from dim_model = {dim_model} and there is no joint_embedding_dim",
            str(dim_model),
            f"set it to {dim_model}, or set joint_embedding_dim to {dim_model}",
        )
    if joint is not None and joint != dim_model:
        yield Finding(
            joint_loc, f"{joint} differs from dim_model = {dim_model}", f"{dim_model} or null"
        )


@check("model_spec.feature_embedding_dims", "model_spec.initial_embedding_dim", "input_columns")
def _feature_embedding_dims_fit(config: TrainConfig) -> Iterator[Finding]:
    spec = config.model_spec
    loc = ("model_spec", "feature_embedding_dims")
    dims = spec.feature_embedding_dims
    if dims is not None:
        if list(dims) != config.input_columns:
            yield Finding(
                loc,
                f"has the columns {list(dims)}, but the inputs are {config.input_columns}",
                "exactly the input columns, in the same order",
            )
        elif sum(dims.values()) != spec.initial_embedding_dim:
            yield Finding(
                loc,
                f"the widths sum to {sum(dims.values())}",
                f"a sum of initial_embedding_dim = {spec.initial_embedding_dim}",
            )
        return
    num_categorical = len(getattr(config, "categorical_columns", ()))
    num_real = len(getattr(config, "real_columns", ()))
    width = spec.initial_embedding_dim
    if num_categorical and num_real:
        yield Finding(
            loc,
            "must be given when both categorical and real columns are inputs",
            f"one width per input column, summing to {width}",
        )
    elif num_categorical and width % num_categorical:
        yield Finding(
            ("model_spec", "initial_embedding_dim"),
            f"{width} cannot be shared equally by {num_categorical} categorical inputs",
            f"a multiple of {num_categorical}, or explicit feature_embedding_dims",
        )
    elif num_real > width:
        yield Finding(
            ("model_spec", "initial_embedding_dim"),
            f"{width} is less than the number of real inputs, {num_real}",
            f">= {num_real}",
        )


@check("model_spec.prediction_length", "seq_length")
def _prediction_fits_window(config: TrainConfig) -> Iterator[Finding]:
    if config.model_spec.prediction_length > config.seq_length:
        yield Finding(
            ("model_spec", "prediction_length"),
            f"{config.model_spec.prediction_length} is longer than seq_length = {config.seq_length}",
            f"1 to {config.seq_length}",
        )


@check("training_spec.optimizer", "training_spec.scheduler")
def _recipes_can_be_built(config: TrainConfig) -> Iterator[Finding]:
    spec = config.training_spec
    yield from recipe_findings("optimizer", spec.optimizer, ("training_spec", "optimizer"))
    yield from recipe_findings("scheduler", spec.scheduler, ("training_spec", "scheduler"))


@check("training_spec.scheduler", "training_spec.scheduler_step_on", "training_spec.epochs")
def _total_steps_match_epochs(config: TrainConfig) -> Iterator[Finding]:
    spec = config.training_spec
    total = spec.scheduler.get("total_steps")
    if spec.scheduler_step_on == "epoch" and total is not None and total != spec.epochs:
        yield Finding(
            ("training_spec", "scheduler", "total_steps"),
            f"{total} differs from epochs = {spec.epochs} while the scheduler steps on epochs",
            str(spec.epochs),
        )


@check(*(f"training_spec.{field}" for field in PROCESS_FIELDS))
def _processes_can_be_had(config: TrainConfig) -> Iterator[Finding]:
    spec = config.training_spec
    yield from process_findings(spec, "training_spec")


class ProcessSpec(Protocol):
    """The fields named in `PROCESS_FIELDS`, of a run or of a search."""

    @property
    def distributed(self) -> bool: ...
    @property
    def world_size(self) -> int: ...
    @property
    def device(self) -> str | None: ...
    @property
    def backend(self) -> str: ...


def process_findings(spec: ProcessSpec, section: str) -> Iterator[Finding]:
    """Refuse runs whose processes have no device each, or cannot talk to each other."""
    if spec.world_size == 1:
        return
    if not spec.distributed:
        yield Finding(
            (section, "world_size"),
            f"{spec.world_size} processes need distributed: true",
            "distributed: true, or world_size: 1",
        )
        return
    if spec.device not in (None, "cpu", "cuda"):
        yield Finding(
            (section, "device"),
            f"{spec.device} is one device, but each of {spec.world_size} processes needs its own",
            "cuda (the first GPUs), cpu, or world_size: 1",
        )
    if spec.backend not in _BACKENDS:
        yield Finding(
            (section, "backend"),
            f"processes cannot communicate through {spec.backend} here",
            ", ".join(_BACKENDS),
        )


@check("training_spec.layer_type_dtypes")
def _dtypes_can_be_trained(config: TrainConfig) -> Iterator[Finding]:
    yield from dtype_findings(config.training_spec.layer_type_dtypes, "training_spec")


def dtype_findings(dtypes: Mapping[LayerType, DtypeName] | None, section: str) -> Iterator[Finding]:
    """Refuse number types in which torch cannot train these layers."""
    for layer, dtype in (dtypes or {}).items():
        if dtype not in _TRAINED_DTYPES:
            yield Finding(
                (section, "layer_type_dtypes", layer),
                f"layers in {dtype} cannot be trained: torch has no gradient scaling for them",
                ", ".join(_TRAINED_DTYPES),
            )


TRAIN_CHECKS: tuple[Check[TrainConfig], ...] = (
    _columns_are_known,
    _columns_can_be_module_names,
    _target_types_match_targets,
    _categorical_columns_have_classes,
    _criteria_fit_targets,
    _weights_fit_targets,
    _dimensions_fit,
    _feature_embedding_dims_fit,
    _prediction_fits_window,
    _recipes_can_be_built,
    _total_steps_match_epochs,
    _processes_can_be_had,
    _dtypes_can_be_trained,
)


def assert_valid(config: TrainConfig) -> TrainConfig:
    """Return a config built by us, after the same checks as a file's.

    Raises:
        ConfigError: If a rule is broken: the compiler of the search space let it through.
    """
    document = YamlDocument("generated run file", config.model_dump())
    issues = [
        document.issue(finding.loc, finding.problem, allowed=finding.allowed, fix=finding.fix)
        for rule in TRAIN_CHECKS
        for finding in rule.find(config)
    ]
    if issues:
        raise ConfigError(issues)
    return config


__all__ = [
    "ModelSpec",
    "TrainConfig",
    "TrainingSpec",
    "assert_valid",
    "load_train_config",
    "parse_path",
    "train_yaml",
]
