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
from tests.search_files import MODEL, TRAINING, searches, write

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("properties")
    (folder / "configs" / "metadata_configs").mkdir(parents=True)
    (folder / "configs/metadata_configs/shop.json").write_text(json.dumps(METADATA))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def load(data: Any) -> SearchConfig:
    return load_search(write(data)).config


@pytest.mark.slow
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
        config, _ = decode(space, space.point_at(cell), pick, device="cpu")

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


@pytest.mark.slow
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


@pytest.mark.slow
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
