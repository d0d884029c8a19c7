import threading
from collections.abc import Iterator

import pytest

from sequifier_hpo.training.data.ahead import read_ahead

_DEADLINE_SECONDS = 30


def test_values_come_in_the_order_of_the_keys() -> None:
    second_is_read = threading.Event()

    def read(key: int) -> int:
        if key == 0:
            assert second_is_read.wait(_DEADLINE_SECONDS)
        if key == 1:
            second_is_read.set()
        return key * 10

    assert list(read_ahead(read, range(7), 2)) == [0, 10, 20, 30, 40, 50, 60]


def test_the_next_value_is_read_while_one_is_in_use() -> None:
    begun = [threading.Event() for _ in range(3)]

    def read(key: int) -> int:
        begun[key].set()
        return key

    values = read_ahead(read, range(3), 1)

    assert next(values) == 0
    assert begun[1].wait(_DEADLINE_SECONDS)
    assert list(values) == [1, 2]


def test_an_error_comes_in_its_turn() -> None:
    def read(key: int) -> int:
        return 1 // (key - 1)

    values = read_ahead(read, range(9), 2)

    assert next(values) == -1
    with pytest.raises(ZeroDivisionError):
        next(values)


def test_whoever_stops_in_the_middle_leaves_no_thread_and_no_reading_behind() -> None:
    taken: list[int] = []

    def keys() -> Iterator[int]:
        for key in range(1000):
            taken.append(key)
            yield key

    before = threading.active_count()
    values = read_ahead(abs, keys(), 2)
    next(values)

    values.close()  # type: ignore[attr-defined] # a generator, told as what it is used for

    assert threading.active_count() == before
    assert len(taken) < 10
