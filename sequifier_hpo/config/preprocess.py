"""Sequifier's `preprocess.yaml`: which raw table becomes which windows.

Field order and defaults are Sequifier's, so that its files run unchanged.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sequifier_hpo.config.fields import (
    Columns,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    ReadFormat,
    Seed,
)
from sequifier_hpo.config.later_versions import LATER_PREPROCESS_FIELDS
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.schema import Check, FileModel, Finding, check, load
from sequifier_hpo.config.user_file import YOURS
from sequifier_hpo.config.yaml_file import read_yaml

ID_COLUMNS = ("sequenceId", "itemPosition")

RawFormat = Literal["csv", "parquet"]
StatisticsFrom = Literal["all", "training"]
StartMode = Literal["distribute", "exact"]
ColumnName = Annotated[str, Field(min_length=1)]
SplitBy = Literal["position", "time"]
ColumnType = Literal["categorical", "real"]
MissingValues = Literal["drop", "category", "mean"]

# What Sequifier tolerates: numpy's closeness to 1.
_SUM_TOLERANCE = 1e-5 + 1e-8


def _default_merge(fields: dict[str, Any]) -> bool:
    return fields.get("write_format") != "pt"


def _default_strides(fields: dict[str, Any]) -> list[int]:
    ratios = fields.get("split_ratios")
    num_splits = len(ratios) if isinstance(ratios, list) else 1
    try:
        return [TypeAdapter(PositiveInt).validate_python(fields.get("seq_length"))] * num_splits
    except ValidationError:
        return [1] * num_splits  # never seen: the broken seq_length is reported instead


class PreprocessConfig(FileModel):
    """A complete `preprocess.yaml`."""

    project_root: PathText
    """Root folder of the project; `data/` and `configs/metadata_configs/` are created in it."""
    data_path: PathText
    """Raw table: a file, or a folder of files; relative to the working directory."""
    read_format: RawFormat = "csv"
    """Format of the raw table: csv or parquet."""
    write_format: ReadFormat = "parquet"
    """Format of the windows: csv, parquet or pt."""
    merge_output: bool = Field(default_factory=_default_merge)
    """Whether each split is one file: true for csv, false for pt, either for parquet.

    May be left out; of parquet, each split is then one file.
    """
    selected_columns: Columns | None = None
    """Feature columns to keep, in this order; null = all. The id columns are always kept."""
    split_ratios: Annotated[list[PositiveFloat], Field(min_length=1)]
    """Share of every sequence per split, oldest items first; the shares sum to 1."""
    statistics_from: StatisticsFrom = "all"
    """Rows that means, standard deviations and categories are learned from: all (as Sequifier does)
    or training, those of the first split; a category that only others have is then unknown."""
    seq_length: PositiveInt
    """Number of past items in a window, which holds one item more."""
    stride_by_split: list[PositiveInt] = Field(default_factory=_default_strides)
    """Largest distance between the starts of two windows, per split; default `seq_length`."""
    max_rows: NonNegativeInt | None = None
    """Rows to read, from the first on, in the order of the files; null or 0 = all."""
    seed: Seed = 1010
    """Without effect: preprocessing draws no random numbers. Kept for Sequifier's files."""
    n_cores: NonNegativeInt | None = None
    """Without effect on results or files: work is shared among threads, not processes.

    polars uses every core; its own variable `POLARS_MAX_THREADS` limits that.
    """
    batches_per_file: PositiveInt = 1024
    """Number of sequences per file where a split is several, as tensor shards are."""
    process_by_file: bool = True
    """Without effect: all files of a folder are one table, so no sequence is cut between files."""
    continue_preprocessing: bool = False
    """Without effect on the result: an interrupted job leaves nothing behind and starts over."""
    subsequence_start_mode: StartMode = "distribute"
    """How windows are laid over a sequence: distribute (evenly) or exact (every stride items)."""
    use_precomputed_maps: Columns | None = None
    """Columns that must have a map of ids in `configs/id_maps/`; maps of others are used as well."""
    sequence_column: ColumnName | None = None
    """Column that says whose event a row is, of whole numbers or text; null = `sequenceId`."""
    order_column: ColumnName | None = None
    """Column that orders the events of a sequence: dates, times or numbers; null = `itemPosition`.

    Here, events of one time are allowed: they keep the order of their rows.
    """
    column_types: dict[str, ColumnType] = Field(default_factory=dict)
    """Column -> categorical or real, where it is not what its values look like: whole numbers that
    are quantities, for example. Without it, decimal numbers are real, and all others categorical."""
    missing: MissingValues | dict[str, MissingValues] | None = None
    """What becomes of cells without a value: drop (the row), category (a class of its own) or mean (of
    a real column); for all columns, or column -> one of them. null = they are errors."""
    split_by: SplitBy = "position"
    """What is split: position (each sequence by its items) or time (all at the same moments, between
    which lie these shares of all events)."""

    @property
    def id_columns(self) -> tuple[str, str]:
        """The columns of the raw table that say whose event a row is, and when it was."""
        return self.sequence_column or ID_COLUMNS[0], self.order_column or ID_COLUMNS[1]

    @property
    def is_csv(self) -> bool:
        """Whether the raw table is CSV, else Parquet."""
        return self.read_format == "csv"

    def missing_of(self, column: str) -> MissingValues | None:
        """What becomes of the missing values of a column; None = they are errors."""
        return self.missing.get(column) if isinstance(self.missing, dict) else self.missing

    @property
    def id_map_folder(self) -> Path:
        """Where `COLUMN.json` gives the ids of a column."""
        return Path(project_path("configs/id_maps", self.project_root))

    def exact_ratios(self) -> tuple[Fraction, ...]:
        """The split ratios as the decimal fractions that were written, without rounding errors."""
        return tuple(Fraction(repr(ratio)) for ratio in self.split_ratios)


def load_preprocess_config(
    path: Path, *, overrides: Mapping[str, Any] | None = None
) -> PreprocessConfig:
    """Read and check a `preprocess.yaml`.

    Args:
        path: The YAML file.
        overrides: Root keys given on the command line; they replace those of the file.

    Raises:
        ConfigError: With every mistake of the file.
    """
    document = read_yaml(path)
    replaced = overrides or {}
    data = _completed({**document.data, **replaced})
    document = document.completed(data, replaced, {})
    moved = {**LATER_PREPROCESS_FIELDS, **YOURS}
    return load(PreprocessConfig, document, PREPROCESS_CHECKS, moved=moved)


def _completed(data: dict[str, Any]) -> dict[str, Any]:
    """Root keys with the two defaults that depend on other keys.

    The model has them as default factories too, but pydantic reports a factory it could not call
    because of another mistake as a mistake of its own.
    """
    completed = dict(data)
    completed.setdefault("merge_output", _default_merge(data))
    completed.setdefault("stride_by_split", _default_strides(data))
    return completed


# Rules between fields, and rules that look at the file system. Each yields findings at the field
# to change.


@check("data_path")
def _data_exists(config: PreprocessConfig) -> Iterator[Finding]:
    if not Path(config.data_path).exists():
        yield Finding(
            ("data_path",),
            f"{config.data_path} does not exist",
            "a file, or a folder of files",
            f"correct the path; it is relative to the working directory {Path.cwd()}",
        )


@check("write_format", "merge_output")
def _merge_fits_format(config: PreprocessConfig) -> Iterator[Finding]:
    needed = config.write_format != "pt"
    if config.merge_output != needed and config.write_format != "parquet":
        right = "true" if needed else "false"
        yield Finding(
            ("merge_output",),
            f"contradicts `write_format: {config.write_format}`",
            right,
            f"write `merge_output: {right}`, or remove the line",
        )


@check("selected_columns", "sequence_column", "order_column")
def _selected_columns_are_features(config: PreprocessConfig) -> Iterator[Finding]:
    for i, column in enumerate(config.selected_columns or ()):
        if column in {*ID_COLUMNS, *config.id_columns}:
            yield Finding(
                ("selected_columns", i),
                f"`{column}` is not a feature: it is always read",
                "feature columns",
                "remove it from the list",
            )


@check("sequence_column", "order_column", "selected_columns")
def _ids_are_two_columns(config: PreprocessConfig) -> Iterator[Finding]:
    sequence, order = config.id_columns
    if sequence == order:
        field = "order_column" if config.order_column else "sequence_column"
        yield Finding(
            (field,),
            f"`{order}` cannot both order events and say whose they are",
            fix="name two columns in `sequence_column` and `order_column`",
        )


@check("column_types", "missing", "sequence_column", "order_column", "selected_columns")
def _columns_are_read(config: PreprocessConfig) -> Iterator[Finding]:
    selected = config.selected_columns
    missing = config.missing if isinstance(config.missing, dict) else {}
    for field, columns in (("column_types", config.column_types), ("missing", missing)):
        for column in columns:
            is_id = column in config.id_columns
            if is_id and field == "column_types":
                problem = f"`{column}` is not a feature: it has no type"
            elif is_id and missing[column] != "drop":
                problem = f"`{column}` is not a feature: rows without it can only be dropped"
            elif not is_id and selected is not None and column not in selected:
                problem = f"`{column}` is not among `selected_columns`"
            else:
                continue
            yield Finding((field, column), problem, fix="remove the line, or correct the name")


@check("split_ratios")
def _ratios_sum_to_one(config: PreprocessConfig) -> Iterator[Finding]:
    total = float(sum(config.exact_ratios()))
    if abs(total - 1) > _SUM_TOLERANCE:
        yield Finding(
            ("split_ratios",),
            f"the ratios sum to {total:.10g}",
            "ratios that sum to 1, such as [0.8, 0.1, 0.1]",
        )


@check("split_ratios", "stride_by_split")
def _strides_match_splits(config: PreprocessConfig) -> Iterator[Finding]:
    num_splits, num_strides = len(config.split_ratios), len(config.stride_by_split)
    if num_strides != num_splits:
        yield Finding(
            ("stride_by_split",),
            f"number of strides ({num_strides}) and of `split_ratios` ({num_splits}) differ",
            "one stride for each split",
        )


@check("use_precomputed_maps", "project_root")
def _maps_are_there(config: PreprocessConfig) -> Iterator[Finding]:
    for i, column in enumerate(config.use_precomputed_maps or ()):
        path = config.id_map_folder / f"{column}.json"
        if not path.is_file():
            yield Finding(
                ("use_precomputed_maps", i),
                f"there is no {path}",
                "columns with a map in that folder",
                'write one, such as {"red": 2, "blue": 3}, or remove the column from the list',
            )


PREPROCESS_CHECKS: tuple[Check[PreprocessConfig], ...] = (
    _data_exists,
    _merge_fits_format,
    _selected_columns_are_features,
    _ids_are_two_columns,
    _columns_are_read,
    _ratios_sum_to_one,
    _strides_match_splits,
    _maps_are_there,
)


__all__ = ["ID_COLUMNS", "PreprocessConfig", "load_preprocess_config"]
