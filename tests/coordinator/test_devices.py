import pytest

from sequifier_hpo.config.yaml_file import parse_yaml
from sequifier_hpo.coordinator import devices
from sequifier_hpo.coordinator.devices import device_issue, worker_specs


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


@pytest.mark.parametrize(
    ("device", "processes", "num_gpus", "built_for", "words"),
    [
        ("cpu", 4, 0, "", None),
        ("cuda", 1, 0, "", "built without CUDA"),
        ("cuda", 1, 0, "cuda", "no GPU here"),
        ("cuda", 1, 1, "cuda", None),
        ("cuda", 2, 2, "cuda", None),
        ("cuda", 2, 1, "cuda", "as many GPUs, and this machine has 1"),
        ("cuda:1", 1, 2, "cuda", None),
        ("cuda:2", 1, 2, "cuda", "2 GPUs, from cuda:0 on"),
        ("cuda", 1, 0, "hip", None),  # such GPUs are known to torch alone
        ("mps", 1, 0, "", "Apple"),
        ("gpu", 1, 0, "", "not one of cpu"),
        ("cuda:x", 1, 0, "", "not one of cpu"),
    ],
)
def test_a_device_that_this_machine_does_not_have_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    processes: int,
    num_gpus: int,
    built_for: str,
    words: str | None,
) -> None:
    monkeypatch.setattr(devices, "num_cuda_devices", lambda: num_gpus)
    monkeypatch.setattr(devices, "_torch_built_for", lambda name: name == built_for)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    document = parse_yaml(f"training_spec:\n  device: {device}\n", file="train.yaml")

    issue = device_issue(device, processes, document, ("training_spec", "device"))

    assert (issue is None) == (words is None)
    if issue is not None and words is not None:
        assert words in issue.problem
        assert (issue.file, issue.line, issue.path) == ("train.yaml", 2, "training_spec.device")
