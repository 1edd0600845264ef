"""Who gets the pressure: how the weights of a rule are spread over the forget set."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.records import Intensity


def pressure_shares(weights: Intensity, parts: int = 5) -> pd.DataFrame:
    """Who gets the pressure: the share of all weight by quantile of the confidence p(y) before unlearning.

    Returns:
        DataFrame ``part, confidence_low, confidence_high, samples, weight, selected``: part 1 holds the worst-fitted
        samples; ``weight`` sums to 1 (uniform weights give 1 / parts each), ``selected`` is a share of the part.
    """
    if not 1 <= parts <= len(weights):
        raise ValueError(f"parts must lie between 1 and the {len(weights)} samples, got {parts}")
    frame = weights.frame.assign(confidence=weights.context["confidence"].to_numpy())
    order = frame["confidence"].rank(method="first")  # ties are split, so that the parts are of one size
    frame["part"] = np.ceil(order / len(frame) * parts).astype(int)
    grouped = frame.groupby("part", sort=True)
    columns = {
        "confidence_low": grouped["confidence"].min(),
        "confidence_high": grouped["confidence"].max(),
        "samples": grouped.size(),
        "weight": grouped["weight"].sum(),
        "selected": grouped["selected"].mean(),
    }
    return pd.DataFrame(columns).reset_index()


def lorenz_curve(weights: Intensity) -> pd.DataFrame:
    """How unequal the weights are: the share of all weight that the least pressed share of samples holds.

    Twice the area between this curve and the diagonal is ``weights.gini``.

    Returns:
        DataFrame ``samples, weight``, both shares rising from 0 to 1.

    Source: Lorenz 1905.
    """
    held = np.concatenate([[0.0], np.cumsum(np.sort(weights.values))])
    return pd.DataFrame({"samples": np.linspace(0, 1, len(held)), "weight": held / held[-1]})
