"""Trained towards labels drawn at random, in either of the two readings that papers have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.outputs import log_probabilities, true_classes, two_sided
from ..tasks.protocol import Task
from .objectives import SCOPE, Objective, ObjectiveDescent, forget_batches
from .request import Request

EXCLUDE = {"help": "Never draw the true class; else each class is as likely, the true one too."}
REDRAW = {"help": "Draw anew each time that a sample comes; else once and for all."}


@method("random-label")
@dataclass(frozen=True)
class RandomLabel(ObjectiveDescent):
    """Towards a class drawn at random for each forget sample: L = mean_B CE(ỹ_i, p_θ), ỹ_i uniform. Needs no retain data.

    The papers differ in two things. Amnesiac unlearning excludes the true class and draws once (the default here); the code
    of SalUn lets it be drawn, so that one sample in K is trained to stay, and draws anew each epoch. Each token of a sequence
    has a class of its own. Every forget sample alike, whatever weights are given. The classes are drawn along the forget set:
    the same samples in another order are another draw, as under another seed.

    Source: Graves et al. 2021 (arXiv 2010.10981); Golatkar et al. 2020 (arXiv 1911.04933); Fan et al. 2024 (arXiv 2310.12508).
    """

    follows_losses: ClassVar[bool] = False

    exclude_true: bool = knob(True, **EXCLUDE)
    redraw: bool = knob(False, **REDRAW)
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        return relabelled(self, task, model, request)


def relabelled(how: Any, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
    """The mean cross-entropy with drawn classes, on one batch of the forget set after the other.

    Args:
        how: settings with ``batch_size``, ``exclude_true`` and ``redraw``.
    """
    generator, once = torch.Generator().manual_seed(request.seed + 2_000_003), None
    for positions, batch in forget_batches(how, model, request):
        outputs = two_sided(model(batch.inputs))
        truth, parts = true_classes(task, outputs.detach(), batch)
        count, lowest = outputs.shape[-1], int(how.exclude_true)

        def away(rows: int, *places: int, lowest: int = lowest, count: int = count) -> Tensor:
            return torch.randint(lowest, count, (rows, *places), generator=generator)

        if how.redraw:
            moved = away(len(positions), *truth.shape[1:])
        else:
            once = away(len(request.forget), *truth.shape[1:]) if once is None else once
            if (
                truth.ndim > 1 and (more := truth.shape[-1] - once.shape[-1]) > 0
            ):  # a batch is as long as its longest example
                once = torch.cat([once, away(*once.shape[:-1], more)], -1)
            moved = once[positions] if truth.ndim == 1 else once[positions][..., : truth.shape[-1]]
        drawn = truth + moved.to(truth.device)
        yield Objective({"random_label": cross_entropy(outputs, drawn % outputs.shape[-1], parts).mean()}, positions)


def cross_entropy(outputs: Tensor, classes: Tensor, parts: Tensor) -> Tensor:
    """(n,) −log p of the given class of each prediction, by each prediction's part in its example."""
    each = -parts * log_probabilities(outputs).gather(-1, classes[..., None])[..., 0]
    return each.view(len(each), -1).sum(1)
