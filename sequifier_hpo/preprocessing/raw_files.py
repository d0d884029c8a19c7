"""Raw files on disk: which they are, which columns are read of them, and how one of them is read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import polars as pl

from sequifier_hpo.compressed import require_not_compressed
from sequifier_hpo.config.preprocess import ID_COLUMNS, PreprocessConfig
from sequifier_hpo.config.schema import did_you_mean
from sequifier_hpo.errors import InputError
from sequifier_hpo.plain_files import what_else
from sequifier_hpo.words import first_line

# Columns of the long table: a feature of that name could not be told from them.
RESERVED_COLUMNS = ("inputCol", "subsequenceId", "startItemPosition")

# What pandas calls the row index of a table that it stores, and a column that had no name when it
# read the table.
_INDEX_NAME = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*")
_UNNAMED = re.compile(r"\s*|_duplicated_\d+")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

# Rows whose values decide on the types of a CSV file's columns, as long as the rest agrees.
FIRST_ROWS = 10_000

POLARS_FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class RawTable:
    """A table of new events as it was read: id columns first, rows in the order of the file."""

    frame: pl.DataFrame
    features: list[str]
    """Feature columns, in the order in which the metadata lists them."""
    files: tuple[tuple[Path, int], ...]
    """Every file with its number of rows."""
    is_csv: bool
    rows: pl.Series | None = None
    """Of every row of the frame, its number in the files; None = all are here, in their order."""

    def place(self, row: int) -> str:
        """Where a row stands, for messages: rows count from 1, without the header."""
        return place_of(self.files, row if self.rows is None else self.rows[row])


def place_of(files: Sequence[tuple[Path, int]], row: int) -> str:
    """Where a row of a table stands, for messages.

    Args:
        files: Every file with its number of rows.
        row: From 0; shown from 1, without the header.
    """
    for path, num_rows in files:
        if row < num_rows:
            return f"data row {row + 1} of {path}"
        row -= num_rows
    raise AssertionError("the row is not in the table")


@dataclass(frozen=True)
class ChosenColumns:
    """What is read of the raw files."""

    ids: tuple[str, str]
    """The columns of sequence and order."""
    features: list[str]
    index: list[str]
    """Columns that hold the row index of pandas, and are left out."""

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        return [*self.ids, *self.features]


def find_files(config: PreprocessConfig) -> list[Path]:
    """The raw files, sorted by path.

    Raises:
        InputError: If there is none.
    """
    path = Path(config.data_path)
    if path.is_file():
        return [path]
    if (kind := what_else(path)) not in {None, "a folder"}:
        raise InputError(f"{path} is {kind}, not a file", "write the table to a file")
    if not path.is_dir():
        raise InputError(
            f"{path} does not exist",
            f"correct `data_path`; it is relative to the working directory {Path.cwd()}",
        )
    files = sorted(
        file
        for file in path.rglob(f"*{config.read_format}")
        # Hidden ones are leftovers of editors and notebooks.
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    )
    if not files:
        raise InputError(
            f"the folder {path} holds no file whose name ends in {config.read_format}",
            "correct `data_path` or `read_format`",
        )
    return files


def choose_columns(config: PreprocessConfig, files: Sequence[Path]) -> ChosenColumns:
    """The columns to read, which all files have.

    Raises:
        InputError: If one is missing, or the files do not have the same columns.
    """
    is_csv = config.is_csv
    names = [column_names(path, is_csv=is_csv) for path in files]
    index = [] if config.selected_columns is not None else _index_columns(names[0])
    index = [name for name in index if name not in config.id_columns]
    features = _choose_features(files[0], names[0], config, index)
    chosen = ChosenColumns(config.id_columns, features, index)
    _check_same_columns(files, names, chosen, is_selected=config.selected_columns is not None)
    return chosen


def no_rows(config: PreprocessConfig) -> InputError:
    """The error for a table without rows."""
    return InputError(f"{config.data_path} holds no rows", "provide a table with data")


def first_of_index(path: Path, chosen: ChosenColumns, *, is_csv: bool) -> dict[str, list[str]]:
    """Columns that hold a row index -> their first values."""
    return {name: _first_values(path, name, is_csv=is_csv) for name in chosen.index}


def _index_columns(names: list[str]) -> list[str]:
    """The columns that are no more than numbers of rows, of a table that pandas wrote."""
    unnamed = list(takewhile(_UNNAMED.fullmatch, names))
    return [*unnamed, *(name for name in names if _INDEX_NAME.fullmatch(name))]


def _first_values(path: Path, column: str, *, is_csv: bool) -> list[str]:
    frame = read_file(path, [column], 3, is_csv=is_csv)
    return [str(value) for value in frame[column].to_list()]


def column_names(path: Path, *, is_csv: bool) -> list[str]:
    """Names of the columns of one file."""
    try:
        if is_csv:
            require_not_compressed(path)
            _check_encoding(path)
            return list(csv_names(path))
        return list(pl.read_parquet_schema(path))
    except (*POLARS_FAULTS, OSError) as error:
        raise unreadable(path, error, is_csv=is_csv) from error


def csv_names(path: Path) -> dict[str, str]:
    """Names of the columns -> what polars calls them, which leaves quotes in a header doubled."""
    names = pl.read_csv(path, n_rows=0, infer_schema=False, glob=False).columns
    return {name.replace('""', '"'): name for name in names}


def _check_encoding(path: Path) -> None:
    with path.open("rb") as file:
        first = file.read(4)
    # Without its mark, every other byte of a name in ASCII is 0.
    if first[:2] in _UTF_16 or (b"\0" in first and first.count(b"\0") == len(first) // 2):
        raise InputError(
            f"{path} is encoded in UTF-16",
            "save it in UTF-8: `iconv -f UTF-16 -t UTF-8 OLD > NEW`, or your program's `CSV UTF-8`",
        )


def read_file(
    path: Path,
    columns: list[str],
    max_rows: int | None,
    *,
    is_csv: bool,
    as_text: Sequence[str] = (),
) -> pl.DataFrame:
    """Some columns of the first rows of one file (None = all); those in `as_text` stay text."""
    try:
        if is_csv:
            return _without_blank_end(_read_csv(path, columns, max_rows, as_text).select(columns))
        return pl.read_parquet(
            path, columns=columns, n_rows=max_rows, glob=False, hive_partitioning=False
        ).select(columns)
    except (*POLARS_FAULTS, OSError) as error:
        raise unreadable(path, error, is_csv=is_csv) from error


def _read_csv(
    path: Path, columns: list[str], max_rows: int | None, as_text: Sequence[str]
) -> pl.DataFrame:
    in_header = csv_names(path)

    def read(rows_that_decide_types: int | None) -> pl.DataFrame:
        frame = pl.read_csv(
            path,
            columns=[in_header[column] for column in columns],
            n_rows=max_rows,
            glob=False,
            infer_schema_length=rows_that_decide_types,
            schema_overrides={in_header[column]: pl.String for column in as_text},
        )
        return frame.rename({in_header[column]: column for column in columns})

    try:
        return read(FIRST_ROWS)
    except POLARS_FAULTS:
        # A decimal point, or a word, may come late. To look at all rows first is several times
        # slower, and the error of this second reading is the one to show.
        return read(None)


def _without_blank_end(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop the rows that blank lines at the end of a CSV file become."""
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    return frame.head(filled[-1] + 1 if len(filled) else 0)


def unreadable(path: Path, error: BaseException, *, is_csv: bool) -> InputError:
    """The error for a file that is no table of its format, or cannot be read at all."""
    kind = "a CSV table" if is_csv else "a Parquet table"
    if isinstance(error, OSError):
        return InputError(f"{path} cannot be read: {error.strerror or error}")
    reason = first_line(error)
    fix = "check `data_path` and `read_format`"
    if is_csv:
        fix += "; the file must be UTF-8, comma separated, with a header and equally long lines"
    return InputError(f"{path} cannot be read as {kind}: {reason}", fix)


def _choose_features(
    path: Path, names: list[str], config: PreprocessConfig, index: list[str]
) -> list[str]:
    """The feature columns: those selected, or all that are neither ids nor an index."""
    faults = []
    selected = config.selected_columns
    fix = "correct the header of the file, or `selected_columns`"
    for column in config.id_columns:
        if column not in names:
            hint = did_you_mean(column, names)
            faults.append(f"the column `{column}` is missing{f' ({hint})' if hint else ''}")
            fix = fix if hint else _how_to_get_ids(names)
    if faults:
        faults.append("the columns found are: " + ", ".join(f"`{name}`" for name in names))
    available = [name for name in names if name not in {*ID_COLUMNS, *config.id_columns, *index}]
    features = available if selected is None else selected
    for column in features:
        if column not in available:
            hint = did_you_mean(column, available) or "it has: " + ", ".join(available)
            faults.append(f"there is no column `{column}` to select ({hint})")
        elif problem := _name_problem(column, names):
            faults.append(problem)
    if not features and not faults:
        ids = " and ".join(config.id_columns)
        faults.append(f"there is no feature column besides {ids}")
    if faults:
        raise InputError(_listed(f"the columns of {path} cannot be used", faults), fix)
    return list(features)


def _how_to_get_ids(names: list[str]) -> str:
    separators = [mark for mark in ";\t|" if names and mark in names[0]]
    if len(names) == 1 and separators:
        return f"separate the columns with commas, not with {separators[0]!r}"
    return (
        "name the column that says whose event a row is in `sequence_column`, and the one with the "
        "time or number that orders events in `order_column`"
    )


def _name_problem(column: str, names: list[str]) -> str | None:
    if not column.strip():
        return "a column has no name; if it is a row number, leave it out with `selected_columns`"
    if column in RESERVED_COLUMNS:
        return f"the name `{column}` is reserved for the table of windows; rename the column"
    original, mark, number = column.rpartition("_duplicated_")
    if mark and number.isdecimal() and original in names:
        return f"the column name `{original}` occurs twice in the header"
    return None


def _check_same_columns(
    files: Sequence[Path], names: list[list[str]], chosen: ChosenColumns, *, is_selected: bool
) -> None:
    needed = set(chosen.names)
    faults = []
    for path, columns in zip(files, names, strict=True):
        missing = sorted(needed - set(columns))
        is_needed = needed.union(_index_columns(columns), ID_COLUMNS)
        added = [] if is_selected else sorted(set(columns) - is_needed)
        if missing:
            faults.append(f"{path} lacks " + ", ".join(f"`{column}`" for column in missing))
        if added:
            faults.append(f"{path} also has " + ", ".join(f"`{column}`" for column in added))
    if faults:
        raise InputError(
            _listed(f"the files do not have the same columns as the first one, {files[0]}", faults),
            "make the columns equal, or name those all files have in `selected_columns`",
        )


def common_type(
    column: str, files: Sequence[Path], types: list[pl.DataType], *, is_csv: bool
) -> pl.DataType:
    """The one type in which all files' values of a column can be kept."""
    known = [dtype for dtype in types if dtype != pl.Null]
    if not known:
        return pl.Null()
    if all(is_text(dtype) for dtype in known):
        return pl.String()
    if all(dtype == known[0] for dtype in known):
        return known[0]
    if all(dtype.is_integer() for dtype in known):
        return pl.Int64()
    if all(dtype.is_float() for dtype in known):
        return pl.Float64()
    if is_csv:
        return pl.Float64() if all(dtype.is_numeric() for dtype in known) else pl.String()
    first = next(i for i, dtype in enumerate(types) if dtype == known[0])
    other = next(i for i, dtype in enumerate(types) if dtype not in (known[0], pl.Null))
    raise InputError(
        f"the type of column `{column}` is {types[first]} in {files[first]}, but {types[other]} "
        f"in {files[other]}",
        "store the column with the same type in all files",
    )


def numbers_of_text(values: pl.Series) -> pl.Series:
    """The column as numbers if every text is one: spaces and plus signs hide them from polars."""
    stripped = values.str.strip_chars()
    for dtype in (pl.Int64, pl.Float64):
        numbers = stripped.cast(dtype, strict=False)
        if numbers.null_count() == values.null_count() < len(values):
            return numbers
    return values


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column holds texts, however they are stored."""
    return isinstance(dtype, (pl.String, pl.Categorical, pl.Enum))


def _listed(headline: str, faults: Sequence[str]) -> str:
    return "\n".join([f"{headline}:", *(f"  - {fault}" for fault in faults)])
