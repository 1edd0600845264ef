"""A task whose forget samples are seen through a random augmentation: does influence speak of the sample or the pixels?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor

from ...core.running import digest, fingerprint, seeded
from ..around import Around
from ..protocol import Batch, Examples, Task, own_data_key
from .replaced import replaced


@dataclass(frozen=True)
class Augmented(Around):
    """``task`` with one random draw of a transform for each forget sample; labels, ids and all other samples stay.

    Attributes:
        task: any task with real-valued tensor inputs.
        transform: from one sample's input (C, h, w) to another of its shape, such as
            ``v2.RandomAffine(0, translate=(1/8, 1/8))`` of ``torchvision.transforms``.
        seed: of the draws.
        does: what the transform prints, which may be the same at every strength.
        drawn: a fingerprint of the augmented inputs, which tells such transforms apart; they are drawn at once.

    Raises:
        TypeError: a transform that cannot be called, or inputs that are no real-valued tensors.
        ValueError: a transform that changes the shape.
    """

    task: Task
    transform: Callable[[Tensor], Tensor] = field(compare=False)
    seed: int = 0
    does: str = field(default="", init=False)
    drawn: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not callable(self.transform):
            raise TypeError(
                f"transform must map an input to another, as those of torchvision.transforms.v2 do; got {self.transform!r}"
            )
        object.__setattr__(self, "does", repr(self.transform))
        object.__setattr__(self, "drawn", fingerprint(self._rows.inputs))

    @property
    def data_key(self) -> str | None:
        """A digest of the data as it is here; None where the task has none."""
        own = own_data_key(self.task)
        return None if own is None else digest(own, self._ids, self.does, self.drawn, self.seed)

    @cached_property
    def _ids(self) -> Tensor:
        """(n,) the forget samples' ids, rising."""
        return self.task.split("forget").ids.sort().values

    @cached_property
    def _rows(self) -> Batch:
        """The augmented samples, in the order of ``_ids``."""
        forget = self.task.split("forget")
        clean = forget.batch(forget.ids.argsort())
        if not isinstance(clean.inputs, Tensor) or not clean.inputs.is_floating_point():
            raise TypeError(
                f"augmenting needs real-valued tensor inputs, this task's are {type(clean.inputs).__name__}"
            )
        with seeded(self.seed):
            drawn = [self.transform(each.clone()) for each in clean.inputs]  # a transform may write into its input
        strange = [tuple(each.shape) for each in drawn if each.shape != clean.inputs.shape[1:]]
        if strange:
            raise ValueError(f"{self.does} makes {strange[0]} of {tuple(clean.inputs.shape[1:])}; the shape must stay")
        return clean._replace(inputs=torch.stack(drawn).to(clean.inputs.dtype))

    def split(self, name: str) -> Examples:
        """The task's split; of training data with the forget samples augmented."""
        examples = self.task.split(name)
        return (
            replaced(examples, self._ids, partial(getattr, self, "_rows")) if examples.source == "train" else examples
        )
