"""Streamed per-example quantities of a readout: mean gradient, Fisher diagonal, directional derivatives, norms.

Two ways, one answer: a linear readout has a closed form, in :mod:`imu_lab.features.linear`; any other readout is served
by :mod:`imu_lab.features.general`. Nothing of size examples x parameters is ever stored.

``explicit`` is the slow loop that checks both: one backward pass per example.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..core.running import device_of, evaluating
from ..tasks.protocol import Examples, Task, prepared
from . import readout
from .cache import ReadoutTask
from .general import GeneralGradients, forward_mode
from .layers import Gradient, OfExamples
from .linear import LinearGradients

# From a target's gradient ḡ to M ḡ, the direction that influences are products with; M is F⁻¹ or the like.
Preconditioner = Callable[[Gradient], Gradient]


def gradients_of(task: Task, model: nn.Module) -> LinearGradients | GeneralGradients:
    """The way to get at the per-example gradients of this task's readout: in closed form where it is linear."""
    if isinstance(task, ReadoutTask) and type(model) is nn.Linear:
        return LinearGradients(task, model, readout.ALL)
    found = readout.examine(task, prepared(task, model))
    if found.linear:
        return LinearGradients(task, model, found.names[0])
    return GeneralGradients(task, model, found.names)


def explicit(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(n, P) every example's own gradient, by one backward pass each: the oracle, for small cases only."""
    values = readout.parameters(model, readout.resolve(task, model))
    rows = []
    with evaluating(model), torch.enable_grad():
        for position in range(len(examples)):
            batch = examples.batch(slice(position, position + 1)).to(device_of(model))
            loss = task.example_loss(model, batch).sum()
            parts = torch.autograd.grad(loss, list(values.values()), allow_unused=True, materialize_grads=True)
            rows.append(flat(dict(zip(values, parts))))
    return torch.stack(rows)


def flat(gradient: Gradient) -> Tensor:
    """(P,) the parts of a gradient in one vector, in the model's order."""
    return torch.cat([part.flatten() for part in gradient.values()])


__all__ = [
    "GeneralGradients",
    "Gradient",
    "LinearGradients",
    "OfExamples",
    "Preconditioner",
    "explicit",
    "flat",
    "gradients_of",
    "forward_mode",
]
