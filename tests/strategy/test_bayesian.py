"""What the model makes of runs that failed."""

from statistics import mean

from optuna.distributions import IntDistribution

from sequifier_hpo.strategy.bayesian import Taught, suggest

SPACE = {"size": IntDistribution(0, 99)}
NO_LOSS = None


def proposed(past: list[Taught]) -> float:
    """Where the model goes on average."""
    found = [
        suggest(SPACE, past, ordinal=len(past), seed=seed, is_used=lambda _params: False)
        for seed in range(20)
    ]
    return mean(params["size"] for params in found if params is not None)


def failed(*, never_fitted: bool) -> list[Taught]:
    """Runs of one half of the space, then others of the other; all have failed."""
    small = [Taught(k, {"size": 2 * k}, NO_LOSS) for k in range(10, 20)]
    large = [Taught(k, {"size": 70 + 2 * k}, NO_LOSS, never_fitted=never_fitted) for k in range(10)]
    return [*large, *small]


def test_runs_that_never_fitted_are_worse_than_those_that_failed_in_another_way() -> None:
    assert proposed(failed(never_fitted=False)) > 60
    assert proposed(failed(never_fitted=True)) < 60


def test_where_some_succeed_both_kinds_of_failures_are_avoided_alike() -> None:
    ends = [Taught(20 + k, {"size": 40 + k}, 1.0 + k / 10) for k in range(10)]

    plain, infeasible = (proposed([*failed(never_fitted=never), *ends]) for never in (False, True))

    assert plain == infeasible
