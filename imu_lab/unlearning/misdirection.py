"""Towards a random direction inside the network, instead of away from an answer at its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..core.running import hooked
from ..features import readout
from ..tasks.protocol import Task
from .objectives import Objective, ObjectiveDescent, forget_batches, frozen_copy, retain_batches
from .request import Request
from .retain_based import joined


@method("rmu")
@dataclass(frozen=True)
class Misdirection(ObjectiveDescent):
    """Representation misdirection: L = mean_B (h − c u)² on the forget set + λ mean_B (h − h_0)² on the retain set.

    h is what a layer says of a sample, h_0 what it said in the model as given, u one random direction of length 1 with
    entries drawn from [0, 1). Squares are averaged over the entries of h and over all positions of a sequence, padding too.
    What the layer does not depend on stays, so that with what reaches the readout (the default) the readout itself does not
    move: the answers go astray because what they are read from does. A fresh readout tells whether it is gone.

    Source: Li et al. 2024 (RMU, arXiv 2403.03218), where only a few layers before h move.
    """

    scope: ClassVar[str] = "all"
    needs_retain: ClassVar[bool] = True
    follows_losses: ClassVar[bool] = False

    layer: str | None = knob(
        None, help="The module whose output h is; left out, what reaches the readout.", optional=True
    )
    coefficient: float = knob(
        6.5, help="c: the length of the vector that h is drawn to.", valid="(0, inf)", range=(0.5, 100.0), scale="log"
    )
    retain_weight: float = knob(
        1.0, help="λ: how much the retain term counts.", valid="[0, inf)", range=(0.1, 1e3), scale="log"
    )

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        at = readout.resolve(task, model)[0] if self.layer is None else self.layer
        if at not in dict(model.named_modules()) or (self.layer is None and at == readout.ALL):
            raise ValueError(
                f"layer={self.layer!r} names no module inside this {type(model).__name__}; it has "
                f"{', '.join(name for name, _ in model.named_modules() if name)}"
            )
        return joined(self._astray(model, at, request), self._held(model, at, request))

    def _astray(self, model: nn.Module, at: str, request: Request) -> Iterator[Objective]:
        generator, wanted = torch.Generator().manual_seed(request.seed), None
        for positions, batch in forget_batches(self, model, request):
            inner = self._inside(model, at, batch.inputs)
            if wanted is None:
                drawn = torch.rand(inner.shape[-1], generator=generator, dtype=torch.float64)
                wanted = (self.coefficient * drawn / drawn.norm()).to(inner)
            yield Objective({"misdirection": (inner - wanted).square().mean()}, positions)

    def _held(self, model: nn.Module, at: str, request: Request) -> Iterator[dict[str, Tensor]]:
        first = frozen_copy(model, request)
        for batch in retain_batches(self, model, request):
            with torch.no_grad():
                before = self._inside(first, at, batch.inputs)
            moved = self._inside(model, at, batch.inputs) - before
            yield {"retain_inner": self.retain_weight * moved.square().mean()}

    def _inside(self, model: nn.Module, at: str, inputs: Any) -> Tensor:
        """h (..., d): what comes out of the named layer, or what reaches the readout."""
        kept: list[Any] = []

        def look(module: nn.Module, given: tuple, made: Any) -> None:
            kept.append(given[0] if self.layer is None else made)

        with hooked([(model.get_submodule(at), look)]):
            model(inputs)
        return kept[0][0] if isinstance(kept[0], (tuple, list)) else kept[0]
