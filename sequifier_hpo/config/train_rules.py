"""What must fit together in a run file, and the findings that a search file's rules share with it.

Each rule yields findings at the field that should be changed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sequifier_hpo.config.fields import DtypeName, LayerType
from sequifier_hpo.config.recipes import recipe_findings
from sequifier_hpo.config.schema import Check, Finding, check, did_you_mean
from sequifier_hpo.config.train_fields import TrainConfig

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


def _criterion_findings(
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


def _weight_findings(
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
            f"{width} cannot be divided equally among {num_categorical} categorical inputs",
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


def _process_findings(spec: Any, section: str) -> Iterator[Finding]:
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
            f"processes cannot communicate through {spec.backend}: it is not supported",
            ", ".join(_BACKENDS),
        )


def _dtype_findings(
    dtypes: Mapping[LayerType, DtypeName] | None, section: str
) -> Iterator[Finding]:
    """Refuse number types in which torch cannot train these layers."""
    for layer, dtype in (dtypes or {}).items():
        if dtype not in _TRAINED_DTYPES:
            yield Finding(
                (section, "layer_type_dtypes", layer),
                f"layers in {dtype} cannot be trained: torch has no gradient scaling for them",
                ", ".join(_TRAINED_DTYPES),
            )


def settings_rules(section: str) -> tuple[Check[Any], ...]:
    """The rules of fields that have one value both in a run file and in a search file.

    Args:
        section: What the file calls its section on training.
    """

    @check("target_columns", "target_column_types")
    def target_types_match_targets(config: Any) -> Iterator[Finding]:
        if list(config.target_column_types) != config.target_columns:
            yield Finding(
                ("target_column_types",),
                f"lists {list(config.target_column_types)}, but the targets are "
                f"{config.target_columns}",
                "exactly the columns of `target_columns`, in the same order",
            )

    @check(f"{section}.criterion", "target_column_types")
    def criteria_fit_targets(config: Any) -> Iterator[Finding]:
        criterion = getattr(config, section).criterion
        if criterion is not None:
            loc = (section, "criterion")
            yield from _criterion_findings(criterion, config.target_column_types, loc)

    @check(section, "n_classes", "target_column_types")
    def weights_fit_targets(config: Any) -> Iterator[Finding]:
        yield from _weight_findings(
            getattr(config, section), config.target_column_types, config.n_classes or {}, (section,)
        )

    @check(*(f"{section}.{name}" for name in ("distributed", "world_size", "device", "backend")))
    def processes_can_be_had(config: Any) -> Iterator[Finding]:
        yield from _process_findings(getattr(config, section), section)

    @check(f"{section}.layer_type_dtypes")
    def dtypes_can_be_trained(config: Any) -> Iterator[Finding]:
        yield from _dtype_findings(getattr(config, section).layer_type_dtypes, section)

    return (
        target_types_match_targets,
        criteria_fit_targets,
        weights_fit_targets,
        processes_can_be_had,
        dtypes_can_be_trained,
    )


TRAIN_CHECKS: tuple[Check[TrainConfig], ...] = (
    _columns_are_known,
    _columns_can_be_module_names,
    _categorical_columns_have_classes,
    *settings_rules("training_spec"),
    _dimensions_fit,
    _feature_embedding_dims_fit,
    _prediction_fits_window,
    _recipes_can_be_built,
    _total_steps_match_epochs,
)
