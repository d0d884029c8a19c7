"""Property tests of the search file: what is valid compiles, what is not is refused with reasons."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.search import SearchConfig, load_search
from sequifier_hpo.config.train import load_train_config, train_yaml
from sequifier_hpo.errors import ConfigError
from sequifier_hpo.searchspace import EffectiveSpace, compile_space, decode
from tests.conftest import METADATA

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MODEL = "model_hyperparameter_sampling"
TRAINING = "training_hyperparameter_sampling"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("properties")
    (folder / "configs" / "metadata_configs").mkdir(parents=True)
    (folder / "configs/metadata_configs/shop.json").write_text(json.dumps(METADATA))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def lists_of(element: st.SearchStrategy[Any], **kwargs: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(element, min_size=1, max_size=3, **kwargs)


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
            "dim_feedforward": draw(lists_of(st.integers(1, 64))),
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


def load(data: Any) -> SearchConfig:
    return load_search(write(data)).config


@given(data=searches(), picks=st.lists(st.integers(0, 10**9), min_size=3, max_size=3))
@SETTINGS
def test_every_valid_file_compiles_and_every_run_of_it_is_valid_and_keeps_its_links(
    root: Path, data: dict[str, Any], picks: list[int]
) -> None:
    space = compile_space(load(data))
    effective = EffectiveSpace(space, seed=1)
    assert 1 <= effective.num_distinct <= space.num_cells
    model, training = data[MODEL], data[TRAINING]
    backbone_rows = list(
        zip(model["dim_model"], model["n_head"], model["initial_embedding_dim"], strict=True)
    )
    schedule_rows = list(zip(training["learning_rate"], training["epochs"], strict=True))

    for pick in picks:
        cell = effective.representative(pick % effective.num_distinct)
        config, _ = decode(space, cell, pick, device="cpu")

        spec, training_spec = config.model_spec, config.training_spec
        assert (spec.dim_model, spec.n_head, spec.initial_embedding_dim) in backbone_rows
        assert (training_spec.learning_rate, training_spec.epochs) in schedule_rows
        assert sorted(config.input_columns) in [sorted(s) for s in data["input_columns"]]
        path = root / "run.yaml"
        path.write_text(train_yaml(config), encoding="utf-8")
        assert load_train_config(path) == config


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", -1, 0, 1.5, True, [], {}, [None], [[]], [{}], ["x"], [-1], [0.5], [True],
     {"name": "Nope"}, [{"name": "Nope"}], "1e-3", "\x00", "a/b", 10**30, float("inf"), [1, 2, 3, 4]]
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in items:
        found += places(value, (*path, key))
    return found


def mutate(data: dict[str, Any], path: tuple[Any, ...], action: str, junk: Any) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    key = path[-1]
    if action == "replace":
        holder[key] = junk
    elif action == "remove":
        del holder[key]
    elif isinstance(holder, dict):
        holder[f"{key}_"] = holder.pop(key)
    else:
        holder.append(junk)
    return changed


@given(
    data=searches(),
    where=st.integers(0, 10**6),
    action=st.sampled_from(["replace", "remove", "rename or append"]),
    junk=JUNK,
)
@settings(SETTINGS, max_examples=100)
@pytest.mark.usefixtures("root")
def test_a_mutated_file_loads_as_written_or_is_refused_with_a_place_and_a_reason(
    data: dict[str, Any], where: int, action: str, junk: Any
) -> None:
    original = load(data)
    all_places = places(data)
    path = all_places[where % len(all_places)]
    changed = mutate(data, path, action, junk)

    config, refusal = attempt(write(changed))

    if refusal is not None:
        assert all(issue.problem and (issue.path or issue.line) for issue in refusal.issues)
    elif config == original and changed != data:
        # Nothing changed: then the new value must be another spelling of the old one, or the
        # documented default of the field.
        assert action == "remove" or junk is None or is_spelling_of(path, data, junk), (path, junk)


def attempt(path: Path) -> tuple[SearchConfig | None, ConfigError | None]:
    """The configuration, or the refusal; anything else is a crash."""
    try:
        return load_search(path).config, None
    except ConfigError as error:
        return None, error


def is_spelling_of(path: tuple[Any, ...], data: Any, junk: Any) -> bool:
    for key in path:
        data = data[key]
    return bool(data == junk or str(data) == str(junk))


@given(
    data=searches(),
    at=st.floats(0, 1, exclude_max=True),
    character=st.sampled_from([*"\t\n\"'[]{}:#&*!|>%@`- ,x0", "\x00", "\ud7ff", "\x85"]),
    num_replaced=st.integers(0, 1),
)
@settings(SETTINGS, max_examples=100)
def test_a_file_with_a_wrong_character_loads_or_is_refused_but_never_crashes(
    root: Path, data: dict[str, Any], at: float, character: str, num_replaced: int
) -> None:
    path = root / "configs/search.yaml"
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    position = int(at * len(text))
    path.write_text(text[:position] + character + text[position + num_replaced :], encoding="utf-8")

    config, refusal = attempt(path)

    assert (config is None) == bool(refusal and str(refusal))
