"""Ids that the user gives: `configs/id_maps/COLUMN.json`, raw value as text -> id.

As in Sequifier 1.1: every map there is used. Ids that begin at 2 leave 1 to all values that are not
in the map; else these get 0, that of padding.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sequifier_hpo.config.fields import PositiveInt
from sequifier_hpo.config.metadata import unknown_id
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.plain_files import read_json
from sequifier_hpo.preprocessing.categories import Categories
from sequifier_hpo.preprocessing.event_table import EventTable
from sequifier_hpo.preprocessing.table_checks import REAL_TYPES
from sequifier_hpo.words import counted

IdMap = Mapping[str, int]

_IDS = TypeAdapter(dict[str, PositiveInt])
_MAX_SHOWN = 4


def read_id_maps(config: PreprocessConfig, table: EventTable) -> dict[str, IdMap]:
    """The maps of the project, by column.

    Raises:
        InputError: If one is no map, or is not of a categorical column of the table.
    """
    files = {path.stem: path for path in sorted(config.id_map_folder.glob("*.json"))}
    for column, path in files.items():
        if column not in table.features:
            raise InputError(
                f"{path} gives ids to `{column}`, which is not among the columns that are read: "
                + ", ".join(f"`{name}`" for name in table.features),
                "name the file after its column, select the column, or move the file away",
            )
        if table.schema[column] in REAL_TYPES:
            raise InputError(
                f"{path} gives ids to `{column}`, which is a column of decimal numbers",
                "move the file away, or store the column as text or whole numbers",
            )
    return {column: _read(path) for column, path in files.items()}


def _read(path: Path) -> IdMap:
    try:
        ids = _IDS.validate_python(read_json(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        raise _no_map(path, f"{place}: {first['msg']}" if place else first["msg"]) from error
    except ValueError as error:
        raise _no_map(path, f"it is not JSON: {error}") from error
    if not ids:
        raise _no_map(path, "it is empty")
    return ids


def _no_map(path: Path, problem: str) -> InputError:
    return InputError(
        f"{path} is not a map of ids: {problem}",
        'write raw values as text and their ids, from 2 on: {"red": 2, "blue": 3}; 1 is for all '
        "other values",
    )


def map_notes(
    config: PreprocessConfig, categories: Mapping[str, Categories], maps: Mapping[str, IdMap]
) -> Sequence[str]:
    """Which columns have given ids, and which of their values have none."""
    notes = []
    for column, ids in maps.items():
        note = f"column `{column}` has the ids of {config.id_map_folder / column}.json"
        found = categories[column]
        others = sorted(
            (row, text, number)
            for text, row, number in zip(
                found.texts, found.first_rows.tolist(), found.counts.tolist(), strict=True
            )
            if text not in ids and number
        )
        if others:
            num_rows = sum(number for _, _, number in others)
            shown = ", ".join(f"`{text}`" for _, text, _ in others[:_MAX_SHOWN])
            note += (
                f"; {counted(len(others), 'value')} in {counted(num_rows, 'row')} are not there "
                f"and get id {unknown_id(ids)}: {shown}{', ...' if others[_MAX_SHOWN:] else ''}"
            )
        notes.append(note)
    return notes
