"""Whatever is killed or cut off, whenever: the study ends with exactly the results it would have had.

The long versions are chosen by the environment variables SEQUIFIER_HPO_KILLS and _FAULTS.
"""

import os
import random
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.postgres_server import PostgresServer
from tests.process.chaos import WRITE, Chaos, StoredTrials, write_search
from tests.process.two_hosts import Disturbed, Network, two_hosts, why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

NUM_KILLS = int(os.environ.get("SEQUIFIER_HPO_KILLS", "0"))
"""Kills per kind of storage and number of coordinators; 0 = one search of a few kills each."""
KILLS_PER_SEARCH = 10 if NUM_KILLS else 3
NUM_FAULTS = int(os.environ.get("SEQUIFIER_HPO_FAULTS", "0"))
"""For each strategy; 0 = only the short version."""
FAULTS_PER_SEARCH = 10


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


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if reason := why_not():
        pytest.skip(reason)
    with two_hosts() as network:
        yield network


def test_a_search_of_two_hosts_that_are_cut_off_from_their_server_has_each_result_once(
    network: Network, project: Project, undisturbed: dict[str, float]
) -> None:
    north, south = network.hosts
    file = write_search(project, "two-hosts")
    search = Disturbed(network, project, file, "two-hosts", random.Random(0))
    search.start()

    search.wait(
        "both train", lambda: search.num_of("report", north) and search.num_of("report", south)
    )
    south.cut("from")  # it is heard, but hears nothing
    done = search.num_of("report", north)
    search.wait("the other one goes on", lambda: search.num_of("report", north) > done + 2)
    south.heal()
    while not search.num_of("fail", south):
        search.wait("it has a run", lambda: search.holds(north))
        north.cut("both")
        search.age_heartbeats(600, north)
        search.wait(
            "its run is taken over, or had just ended",
            lambda: search.num_of("fail", south) or not search.holds(north),
        )
        north.heal()
    search.restart_server(network.server.kill)
    search.finish()

    assert search.violations() == []
    assert search.stored.losses() == undisturbed
    assert search.stored.num("RUNNING") == 0
    search.stored.close()


@pytest.mark.skipif(not NUM_FAULTS, reason="the long version: `make chaos`")
@pytest.mark.parametrize("strategy", ["sample", "grid", "bayesian with pruning"])
def test_whatever_happens_to_two_hosts_and_their_server_the_results_are_the_same(
    network: Network, project: Project, straight: Callable[[str], StoredTrials], strategy: str
) -> None:
    expected = straight(strategy)
    num_faults, seed = 0, 0
    while num_faults < NUM_FAULTS:
        name = f"hosts-{strategy.replace(' ', '-')}-{seed}"
        file = WRITE[strategy](project, name)
        search = Disturbed(network, project, file, name, random.Random(seed))

        search.disturb(FAULTS_PER_SEARCH, expected.num_results())
        search.finish()

        print(f"{name}: {'; '.join(search.faults)}")
        assert search.violations() == []
        assert search.stored.results() == expected.results()
        assert search.stored.num("RUNNING") == 0
        search.stored.close()
        num_faults, seed = num_faults + len(search.faults), seed + 1
    print(f"two hosts, {strategy}: {num_faults} faults in {seed} searches")
