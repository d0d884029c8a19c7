"""Weights of another run to begin with: fine-tuning."""

from pathlib import Path

import torch
from torch import Tensor

from sequifier_hpo.errors import InputError
from sequifier_hpo.training.checkpoint import (
    NO_KEYS,
    OWN_KEY,
    DamagedCheckpointError,
    read_torch_file,
)
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.words import first_line

_PREFIX = "transformer_model."  # of the weights in a file of an embedding model
_FIX = "name a checkpoint or a `.pt` model of a run with the same architecture and columns"


def load_weights(model: SequenceTransformer, path: Path) -> None:
    """Give a network the weights of a file: those of the best epoch, where it says which.

    Args:
        model: The network, which has all its layers.
        path: A checkpoint, or a `.pt` model, of ours or of Sequifier's.

    Raises:
        InputError: If it is neither, or of a network with other layers.
    """
    if not path.exists():
        raise InputError(f"there are no weights {path}", _FIX)
    if path.suffix == ".onnx":
        raise InputError(f"{path} is a model to predict with: it cannot be trained on", _FIX)
    try:
        model.load_state_dict(_state(path), strict=True)
    except DamagedCheckpointError as error:
        raise InputError(f"{path} holds no weights: {error}", _FIX) from error
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = lines[1] if len(lines) > 1 else first_line(error)
        raise InputError(f"the weights {path} are of another network: {reason}", _FIX) from error


def _state(path: Path) -> dict[str, Tensor]:
    content = read_torch_file(path)
    own = content.get(OWN_KEY)
    best = None if own is None else own["progress"].get("best_state")
    state = best or content.get("model_state_dict")
    if not isinstance(state, dict) or not all(torch.is_tensor(part) for part in state.values()):
        raise DamagedCheckpointError(NO_KEYS)
    return {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
