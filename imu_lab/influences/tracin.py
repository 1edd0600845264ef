"""Influence summed over checkpoints of a training or an unlearning run, and where such checkpoints come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..core.records import Run
from ..core.registry import estimator
from ..core.running import copied, digest
from ..features import readout
from ..features.gradients import LinearGradients, gradients_of
from ..tasks.announced import announced
from ..tasks.protocol import Examples, Task, prepared
from ..tasks.training import Recipe, learning_rates, recipe_of
from .hessian import Loss, loader, undisturbed

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoints:
    """Some checkpoints; equal when their contents are."""

    key: str
    held: tuple[tuple[State, float], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, given: Any) -> Checkpoints:
        """From pairs (state dict, learning rate), or bare state dicts, which then count alike.

        Raises:
            TypeError: something that is neither.
        """
        if isinstance(given, Checkpoints):
            return given
        held = tuple(_pair(each) for each in given)
        parts = [part for state, rate in held for item in (*state.items(), ("rate", rate)) for part in item]
        return cls(digest(*parts), held)

    def checked(self, model: nn.Module) -> list[tuple[State, float]]:
        """The pairs, once each of them fits the model.

        Raises:
            ValueError: a checkpoint has other names or shapes than the model.
        """
        known = model.state_dict()
        for number, (state, _) in enumerate(self.held):
            strange = [key for key in state if key not in known or known[key].shape != state[key].shape]
            if strange or not state:
                there = f"{tuple(known[strange[0]].shape)}" if strange and strange[0] in known else "nothing"
                said = (
                    f"{strange[0]!r} is {tuple(state[strange[0]].shape)}, the model has {there}" if strange else "empty"
                )
                raise ValueError(
                    f"checkpoint {number} is of another architecture than this {type(model).__name__}: {said} there "
                    f"({len(strange)} of {len(state)} tensors differ). Give state dicts of the same model"
                )
        return list(self.held)

    def every(self, count: int) -> Checkpoints:
        """Each ``count``-th of them, so that the last is among them."""
        return Checkpoints.of(self.held[::-1][::count][::-1])

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[tuple[State, float]]:
        return iter(self.held)


def _pair(given: Any) -> tuple[State, float]:
    state, rate = given if isinstance(given, (tuple, list)) and len(given) == 2 else (given, 1.0)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TypeError(f"a checkpoint is a (state dict, learning rate) pair; got {type(state).__name__}")
    return state, float(rate)


def checkpoints(
    source: Run | Task, every: int = 1, *, split: str = "train", seed: int = 0, recipe: Recipe | None = None
) -> Checkpoints:
    """Checkpoints for ``tracin``: of an unlearning run, or of a task's training, which is run for them.

    Args:
        source: a run, whose recorded updates are used; or a task.
        every: take each k-th recorded update, or each k-th epoch; the last is always taken.
        split, seed, recipe: of the training, as in :func:`imu_lab.train`.
    """
    found = _of_run(source) if isinstance(source, Run) else _of_training(source, split, seed, recipe)
    return Checkpoints.of(found).every(every)


def _of_run(run: Run) -> Iterable[tuple[State, float]]:
    rate = (run.settings.get("settings") or {}).get("lr", 1.0)
    return [(state, rate) for state in (run.snapshots.kept if run.snapshots is not None else {}).values()]


def _of_training(task: Task, split: str, seed: int, recipe: Recipe | None) -> Iterable[tuple[State, float]]:
    recipe = recipe or recipe_of(task)
    examples, model = task.split(split), task.make_model(seed)
    rates = learning_rates(recipe, len(examples))
    with announced(1, "checkpoints(run) takes those of a run") as models:
        for rate, trained in zip(rates, models.epochs(task, model, examples, recipe, seed)):
            yield {name: value.detach().clone() for name, value in trained.state_dict().items()}, rate


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
            moved = copied(model)
            moved.load_state_dict(state, strict=False)
            there = gradients_of(task, moved)
            total = total - rate * there.along(forget, there.mean(target))
        return total


def _flat(task: Task, model: nn.Module) -> bool:
    """Whether the outputs are (n, K): captum's fast way knows no positions."""
    return readout.examine(task, prepared(task, model)).outputs.ndim == 2


class Folded(nn.Module):
    """A model whose readout's bias is the weight of one more feature that is always 1."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.body, self.at = copied(model).eval(), name
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
