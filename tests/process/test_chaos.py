"""Whatever is killed, whenever: the study ends with exactly the results it would have had.

The long version is chosen by the environment variable SEQUIFIER_HPO_KILLS.
"""

import os
import random
from collections.abc import Callable
from itertools import product

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.postgres_server import PostgresServer
from tests.process.chaos import Chaos, StoredTrials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

NUM_KILLS = int(os.environ.get("SEQUIFIER_HPO_KILLS", "0"))
"""Kills per kind of storage and number of coordinators; 0 = one search of a few kills each."""
KILLS_PER_SEARCH = 10 if NUM_KILLS else 3


SHORT = [("sqlite", 1, "grid"), ("postgres", 2, "bayesian with pruning")]
LONG = [
    *product(["sqlite", "postgres"], [1, 2], ["grid", "bayesian"]),
    *product(["sqlite", "postgres"], [1, 3], ["bayesian with pruning"]),
]


@pytest.mark.parametrize(("kind", "num_coordinators", "strategy"), LONG if NUM_KILLS else SHORT)
def test_a_search_that_is_killed_again_and_again_ends_with_the_same_results(
    kind: str,
    num_coordinators: int,
    strategy: str,
    project: Project,
    straight: Callable[[str], StoredTrials],
    server: PostgresServer,
) -> None:
    expected = straight(strategy)
    num_kills, seed = 0, 0
    while num_kills < max(NUM_KILLS, 1):
        name = f"chaos-{strategy.replace(' ', '-')}-{kind}-{num_coordinators}-{seed}"
        url = (
            sqlite_url(project.root / f"studies/{name}/study.db")
            if kind == "sqlite"
            else server.new_database(name)
        )
        chaos = Chaos(
            project,
            name,
            url,
            num_coordinators,
            random.Random(seed),
            strategy,
            expected.num_results(),
        )

        chaos.run(KILLS_PER_SEARCH)

        print(f"{name}: {', '.join(chaos.kills)}")
        assert chaos.stored.results() == expected.results()
        assert chaos.stored.num_results() == expected.num_results()
        assert chaos.stored.num("RUNNING") == 0
        assert [p for p in project.root.rglob("*.tmp") if name in str(p)] == []
        chaos.stored.close()
        num_kills, seed = num_kills + len(chaos.kills), seed + 1
    print(
        f"{strategy} on {kind}, {num_coordinators} coordinators: {num_kills} kills in {seed} searches"
    )
