"""Influence summed over checkpoints of a training or an unlearning run."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.registry import estimator
from ..core.running import device_of, evaluating
from ..features import readout
from ..features.gradients import LinearGradients, gradients_of
from ..tasks.protocol import Examples, Task
from .checkpoints import Checkpoints
from .through_captum import Loss, loader, undisturbed


@estimator("tracin")
@dataclass(frozen=True)
class TracIn:
    """I_i = −Σ_c η_c g_i(θ_c)ᵀ ḡ(θ_c) over checkpoints θ_c with learning rates η_c.

    For a linear readout of a classifier by captum's TracInCPFast, on a readout whose bias is folded into a feature that
    is always 1, because captum leaves the bias's gradient out; for any other readout from our own gradients. What a
    checkpoint leaves out keeps the given model's value.

    Source: Pruthi et al. 2020 (arXiv 2002.08484).
    """

    checkpoints: Any = ()  # (state dict, learning rate) of each; none for the given model alone, η = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoints", Checkpoints.of(self.checkpoints))

    @property
    def scope(self) -> str:
        """Checkpoints may move the backbone, and then cached features are not theirs."""
        return "all" if len(self.checkpoints) else "readout"

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend.

        Raises:
            ValueError: a checkpoint of another architecture.
        """
        held = self.checkpoints.checked(model) or [({}, 1.0)]
        gradients = gradients_of(task, model)
        if isinstance(gradients, LinearGradients) and _flat(task, model):
            return _by_captum(task, model, gradients.name, held, forget, target)
        total: Tensor | float = 0.0
        for state, rate in held:
            moved = copy.deepcopy(model)
            moved.load_state_dict(state, strict=False)
            there = gradients_of(task, moved)
            total = total - rate * there.along(forget, there.mean(target))
        return total


def _flat(task: Task, model: nn.Module) -> bool:
    """Whether the outputs are (n, K): captum's fast way knows no positions."""
    with torch.no_grad(), evaluating(model):
        return model(task.split("forget").batch(slice(0, 1)).to(device_of(model)).inputs).ndim == 2


class Folded(nn.Module):
    """A model whose readout's bias is the weight of one more feature that is always 1."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.body, self.at = copy.deepcopy(model).eval(), name
        layer = self.body.get_submodule(name)
        self.bias = layer.bias is not None
        self.head = nn.Linear(layer.in_features + self.bias, layer.out_features, bias=False).to(layer.weight)
        self.load({})

    def load(self, state: dict[str, Tensor]) -> None:
        """Take a checkpoint's weights, the readout's into the folded one."""
        self.body.load_state_dict(state, strict=False)
        layer = self.body.get_submodule(self.at)
        with torch.no_grad():
            self.head.weight[:, : layer.in_features] = layer.weight
            if self.bias:
                self.head.weight[:, -1] = layer.bias

    def forward(self, inputs: Any) -> Tensor:
        """The model's outputs, through the folded readout."""
        features = readout.capture(self.body, self.at, inputs)[0]
        return self.head(torch.cat([features, features.new_ones(len(features), 1)], 1) if self.bias else features)


def _by_captum(
    task: Task, model: nn.Module, name: str, held: list[tuple[dict, float]], forget: Examples, target: Examples
) -> Tensor:
    from captum.influence import TracInCPFast

    with undisturbed():
        folded = Folded(model, name)

    def load(_: nn.Module, checkpoint: tuple[dict, float]) -> float:
        folded.load(checkpoint[0])
        return checkpoint[1]

    total: Tensor | float = 0.0
    with undisturbed():
        judge = TracInCPFast(folded, folded.head, loader(forget, folded), held, load, Loss(task, "sum"))
        for pair in loader(target, folded):
            total = total + judge.influence(pair).sum(0)  # (examples of the target, n) summed over the target
    return -total.detach() / len(target)
