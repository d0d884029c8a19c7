"""The script of the guide on new data that are not as they should be."""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.export import export_models
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.training.conftest import COLUMN_TYPES, make_config

__all__ = ["make_config"]

GUIDE = Path(__file__).parents[2] / "docs/guides/use-the-model.md"
NEW = "sequenceId,itemPosition,cat1,val1\n4,0,cat1-1,0.5\n4,1,cat1-9,1.5\n5,0,cat1-1,\n"
Predict = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Run the script with some arguments."""
    (text,) = re.findall(
        r'^```python title="predict\.py"\n(.*?)^```$', GUIDE.read_text(), re.M | re.S
    )
    script = tmp_path / "predict.py"
    script.write_text(text)

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["predict.py", *arguments])
        runpy.run_path(str(script))

    return call


@pytest.fixture
def predict(make_config: Callable[..., TrainConfig], tmp_path: Path, start: Predict) -> Predict:
    """Run the script with an untrained model for a sequence of `NEW`."""
    table, metadata = tmp_path / "new.csv", tmp_path / "data.json"
    table.write_text(NEW)

    def call(sequence_id: str, target: str = "cat1") -> None:
        config = make_config(
            input_columns=["cat1", "val1"],
            target_columns=[target],
            feature_embedding_dims={"cat1": 6, "val1": 2},
            export_generative_model=True,
            export_onnx=True,
        )
        content = {
            "n_classes": config.n_classes,
            "id_maps": config.id_maps,
            "split_paths": [],
            "column_types": COLUMN_TYPES,
            "selected_columns_statistics": {"val1": {"mean": 1.0, "std": 2.0}},
        }
        metadata.write_text(json.dumps(content))
        torch.manual_seed(0)
        state = SequenceTransformer(config).state_dict()
        model, _ = export_models(
            config,
            best_state=state,
            last_state=state,
            last_epoch=1,
            best_epoch=1,
            best_validation_loss=1.0,
        )
        start(str(tmp_path / model), str(metadata), str(table), sequence_id)

    return call


def test_unknown_values_are_named_beside_the_prediction(
    predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    predict("4")

    shown = capsys.readouterr()
    assert shown.err.startswith("note: column `cat1`: 1 unknown value in 1 row (`cat1-9`)")
    assert len(shown.out.splitlines()) == 7


@pytest.mark.parametrize(
    ("sequence_id", "target", "words"),
    [
        ("6", "cat1", "has no event of the sequence 6"),
        ("", "cat1", "has no event of the sequence"),
        ("5", "cat1", "`val1` has no value"),
        ("4", "val1", 'predicts ["val1"]: this is for one categorical target'),
    ],
)
def test_what_the_script_cannot_predict_it_says_in_words(
    predict: Predict, sequence_id: str, target: str, words: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        predict(sequence_id, target)

    assert words in str(caught.value.code)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "usage: predict.py MODEL"), (("m.onnx", "d.json", "t.csv", "4"), "no model m.onnx")],
)
def test_a_wrong_call_of_the_script_is_answered_in_words(
    start: Predict, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        start(*arguments)

    assert words in str(caught.value.code)
