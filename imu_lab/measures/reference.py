"""The model to compare with, usually the retrained one, and its outputs on every split, computed once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..tasks.evaluation import outputs
from ..tasks.protocol import Task


class Reference:
    """A whole model beside the task, with its outputs on each split kept.

    A run works on cached features, which a whole model cannot read; it is measured against these outputs, row by row.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self.task, self.model = task, model
        self._outputs: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(cls, task: Task, given: Reference | nn.Module | None) -> Reference:
        """The reference given, or one around a model.

        Raises:
            ValueError: there is none.
        """
        if given is None:
            raise ValueError('no model to compare with; pass reference=imu.train(task, "retain")')
        return given if isinstance(given, Reference) else cls(task, given)

    def outputs(self, split: str, ids: Tensor) -> Tensor:
        """(n, ...) the model's outputs on a split, on the CPU.

        Args:
            ids: (n,) of the examples that the caller compares with, in order.

        Raises:
            ValueError: the split holds other examples here.
        """
        if split not in self._outputs:
            self._outputs[split] = self._computed(split)
        mine, outputs = self._outputs[split]
        if not torch.equal(mine, ids):
            raise ValueError(
                f"the retrained model was measured on {len(mine)} examples of {split!r}, and these are {len(ids)} others; "
                "was it made for another task?"
            )
        return outputs

    def _computed(self, split: str) -> tuple[Tensor, Tensor]:
        examples = self.task.split(split)
        return examples.ids, torch.cat([made.cpu() for _, _, made in outputs(self.task, self.model, examples)])
