"""Influence pair by pair: which forget sample holds which other sample up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from ..core import registry
from ..core.knobs import plain
from ..core.messages import listed, unknown
from ..core.running import one_thread
from ..features import view
from ..features.gradients import gradients_of
from ..features.targets import target_examples
from ..tasks.protocol import Task

LIMIT = 2 * 2**30  # bytes


@dataclass(frozen=True, eq=False)
class InfluenceMatrix:
    """Influence of each forget sample on each of some samples, as a record.

    Attributes:
        values: (n, m) in the estimator's unit; row i is forget sample i, column j the sample whose loss is spoken of. Negative: i
            supports j. The mean over columns is the influence on their mean loss.
        examples: (n,) ids of the forget samples.
        against: (m,) ids of the samples in the columns, in ``source`` (``"train"`` or ``"test"``).
        source: what the ids in ``against`` count in.
        settings: what reproduces the numbers.
    """

    values: np.ndarray
    examples: np.ndarray
    against: np.ndarray
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:
        """Long table ``example, against, influence``."""
        rows, columns = np.meshgrid(self.examples, self.against, indexing="ij")
        return pd.DataFrame({"example": rows.ravel(), "against": columns.ravel(), "influence": self.values.ravel()})

    def __repr__(self) -> str:
        return f"InfluenceMatrix({self.settings.get('estimator')}, {self.values.shape[0]} x {self.values.shape[1]})"


def influence_matrix(
    task: Task,
    model: nn.Module,
    estimator: Any = "fisher-diagonal",
    *,
    against: Any = "forget",
    cache: bool = True,
    limit: int = LIMIT,
    **settings: Any,
) -> InfluenceMatrix:
    """I_ij = −g_iᵀ M ḡ_j of every forget sample i on every sample j of ``against``, column by column.

    Args:
        estimator: one with a preconditioner M (it then has a method ``preconditioner``); ``settings`` are its fields.
        against: whose losses, each for itself; as ``target`` of :func:`imu_lab.influence`.
        cache: work on cached features where the readout is linear; the result is the same.
        limit: bytes that the matrix may take.

    Raises:
        MemoryError: it would take more; said before anything is computed.
        ValueError: an estimator without a preconditioner.
    """
    estimate = registry.estimators.create(estimator, **settings)
    name = registry.name_of(estimate)
    if not is_pairwise(estimate):
        able = listed([name for name, kind in registry.estimators.items() if is_pairwise(kind)])
        raise ValueError(
            f"{name} has no preconditioner, so it speaks of no single pair of samples; those that have one: {able}"
        )
    seen, part = view(task, model, cache and registry.estimators.declared(estimate, "scope") == "readout")
    forget = seen.split("forget")
    others = target_examples(seen, against, forget)
    check_memory(len(forget), len(others), limit)
    with one_thread():
        precondition = estimate.preconditioner(seen, part, forget)
        gradients = gradients_of(seen, part)
        mine = gradients.on(forget)
        values = np.empty((len(forget), len(others)))
        for column in tqdm(range(len(others)), desc="influence pair by pair", unit="sample", delay=2, leave=False):
            gradient = gradients.mean(others.take(torch.tensor([column])))
            values[:, column] = -mine.along(precondition(gradient)).detach().cpu().numpy()
    about = {
        "estimator": name,
        "settings": plain(estimate),
        "against": against if isinstance(against, str) else repr(against),
        "task": repr(task),
    }
    return InfluenceMatrix(values, forget.ids.numpy(), others.ids.numpy(), others.source, about)


def is_pairwise(estimator: Any) -> bool:
    """Whether an estimator, or a kind of them, has a preconditioner and so speaks of pairs of samples."""
    return registry.estimators.declared(estimator, "preconditioner") is not None


def check_memory(rows: int, columns: int, limit: int) -> None:
    """Raise MemoryError where a matrix of doubles would take more than ``limit`` bytes."""
    needed = rows * columns * 8
    if needed > limit:
        raise MemoryError(
            f"the influences of {rows:,} samples on {columns:,} others need {needed / 2**20:,.1f} MiB, more than the "
            f"limit of {limit / 2**20:,.1f} MiB; give fewer with against=(split, positions), or raise limit="
        )


def proponents(matrix: InfluenceMatrix, example: int, k: int = 5, itself: bool = False) -> pd.DataFrame:
    """The forget samples that hold one sample up most, and those that work most against it.

    Args:
        matrix: from :func:`influence_matrix`.
        example: the id of a sample in its columns.
        k: how many of each.
        itself: whether a forget sample counts among its own proponents, where it usually is first.

    Returns:
        DataFrame ``role, rank, example, influence``: role "proponent" (negative influence: pressing it raises the
        sample's loss) or "opponent" (positive), the strongest first.
    """
    places = np.flatnonzero(matrix.against == example)
    if not len(places):
        raise unknown("example in this matrix", example, [int(each) for each in matrix.against[:10]])
    column = pd.DataFrame({"example": matrix.examples, "influence": matrix.values[:, places[0]]})
    if not itself and matrix.source == "train":
        column = column[column["example"] != example]
    ordered = column.sort_values("influence", kind="stable")
    sides = {
        "proponent": ordered[ordered["influence"] < 0].head(k),
        "opponent": ordered[ordered["influence"] > 0].tail(k)[::-1],
    }
    parts = [side.assign(role=role, rank=np.arange(1, len(side) + 1)) for role, side in sides.items()]
    return pd.concat(parts, ignore_index=True)[["role", "rank", "example", "influence"]]
