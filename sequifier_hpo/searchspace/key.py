"""The key of a run: a digest of what it is asked to train, and of the data that it reads.

Equal key, equal run. Names, paths, the device, formats, what is logged and exported are not part
of it, nor is the fate of a run: an out-of-memory retry never changes its key.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from sequifier_hpo.config.description import SELECTION, WEIGHTS, Description, description_of
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import DataDigest, SplitDigest
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.decode import values_of
from sequifier_hpo.searchspace.meaning import columns_read, meaning
from sequifier_hpo.searchspace.parameters import SearchSpace
from sequifier_hpo.searchspace.point import Point
from sequifier_hpo.searchspace.resolve import resolve


def run_key(config: TrainConfig, data: DataDigest) -> str:
    """The key of a run as it is asked, 64 hexadecimal digits.

    Not how a search computes it: the definition that tests hold against `Keyer`.

    Args:
        config: Before any retry has changed it.
        data: Digests of at least the columns that the run reads.

    Raises:
        KeyError: If the digest of such a column is missing.
    """
    description, values = _resolved(config)
    return _key(values, description, canonical(_of_run(data, columns_read(values))))


class Keyer:
    """Keys of the points of one space on the same data: what is the same for all is done once."""

    def __init__(self, space: SearchSpace, data: DataDigest) -> None:
        """Keep what the points have in common.

        Args:
            space: The compiled search file.
            data: Digests of at least the columns that its runs read.
        """
        self._space = space
        self._data = data
        self._data_texts: dict[frozenset[str], str] = {}

    def key(self, point: Point, *, seed: int | None = None) -> str:
        """What `run_key` returns for the decoded point.

        Args:
            point: What is chosen in the run.
            seed: Instead of the search file's.

        Raises:
            KeyError: If the digest of a column that the run reads is missing.
        """
        space = self._space
        chosen, _ = values_of(space, point)
        values = {**space.settings, **chosen}
        if seed is not None:
            values["seed"] = seed
        return _key(values, space.description, self._data_text(frozenset(columns_read(values))))

    def data_of(self, point: Point) -> DataDigest:
        """Digests of the columns that a run reads."""
        values = {**self._space.settings, **self._space.point_values(point)}
        return DataDigest.model_validate(_of_run(self._data, columns_read(values)))

    def _data_text(self, columns: frozenset[str]) -> str:
        if columns not in self._data_texts:
            self._data_texts[columns] = canonical(_of_run(self._data, columns))
        return self._data_texts[columns]


def _resolved(config: TrainConfig) -> tuple[Description, dict[str, Any]]:
    """The values of a run file as a search would have written them."""
    description = description_of(type(config))
    values, _ = resolve(description.flat(config), tuple(config.column_types))
    return description, values


def _key(values: Mapping[str, Any], description: Description, data: str) -> str:
    asked = canonical(meaning(values, _influencing(description)))
    return hashlib.sha256(f'{{"config":{asked},"data":{data}}}'.encode()).hexdigest()


@cache
def _influencing(description: Description) -> tuple[str, ...]:
    return description.influencing(WEIGHTS, SELECTION)


def _of_run(data: DataDigest, columns: set[str] | frozenset[str]) -> dict[str, Any]:
    """The data digest of a run as plain JSON values."""
    return {
        "training": _of_split(data.training, columns),
        "validation": _of_split(data.validation, columns),
    }


def _of_split(split: SplitDigest, columns: set[str] | frozenset[str]) -> dict[str, Any]:
    return {
        **split.model_dump(exclude={"columns"}),
        "columns": {column: split.columns[column] for column in sorted(columns)},
    }
