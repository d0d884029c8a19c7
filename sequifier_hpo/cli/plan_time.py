"""How long a search will take, measured on this machine before it begins."""

from statistics import mean

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.searchspace import decode

_NUM_MEASURED = 3
_SECONDS = 0.5
_OF_A_TRAINING_STEP = 1 / 3
"""What a window costs that is only judged: the forward pass, without the backward one."""


def measured_epochs_per_second(prepared: PreparedSearch) -> float:
    """Pace of a search's runs side by side, from a moment's training of a few of them.

    Raises:
        InputError: If the data cannot be read.
        EnvironmentFaultError: If the machine cannot train them.
    """
    # It imports what runs processes.
    from sequifier_hpo.inference.asking import ask  # noqa: PLC0415

    last = prepared.effective.num_distinct - 1
    places = sorted({round(last * i / (_NUM_MEASURED - 1)) for i in range(_NUM_MEASURED)})
    points = [prepared.space.point_at(prepared.effective.representative(p)) for p in places]
    configs = [decode(prepared.space, point, 0, device=prepared.device)[0] for point in points]
    prepared.on_progress("training a few runs for a moment, to see how fast they are")
    found = ask("pacing", {"configs": [c.model_dump() for c in configs], "seconds": _SECONDS})
    windows: float = found["num_training"] + _OF_A_TRAINING_STEP * found["num_validation"]
    paces: list[float] = found["positions_per_second"]
    per_epoch = [
        windows * config.seq_length / pace for config, pace in zip(configs, paces, strict=True)
    ]
    specs = worker_specs(
        prepared.device,
        prepared.workers,
        prepared.num_runs,
        configs[0].training_spec.num_processes,
    )
    return sum(spec.num_slots for spec in specs) / mean(per_epoch)
