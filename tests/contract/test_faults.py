"""What a study keeps to when the storage, a coordinator or a whole host fails."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import RunState
from sequifier_hpo.study import (
    Claim,
    LeaseLostError,
    Ledger,
    Storage,
    StorageFaultError,
    StudyMissingError,
)
from sequifier_hpo.study.storages import GRACE_SECONDS, HEARTBEAT_SECONDS
from sequifier_hpo.study.transactions import StudyDeletedError
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener
from tests.contract.test_study import MODEL, finish_all, plan_of
from tests.postgres_server import PostgresServer


@contextmanager
def next_answer_lost(storage: Storage) -> Iterator[None]:
    """Let the next commit take effect, but its acknowledgement never arrive."""
    engine = storage.rdb.engine

    def commit_and_fail(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.commit()
        raise OperationalError("COMMIT", None, ConnectionError("the connection was cut"))

    event.listen(engine, "commit", commit_and_fail)
    with pytest.raises(StorageFaultError, match="the connection was cut"):
        yield
    event.remove(engine, "commit", commit_and_fail)


def claimed(study: Ledger) -> Claim:
    claim = study.claim()
    assert claim is not None
    return claim


def make_heartbeats_old(storage: Storage, seconds: int) -> None:
    """As if the last ones had been sent then; below 0: as if the clock had been set back since."""
    shift = (
        f"datetime('now', '{-seconds:+d} seconds')"
        if storage.rdb.engine.dialect.name == "sqlite"
        else f"now() at time zone 'UTC' - interval '{seconds} seconds'"
    )
    with storage.writing() as connection:
        connection.execute(text(f"UPDATE trial_heartbeats SET heartbeat = {shift}"))


def test_a_claim_whose_answer_was_lost_is_given_again(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    with next_answer_lost(study._storage):
        study.claim()

    claim = claimed(study)

    assert claim.trial_number == claim.run_number == 0
    assert claimed(study).run_number == 1


CHANGES: dict[str, Callable[[Ledger, Claim], None]] = {
    "report": lambda study, claim: study.report(claim, 1, 0.5),
    "annotate": lambda study, claim: study.annotate(claim, {"oom_retries": 1}),
    "complete": lambda study, claim: study.complete(claim, 0.5, {"best_epoch": 1}),
    "fail": lambda study, claim: study.fail(claim, "diverged", {}),
    "interrupt": lambda study, claim: study.fail(claim, "interrupted", {}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_whose_answer_was_lost_can_be_repeated_and_is_stored_once(
    write_search: WriteSearch, opener: Opener, change: Callable[[Ledger, Claim], None]
) -> None:
    duplicated = {f"{MODEL}.n_kv_heads": [None, 2]}
    study = opener.study(plan_of(write_search, duplicated))
    claim = claimed(study)
    with next_answer_lost(study._storage):
        change(study, claim)
    seen_elsewhere = opener.study(plan_of(write_search, duplicated)).runs()

    change(study, claim)

    assert study.runs() == seen_elsewhere


def test_a_repeated_result_that_differs_is_refused(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    claim = claimed(study)
    study.complete(claim, 0.5, {})

    with pytest.raises(LeaseLostError):
        study.complete(claim, 0.4, {})

    assert study.runs()[0].validation_loss == 0.5


def test_a_run_of_another_host_is_left_alone_while_it_beats(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    elsewhere = claimed(opener.study_elsewhere(plan))

    assert claimed(opener.study(plan)).key != elsewhere.key


def test_a_run_of_another_host_is_taken_over_when_it_no_longer_beats(
    write_search: WriteSearch, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(write_search)
    frozen = opener.study_elsewhere(plan)
    lost = claimed(frozen)
    make_heartbeats_old(frozen._storage, GRACE_SECONDS + 5)

    taken_over = claimed(opener.study(plan))

    assert taken_over.run_number == lost.run_number
    with pytest.raises(LeaseLostError):
        frozen.report(lost, 1, 0.5)
    (record,) = [r for r in caplog.records if r.name == "sequifier_hpo.study"]
    assert record.getMessage() == "run taken over"
    assert vars(record)["trial_number"] == lost.trial_number
    assert vars(record)["owner_host"] == "elsewhere"


def test_a_run_of_a_coordinator_that_hangs_on_this_host_is_taken_over_after_a_grace_period(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    frozen = opener.study(plan)
    lost = claimed(frozen)
    now = 0.0
    study = Ledger(opener.storage, opener._owner(), plan.study, plan.proposer, clock=lambda: now)
    make_heartbeats_old(opener.storage, GRACE_SECONDS + 5)

    at_first = claimed(study)
    now = GRACE_SECONDS + 1
    later = claimed(study)

    assert at_first.run_number != lost.run_number
    assert later.run_number == lost.run_number
    with pytest.raises(LeaseLostError):
        frozen.report(lost, 1, 0.5)


def test_an_sqlite_file_is_refused_to_a_second_machine_until_the_first_one_is_gone(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    claimed(opener.study_elsewhere(plan, boot_id="another"))
    study = opener.study(plan)

    refused = pytest.raises(InputError, match=r"elsewhere is working on it\n    fix: .*Postgres")
    with refused if opener.storage.rdb.engine.dialect.name == "sqlite" else nullcontext():
        claimed(study)

    make_heartbeats_old(opener.storage, GRACE_SECONDS + 5)
    claimed(study)


@pytest.mark.parametrize(
    "other",
    [{}, {"host": socket.gethostname(), "boot_id": "another"}],
    ids=["container", "restart"],
)
def test_another_name_on_this_machine_and_a_restart_of_it_may_share_an_sqlite_file(
    write_search: WriteSearch, opener: Opener, other: dict[str, str]
) -> None:
    plan = plan_of(write_search)
    elsewhere = claimed(opener.study_elsewhere(plan, **other))

    assert claimed(opener.study(plan)).key != elsewhere.key


def test_a_beat_keeps_a_run_from_being_taken_over(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    slow = opener.study_elsewhere(plan)
    held = claimed(slow)
    make_heartbeats_old(slow._storage, GRACE_SECONDS + 5)
    slow.beat([held])

    assert claimed(opener.study(plan)).run_number != held.run_number


def test_a_clock_that_was_set_back_does_not_keep_a_lost_run_alive(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    living, gone = opener.study_elsewhere(plan), opener.study_elsewhere(plan)
    held, lost = claimed(living), claimed(gone)
    make_heartbeats_old(opener.storage, -3600)
    study = opener.study(plan)

    at_first = claimed(study)
    with opener.storage.reading() as connection:
        silence = study._known.reader.silence(connection, [held.trial_id, lost.trial_id])
    assert all(0 <= seconds < HEARTBEAT_SECONDS for seconds in silence.values())
    make_heartbeats_old(opener.storage, GRACE_SECONDS + 5)
    living.beat([held])

    assert at_first.run_number not in {held.run_number, lost.run_number}
    assert claimed(study).run_number == lost.run_number


def test_after_an_outage_of_our_own_nobody_is_judged_for_a_grace_period(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    elsewhere = opener.study_elsewhere(plan)
    lost = claimed(elsewhere)
    now = 0.0
    owner = opener.study(plan)._owner
    study = Ledger(opener.storage, owner, plan.study, plan.proposer, clock=lambda: now)
    make_heartbeats_old(opener.storage, GRACE_SECONDS + 5)

    study.judge_later()
    during = claimed(study)
    now = GRACE_SECONDS + 1
    after = claimed(study)

    assert during.run_number != lost.run_number
    assert after.run_number == lost.run_number


def test_nothing_is_left_running_when_all_is_done(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    claimed(opener.study(plan))
    opener.die()
    study = opener.study(plan)

    finish_all(study)

    assert {run.state for run in study.runs()} == {RunState.COMPLETE}


def test_a_deleted_study_is_named_as_such(write_search: WriteSearch, opener: Opener) -> None:
    study = opener.study(plan_of(write_search))
    study._storage.rdb.delete_study(study._study_id)

    with pytest.raises(StudyDeletedError, match="was deleted"):
        study.claim()


@pytest.mark.slow
def test_who_looks_at_an_empty_database_leaves_it_empty(postgres: PostgresServer) -> None:
    url = postgres.new_database("empty")

    for _ in range(2):
        with pytest.raises(StudyMissingError, match="there is no study"):
            Storage(url, is_for_reading=True)
    Storage(url).close()
    Storage(url, is_for_reading=True).close()


@pytest.mark.slow
def test_connections_that_were_cut_while_idle_are_replaced_unnoticed(
    write_search: WriteSearch, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = Storage(postgres.new_database("cut"))
    opener = Opener(storage, postgres.url, tmp_path_factory.mktemp("cut"))
    study = opener.study(plan_of(write_search))

    postgres.cut_connections()

    assert claimed(study).run_number == 0
    opener.die()
    storage.close()


@pytest.mark.slow
def test_a_database_without_an_encoding_of_its_own_serves(
    write_search: WriteSearch, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.new_database("ascii", "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    opener = Opener(Storage(url), url, tmp_path)

    assert claimed(opener.study(plan_of(write_search))).run_number == 0
    opener.die()
    opener.storage.close()


@pytest.mark.slow
def test_a_session_zone_of_the_environment_does_not_age_heartbeats(
    write_search: WriteSearch,
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(write_search)
    url = postgres.new_database("zones")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    there = Opener(Storage(url), url, tmp_path / "there")
    held = claimed(there.study_elsewhere(plan))
    monkeypatch.setenv("PGTZ", "America/New_York")
    here = Opener(Storage(url), url, tmp_path / "here")

    claim = claimed(here.study(plan))

    assert claim.run_number != held.run_number
    for opener in (there, here):
        opener.die()
        opener.storage.close()
