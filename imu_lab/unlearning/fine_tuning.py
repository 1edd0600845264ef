"""Kinds of training on with the retain set alone: sparser, or of the last layers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.protocol import Batch, Task
from .objectives import Descent, Objective, descend, l1_term, moving_parameters, retain_batches
from .request import Request, Update
from .retain_based import FineTune


@method("l1-sparse")
@dataclass(frozen=True)
class SparseFineTune(FineTune):
    """Fine-tuning that first makes the model sparser: L = mean_B ℓ(retain) + γ_t ‖θ‖₁, with γ_t = γ max(0, 1 − t/E).

    t counts passes over the retain set from 0, so that after E of them nothing is left of the penalty, and the model
    recovers. θ is what moves.

    Source: Jia et al. 2023 (arXiv 2304.04934), with the penalty that falls linearly.
    """

    gamma: float = knob(5e-4, help="γ of the L1 term at the start.", valid="[0, inf)", range=(0.0, 0.01))
    passes: int = knob(
        8, help="E: after how many passes over the retain set the L1 term is gone.", valid="[1, inf)", range=(1, 20)
    )

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        moving = moving_parameters(task, model, self.scope)
        for update, batch in enumerate(retain_batches(self, model, request), request.made):
            done = update // ceil(len(request.retain) / self.batch_size)
            l1 = l1_term(moving, self.gamma * max(0.0, 1 - done / self.passes))
            yield Objective({"retain": task.example_loss(model, batch).mean(), "l1": l1})


@method("cf-k")
@dataclass(frozen=True)
class LastLayers(Descent):
    """Fine-tuning of the last k layers on the retain set: L = mean_B ℓ(retain). What comes before keeps all it knew.

    A layer is a module with weights of its own, in the order in which the model holds them; a block has several.

    Source: catastrophic forgetting of the last k layers, Goel et al. 2022 (arXiv 2201.06640).
    """

    scope: ClassVar[str] = "all"
    takes_weights: ClassVar[bool] = False
    needs_retain: ClassVar[bool] = True

    layers: int = knob(1, help="k: how many layers move.", valid="[1, inf)", range=(1, 10))

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        kept, moving = retain_batches(self, model, request), self._last(model)
        if not request.made:
            self._begin(task, model, moving, request)
        objectives = (Objective({"retain": self._loss(task, model, moving, batch)}) for batch in kept)
        return descend(self, moving.values(), objectives)

    def _begin(self, task: Task, model: nn.Module, moving: dict[str, nn.Parameter], request: Request) -> None:
        """The layers stay what they are."""

    def _loss(self, task: Task, model: nn.Module, moving: dict[str, nn.Parameter], batch: Batch) -> Tensor:
        """The mean loss of a batch."""
        return task.example_loss(model, batch).mean()

    def _last(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters of the last k layers, by name.

        Raises:
            ValueError: there are fewer.
        """
        movable = {name: value for name, value in model.named_parameters() if value.requires_grad}
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in movable))
        if len(layers) < self.layers:
            raise ValueError(
                f"layers={self.layers} are more than the {len(layers)} of this {type(model).__name__} that may move"
            )
        last = layers[-self.layers :]
        return {name: value for name, value in movable.items() if name.rpartition(".")[0] in last}


@method("eu-k")
@dataclass(frozen=True)
class LastLayersAnew(LastLayers):
    """The last k layers from fresh weights, trained on the retain set: exact unlearning of these layers alone.

    They are those of ``task.make_model(seed)``. What comes before keeps all it knew, the forget set too. Running means of a
    BatchNorm among the layers begin anew as well and follow the batches, as in training: the old ones are of the forget set, too.

    Source: Goel et al. 2022 (arXiv 2201.06640).
    """

    def _begin(self, task: Task, model: nn.Module, moving: dict[str, nn.Parameter], request: Request) -> None:
        fresh = task.make_model(request.seed)
        with torch.no_grad():
            for name, value in moving.items():
                value.copy_(fresh.get_parameter(name))
            for name in _averaging(model, moving):
                for key, value in model.get_submodule(name).named_buffers(recurse=False):
                    value.copy_(fresh.get_submodule(name).get_buffer(key))

    def _loss(self, task: Task, model: nn.Module, moving: dict[str, nn.Parameter], batch: Batch) -> Tensor:
        layers = [model.get_submodule(name) for name in _averaging(model, moving)]
        rows = batch.targets if isinstance(batch.targets, Tensor) else next(iter(batch.targets.values()))
        for layer in layers:
            layer.train(len(rows) > 1)  # of a single sample there is no spread
        try:
            return super()._loss(task, model, moving, batch)
        finally:
            for layer in layers:
                layer.eval()


def _averaging(model: nn.Module, moving: dict[str, nn.Parameter]) -> list[str]:
    """Those of the layers that keep running means of what they see, by name."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in moving)
    return [name for name in layers if isinstance(getattr(model.get_submodule(name), "running_mean", None), Tensor)]
