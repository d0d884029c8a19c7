"""Two machines with a network between them and the database, which fails in every way.

The long version is chosen by the environment variable SEQUIFIER_HPO_FAULTS.
"""

import os
import random
from collections.abc import Iterator

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.process.chaos import (
    NUM_RUNS,
    StoredTrials,
    write_learning_search,
    write_sample_search,
    write_search,
)
from tests.process.two_hosts import Disturbed, Network, two_hosts, why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

NUM_FAULTS = int(os.environ.get("SEQUIFIER_HPO_FAULTS", "0"))
"""For each strategy; 0 = only the short version."""
FAULTS_PER_SEARCH = 10
WRITERS = {"grid": write_search, "sample": write_sample_search, "bayesian": write_learning_search}


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
@pytest.mark.parametrize("strategy", WRITERS)
def test_whatever_happens_to_two_hosts_and_their_server_the_results_are_the_same(
    network: Network, project: Project, strategy: str
) -> None:
    plain = WRITERS[strategy](project, f"plain-{strategy}")
    assert project.search("--workers", "1", file=plain).code == 0
    url = sqlite_url(project.root / f"studies/plain-{strategy}/study.db")
    expected = StoredTrials(url).losses()
    num_faults, seed = 0, 0
    while num_faults < NUM_FAULTS:
        name = f"hosts-{strategy}-{seed}"
        file = WRITERS[strategy](project, name)
        search = Disturbed(network, project, file, name, random.Random(seed))

        search.disturb(FAULTS_PER_SEARCH, NUM_RUNS[strategy])
        search.finish()

        print(f"{name}: {'; '.join(search.faults)}")
        assert search.violations() == []
        assert search.stored.losses() == expected
        assert search.stored.num("RUNNING") == 0
        search.stored.close()
        num_faults, seed = num_faults + len(search.faults), seed + 1
    print(f"two hosts, {strategy}: {num_faults} faults in {seed} searches")
