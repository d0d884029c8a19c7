"""Changes that wait for the storage: none lost, none twice, in their order."""

from collections.abc import Callable

import pytest

from sequifier_hpo.coordinator.outbox import Outbox
from sequifier_hpo.study import StorageFaultError


class FlakyPlace:
    """Somewhere to carry entries to, that can be shut."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_open = True
        self.taken: list[str] = []
        self.heard: list[str] = []
        self.asked: list[float] = []
        """When someone came to a shut door."""

    def take(self, entry: str) -> None:
        self.check()
        self.taken.append(entry)

    def check(self) -> None:
        if not self.is_open:
            self.asked.append(self.now)
            raise StorageFaultError("it is shut")

    def outbox(self, carry_out: Callable[[str], None] | None = None) -> Outbox[str]:
        def on_return(seconds: float) -> None:
            self.check()
            self.heard.append(f"back after {seconds:g}")

        return Outbox(
            carry_out or self.take,
            on_outage=lambda error: self.heard.append(error.problem),
            on_return=on_return,
            clock=lambda: self.now,
        )


@pytest.fixture
def place() -> FlakyPlace:
    return FlakyPlace()


def test_entries_are_carried_out_at_once_while_all_is_well(place: FlakyPlace) -> None:
    outbox = place.outbox()

    outbox.put("a")

    assert place.taken == ["a"]


def test_entries_of_an_outage_are_kept_in_their_order(place: FlakyPlace) -> None:
    outbox = place.outbox()
    place.is_open = False
    outbox.put("a")
    outbox.put("b")

    place.is_open = True
    place.now = 2.0
    outbox.flush()

    assert place.taken == ["a", "b"]
    assert place.heard == ["it is shut", "back after 2"]


def test_an_outage_is_announced_once_and_tried_less_and_less_often(place: FlakyPlace) -> None:
    outbox = place.outbox()
    place.is_open = False
    outbox.put("a")

    for second in range(1, 61):
        place.now = float(second)
        outbox.flush()

    assert place.asked == [0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 45.0, 60.0]
    assert place.heard == ["it is shut"]
    assert place.taken == []


def test_entries_put_while_one_is_carried_out_come_after_those_that_wait(
    place: FlakyPlace,
) -> None:
    def carry_out(entry: str) -> None:
        place.take(entry)
        if entry == "a":
            outbox.put("of a")

    outbox = place.outbox(carry_out)
    place.is_open = False
    outbox.put("a")
    outbox.put("b")
    place.is_open, place.now = True, 5.0

    outbox.flush()

    assert place.taken == ["a", "b", "of a"]


def test_a_removed_entry_is_not_carried_out(place: FlakyPlace) -> None:
    outbox = place.outbox()
    place.is_open = False
    outbox.put("a")
    outbox.put("b")

    removed = outbox.remove(lambda entry: entry == "a")
    place.is_open, place.now = True, 5.0
    outbox.flush()

    assert removed == ["a"]
    assert place.taken == ["b"]
