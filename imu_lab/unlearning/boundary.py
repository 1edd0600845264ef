"""Each sample given to the class across the nearest boundary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features import readout
from ..tasks.evaluation import real_valued
from ..tasks.outputs import true_classes, two_sided
from ..tasks.protocol import Batch, Task, prepared
from .objectives import SCOPE, Objective, ObjectiveDescent, forget_batches, frozen_copy
from .random_label import cross_entropy
from .request import Request


@method("boundary-shrink")
@dataclass(frozen=True)
class BoundaryShrink(ObjectiveDescent):
    """Towards the class that each sample would have a step away: L = mean_B CE(y'_i, p_θ), y' = argmax f_0(x + ε s sign ∂ℓ/∂x).

    f_0 is the model as given and s the mean absolute value of x, for each sample. With ``scope="all"`` x is the input, as in
    the paper (whose ε is 0.1 of a pixel's range). With ``scope="readout"`` x is what reaches a linear readout, which is not
    the paper's method, but its like where the features stay. The true class is left out, for the
    paper speaks of the nearest other one; its code does not, so that a sample whose step crosses no boundary is trained to stay.

    Source: Chen et al. 2023 (arXiv 2303.11570).
    """

    follows_losses: ClassVar[bool] = False

    epsilon: float = knob(
        0.5, help="ε: how far the step goes, in mean absolute values of a sample.", valid="(0, inf)", range=(0.05, 3.0)
    )
    exclude_true: bool = knob(True, help="Never the true class, even where the step does not lead out of it.")
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        found = None if self.scope == "all" else readout.examine(task, prepared(task, model))
        layer, first = found.names[0] if found is not None and found.linear else None, frozen_copy(model, request)
        for positions, batch in forget_batches(self, model, request):
            across = self._across(task, first, layer, batch)
            outputs = two_sided(model(batch.inputs))
            _, parts = true_classes(task, outputs.detach(), batch)
            yield Objective({"boundary": cross_entropy(outputs, across, parts).mean()}, positions)

    def _across(self, task: Task, first: nn.Module, layer: str | None, batch: Batch) -> Tensor:
        """y' of each prediction, from the input or from what reaches the layer."""
        if layer is not None:
            start, answer = readout.capture(first, layer, batch.inputs)[0], first.get_submodule(layer)
        elif (found := real_valued(batch.inputs)) is not None:
            start, answer = found[0], lambda moved: first(found[1](moved))
        else:
            raise ValueError(
                "boundary-shrink takes a step along the gradient of the loss at the input, and this task's inputs are no one "
                'tensor of real numbers; use a linear readout with scope="readout"'
            )
        with torch.enable_grad():
            moving = start.detach().requires_grad_()
            slope = torch.autograd.grad(task.example_loss(lambda _: answer(moving), batch).sum(), moving)[0]
        with torch.no_grad():
            size = start.flatten(1).abs().mean(1).view(-1, *[1] * (start.ndim - 1))
            outputs = two_sided(answer(start + self.epsilon * size * slope.sign()))
        if self.exclude_true:
            outputs = outputs.scatter(-1, true_classes(task, outputs, batch)[0][..., None], -torch.inf)
        return outputs.argmax(-1)
