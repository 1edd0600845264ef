"""What is settled about a run before its first update: checked, so that nothing fails half-way."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ..core.records import Intensity
from ..features import readout
from ..measures import Reference
from ..tasks.protocol import Examples, Task
from ..unlearning import driver
from ..unlearning.request import Request


@dataclass(frozen=True, eq=False)
class Plan:
    """What is settled about a run before its first update.

    Attributes:
        task, model: where it works, cached or whole; the model is private to the run.
        method, request: what is asked of whom.
        weights: as they were given; None for uniform, or where the method takes none.
        steps, record_every: how many updates at most, and which are recorded.
        stop_at, rule: when to stop, as it was asked and as it is tested.
        metrics: what is followed beside the task's own.
        reference, known: the retrained model with its outputs, or None, and what was measured of it.
    """

    task: Task
    model: nn.Module
    method: Any
    request: Request
    weights: Any
    steps: int
    record_every: int
    stop_at: Any
    rule: driver.StopRule | None
    metrics: tuple[Any, ...]
    reference: Reference | None
    known: driver.Measured

    def retrained(self) -> pd.DataFrame:
        """What was measured of the retrained model, ``split, metric, value``."""
        rows = [(split, metric, value) for split, values in self.known.items() for metric, value in values.items()]
        return pd.DataFrame(rows, columns=["split", "metric", "value"])


def checked_weights(weights: Any, forget: Examples) -> np.ndarray:
    """(n,) weights that sum to 1, from an :class:`Intensity`, numbers, or None for uniform.

    Raises:
        ValueError: they speak of other examples, or are no weights.
    """
    if weights is None:
        return np.full(len(forget), 1 / len(forget))
    if isinstance(weights, Intensity):
        if not np.array_equal(weights.frame["example"], forget.ids.numpy()):
            raise ValueError(
                f"these weights speak of {len(weights)} other examples than the task's {len(forget)} to forget; "
                "compute them on the same task"
            )
        return weights.values.copy()
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (len(forget),) or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        raise ValueError(
            f"weights must be {len(forget)} finite numbers >= 0, one per forget sample and not all zero; got "
            f"shape {values.shape}"
        )
    return values / values.sum()


def count(name: str, given: Any, least: int = 0) -> int:
    """A setting that counts something, checked."""
    if int(given) != given or given < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {given!r}")
    return int(given)


def private_copy(model: nn.Module, names: tuple[str, ...] | None) -> nn.Module:
    """A copy in eval mode in which only the readout can move (everything, where ``names`` is None)."""
    private = copy.deepcopy(model).eval().requires_grad_(names is None)
    for value in readout.parameters(private, names or ()).values():
        value.requires_grad_(True)
    return private
