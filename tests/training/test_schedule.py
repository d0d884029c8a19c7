import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from sequifier_hpo.errors import InputError
from sequifier_hpo.training.schedule import Schedule


def optimizer() -> SGD:
    parameter = nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    return SGD([parameter], lr=1.0, momentum=0.9)


def test_it_steps_after_batches_or_after_epochs_as_told() -> None:
    rates = []
    for step_on in ("batch", "epoch"):
        sgd = optimizer()
        schedule = Schedule(StepLR(sgd, 1, gamma=0.5), step_on, print)
        sgd.step()
        schedule.after_batch()
        schedule.after_batch()
        schedule.after_epoch(1.0)
        rates.append(sgd.param_groups[0]["lr"])

    assert rates == [0.25, 0.5]


def test_stepping_before_the_first_optimizer_step_is_no_reason_to_warn() -> None:
    sgd = optimizer()
    schedule = Schedule(StepLR(sgd, 1, gamma=0.5), "batch", print)

    schedule.after_batch()

    assert sgd.param_groups[0]["lr"] == 0.5


def test_reduce_on_plateau_looks_at_the_validation_loss() -> None:
    sgd = optimizer()
    schedule = Schedule(ReduceLROnPlateau(sgd, factor=0.1, patience=0), "epoch", print)

    schedule.after_epoch(1.0)
    schedule.after_epoch(0.5)
    improving = sgd.param_groups[0]["lr"]
    schedule.after_epoch(0.6)

    assert (improving, sgd.param_groups[0]["lr"]) == (1.0, pytest.approx(0.1))


def test_reduce_on_plateau_cannot_step_on_batches() -> None:
    scheduler = ReduceLROnPlateau(optimizer())

    with pytest.raises(InputError, match="needs a validation loss"):
        Schedule(scheduler, "batch", print)


def test_a_one_cycle_that_is_too_short_ends_with_its_last_rate_and_one_message() -> None:
    sgd = optimizer()
    messages: list[str] = []
    schedule = Schedule(OneCycleLR(sgd, max_lr=1.0, total_steps=3), "batch", messages.append)
    sgd.step()
    for _ in range(3):
        schedule.after_batch()
    last = sgd.param_groups[0]["lr"]

    schedule.after_batch()
    schedule.after_batch()

    assert sgd.param_groups[0]["lr"] == last
    assert messages == ["the schedule ended after its 3 steps: the learning rate stays constant"]
