"""Writes the model files of a finished run."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import Tensor

from sequifier_hpo.atomic import StagedFiles, remove_unfinished
from sequifier_hpo.config.paths import ProjectPaths, is_model_of
from sequifier_hpo.config.train import TrainConfig, train_yaml
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.training.export.properties import (
    Kind,
    RunFacts,
    metadata_to_export,
    model_properties,
)
from sequifier_hpo.training.export.transformer_graph import build_transformer
from sequifier_hpo.training.export.verification import ExportCheck, check_format

State = Mapping[str, Tensor]

_MAX_WEIGHT_BYTES = 2**31 - 2**27
"""An ONNX file holds less than 2 GiB; some of it is left for masks, tables and the graph."""


def export_models(
    config: TrainConfig,
    *,
    best_state: State,
    last_state: State,
    last_epoch: int,
    best_epoch: int,
    best_validation_loss: float,
    best_validation_loss_all_positions: float | None = None,
    num_counted: int | None = None,
    paths: ProjectPaths | None = None,
) -> list[str]:
    """Write the model files that the run's `export_*` fields ask for.

    Every ONNX file is checked to be valid and to compute what torch computes before it gets its
    name, and all files get their names together: a failure leaves none.

    Args:
        config: The run.
        best_state: State dict after the epoch with the smallest validation loss.
        last_state: State dict after the last epoch.
        last_epoch: Number of the last epoch that was run; it is in the names of all files.
        best_epoch: Number of the epoch of `best_state`.
        best_validation_loss: Validation loss after that epoch.
        best_validation_loss_all_positions: The same over all positions; None = it is the same.
        num_counted: How many positions at the end of each window it is over; None = all.
        paths: The project in which they are written; None = the run's.

    Returns:
        Paths relative to the project root, sorted.

    Raises:
        EnvironmentFaultError: If a file cannot be written, or a model is too large for ONNX.
        ExportCheckError: If an ONNX model is not the trained one.
    """
    if not _wanted_models(config):
        return []
    digest = hashlib.sha256(train_yaml(config).encode()).hexdigest()
    losses = (best_validation_loss, best_validation_loss_all_positions, num_counted)
    facts, paths = RunFacts(digest, last_epoch, best_epoch, *losses), paths or config.paths
    with StagedFiles() as files:
        exporter = _Exporter(config, facts, files, paths)
        for state, kinds in _distinct_states(_on_cpu(best_state), _on_cpu(last_state)):
            if config.export_onnx:
                exporter.stage_onnx(state, kinds)
            if config.export_pt:
                exporter.stage_pt(state, kinds)
    # What earlier attempts at the run left, which were killed here.
    remove_unfinished(paths.models, partial(is_model_of, config.model_name))
    return [path.relative_to(paths.root).as_posix() for path in files.paths]


def onnx_only(config: TrainConfig) -> TrainConfig:
    """The same run, of which the predicting ONNX model alone is exported, without dropout."""
    fields = {
        "export_generative_model": True,
        "export_embedding_model": False,
        "export_onnx": True,
        "export_pt": False,
        "export_with_dropout": False,
    }
    return config.model_copy(update=fields)


def require_onnx_size(num_weight_bytes: int) -> None:
    """Refuse a model that no ONNX file can hold.

    Args:
        num_weight_bytes: Size of all weights in float32.

    Raises:
        EnvironmentFaultError: If the model is too large.
    """
    if num_weight_bytes > _MAX_WEIGHT_BYTES:
        raise EnvironmentFaultError(
            f"the model's weights take {num_weight_bytes / 2**30:.1f} GiB, and an ONNX file cannot "
            "hold 2 GiB",
            "set `export_onnx: false` and `export_pt: true`",
        )


def _on_cpu(state: State) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in state.items()}


def _distinct_states(best: State, last: State) -> Iterator[tuple[State, list[Kind]]]:
    """Each state with the kinds of files it is written to; equal states are one."""
    if all(torch.equal(tensor, last[name]) for name, tensor in best.items()):
        yield best, ["best", "last"]
    else:
        yield best, ["best"]
        yield last, ["last"]


def _wanted_models(config: TrainConfig) -> list[bool]:
    """Per wanted model, whether it is the embedding model."""
    wanted = {False: config.export_generative_model, True: config.export_embedding_model}
    return [is_embedding_model for is_embedding_model, is_wanted in wanted.items() if is_wanted]


class _Exporter:
    """Stages the files of one state after the other."""

    def __init__(
        self, config: TrainConfig, facts: RunFacts, files: StagedFiles, paths: ProjectPaths
    ) -> None:
        self._config = config
        self._paths = paths
        self._facts = facts
        self._files = files
        self._check = ExportCheck(config) if config.export_onnx else None
        self._metadata = metadata_to_export(config)

    def stage_onnx(self, state: State, kinds: list[Kind]) -> None:
        """Build, check and stage the ONNX files of one state."""
        state = {name: tensor.float() for name, tensor in state.items()}
        require_onnx_size(sum(tensor.nbytes for tensor in state.values()))
        for is_embedding_model in _wanted_models(self._config):
            model = self._checked_model(state, is_embedding_model=is_embedding_model)
            for kind in kinds:
                properties = model_properties(
                    *(self._config, self._facts, kind, self._metadata),
                    is_embedding_model=is_embedding_model,
                )
                helper.set_model_props(model, properties)
                path = self._path(kind, "onnx", is_embedding_model=is_embedding_model)
                self._files.add(path, model.SerializeToString())

    def stage_pt(self, state: State, kinds: list[Kind]) -> None:
        """Stage the torch files of one state, in its own number types."""
        for is_embedding_model in _wanted_models(self._config):
            content = _pt_content(self._config, state, is_embedding_model=is_embedding_model)
            for kind in kinds:
                path = self._path(kind, "pt", is_embedding_model=is_embedding_model)
                self._files.add(path, content)

    def _checked_model(self, state: State, *, is_embedding_model: bool) -> onnx.ModelProto:
        config = self._config
        weights = {name: tensor.numpy() for name, tensor in state.items()}
        model = build_transformer(config, weights, is_embedding_model=is_embedding_model)
        assert self._check is not None
        self._check.check(model.SerializeToString(), state, is_embedding_model=is_embedding_model)
        if config.export_with_dropout:
            # Random outputs cannot be compared with torch's: the graph without dropout stood in.
            dropout = config.training_spec.dropout
            model = build_transformer(
                config, weights, is_embedding_model=is_embedding_model, dropout=dropout
            )
            check_format(model.SerializeToString())
        return model

    def _path(self, kind: Kind, suffix: str, *, is_embedding_model: bool) -> Path:
        name, epoch = self._config.model_name, self._facts.last_epoch
        return self._paths.model(name, kind, epoch, suffix, embedding=is_embedding_model)


def _pt_content(config: TrainConfig, state: State, *, is_embedding_model: bool) -> memoryview:
    """The bytes of a `.pt` file, as Sequifier's inference reads it."""
    prefix = "transformer_model." if is_embedding_model else ""
    saved = {
        "model_state_dict": {f"{prefix}{name}": _alone(t) for name, t in state.items()},
        "export_with_dropout": config.export_with_dropout,
    }
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    return buffer.getbuffer()


def _alone(tensor: Tensor) -> Tensor:
    """The tensor without the rest of a larger storage, all of which torch would save with it."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
