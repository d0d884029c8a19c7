"""Torch's optimizers without what they need for `torch.compile` only.

Building or stepping an optimizer of torch imports `torch._dynamo`, which takes one to two seconds,
longer than a short run trains. Nothing here is ever compiled, so the classes made here leave that
out. They compute the same, bit for bit, and their states are torch's own.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

_STATES = ("exp_avg", "exp_avg_sq", "step")


def eager_class(optimizer_class: type[Any], *, is_fused: bool) -> type[Any]:
    """A class of the same name that does the same without `torch._dynamo`.

    Args:
        optimizer_class: Any optimizer; one that is not torch's is returned as it is.
        is_fused: Whether it will be built with `fused=True`.
    """
    _skip_wrappers_for_compiler()
    if not optimizer_class.__module__.startswith("torch.optim."):
        return optimizer_class
    members: dict[str, Any] = {
        "__module__": optimizer_class.__module__,
        "__doc__": optimizer_class.__doc__,
        "step": _eager_step(optimizer_class),
    }
    bases: tuple[type[Any], ...] = (optimizer_class,)
    if is_fused and optimizer_class in (Adam, AdamW) and hasattr(torch, "_fused_adamw_"):
        members["kernel"] = staticmethod(
            torch._fused_adamw_ if optimizer_class is AdamW else torch._fused_adam_
        )
        bases = (_FusedSteps, optimizer_class)
        members["plain_step"] = members.pop("step")
    return type(optimizer_class.__name__, bases, members)


def _skip_wrappers_for_compiler() -> None:
    """Tell some methods of torch's base class that they are already hidden from the compiler.

    Each is wrapped in a function that imports `torch._dynamo` to hide the method, once, and keeps
    the result on the method. Should torch store it elsewhere one day, the import is back, no more.
    """
    for method in vars(Optimizer).values():
        hidden = getattr(method, "__wrapped__", None)
        if inspect.isfunction(hidden) and not hasattr(hidden, "__dynamo_disable"):
            setattr(hidden, "__dynamo_disable", hidden)


def _eager_step(optimizer_class: type[Any]) -> Callable[..., Any]:
    """The class's `step` itself, below the decorators that prepare it for the compiler."""
    undecorated = inspect.unwrap(optimizer_class.step)

    def step(self: Any, closure: Callable[[], float] | None = None) -> Any:
        """Make one step."""
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return undecorated(self, closure)

    return step


class _FusedSteps:
    """Steps of Adam that only call the kernel, once a first step has set everything up.

    With small models the kernel takes a twentieth of the time of torch's preparations for it.
    """

    param_groups: list[dict[str, Any]]
    state: dict[Tensor, dict[str, Tensor]]
    kernel: Callable[..., None]
    plain_step: Callable[..., Any]
    _parameters: list[Tensor] | None = None
    _averages: tuple[list[Tensor], ...] = ()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; the tensors in it are other ones afterwards."""
        self._parameters = None
        super().load_state_dict(state_dict)  # type: ignore[misc] # whose base it is, a protocol cannot say

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Make one step."""
        (group, *others) = self.param_groups
        gradients = [parameter.grad for parameter in group["params"]]
        if closure is not None or others or any(gradient is None for gradient in gradients):
            self._parameters = None
            return self.plain_step(closure)
        if self._parameters is None:
            self.plain_step()
            self._remember(group)
            return None
        fast, square, steps = self._averages
        beta1, beta2 = group["betas"]
        with torch.no_grad():
            torch._foreach_add_(steps, 1)
            self.kernel(
                self._parameters,
                gradients,
                fast,
                square,
                [],
                steps,
                amsgrad=False,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=group["maximize"],
            )
        return None

    def _remember(self, group: dict[str, Any]) -> None:
        """Keep the lists that every step needs, if the kernel takes them as they are."""
        parameters = list(group["params"])
        # On a GPU one call of the kernel takes one type of numbers; torch sorts them before.
        is_mixed = len({parameter.dtype for parameter in parameters}) > 1
        if group["amsgrad"] or isinstance(group["lr"], Tensor) or is_mixed:
            return
        self._averages = tuple([self.state[p][name] for p in parameters] for name in _STATES)
        self._parameters = parameters
