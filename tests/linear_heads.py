"""Tasks whose readout is one linear layer, in single and in double precision: the closed form is tested on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cases
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import seeded
from imu_lab.features import readout
from imu_lab.features.gradients import forward_mode
from imu_lab.tasks.protocol import Task


@dataclass(frozen=True)
class Padded(cases.Tokens):
    """Sequences of different length: the loss is the mean over each one's own predicted tokens."""

    def example_loss(self, forward: Callable, batch: imu.tasks.Batch) -> Tensor:
        """(n,) token 0 is padding and never predicted."""
        logits, truth = forward(batch.inputs)[:, :-1], batch.targets[:, 1:]
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
        mask = (truth != 0).to(losses.dtype)
        return (losses * mask).sum(1) / mask.sum(1).clamp_min(1)


class Smoothed(imu.tasks.Classification):
    """A loss of a user's own on a task whose own loss knows its derivative."""

    def example_loss(self, forward: Callable, batch: imu.tasks.Batch) -> Tensor:
        """(n,) cross-entropy with smoothed labels."""
        return nn.functional.cross_entropy(forward(batch.inputs), batch.targets, reduction="none", label_smoothing=0.2)


@dataclass(frozen=True)
class Pixels(cases.Tokens):
    """Each pixel of a small picture has its own label: outputs have two axes of positions, (n, h, w, K)."""

    def make_model(self, seed: int) -> nn.Module:
        """A fresh network of two layers, both applied to each pixel."""
        with seeded(seed):
            return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).to(self.dtype).eval()

    def split(self, name: str) -> imu.tasks.Examples:
        """The first half is to be forgotten, the second kept."""
        generator = torch.Generator().manual_seed(self.seed)
        pixels = torch.randn(self.count, 2, 4, 3, generator=generator, dtype=self.dtype)
        labels, half = torch.randint(4, (self.count, 2, 4), generator=generator), self.count // 2
        rows = {"forget": slice(0, half), "retain": slice(half, None)}.get(name, slice(None))
        return imu.tasks.Examples.of(pixels[rows], labels[rows], torch.arange(self.count)[rows])

    def example_loss(self, forward: Callable, batch: imu.tasks.Batch) -> Tensor:
        """(n,) mean cross-entropy over the pixels."""
        logits = forward(batch.inputs).movedim(-1, 1)
        return nn.functional.cross_entropy(logits, batch.targets, reduction="none").mean((1, 2))


def sequences(kind: type = cases.Tokens, dtype: torch.dtype = torch.float64) -> tuple[Task, nn.Module]:
    """A sequence task and a model of it."""
    task = kind(dtype=dtype)
    return task, task.make_model(3)


def smoothed() -> tuple[Task, nn.Module]:
    """The user's loss, network and pictures."""
    model = cases.conv_net().to(torch.float64)
    pictures = (cases.images(count, seed, torch.float64) for seed, count in enumerate((60, 30)))
    return Smoothed.from_data(model, *pictures, forget_class=1), model


LINEAR: dict[str, Callable[[], tuple[Task, nn.Module]]] = {
    "toy": lambda: (cases.task("toy"), cases.original("toy")),
    "toy, double": lambda: cases.in_double("toy"),
    "digits": lambda: (cases.task("digits fraction"), cases.original("digits fraction")),
    "digits, double": lambda: cases.in_double("digits fraction"),
    "BatchNorm": lambda: own(torch.float32),
    "BatchNorm, double": lambda: own(torch.float64),
    "no bias": lambda: own(torch.float32, bias=False),
    "no bias, double": lambda: own(torch.float64, bias=False),
    "sequences": lambda: sequences(dtype=torch.float32),
    "sequences, double": sequences,
    "own loss, double": smoothed,
    "padded sequences, double": lambda: sequences(Padded),
    "pixels": lambda: sequences(Pixels, torch.float32),
    "pixels, double": lambda: sequences(Pixels),
}


def own(dtype: torch.dtype, bias: bool = True, **request: object) -> tuple[Task, nn.Module]:
    """A user's small convolutional network."""
    model = cases.conv_net(bias=bias).to(dtype)
    return cases.own_data(model, dtype, **request), model


def gauss_newton(task: Task, model: nn.Module, examples: imu.tasks.Examples) -> Tensor:
    """(P, P) mean Jᵀ ∇²ℓ J, example by example, as the definition says."""
    values = readout.parameters(model, readout.resolve(task, model))
    values = {name: value.detach() for name, value in values.items()}
    with forward_mode():  # torch warns of itself where it is loaded otherwise
        return _summed(task, model, values, examples) / len(examples)


def _summed(task: Task, model: nn.Module, values: dict, examples: imu.tasks.Examples) -> Tensor:
    total = torch.zeros(())
    for k in range(len(examples)):
        batch = examples.batch(torch.tensor([k]))

        def outputs(given: dict, batch: imu.tasks.Batch = batch) -> Tensor:
            return torch.func.functional_call(model, given, (batch.inputs,))

        jacobian = torch.func.jacrev(outputs)(values)
        made = outputs(values).detach()
        rows = torch.cat([part.reshape(made.numel(), -1) for part in jacobian.values()], 1)
        bend = torch.func.hessian(lambda z, batch=batch: task.example_loss(lambda _: z, batch).sum())(made)
        total = total + rows.T @ bend.reshape(made.numel(), made.numel()) @ rows
    return total.detach()


def tolerance(model: nn.Module) -> float:
    """What the project promises for this precision."""
    return cases.TOLERANCE[next(model.parameters()).dtype]
