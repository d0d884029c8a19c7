"""Our samplers in Optuna's own hands."""

import optuna
import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.searchspace import EffectiveSpace, compile_space
from sequifier_hpo.study.samplers import make_sampler
from tests.conftest import WriteSearch


@pytest.mark.parametrize(
    ("strategy", "base"),
    [("grid", optuna.samplers.GridSampler), ("sample", optuna.samplers.RandomSampler)],
)
def test_our_samplers_keep_the_contracts_of_optunas(
    write_search: WriteSearch, strategy: str, base: type[optuna.samplers.BaseSampler]
) -> None:
    config = load_search(write_search()).config
    space = compile_space(config)
    sampler = make_sampler(space, EffectiveSpace(space, config.seed), strategy)
    study = optuna.create_study(sampler=sampler)
    names = [parameter.name for parameter in space.parameters]
    choices = {parameter.name: parameter.labels for parameter in space.parameters}

    study.optimize(
        lambda trial: len([trial.suggest_categorical(n, choices[n]) for n in names]), n_trials=50
    )

    assert isinstance(sampler, base)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 8
    assert len(study.trials) == 8
