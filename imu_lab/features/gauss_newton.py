"""The Gauss-Newton matrix of a task's loss over its readout: as products with vectors, and as a matrix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..core.running import device_of, evaluating
from ..tasks.protocol import Batch, Examples, Task
from . import readout
from .gradients import Gradient, flat, forward_mode

COLUMNS = 32  # of the matrix, computed together


def product(task: Task, model: nn.Module, examples: Examples) -> Callable[[Tensor], Tensor]:
    """v to H v, H = (1/n) Σ J_iᵀ ∇²ℓ_i J_i over ``examples``; v has one entry per readout parameter.

    One forward-mode pass gives J v, the loss's own second derivative acts on it, one backward pass gives Jᵀ.
    """
    values = {name: value.detach() for name, value in _parameters(task, model).items()}

    def apply(vector: Tensor) -> Tensor:
        direction: Gradient = unflat(vector, values)
        total: Tensor | float = 0.0
        with evaluating(model), forward_mode(), torch.no_grad():
            for _, batch in examples.batches():
                moved = flat(_batch_product(task, model, values, direction, batch.to(device_of(model))))
                total = total + moved.detach()  # the backbone's parameters are no part of it
        return total / len(examples)

    return apply


def _batch_product(task: Task, model: nn.Module, values: Gradient, direction: Gradient, batch: Batch) -> Gradient:
    def outputs(given: Gradient) -> Tensor:
        return torch.func.functional_call(model, given, (batch.inputs,))

    def loss(made: Tensor) -> Tensor:
        return task.example_loss(lambda _: made, batch).sum()

    try:
        made, moved = torch.func.jvp(outputs, (values,), (direction,))
    except (NotImplementedError, RuntimeError) as error:
        raise NotImplementedError(
            f"{type(model).__name__} has no forward mode, which its curvature needs ({str(error).splitlines()[0]}); "
            "use fisher-diagonal, which falls back to per-example gradients"
        ) from error
    _, bent = torch.func.jvp(torch.func.grad(loss), (made,), (moved,))  # ∇²ℓ J v
    return torch.func.vjp(outputs, values)[1](bent)[0]


def dense(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(P, P) the Gauss-Newton matrix, some columns at a time, in double precision."""
    apply = product(task, model, examples)
    like = flat({name: value.detach() for name, value in _parameters(task, model).items()})
    units = torch.eye(len(like), dtype=like.dtype, device=like.device)
    columns = [torch.func.vmap(apply, chunk_size=COLUMNS)(few) for few in units.split(8 * COLUMNS)]
    matrix = torch.cat(columns).double()
    return (matrix + matrix.T) / 2  # rounding leaves it slightly unsymmetric


def unflat(vector: Tensor, like: Gradient) -> Gradient:
    """A (P,) vector as parts of the same names and shapes as ``like``."""
    parts = vector.split([part.numel() for part in like.values()])
    return {name: part.view_as(shape) for (name, shape), part in zip(like.items(), parts)}


def _parameters(task: Task, model: nn.Module) -> dict[str, nn.Parameter]:
    return readout.parameters(model, readout.resolve(task, model))
