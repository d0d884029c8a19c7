"""Search files that hypothesis writes: valid ones, for the metadata of the test project."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

MODEL = "model_hyperparameter_sampling"
TRAINING = "training_hyperparameter_sampling"

NASTY = {
    f"{MODEL}.attention_type": ["mha", "mqa", "gqa"],
    f"{MODEL}.n_kv_heads": [None, 1, 2, 3],
    f"{MODEL}.positional_encoding": ["learned", "rope"],
    f"{MODEL}.rope_theta": [10000.0, 500.0],
    f"{MODEL}.num_layers": [1, 1],
    "input_columns": [["product", "price"], ["price", "product"]],
}
"""Changes that give a space many cells that mean the same."""


def lists_of(element: st.SearchStrategy[Any], **kwargs: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(element, min_size=1, max_size=3, **kwargs)


@st.composite
def spans(draw: st.DrawFn) -> dict[str, int]:
    """Ranges of whole numbers that every strategy takes."""
    low, step = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from([{"step": step}, {"num": 2}]))
    return {"low": low, "high": low + step * draw(st.integers(1, 4)), **kind}


@st.composite
def backbones(draw: st.DrawFn) -> dict[str, list[Any]]:
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        heads = draw(st.sampled_from([1, 2, 4]))
        width = heads * 2 * draw(st.integers(2, 8))  # even head sizes, so that rope is possible
        has_joint = draw(st.booleans())
        initial = draw(st.integers(3, 40)) if has_joint else width
        rows.append((width, heads, initial, width if has_joint else None))
    names = ("dim_model", "n_head", "initial_embedding_dim", "joint_embedding_dim")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, list[Any]]:
    num = draw(st.integers(1, 3))
    epochs = draw(st.lists(st.integers(1, 9), min_size=num, max_size=num))
    rates = draw(st.lists(st.floats(1e-5, 1.0), min_size=num, max_size=num))
    return {
        "learning_rate": rates,
        "epochs": epochs,
        "scheduler": [{"name": "CosineAnnealingLR", "T_max": number} for number in epochs],
    }


@st.composite
def searches(draw: st.DrawFn) -> dict[str, Any]:
    extra = st.lists(st.sampled_from(["price", "weekday"]), unique=True, max_size=2)
    sets = [["product", *draw(extra)] for _ in range(draw(st.integers(1, 3)))]
    positions = ["learned", "rope"]
    return {
        "project_root": ".",
        "metadata_config_path": "configs/metadata_configs/shop.json",
        "hp_search_name": draw(st.sampled_from(["a", "a.b", "übung", "2024"])),
        "model_config_write_path": "configs/hp_search",
        "search_strategy": draw(st.sampled_from(["grid", "sample"])),
        "n_samples": draw(st.integers(1, 50)),
        "input_columns": sets,
        "target_columns": ["product"],
        "target_column_types": {"product": "categorical"},
        "seq_length": draw(lists_of(st.integers(2, 20))),
        MODEL: {
            **draw(backbones()),
            "dim_feedforward": draw(lists_of(st.integers(1, 64) | spans()) | spans()),
            "num_layers": draw(lists_of(st.integers(1, 3))),
            "activation_fn": draw(lists_of(st.sampled_from(["swiglu", "gelu", "relu"]))),
            "normalization": draw(lists_of(st.sampled_from(["rmsnorm", "layer_norm"]))),
            "positional_encoding": draw(lists_of(st.sampled_from(positions))),
            "attention_type": draw(lists_of(st.sampled_from(["mha", "mqa", "gqa"]))),
            "n_kv_heads": draw(lists_of(st.none() | st.integers(1, 5))),
            "norm_first": draw(lists_of(st.booleans())),
            "rope_theta": draw(lists_of(st.floats(1.0, 1e6))),
        },
        TRAINING: {
            **draw(schedules()),
            "batch_size": draw(lists_of(st.integers(1, 512))),
            "dropout": draw(lists_of(st.floats(0, 1))),
            "accumulation_steps": draw(lists_of(st.integers(1, 4))),
            "optimizer": draw(
                lists_of(st.sampled_from([{"name": "AdamW"}, {"name": "AdEMAMix", "alpha": 2.0}]))
            ),
        },
    }


def write(data: Any) -> Path:
    path = Path("configs/search.yaml")
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
