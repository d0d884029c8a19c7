"""A run may begin with the weights of a file, if they are of the same network."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.warm_start import load_weights

Config = Callable[..., TrainConfig]


@pytest.mark.parametrize("prefix", ["", "transformer_model."])
def test_a_model_file_of_torch_gives_its_weights(
    make_config: Config, tmp_path: Path, prefix: str
) -> None:
    torch.manual_seed(1)
    learned = SequenceTransformer(make_config()).state_dict()
    path = tmp_path / "model.pt"
    torch.save({"model_state_dict": {f"{prefix}{n}": t for n, t in learned.items()}}, path)
    network = SequenceTransformer(make_config())

    load_weights(network, path)

    assert all(torch.equal(tensor, learned[n]) for n, tensor in network.state_dict().items())


def test_of_a_checkpoint_the_best_weights_are_taken(make_config: Config, tmp_path: Path) -> None:
    network = SequenceTransformer(make_config())
    best = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    own = {"progress": {"best_state": best}}
    path = tmp_path / "run-epoch-2.pt"
    torch.save({"model_state_dict": network.state_dict(), "sequifier_hpo": own}, path)

    load_weights(network, path)

    assert all(torch.equal(tensor, best[name]) for name, tensor in network.state_dict().items())


def test_what_holds_no_weights_for_the_network_is_refused_in_words(
    make_config: Config, tmp_path: Path
) -> None:
    network = SequenceTransformer(make_config())
    wider = SequenceTransformer(make_config(dim_feedforward=24)).state_dict()
    torch.save({"model_state_dict": wider}, tmp_path / "wider.pt")
    torch.save({"other": 1}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("text")
    (tmp_path / "model.onnx").touch()

    for name, words in {
        "wider.pt": "are of another network: size mismatch",
        "other.pt": "holds no weights: it lacks the keys",
        "text.pt": "holds no weights",
        "model.onnx": "cannot be trained on",
        "none.pt": "there are no weights",
    }.items():
        with pytest.raises(InputError, match=words):
            load_weights(network, tmp_path / name)
