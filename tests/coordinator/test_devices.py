import pytest

from sequifier_hpo.coordinator import devices
from sequifier_hpo.coordinator.devices import worker_specs


@pytest.mark.parametrize(
    ("visible", "processes", "expected"),
    [
        ("0,1,2", 1, ["0", "1", "2"]),
        ("0,1,2,3", 2, ["0,1", "2,3"]),
        ("4,5,6", 2, ["4,5"]),
        ("7", 2, ["7"]),  # too few: the run itself says so
    ],
)
def test_gpus_are_dealt_to_trials_in_groups_as_large_as_a_run(
    monkeypatch: pytest.MonkeyPatch, visible: str, processes: int, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    specs = worker_specs("cuda", workers=None, num_runs=9, processes_per_run=processes)

    assert [spec.environment["CUDA_VISIBLE_DEVICES"] for spec in specs] == expected
    assert {spec.is_resident for spec in specs} == {processes == 1}


@pytest.mark.parametrize(
    ("cores", "workers", "expected"), [(8, None, 2), (2, None, 1), (8, 5, 5), (64, None, 9)]
)
def test_cores_are_shared_by_as_many_trials_as_have_one_for_each_process(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int | None, expected: int
) -> None:
    monkeypatch.setattr(devices, "num_cores", lambda: cores)

    (spec,) = worker_specs("cpu", workers, num_runs=9, processes_per_run=4)

    assert spec.num_slots == expected
