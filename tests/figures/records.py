"""Small records made by hand, for the tests of the figures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from imu_lab.core.records import Influence, Intensity, Run

STEPS = np.arange(6)


def influence(values: Any, **context: Any) -> Influence:
    """An influence record; examples are 100, 101, ..."""
    examples = 100 + np.arange(len(values))
    frame = pd.DataFrame({"example": examples, "influence": np.asarray(values, dtype=float)})
    return Influence(frame, pd.DataFrame({"example": examples, **context}), {"estimator": "by hand"})


def intensity(values: Any, weights: Any, rule: str = "sqrt-clipped") -> Intensity:
    """An intensity record; samples of weight 0 are dropped."""
    weights = np.asarray(weights, dtype=float)
    frame = influence(values).frame.assign(selected=weights > 0, weight=weights)
    return Intensity(frame, pd.DataFrame({"example": frame["example"]}), {"rule": rule})


def run(
    curves: dict[str, Any],
    rule: str = "sqrt-clipped",
    method: str = "imu",
    seed: int = 0,
    steps: Any = STEPS,
    reference: dict[str, float] | None = None,
    margins: Any = None,
    metric: str = "accuracy",
    events: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """A run with the given curve per split; ``margins`` (s, n) makes its trajectory and its ledger."""
    rows = [(step, split, metric, value) for split, values in curves.items() for step, value in zip(steps, values)]
    margins = np.zeros((len(steps), 0)) if margins is None else np.asarray(margins, dtype=float)
    known = [(split, metric, value) for split, value in (reference or {}).items()]
    return Run(
        curve=pd.DataFrame(rows, columns=["step", "split", "metric", "value"]),
        samples=ledger(margins, np.asarray(steps)),
        trajectory=trajectory(margins, steps),
        terms=pd.DataFrame(columns=["step", "term", "value"]),
        reference=pd.DataFrame(known, columns=["split", "metric", "value"]),
        settings={"method": method, "weights": {"rule": rule}, "seed": seed, "settings": {"lr": 0.01, **settings}},
        events={"steps": 5, "stopped_at": None, "diverged_at": None, "utility_limit": None, "seconds": 0.1}
        | (events or {}),
    )


def trajectory(margins: np.ndarray, steps: Any) -> pd.DataFrame:
    """The long table of margins and of losses log(1 + exp(-margin))."""
    count = margins.shape[1]
    loss = np.log1p(np.exp(-margins)).ravel()
    return pd.DataFrame(
        {
            "example": np.tile(100 + np.arange(count), len(margins)),
            "step": np.repeat(steps, count),
            "loss": loss,
            "confidence": np.exp(-loss),
            "margin": margins.ravel(),
        }
    )


def ledger(margins: np.ndarray, steps: np.ndarray) -> pd.DataFrame:
    """``example, time_to_forget``; NaN for a sample that is right at the end."""
    times = []
    for column in margins.T:
        right = np.flatnonzero(column >= 0)
        first = right[-1] + 1 if len(right) else 0
        times.append(steps[first] if first < len(steps) else np.nan)
    return pd.DataFrame({"example": 100 + np.arange(margins.shape[1]), "time_to_forget": np.array(times, dtype=float)})


def four_splits(fall: float = 1.0) -> dict[str, np.ndarray]:
    """Curves of the usual four splits over ``STEPS``."""
    down = np.clip(1 - fall * STEPS / 5, 0, 1)
    return {"forget": down, "retain": 1 - 0.02 * STEPS, "test": 0.98 - 0.02 * STEPS, "test-forget": 0.9 * down}


def as_values(figure: Any) -> tuple[list, dict]:
    """What a figure draws, as JSON values; without trace uids, and without what an earlier structure left: hidden axes.

    A list without shapes is as good as none: a widget drops it when the axes change, a figure keeps it.
    """
    plain = json.loads(figure.to_json())
    layout = {key: value for key, value in plain["layout"].items() if value not in ({"visible": False}, [])}
    return [{key: value for key, value in trace.items() if key != "uid"} for trace in plain["data"]], layout
