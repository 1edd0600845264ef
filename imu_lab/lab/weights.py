"""The weights of a run, from whatever a user gives for them: in the order of the forget set, and summing to 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..core.records import Influence, Intensity
from ..core.running import digest, real_numbers
from ..intensities import normalised
from ..tasks.protocol import Examples


def settled(weights: Intensity | np.ndarray | None, forget: Examples) -> Intensity:
    """The weights of a run as a record whose weights sum to 1, from a record, (n,) numbers ≥ 0, or None for uniform.

    Raises:
        TypeError: they are scores.
        ValueError: they belong to another forget set, or are no weights.
    """
    ids, count = forget.ids.numpy(), len(forget)
    if isinstance(weights, Intensity):
        return _of_record(weights, ids)
    if isinstance(weights, Influence):
        raise TypeError("weights are made of scores by a rule; got an Influence; pass imu.intensity(scores)")
    if isinstance(weights, pd.Series):
        _check_order(weights.index, ids)
    values = np.full(count, 1 / count) if weights is None else _numbers(weights)
    if values.shape != (count,) or not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        raise ValueError(
            f"weights must be {count} finite numbers >= 0, one per forget sample and not all zero; got shape {values.shape}"
            + (f"; a rule takes scores: imu.intensity(scores, {weights!r})" if isinstance(weights, str) else "")
        )
    if weights is not None and count > 1 and _are_ids(weights, values, ids):
        raise ValueError(
            f"weights are the numbers of the samples to forget, {ids[:3].tolist()} ..., and not how much each of them counts; "
            "leave weights out for uniform ones, or give them as real numbers if they are meant"
        )
    values = normalised(values)
    frame = pd.DataFrame({"example": ids, "influence": np.nan, "selected": values > 0, "weight": values})
    about = {"rule": "uniform"} if weights is None else {"rule": "given", "values": digest(values.round(12) + 0.0)[:8]}
    return Intensity(frame, frame[["example"]], about)


def _of_record(weights: Intensity, ids: np.ndarray) -> Intensity:
    """A record of weights in the order of the forget set, once its weights are such; they sum to 1."""
    frame, count = weights.frame, len(ids)
    given, values = frame["example"].to_numpy(), frame["weight"].to_numpy(dtype=np.float64)
    if len(given) != count or not np.array_equal(np.sort(given), np.sort(ids)):
        raise ValueError(
            f"the weights belong to another forget set ({len(given)} examples, this one has {count}); compute them "
            "with this task: imu.intensity(imu.influence(task, model))"
        )
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any() or not (values > 0).any():
        first = f"that of example {given[wrong.argmax()]} is {values[wrong.argmax()]:g}" if wrong.any() else "all are 0"
        raise ValueError(
            f"weights must be {count} finite numbers >= 0 and not all zero, and in this record {first}; make them with "
            "imu.intensity(scores), or give an array"
        )
    if not np.array_equal(given, ids):
        weights = replace(weights, frame=frame.set_index("example").loc[ids].reset_index())
    with np.errstate(over="ignore"):
        if np.isclose(values.sum(), 1.0, rtol=0.0, atol=1e-9):
            return weights
    return replace(weights, frame=weights.frame.assign(weight=normalised(weights.values), selected=weights.values > 0))


def _check_order(index: pd.Index, ids: np.ndarray) -> None:
    """Make sure that a column of a table stands in the order of the forget set.

    Raises:
        ValueError: its index says otherwise, as after sorting or filtering.
    """
    if not any(np.array_equal(index, known) for known in (ids, np.arange(len(ids)))):
        raise ValueError(
            f"weights are taken in the order of the forget set, and the index of this column, {index[:3].tolist()} ..., is "
            f"neither its examples, {ids[:3].tolist()} ..., nor 0 to {len(ids) - 1}: was it sorted or filtered? Put it into order "
            "with .loc, or give .to_numpy() if its order is right"
        )


def _numbers(weights: Any) -> np.ndarray:
    """Weights as an array of numbers; an empty one where they are none."""
    try:
        return real_numbers(weights.to_numpy() if isinstance(weights, pd.Series) else weights)
    except (TypeError, ValueError):
        return np.empty(0)


def _are_ids(weights: Any, values: np.ndarray, ids: np.ndarray) -> bool:
    """Whether whole numbers given as weights are the ids of the forget set, in any order."""
    kind = weights.dtype if hasattr(weights, "dtype") else np.asarray(weights).dtype
    return "int" in str(kind) and np.array_equal(np.sort(values), np.sort(ids))
