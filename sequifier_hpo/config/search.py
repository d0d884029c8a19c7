"""The search file: which fields exist, what they may hold, and what must fit together.

Field order is that of the user guide. Lists are candidates; single values are fixed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from sequifier_hpo.config.fields import (
    ActivationFn,
    AttentionType,
    Columns,
    DtypeName,
    Float,
    Int,
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
from sequifier_hpo.config.linked import (
    DATA_SCHEMA,
    MODEL_BACKBONE,
    MODEL_SECTION,
    TRAINING_SCHEDULE,
    TRAINING_SECTION,
    LinkedGroup,
    length_findings,
)
from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.config.paths import ProjectPaths, project_path
from sequifier_hpo.config.recipes import recipe_findings
from sequifier_hpo.config.schema import Check, Finding, FrozenModel, check, did_you_mean, load
from sequifier_hpo.config.train import effective_columns
from sequifier_hpo.config.train_fields import IdMaps
from sequifier_hpo.config.train_rules import (
    PROCESS_FIELDS,
    column_name_problem,
    criterion_findings,
    dimension_findings,
    dtype_findings,
    process_findings,
    weight_findings,
)
from sequifier_hpo.config.widths import allocate_widths
from sequifier_hpo.config.yaml_file import YamlDocument, read_yaml
from sequifier_hpo.errors import ConfigError, ConfigIssue


class ModelSampling(FrozenModel):
    """`model_hyperparameter_sampling`: candidates for the architecture."""

    dim_model: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of widths of the residual stream; anchor of the model backbone."""
    n_head: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of numbers of attention heads, one per `dim_model`, each dividing it."""
    initial_embedding_dim: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of feature embedding widths, one per `dim_model`; equal to it unless a joint layer is used."""
    joint_embedding_dim: Annotated[list[PositiveInt | None], Field(min_length=1)] | None = None
    """List of joint layer widths, one per `dim_model`: null (no layer) or equal to it."""
    feature_embedding_dims: (
        Annotated[list[dict[str, PositiveInt] | None], Field(min_length=1)] | None
    ) = None
    """List of maps from input column to embedding width, one per `dim_model`; null = shared out."""
    dim_feedforward: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of inner widths of the feed-forward layers."""
    num_layers: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of numbers of blocks."""
    activation_fn: Annotated[list[ActivationFn], Field(min_length=1)]
    """List of activations: swiglu, gelu, relu."""
    normalization: Annotated[list[Normalization], Field(min_length=1)]
    """List of norms: rmsnorm, layer_norm."""
    positional_encoding: Annotated[list[PositionalEncoding], Field(min_length=1)]
    """List of position encodings: learned, rope."""
    attention_type: Annotated[list[AttentionType], Field(min_length=1)]
    """List of attention types: mha, mqa, gqa."""
    norm_first: Annotated[list[bool], Field(min_length=1)] = Field(default=[True])
    """List of norm placements: true = pre-norm, false = post-norm."""
    n_kv_heads: Annotated[list[PositiveInt | None], Field(min_length=1)]
    """List of numbers of key/value heads (for mqa and gqa); null for mha."""
    rope_theta: Annotated[list[PositiveFloat], Field(min_length=1)] = Field(default=[10000.0])
    """List of bases of the rotary angles."""
    prediction_length: PositiveInt = 1
    """Number of last positions that exported models return (one value, not a list)."""


class TrainingSampling(FrozenModel):
    """`training_hyperparameter_sampling`: candidates for training, and its fixed settings."""

    learning_rate: Annotated[list[PositiveFloat], Field(min_length=1)]
    """List of learning rates; anchor of the training schedule."""
    epochs: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of numbers of epochs, one per `learning_rate`."""
    scheduler: Annotated[list[Recipe], Field(min_length=1)] | None = None
    """List of schedulers, one per `learning_rate`; omitted = StepLR with gamma 0.99."""
    batch_size: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of batch sizes."""
    accumulation_steps: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of numbers of batches per optimizer step."""
    dropout: Annotated[list[Probability], Field(min_length=1)] = Field(default=[0.0])
    """List of dropout probabilities."""
    optimizer: Annotated[list[Recipe], Field(min_length=1)] = Field(default=[{"name": "Adam"}])
    """List of optimizers: `name` and constructor arguments."""
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")] | None = None
    """cpu, cuda, cuda:n or mps; omitted = the best available."""
    criterion: dict[str, str] | None = None
    """Loss per target; omitted = CrossEntropyLoss for categorical, MSELoss for real targets."""
    save_interval_epochs: PositiveInt = 1
    """Epochs between two checkpoints."""
    continue_training: bool = False
    """Written to the run files; the search itself always resumes what was interrupted."""
    log_interval: PositiveInt = 10
    """Number of batches between two lines of a run's log."""
    class_share_log_columns: list[str] = Field(default=[])
    """Categorical targets whose predicted class shares are logged."""
    early_stopping_epochs: PositiveInt | None = None
    """Epochs without improvement after which a run stops; null = never."""
    class_weights: dict[str, list[Float]] | None = None
    """Loss weight per class id (id 0 included) of categorical targets."""
    loss_weights: dict[str, Float] | None = None
    """Weight of each target in the total loss; null = 1 each."""
    scheduler_step_on: StepOn = "epoch"
    """When schedulers step: epoch or batch."""
    distributed: bool = False
    """Whether one run is spread over `world_size` processes, which share every batch."""
    load_full_data_to_ram: bool = True
    """Whether tensor shards are loaded at once; false = as much of them as `max_ram_gb` allows."""
    max_ram_gb: PositiveFloat = 16
    """Memory that the windows of lazily loaded shards may take, in GB; the rest stays on disk."""
    device_max_concat_length: Annotated[Int, Field(ge=2)] = 12
    """Most tensors that Sequifier concatenates at once; no effect on results."""
    world_size: PositiveInt = 1
    """Number of processes of a distributed run; on GPUs, one for each."""
    num_workers: NonNegativeInt = 0
    """Threads per run that read windows ahead from the disk or for a GPU; no effect on results."""
    backend: str = "nccl"
    """How GPUs communicate in a distributed run: nccl or gloo; on the CPU always gloo."""
    layer_type_dtypes: dict[LayerType, DtypeName] | None = None
    """Number type per kind of layer; null = float32."""
    layer_autocast: bool = True
    """Whether training runs under autocast when `layer_type_dtypes` is set."""
    enforce_determinism: bool = True
    """Whether torch is asked for deterministic algorithms."""
    torch_compile: TorchCompile = "none"
    """auto = compile the training step of runs whose steps repay it; none = of no run."""

    @property
    def num_processes(self) -> int:
        """Processes that train one run."""
        return self.world_size if self.distributed else 1


class SearchConfig(FrozenModel):
    """A hyperparameter-search file."""

    project_root: PathText
    """Root folder of the project."""
    metadata_config_path: PathText
    """Path of the metadata JSON written by preprocess."""
    hp_search_name: ModelName
    """Name of the search; prefix of its runs."""
    model_config_write_path: PathText
    """Folder for the generated run files."""
    search_strategy: Literal["sample", "grid"] = "sample"
    """sample (random search) or grid (every combination)."""
    n_samples: PositiveInt | None = None
    """Number of distinct runs in all; required for `sample`."""
    training_data_path: PathText | None = None
    """Training split; omitted = split 0 of the metadata."""
    validation_data_path: PathText | None = None
    """Validation split; omitted = split 1 of the metadata."""
    read_format: ReadFormat = "parquet"
    """Format of the splits: csv, parquet or pt."""
    input_columns: Annotated[list[Columns], Field(min_length=1)] | None = None
    """List of input sets, each a list of columns; null = one set with all columns."""
    column_types: Annotated[list[dict[str, str]], Field(min_length=1)] | None = None
    """List of type maps, one per input set; omitted = those of the metadata."""
    categorical_columns: list[list[str]] | None = None
    """Categorical columns per input set; read only with --skip-metadata."""
    real_columns: list[list[str]] | None = None
    """Real columns per input set; read only with --skip-metadata."""
    target_columns: Columns
    """Columns to predict."""
    target_column_types: dict[str, TargetType]
    """Kind of each target, in the order of `target_columns`: categorical or real."""
    id_maps: IdMaps | None = None
    """Ids per categorical column; read only with --skip-metadata."""
    n_classes: dict[str, PositiveInt] | None = None
    """Number of ids per categorical column; omitted = that of the metadata."""
    seq_length: Annotated[list[PositiveInt], Field(min_length=1)]
    """List of numbers of past items the model sees."""
    inference_batch_size: PositiveInt = 10
    """Batch size written into the run files for inference."""
    export_generative_model: bool = True
    """Whether the predicting model is exported."""
    export_embedding_model: bool = False
    """Whether the embedding model is exported."""
    export_onnx: bool = True
    """Whether models are exported as ONNX."""
    export_pt: bool = False
    """Whether models are exported as torch state."""
    export_with_dropout: bool = False
    """Whether exported models keep their dropout active."""
    model_hyperparameter_sampling: ModelSampling
    """Candidates for the architecture."""
    training_hyperparameter_sampling: TrainingSampling
    """Candidates for training."""
    override_input: bool = False
    """Accepted for Sequifier's sake: nothing here ever asks a question."""
    seed: Seed = 101
    """Seed of the search and of every run."""
    storage: str | None = None
    """Storage URL; omitted = SQLite below studies/, or $SEQUIFIER_HPO_STORAGE."""
    workers: PositiveInt | Literal["auto"] = "auto"
    """Trials at the same time; auto = one per core, or one per GPU."""
    on_out_of_memory: Literal["halve", "halve_and_accumulate"] = "halve"
    """What an out-of-memory retry changes: the batch size, or also the accumulation steps."""
    max_consecutive_failures: PositiveInt = 5
    """Failed runs in a row after which the search stops."""
    export: Literal["all", "best"] = "all"
    """Which runs keep exported models: all of them, or only the study's best so far."""

    @property
    def paths(self) -> ProjectPaths:
        """Where the files of the project are."""
        return ProjectPaths(Path(self.project_root))

    @property
    def study_folder(self) -> Path:
        """Where the study's own files are."""
        return self.paths.study_folder(self.hp_search_name)


@dataclass(frozen=True)
class LoadedSearch:
    """A validated search file, filled in from the metadata."""

    config: SearchConfig
    document: YamlDocument
    warnings: tuple[ConfigIssue, ...]
    """What is allowed but probably not meant."""


def load_search(
    path: Path, *, overrides: Mapping[str, Any] | None = None, skip_metadata: bool = False
) -> LoadedSearch:
    """Read a search file, fill it in from the metadata, and check all of it.

    Args:
        path: The YAML file.
        overrides: Root keys given on the command line; they replace those of the file.
        skip_metadata: Take the derived fields from the file instead of from the metadata.

    Raises:
        ConfigError: With every mistake of the file.
    """
    document = read_yaml(path)
    data = {**document.data, **(overrides or {})}
    issues: list[ConfigIssue] = []
    if skip_metadata:
        issues += _missing_derived_fields(document, data)
    else:
        try:
            metadata = _metadata_of(document, data)
        except ConfigError as error:
            issues += error.issues
            metadata = None
        data = _filled(data, metadata)
    document = document.completed(data, overrides or {})
    try:
        config = load(SearchConfig, document, SEARCH_CHECKS, moved=_MOVED)
    except ConfigError as error:
        raise ConfigError(sorted([*issues, *error.issues], key=lambda i: i.line or 0)) from None
    if issues:
        raise ConfigError(issues)
    warnings = tuple(
        document.issue(finding.loc, finding.problem, fix=finding.fix)
        for finding in _unusual(config)
    )
    return LoadedSearch(config, document, warnings)


def _unusual(config: SearchConfig) -> Iterator[Finding]:
    """What is allowed but probably not meant."""
    yield from _schedules_that_do_not_end(config)
    for column, kind in config.target_column_types.items():
        if kind == "real" and column in (config.n_classes or {}):
            yield Finding(
                ("target_column_types", column),
                f"`{column}` is categorical in the data: a real target of it is the number that "
                "its category happens to have",
                fix="categorical; or give the table decimal numbers (3.0) if it is a quantity",
            )


def _schedules_that_do_not_end(config: SearchConfig) -> Iterator[Finding]:
    sampling = config.training_hyperparameter_sampling
    if sampling.scheduler_step_on != "epoch":
        return
    for i, (recipe, epochs) in enumerate(
        zip(sampling.scheduler or [], sampling.epochs, strict=False)
    ):
        period = recipe.get("T_max")
        if isinstance(period, int) and period != epochs:
            turns = "rises again" if period < epochs else "does not reach its end"
            yield Finding(
                (TRAINING_SECTION, "scheduler", i, "T_max"),
                f"T_max is {period} and epochs[{i}] is {epochs}: the learning rate {turns}",
                fix=f"T_max: {epochs} if that is not meant",
            )


_DERIVED = (
    "input_columns",
    "column_types",
    "categorical_columns",
    "real_columns",
    "id_maps",
    "n_classes",
    "training_data_path",
    "validation_data_path",
)

_MOVED = {
    **dict.fromkeys(ModelSampling.model_fields, f"move it to `{MODEL_SECTION}`"),
    **dict.fromkeys(TrainingSampling.model_fields, f"move it to `{TRAINING_SECTION}`"),
    **dict.fromkeys(SearchConfig.model_fields, "move it to the root of the file"),
}


def _metadata_of(document: YamlDocument, data: Mapping[str, Any]) -> DataMetadata | None:
    path, root = data.get("metadata_config_path"), data.get("project_root")
    if not isinstance(path, str) or not isinstance(root, str):
        return None  # the model reports them as missing or mistyped
    where = document.issue(("metadata_config_path",), "")
    return read_metadata(Path(project_path(path, root)), where=where)


def _missing_derived_fields(document: YamlDocument, data: Mapping[str, Any]) -> list[ConfigIssue]:
    return [
        document.issue((name,), "--skip-metadata needs this field in the file", fix=f"add `{name}`")
        for name in _DERIVED
        if data.get(name) is None
    ]


def _filled(data: dict[str, Any], metadata: DataMetadata | None) -> dict[str, Any]:
    """Root keys of the search with everything that the metadata supplies."""
    if metadata is None:
        return data
    data = dict(data)
    root = data["project_root"]
    splits = metadata.split_paths
    for key, position in (("training_data_path", 0), ("validation_data_path", 1)):
        if data.get(key) is None and splits:
            data[key] = splits[min(position, len(splits) - 1)]
        if isinstance(data.get(key), str) and data[key].strip():
            data[key] = project_path(data[key], root)
    if data.get("column_types") is None:
        sets = data.get("input_columns")
        data["column_types"] = [dict(metadata.column_types)] * (
            len(sets) if isinstance(sets, list) else 1
        )
    if data.get("input_columns") is None and isinstance(data["column_types"], list):
        data["input_columns"] = [list(types) for types in data["column_types"]]
    if data.get("n_classes") is None:
        data["n_classes"] = dict(metadata.n_classes)
    data["id_maps"] = metadata.id_maps
    sets = data["input_columns"]
    if isinstance(sets, list) and all(isinstance(columns, list) for columns in sets):
        pairs = [effective_columns(columns, metadata.column_types) for columns in sets]
        data["categorical_columns"] = [categorical for categorical, _ in pairs]
        data["real_columns"] = [real for _, real in pairs]
    return data


# Rules between fields.


def _linked(group: LinkedGroup, needs: tuple[str, ...]) -> Check[SearchConfig]:
    @check(*needs)
    def find(config: SearchConfig) -> Iterator[Finding]:
        holder = getattr(config, group.section) if group.section else config
        yield from length_findings(group, {f: getattr(holder, f, None) for f in group.fields})

    return find


@check("search_strategy", "n_samples")
def _sample_needs_a_number(config: SearchConfig) -> Iterator[Finding]:
    if config.search_strategy == "sample" and config.n_samples is None:
        yield Finding(
            ("n_samples",),
            "required when search_strategy is `sample` (the default)",
            "the number of distinct runs",
            "add `n_samples: 20`, or `search_strategy: grid` to run every combination",
        )


@check("model_config_write_path")
def _write_path_stays_inside(config: SearchConfig) -> Iterator[Finding]:
    if ".." in PurePosixPath(config.model_config_write_path).parts:
        yield Finding(
            ("model_config_write_path",),
            f"{config.model_config_write_path} leaves the project through `..`",
            "a folder below project_root, such as configs/hp_search, or an absolute path",
        )


@check("input_columns", "column_types", "target_columns")
def _columns_are_known(config: SearchConfig) -> Iterator[Finding]:
    if config.input_columns is None or config.column_types is None:
        return
    for i, columns in enumerate(config.input_columns):
        types = config.column_types[min(i, len(config.column_types) - 1)]
        for j, column in enumerate(columns):
            yield from _column_findings(column, types, ("input_columns", i, j))
    for i, column in enumerate(config.target_columns):
        for types in config.column_types[:1]:
            yield from _column_findings(column, types, ("target_columns", i))


def _column_findings(
    column: str, types: Mapping[str, str], loc: tuple[str | int, ...]
) -> Iterator[Finding]:
    if column not in types:
        problem = f"the data has no column `{column}`"
        yield Finding(loc, problem, ", ".join(types), did_you_mean(column, types))
    elif name_problem := column_name_problem(column):
        yield Finding(loc, name_problem, fix="rename the column in the data")


@check("column_types", "input_columns", "categorical_columns", "real_columns")
def _column_types_are_known(config: SearchConfig) -> Iterator[Finding]:
    for i, columns in enumerate(config.input_columns or []):
        if config.categorical_columns is None or config.real_columns is None:
            return
        if i >= len(config.categorical_columns) or i >= len(config.real_columns):
            return  # reported as a difference in length
        sorted_out = {*config.categorical_columns[i], *config.real_columns[i]}
        types = (config.column_types or [{}])[min(i, len(config.column_types or [{}]) - 1)]
        for j, column in enumerate(columns):
            if column in types and column not in sorted_out:
                yield Finding(
                    ("input_columns", i, j),
                    f"`{column}` is neither a categorical nor a real column of the data",
                    ", ".join(sorted(sorted_out)),
                )


@check("target_columns", "target_column_types")
def _target_types_match_targets(config: SearchConfig) -> Iterator[Finding]:
    if list(config.target_column_types) != config.target_columns:
        yield Finding(
            ("target_column_types",),
            f"lists {list(config.target_column_types)}, but the targets are {config.target_columns}",
            "exactly the columns of `target_columns`, in the same order",
        )


@check("target_column_types", "n_classes")
def _categorical_targets_have_classes(config: SearchConfig) -> Iterator[Finding]:
    if config.n_classes is None:
        return
    for column, kind in config.target_column_types.items():
        if kind == "categorical" and column not in config.n_classes:
            yield Finding(
                ("target_column_types", column),
                f"`{column}` is not a categorical column of the data",
                f"categorical for {', '.join(config.n_classes)}; real for the others",
            )


@check(f"{TRAINING_SECTION}.criterion", "target_column_types")
def _criteria_fit_targets(config: SearchConfig) -> Iterator[Finding]:
    criterion = config.training_hyperparameter_sampling.criterion
    if criterion is not None:
        loc = (TRAINING_SECTION, "criterion")
        yield from criterion_findings(criterion, config.target_column_types, loc)


@check(TRAINING_SECTION, "n_classes", "target_column_types")
def _weights_fit_targets(config: SearchConfig) -> Iterator[Finding]:
    yield from weight_findings(
        config.training_hyperparameter_sampling,
        config.target_column_types,
        config.n_classes or {},
        (TRAINING_SECTION,),
    )


@check(f"{TRAINING_SECTION}.optimizer")
def _optimizers_can_be_built(config: SearchConfig) -> Iterator[Finding]:
    for i, recipe in enumerate(config.training_hyperparameter_sampling.optimizer):
        yield from recipe_findings("optimizer", recipe, (TRAINING_SECTION, "optimizer", i))


@check(f"{TRAINING_SECTION}.scheduler")
def _schedulers_can_be_built(config: SearchConfig) -> Iterator[Finding]:
    for i, recipe in enumerate(config.training_hyperparameter_sampling.scheduler or []):
        yield from recipe_findings("scheduler", recipe, (TRAINING_SECTION, "scheduler", i))


@check(
    f"{TRAINING_SECTION}.scheduler",
    f"{TRAINING_SECTION}.epochs",
    f"{TRAINING_SECTION}.scheduler_step_on",
)
def _total_steps_match_epochs(config: SearchConfig) -> Iterator[Finding]:
    sampling = config.training_hyperparameter_sampling
    if sampling.scheduler_step_on != "epoch":
        return
    rows = zip(sampling.scheduler or [], sampling.epochs, strict=False)
    for i, (recipe, epochs) in enumerate(rows):
        total = recipe.get("total_steps")
        if total is not None and total != epochs:
            yield Finding(
                (TRAINING_SECTION, "scheduler", i, "total_steps"),
                f"{total} differs from epochs[{i}] = {epochs} while schedulers step on epochs",
                str(epochs),
            )


@check(
    *(f"{MODEL_SECTION}.{name}" for name in ("dim_model", "n_head", "initial_embedding_dim")),
    f"{MODEL_SECTION}.joint_embedding_dim",
    f"{MODEL_SECTION}.positional_encoding",
)
def _backbones_fit(config: SearchConfig) -> Iterator[Finding]:
    sampling = config.model_hyperparameter_sampling
    joints = sampling.joint_embedding_dim or [None] * len(sampling.dim_model)
    rows = zip(
        sampling.dim_model, sampling.n_head, sampling.initial_embedding_dim, joints, strict=False
    )
    for i, row in enumerate(rows):
        names = ("dim_model", "n_head", "initial_embedding_dim", "joint_embedding_dim")
        values = {
            name: (value, MODEL_BACKBONE.loc(name, i))
            for name, value in zip(names, row, strict=True)
        }
        yield from dimension_findings(values, with_rope="rope" in sampling.positional_encoding)


@check(
    f"{MODEL_SECTION}.dim_model",
    f"{MODEL_SECTION}.initial_embedding_dim",
    f"{MODEL_SECTION}.feature_embedding_dims",
    "input_columns",
    "categorical_columns",
    "real_columns",
)
def _embedding_widths_fit(config: SearchConfig) -> Iterator[Finding]:
    sampling = config.model_hyperparameter_sampling
    widths = sampling.initial_embedding_dim
    maps = sampling.feature_embedding_dims or [None] * len(widths)
    sets = zip(
        config.input_columns or [],
        config.categorical_columns or [],
        config.real_columns or [],
        strict=False,
    )
    for j, (columns, categorical, real) in enumerate(sets):
        for i, (width, dims) in enumerate(zip(widths, maps, strict=False)):
            if dims is None:
                if allocate_widths(width, categorical, real) is None:
                    yield Finding(
                        MODEL_BACKBONE.loc("initial_embedding_dim", i),
                        f"{width} is too narrow for the {len(columns)} columns of input_columns[{j}]",
                        f">= {len(categorical) + len(real)}",
                    )
            elif set(dims) != set(columns):
                yield Finding(
                    MODEL_BACKBONE.loc("feature_embedding_dims", i),
                    f"has the columns {list(dims)}, but input_columns[{j}] is {columns}",
                    "exactly the columns of every input set",
                    "write null: widths are then shared out for each input set",
                )
            elif sum(dims.values()) != width:
                yield Finding(
                    MODEL_BACKBONE.loc("feature_embedding_dims", i),
                    f"the widths sum to {sum(dims.values())}",
                    f"a sum of initial_embedding_dim[{i}] = {width}",
                )


@check(f"{MODEL_SECTION}.prediction_length", "seq_length")
def _prediction_fits_window(config: SearchConfig) -> Iterator[Finding]:
    length = config.model_hyperparameter_sampling.prediction_length
    for i, seq_length in enumerate(config.seq_length):
        if length > seq_length:
            yield Finding(
                ("seq_length", i),
                f"{seq_length} is shorter than prediction_length = {length}",
                f">= {length}",
            )


@check(*(f"{TRAINING_SECTION}.{field}" for field in PROCESS_FIELDS))
def _processes_can_be_had(config: SearchConfig) -> Iterator[Finding]:
    yield from process_findings(config.training_hyperparameter_sampling, TRAINING_SECTION)


@check(f"{TRAINING_SECTION}.layer_type_dtypes")
def _dtypes_can_be_trained(config: SearchConfig) -> Iterator[Finding]:
    dtypes = config.training_hyperparameter_sampling.layer_type_dtypes
    yield from dtype_findings(dtypes, TRAINING_SECTION)


SEARCH_CHECKS: tuple[Check[SearchConfig], ...] = (
    _linked(MODEL_BACKBONE, tuple(f"{MODEL_SECTION}.{f}" for f in MODEL_BACKBONE.fields)),
    _linked(TRAINING_SCHEDULE, tuple(f"{TRAINING_SECTION}.{f}" for f in TRAINING_SCHEDULE.fields)),
    _linked(DATA_SCHEMA, DATA_SCHEMA.fields),
    _sample_needs_a_number,
    _write_path_stays_inside,
    _columns_are_known,
    _column_types_are_known,
    _target_types_match_targets,
    _categorical_targets_have_classes,
    _criteria_fit_targets,
    _weights_fit_targets,
    _optimizers_can_be_built,
    _schedulers_can_be_built,
    _total_steps_match_epochs,
    _backbones_fit,
    _embedding_widths_fit,
    _prediction_fits_window,
    _processes_can_be_had,
    _dtypes_can_be_trained,
)
