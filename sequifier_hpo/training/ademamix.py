"""The AdEMAMix optimizer: AdamW with a second, much slower average of the gradient."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

_AVERAGES = ("exp_avg", "exp_avg_sq", "exp_avg_slow")


class AdEMAMix(torch.optim.Optimizer):
    """AdEMAMix with Sequifier's update rule, so that optimizer states can be exchanged.

    The rule differs from the paper in one point: the bias correction 1 / (1 - beta1^t) multiplies
    the slow average too, where the paper corrects the fast average only. In the first steps the
    slow term is therefore up to 1 / (1 - beta1) times larger than in the paper.

    Source: Pagliardini et al. 2024, arXiv:2409.03137, algorithm 1 and the schedulers of section 3.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999, 0.9999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        alpha: float = 5.0,
        T_alpha_beta3: int | float | None = None,
    ) -> None:
        """Set up the optimizer.

        Args:
            params: What to optimize.
            lr: Step size.
            betas: Decay of the fast average, of the squared gradient, and of the slow average.
            eps: Added to the denominator.
            weight_decay: Decoupled: scales the parameters themselves, times the step size.
            alpha: Weight of the slow average.
            T_alpha_beta3: Steps over which alpha and beta3 are warmed up; None = no warm-up.

        Raises:
            ValueError: If a number is out of range, or there are not three betas.
        """
        for name, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            if not value >= 0:
                raise ValueError(f"{name} must be >= 0, got {value}")
        if len(betas) != 3 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be three numbers in [0, 1), got {betas}")
        if T_alpha_beta3 is not None and (T_alpha_beta3 <= 0 or 0 in (betas[0], betas[2])):
            raise ValueError("T_alpha_beta3 must be > 0, and needs a first and third beta > 0")
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "alpha": alpha,
            "T_alpha_beta3": T_alpha_beta3,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override] # torch's overloads
        """Make one step; `closure` recomputes the loss, as for every torch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for step, parameters in self._by_step(group["params"]).items():
                self._update(parameters, group, step)
        return loss

    def _by_step(self, parameters: Sequence[Tensor]) -> dict[int, list[Tensor]]:
        """Count a step for each parameter that has a gradient: number of the step -> parameters."""
        by_step: dict[int, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError("AdEMAMix does not support sparse gradients")
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                for name in _AVERAGES:
                    state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["step"] += 1
            by_step.setdefault(state["step"], []).append(parameter)
        return by_step

    def _update(self, parameters: list[Tensor], group: dict[str, Any], step: int) -> None:
        """Step number `step` of these parameters; one call per operation, not per parameter."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        fast, square, slow = (
            [self.state[parameter][name] for parameter in parameters] for name in _AVERAGES
        )
        beta1, beta2, _ = group["betas"]
        alpha, beta3 = warmed_up(group["alpha"], group["betas"], group["T_alpha_beta3"], step)

        torch._foreach_lerp_(fast, gradients, 1 - beta1)
        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - beta2)
        torch._foreach_lerp_(slow, gradients, 1 - beta3)
        denominators = torch._foreach_sqrt(square)  # noqa: SLF001 - torch documents it
        torch._foreach_div_(denominators, math.sqrt(1 - beta2**step))
        torch._foreach_add_(denominators, group["eps"])
        directions = torch._foreach_add(fast, slow, alpha=alpha)  # noqa: SLF001 - the same
        if group["weight_decay"] != 0:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        size = -group["lr"] / (1 - beta1**step)
        torch._foreach_addcdiv_(parameters, directions, denominators, size)


def warmed_up(
    alpha: float, betas: Sequence[float], num_steps: int | float | None, step: int
) -> tuple[float, float]:
    """(alpha, beta3) at a step, counted from 1; alpha grows linearly, beta3 in its half-life.

    Source: Pagliardini et al. 2024, arXiv:2409.03137, section 3, "schedulers".
    """
    beta1, _, beta3 = betas
    if num_steps is None or step >= num_steps:
        return alpha, beta3
    done = step / num_steps
    log1, log3 = math.log(beta1), math.log(beta3)
    grown = math.exp(log1 * log3 / ((1 - done) * log3 + done * log1))
    return min(done * alpha, alpha), min(grown, beta3)
