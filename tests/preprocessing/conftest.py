"""A project folder with raw tables, and the job run on them, as functions."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.preprocessing.run import PreprocessSummary, preprocess


class Project:
    """A project root in a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.progress: list[str] = []

    def write_csv(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_parquet(self, name: str, columns: Mapping[str, Any]) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(columns).write_parquet(path)
        return path

    def preprocess(self, data_path: Path, **keys: Any) -> PreprocessSummary:
        """Run on `data_path`, with windows of 3 items in one split unless `keys` say otherwise."""
        defaults: dict[str, Any] = {
            "project_root": str(self.root / "project"),
            "data_path": str(data_path),
            "read_format": "parquet" if data_path.suffix == ".parquet" else "csv",
            "split_ratios": [1.0],
            "seq_length": 2,
        }
        config = PreprocessConfig(**(defaults | keys))
        return preprocess(config, on_progress=self.progress.append)

    def written_files(self) -> list[str]:
        """All files below the project root, hidden ones included."""
        root = self.root / "project"
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def counting_rows() -> Callable[..., dict[str, Any]]:
    """Makes a table of one sequence per given length, whose column `x` counts all rows."""

    def make(*lengths: int) -> dict[str, Any]:
        places = [(s, i) for s, length in enumerate(lengths) for i in range(length)]
        return {
            "sequenceId": [s for s, _ in places],
            "itemPosition": [i for _, i in places],
            "x": list(range(len(places))),
        }

    return make
