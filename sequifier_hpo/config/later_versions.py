"""Fields of Sequifier 1.1 and 1.2 that have no meaning here -> what to do instead."""

from collections.abc import Mapping
from typing import Final

LATER_TRAINING_FIELDS: Final[Mapping[str, str]] = {
    "save_batch_interval_minutes": (
        "remove the line: of the checkpoints within an epoch only the newest is kept, and "
        "`save_latest_interval_minutes` says how often it is written"
    ),
    "save_batch_interval_minutes_val_loss": (
        "remove the line: the validation loss is that at the end of each epoch"
    ),
    "calculate_validation_loss_on_initialization": (
        "remove the line: the first validation loss is that of epoch 1"
    ),
    "sampling_strategy": (
        "remove the line: the processes of a run share every batch, so that each window is trained on "
        "once in an epoch, which is what `exact` means"
    ),
    "data_parallelism": (
        "remove the line: each process of a run holds the whole model, as with `DDP`"
    ),
    "fsdp_cpu_offload": "remove the line: each process of a run holds the whole model",
    "float32_matmul_precision": (
        "remove the line: float32 is computed in float32, as with `highest`; `layer_type_dtypes` "
        "takes bfloat16"
    ),
}

LATER_SEARCH_FIELDS: Final[Mapping[str, str]] = {
    **LATER_TRAINING_FIELDS,
    "n_trials": "call it `n_samples`",
    "prune_trials": "write `pruning: median` for it",
    **dict.fromkeys(
        (
            "evaluation_inference_config",
            "evaluation_script",
            "evaluation_metrics",
            "evaluation_metric_directions",
        ),
        "remove the line: runs are compared by their validation losses, and no script is run",
    ),
}

LATER_PREPROCESS_FIELDS: Final[Mapping[str, str]] = {
    "metadata_config_path": (
        "remove the line: means and standard deviations are learned from the table; to keep the ids "
        "of other metadata, write their `id_maps` to `configs/id_maps/COLUMN.json`"
    ),
}
