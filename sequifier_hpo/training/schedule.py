"""Steps of the learning-rate scheduler, with what torch's own schedulers leave to the caller."""

import warnings
from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sequifier_hpo.config.fields import StepOn
from sequifier_hpo.errors import InputError


class Schedule:
    """A scheduler that steps on batches or on epochs."""

    def __init__(
        self, scheduler: LRScheduler, step_on: StepOn, on_message: Callable[[str], None]
    ) -> None:
        """Take over a scheduler.

        Raises:
            InputError: If the scheduler needs the validation loss but steps on batches.
        """
        if isinstance(scheduler, ReduceLROnPlateau) and step_on == "batch":
            raise InputError(
                "the scheduler ReduceLROnPlateau needs a validation loss, which batches do not have",
                "set scheduler_step_on to epoch",
            )
        self._scheduler = scheduler
        self._step_on = step_on
        self._tell = on_message
        self._has_ended = False

    def after_batch(self) -> None:
        """Step, if this scheduler steps on batches (on every one, accumulated or not)."""
        if self._step_on == "batch":
            self._step()

    def after_epoch(self, validation_loss: float) -> None:
        """Step, if this scheduler steps on epochs."""
        if self._step_on == "epoch":
            self._step(validation_loss)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's own state."""
        state: dict[str, Any] = self._scheduler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scheduler's own state."""
        self._scheduler.load_state_dict(state)

    def _step(self, validation_loss: float | None = None) -> None:
        if isinstance(self._scheduler, ReduceLROnPlateau):
            assert validation_loss is not None
            self._scheduler.step(validation_loss)
            return
        # OneCycleLR refuses to go beyond its steps. A run may have more of them than the file
        # foresaw, when batch_size varies or was halved: it then stays at the last rate.
        num_steps = getattr(self._scheduler, "total_steps", None)
        if num_steps is not None and self._scheduler.last_epoch >= num_steps:
            if not self._has_ended:
                self._tell(
                    f"the schedule ended after its {num_steps} steps: "
                    "the learning rate stays constant"
                )
            self._has_ended = True
            return
        if self._scheduler.last_epoch > 0:
            self._scheduler.step()
            return
        with warnings.catch_warnings():
            # With accumulated gradients the first batches come before the first optimizer step.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            self._scheduler.step()
