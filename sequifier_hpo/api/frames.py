"""The runs of a study as data frames."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import polars as pl

from sequifier_hpo.api.runs import StudyRun
from sequifier_hpo.errors import EnvironmentFaultError

_WHOLE, _NUMBER, _TEXT, _FLAG = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()
_MEASURED = {
    "best_epoch": _WHOLE,
    "epochs_run": _WHOLE,
    "seconds": _NUMBER,
    "tokens_per_second": _NUMBER,
    "num_parameters": _WHOLE,
    "effective_batch_size": _WHOLE,
    "peak_memory_mib": _NUMBER,
    "milliseconds_per_event": _NUMBER,
}


def runs_table(runs: Sequence[StudyRun]) -> pl.DataFrame:
    """A row per run, as `Study.to_polars` says."""
    fields = {
        name: _column(name, [run.values.get(name) for run in runs])
        for name in dict.fromkeys(name for run in runs for name in run.values)
    }
    constant = [column for column in fields.values() if column.n_unique() < 2]
    columns = [
        pl.Series("rank", [run.rank for run in runs], _WHOLE),
        pl.Series("run", [run.number for run in runs], _WHOLE),
        pl.Series("state", [run.state.value for run in runs], _TEXT),
        pl.Series("validation_loss", [run.validation_loss for run in runs], _NUMBER),
        pl.Series(
            "best_loss",
            [min(run.losses.values(), default=run.validation_loss) for run in runs],
            _NUMBER,
        ),
        *(column for column in fields.values() if column.n_unique() > 1),
        *(
            pl.Series(name, [getattr(run.measured, name) for run in runs], dtype)
            for name, dtype in _MEASURED.items()
        ),
        pl.Series("reason", [run.reason or None for run in runs], _TEXT),
        pl.Series("stopped_at", [run.stopped_at for run in runs], _WHOLE),
        pl.Series("duplicate_of", [run.duplicate_of for run in runs], _WHOLE),
        pl.Series("of_other_data", [run.is_of_other_data for run in runs], _FLAG),
        pl.Series("outside_space", [run.is_outside for run in runs], _FLAG),
        pl.Series("model_name", [run.model_name for run in runs], _TEXT),
        *constant,
    ]
    return pl.DataFrame(columns)


def losses_table(runs: Sequence[StudyRun]) -> pl.DataFrame:
    """A row per run and epoch."""
    rows = [(run.number, epoch, loss) for run in runs for epoch, loss in run.losses.items()]
    schema = {"run": _WHOLE, "epoch": _WHOLE, "validation_loss": _NUMBER}
    return pl.DataFrame(rows, schema, orient="row")


def as_pandas(table: pl.DataFrame) -> Any:
    """The same as `pandas.DataFrame`.

    Raises:
        EnvironmentFaultError: If pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise EnvironmentFaultError(
            "pandas is not installed", "pip install pandas, or use to_polars()"
        ) from error
    return pandas.DataFrame(table.to_dict(as_series=False))  # Arrow would be one more package


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """A field's values: numbers if all are, else text if they are not of one kind."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pl.Series(name, values, _NUMBER, strict=False)
    if len(kinds) > 1:
        texts = [None if value is None else str(value) for value in values]
        return pl.Series(name, texts, _TEXT)
    return pl.Series(name, values)
