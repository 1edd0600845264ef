"""A task some of whose forget samples have been tampered with, and which knows which: can influence be fooled?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from ...core.knobs import check, knob
from ...core.running import device_of, digest, evaluating, fingerprint, tensors_of
from ..around import Around
from ..protocol import Batch, Examples, Task, own_data_key
from .replaced import replaced

KINDS: dict[str, Callable[[Planted, Batch], Batch]] = {}


def kind(name: str) -> Callable:
    """Make a function (planted task, clean batch) -> tampered batch known under ``name``."""

    def keep(function: Callable[[Planted, Batch], Batch]) -> Callable:
        KINDS[name] = function
        return function

    return keep


@dataclass(frozen=True)
class Planted(Around):
    """``task`` with a share of its forget samples replaced; ids, sizes and all other samples stay as they are.

    Attributes:
        task: any task with tensor inputs.
        kind: ``"outliers"`` adds noise of ``strength`` deviations; ``"flipped"`` draws another label; ``"duplicates"``
            puts copies of one forget sample in the places; ``"adversarial"`` raises the loss of ``against`` within an
            L∞ ball of radius ``strength`` deviations: one signed step (FGSM, Goodfellow et al. 2015, arXiv 1412.6572)
            or, with ``steps`` > 1, projected gradient ascent (PGD, Madry et al. 2018, arXiv 1706.06083).
        against: the model that adversarial examples are made for.
    """

    task: Task
    kind: str = knob("outliers", help="What is planted.", choices=lambda: tuple(KINDS))
    share: float = knob(0.1, help="Share of the forget set that is replaced.", valid="(0, 1]", range=(0.01, 0.5))
    strength: float = knob(3.0, help="Size, in standard deviations of the inputs.", valid="(0, inf)", range=(0.1, 10))
    steps: int = knob(1, help="Steps of the attack; 1 is FGSM, more is PGD.", valid="[1, inf)", range=(1, 40))
    seed: int = knob(0, help="Of who is replaced, and of the noise.", valid="[0, inf)", range=(0, 20))
    against: nn.Module | None = field(default=None, compare=False, repr=False)
    against_key: str = field(default="", init=False)

    def __post_init__(self) -> None:
        check(self)
        if self.kind == "adversarial" and self.against is None:
            raise ValueError("adversarial examples need the model that they are made for: pass against=model")
        object.__setattr__(
            self, "against_key", fingerprint(*tensors_of(self.against)) if self.against is not None else ""
        )

    @property
    def data_key(self) -> str | None:
        """A digest of the data as it is here; None where the task has none."""
        own = own_data_key(self.task)
        settings = (self.kind, self.share, self.strength, self.steps, self.seed, self.against_key)
        return None if own is None else digest(own, self.task.split("forget").ids, *settings)

    @cached_property
    def planted(self) -> Tensor:
        """The ids of the replaced samples, rising."""
        ids = self.task.split("forget").ids
        count = max(1, round(self.share * len(ids)))
        chosen = np.random.default_rng(self.seed).choice(len(ids), count, replace=False)
        return ids[torch.as_tensor(np.sort(chosen))].sort().values

    @property
    def is_planted(self) -> np.ndarray:
        """(n,) bool, in the order of the forget split."""
        return torch.isin(self.task.split("forget").ids, self.planted).numpy()

    @cached_property
    def _rows(self) -> Batch:
        """The replaced samples, in the order of ``planted``."""
        forget = self.task.split("forget")
        clean = forget.batch(torch.isin(forget.ids, self.planted).nonzero().flatten())
        if not isinstance(clean.inputs, Tensor) or not clean.inputs.is_floating_point():
            raise TypeError(f"planting needs real-valued tensor inputs, this task's are {type(clean.inputs).__name__}")
        return KINDS[self.kind](self, clean)

    def split(self, name: str) -> Examples:
        """The task's split; of training data with the replaced samples in their places."""
        examples = self.task.split(name)
        return (
            replaced(examples, self.planted, partial(getattr, self, "_rows"))
            if examples.source == "train"
            else examples
        )

    def _noise(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def _deviation(planted: Planted) -> float:
    """Of the inputs of the forget set, over all their entries."""
    return float(planted.task.split("forget").batch().inputs.std())


@kind("outliers")
def _outliers(planted: Planted, clean: Batch) -> Batch:
    noise = torch.randn(clean.inputs.shape, generator=planted._noise(), dtype=clean.inputs.dtype)
    return clean._replace(inputs=clean.inputs + planted.strength * _deviation(planted) * noise)


@kind("flipped")
def _flipped(planted: Planted, clean: Batch) -> Batch:
    known = planted.task.split("train").batch().targets.unique()
    if clean.targets.ndim != 1 or len(known) < 2:
        raise TypeError("labels can be flipped where a target is one label out of two or more")
    places = torch.searchsorted(known, clean.targets)
    moves = torch.randint(1, len(known), places.shape, generator=planted._noise())
    return clean._replace(targets=known[(places + moves) % len(known)])


@kind("duplicates")
def _duplicates(planted: Planted, clean: Batch) -> Batch:
    forget = planted.task.split("forget")
    others = (~torch.isin(forget.ids, planted.planted)).nonzero().flatten()
    if not len(others):
        raise ValueError("a share of 1 leaves no forget sample to duplicate; use a smaller share")
    first = forget.batch(others[:1])
    count = len(clean.targets)
    return Batch(
        first.inputs.expand(count, *first.inputs.shape[1:]).clone(),
        first.targets.expand(count, *first.targets.shape[1:]).clone(),
    )


@kind("adversarial")
def _adversarial(planted: Planted, clean: Batch) -> Batch:
    radius, model = planted.strength * _deviation(planted), planted.against
    step = radius if planted.steps == 1 else 2.5 * radius / planted.steps
    start = clean.to(device_of(model))
    moved = start.inputs.detach().clone()
    with evaluating(model), torch.enable_grad():
        for _ in range(planted.steps):
            moved.requires_grad_()
            loss = planted.task.example_loss(model, start._replace(inputs=moved)).sum()
            (slope,) = torch.autograd.grad(loss, moved)
            moved = (moved + step * slope.sign()).detach()
            moved = start.inputs + (moved - start.inputs).clamp(-radius, radius)
    return clean._replace(inputs=moved.to(clean.inputs.device))
