"""What a study is about: what is predicted, from which data, and how many there are."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sequifier_hpo.records import DataDigest
from sequifier_hpo.searchspace import SearchSpace
from sequifier_hpo.words import counted

_FILES = {"training": "training_data_path", "validation": "validation_data_path"}


@dataclass(frozen=True)
class StudyFacts:
    """What the page and the note say of a study, as far as it is known."""

    targets: Mapping[str, str]
    """Column that is predicted -> its kind."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Split -> its path."""
    data: DataDigest | None = None

    def splits(self) -> Iterator[tuple[str, str, str]]:
        """Name, path and size of the splits of which one of the two is known; "" = not known."""
        for name in _FILES:
            size = ""
            if self.data is not None:
                split = self.data.training if name == "training" else self.data.validation
                events = counted(split.window_length + 1, "event")
                size = f"{counted(split.num_windows, 'window')} of {events}"
            if size or name in self.files:
                yield name, self.files.get(name, ""), size


def facts_of_space(space: SearchSpace, data: DataDigest | None) -> StudyFacts:
    """The facts of a search that is at hand."""
    config = space.config
    files = {name: str(getattr(config, path)) for name, path in _FILES.items()}
    return StudyFacts(config.target_column_types, files, data)


def facts_of_study(
    described: Mapping[str, Any], data: DataDigest | None, run_file: str | None
) -> StudyFacts:
    """The facts of a study that is looked at.

    Args:
        described: The search space as the study stores it.
        data: What it was trained on last; None in studies of 0.1.0.
        run_file: Text of the `train.yaml` of one of its runs, which names the splits.
    """
    files = {
        name: found[1].strip("'\"")
        for name, path in _FILES.items()
        if (found := re.search(rf"^{path}: (.+)$", run_file or "", re.M))
    }
    return StudyFacts(described.get("target_column_types") or {}, files, data)
