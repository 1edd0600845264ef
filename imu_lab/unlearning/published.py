"""IMU as the public code of the paper runs it: each of its defects is a switch, and all are off at first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ..core.knobs import knob
from ..core.registry import method
from ..core.running import device_of, drawing_from, seeded_states
from ..tasks.protocol import Task
from .ascent import Ascent, ascend
from .objectives import moving_parameters
from .request import Request, Update


@method("imu-published")
@dataclass(frozen=True)
class PublishedGuidance(Ascent):
    """``imu`` on the whole network's own inputs, with what the public code of the paper does differently; off, they are equal.

    ``alpha=0.2`` is its L1 term, ``normalise="batch"`` (the default of both) lets a sample's pressure depend on its batch-mates.
    Its influences are those of the estimator ``published``.

    Source: Fan et al. 2025 (arXiv 2508.01620) and its public code, of August 2025.
    """

    scope: ClassVar[str] = "all"  # what drifts lies outside the readout

    drifting: bool = knob(
        False,
        help="Training mode: BatchNorm takes its means from batches of the forget set and its running means drift towards them, "
        "twice an update, so that an edit of the readout changes the whole network.",
    )

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        updates = ascend(self, task, model, moving_parameters(task, model), request)
        return self._drifted(model, updates, request) if self.drifting else updates

    def _drifted(self, model: nn.Module, updates: Iterator[Update], request: Request) -> Iterator[Update]:
        draws = seeded_states(request.seed)
        while True:
            with drawing_from(draws) as draws:
                model.train()
                try:
                    update = _next(updates)
                    with torch.no_grad():  # the second time: for the accuracy that it prints
                        model(request.forget.batch(update.positions).to(device_of(model)).inputs)
                finally:
                    model.eval()
            yield update


def _next(updates: Iterator[Update]) -> Update:
    """The next update in training mode.

    Raises:
        ValueError: a batch is left with a single sample, which has no spread that BatchNorm could divide by.
    """
    try:
        return next(updates)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "drifting=True takes BatchNorm's means from each batch, and a batch was left with a single sample; choose a "
            "batch_size that leaves no single one over"
        ) from error
