"""A project with real data, and a search in it that has run to its end."""

import io
import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sequifier_hpo.cli.main import app, exit_code_of

SEARCH = """
project_root: .
metadata_config_path: configs/metadata_configs/seattle-weather.json
hp_search_name: tiny
model_config_write_path: configs/hp_search
search_strategy: grid
input_columns: [[weather, month], [weather, temp_max, wind]]
target_columns: [weather]
target_column_types: {weather: categorical}
seq_length: [7]
model_hyperparameter_sampling:
  dim_model: [8]
  n_head: [2]
  initial_embedding_dim: [8]
  dim_feedforward: [8]
  num_layers: [1]
  activation_fn: [swiglu]
  normalization: [rmsnorm]
  positional_encoding: [rope]
  attention_type: [mha, gqa]
  n_kv_heads: [null]
training_hyperparameter_sampling:
  device: cpu
  learning_rate: [0.01]
  epochs: [2]
  batch_size: [32, 64]
  dropout: [0.1]
  accumulation_steps: [1]
"""


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


class Project:
    """A project root in which commands are run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def start(self, *arguments: str, program: str = "sequifier_hpo.cli") -> subprocess.Popen[str]:
        """Start a command; its own process group, as in a terminal."""
        function = "sequifier" if program == "sequifier" else "sequifier_hpo"
        code = f"from sequifier_hpo.cli.entry import {function}; {function}()"
        environment = {k: v for k, v in os.environ.items() if k != "SEQUIFIER_HPO_STORAGE"}
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.root,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Finished:
        """Run a command to its end, in this process: to start one takes more than a second."""
        output, errors = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            chdir(self.root),
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            patch.delenv("SEQUIFIER_HPO_STORAGE", raising=False)
            code = exit_code_of(lambda: app(list(arguments)))
        return Finished(code, output.getvalue(), errors.getvalue())

    def run_program(self, *arguments: str, program: str = "sequifier_hpo.cli") -> Finished:
        """Run a command to its end, in a process of its own as a user does."""
        process = self.start(*arguments, program=program)
        try:
            stdout, stderr = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Finished(process.returncode, stdout, stderr)

    def search(self, *arguments: str, file: str = "configs/tiny.yaml") -> Finished:
        """Run the search of a file."""
        return self.run("hyperparameter-search", "--config-path", file, *arguments)

    def write_search(self, name: str, **changes: Any) -> str:
        """Write a search file; dotted names reach into sections. Returns its path."""
        data = yaml.safe_load(SEARCH)
        data["hp_search_name"] = name
        for path, value in changes.items():
            *parents, key = path.split("__")
            holder = data
            for parent in parents:
                holder = holder[f"{parent}_hyperparameter_sampling"]
            holder[key] = value
        file = f"configs/{name}.yaml"
        (self.root / file).write_text(yaml.safe_dump(data, sort_keys=False))
        return file


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project made by `init` and `preprocess`."""
    project = Project(tmp_path_factory.mktemp("project"))
    assert project.run("init", ".").code == 0
    done = project.run("preprocess", "--config-path", "configs/preprocess.yaml")
    assert done.code == 0, done.stderr
    return project


@pytest.fixture(scope="session")
def searched(prepared: Project) -> tuple[Project, Finished]:
    """The project after the tiny grid has run to its end."""
    file = prepared.write_search("tiny")
    finished = prepared.run_program("hyperparameter-search", "--config-path", file)
    assert finished.code == 0, finished.stderr
    return prepared, finished
