"""Methods by gradients against plain descent on a loss written out in a test, in double precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import linear_heads
import networks
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.tasks.protocol import Task
from imu_lab.unlearning.request import Request

SGD = dict(lr=0.05, momentum=0.0, weight_decay=0.0, batch_size=10_000, optimizer="sgd")  # one batch: no order to know

GIVEN: dict[str, Callable[[], tuple[Task, nn.Module]]] = {
    "points": linear_heads.LINEAR["toy, double"],  # one prediction for each example
    "tokens": linear_heads.LINEAR["padded sequences, double"],  # several, some of them padding
    "pictures": lambda: in_double("resnet-18"),  # through convolutions and BatchNorm
}
EACH = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


def in_double(name: str) -> tuple[Task, nn.Module]:
    """A network of :mod:`networks` and its task, in double precision."""
    task, model, _ = networks.given(name)
    train, test = (task.split(split).batch() for split in ("train", "test"))
    twin, ids = copy.deepcopy(model).double(), task.split("forget").ids
    pairs = ((batch.inputs.double(), batch.targets) for batch in (train, test))
    return imu.tasks.Classification.from_data(twin, *pairs, forget_indices=ids, classes=task.classes), twin


def stepped(task: Task, model: nn.Module, name: str, steps: int = 1, **settings: Any) -> tuple[nn.Module, list]:
    """The model after some updates by a method, all of it moving where the method lets it, and the updates."""
    known = {field.name for field in fields(imu.methods[name])}
    method = imu.methods.create(
        name, **{key: value for key, value in (SGD | {"scope": "all"}).items() if key in known} | settings
    )
    forget, declared = task.split("forget"), imu.methods.declared
    retain = task.split("retain") if declared(method, "needs_retain") else None
    parts = declared(method, "needs_statistics")
    held = imu.statistics(task, model, parts) if parts else None
    moved, even = copy.deepcopy(model).eval(), torch.full((len(forget),), 1 / len(forget), dtype=torch.float64)
    updates = method(task, moved, Request(forget, even, retain, 0, held))
    return moved, [next(updates) for _ in range(steps)]


def by_hand(model: nn.Module, loss: Callable[..., Tensor], steps: int = 1, lr: float = 0.05) -> nn.Module:
    """Plain gradient descent; ``loss`` gets the model, and the number of the update where it takes it."""
    moved = copy.deepcopy(model).eval()
    for step in range(steps):
        found = loss(moved, step) if loss.__code__.co_argcount > 1 else loss(moved)
        gradients = torch.autograd.grad(found, list(moved.parameters()), allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for value, gradient in zip(moved.parameters(), gradients):
                value -= lr * gradient
    return moved


def flat(model: nn.Module) -> Tensor:
    """(P,) all parameters."""
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def difference(one: nn.Module, other: nn.Module, start: nn.Module) -> float:
    """Largest difference between two ways, over the largest movement."""
    return ((flat(one) - flat(other)).abs().max() / (flat(other) - flat(start)).abs().max()).item()


def losses(task: Task, model: nn.Module, split: str = "forget") -> Tensor:
    """(n,) the loss of each example of a split."""
    return task.example_loss(model, task.split(split).batch())


def likely(task: Task, model: nn.Module, split: str = "forget") -> Tensor:
    """(n, ..., K) what a model thinks of each prediction that may count."""
    made = model(task.split(split).batch().inputs)
    return (made[:, :-1] if made.ndim > 2 else made).softmax(-1)


def truths(task: Task, split: str = "forget") -> Tensor:
    """(n, ...) the true class of each prediction."""
    targets = task.split(split).batch().targets
    return targets[:, 1:] if targets.ndim > 1 else targets


def averaged(task: Task, values: Tensor, split: str = "forget") -> Tensor:
    """The mean over examples of the mean over each one's own predictions; token 0 is padding."""
    truth = truths(task, split)
    if truth.ndim == 1:
        return values.mean()
    counts = (truth != 0).to(values.dtype)
    return ((values * counts).sum(1) / counts.sum(1).clamp_min(1)).mean()
