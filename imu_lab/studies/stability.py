"""Does an estimate depend on the draw? The same estimator on models of several seeds, or on augmented samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..core.records import Influence
from .agreement import by_label, rank_correlations
from .statistics import confidence_interval, mean_spearman


def stability(scores: Iterable[Influence]) -> pd.DataFrame:
    """How far each sample's place depends on the draw.

    Args:
        scores: of one estimator and one forget set, one record per draw: a training seed, or an augmentation
            (:class:`imu_lab.tasks.Augmented`).

    Returns:
        DataFrame ``example, mean, deviation, mean_rank, rank_deviation, negative``: over the draws, ``negative`` the
        share in which the influence is negative. ``attrs["spearman"]`` is the mean over all pairs of draws.
    """
    named = by_label(scores)
    values = np.stack([each.values for each in named.values()])  # (draws, n)
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy()
    frame = pd.DataFrame(
        {
            "example": next(iter(named.values())).frame["example"].to_numpy(),
            "mean": values.mean(0),
            "deviation": values.std(0),
            "mean_rank": ranks.mean(0),
            "rank_deviation": ranks.std(0),
            "negative": (values < 0).mean(0),
        }
    )
    pairs = rank_correlations(named).to_numpy()[np.triu_indices(len(values), 1)]
    frame.attrs["spearman"] = float(pairs.mean())
    return frame


def rank_stability(draws: Mapping[str, Iterable[Influence]], *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How well several draws agree on the order of the samples, estimator by estimator.

    The interval is about samples, not about draws: it says how the number would move with another forget set of this
    size. Five seeds are five, and no interval makes more of them.

    Args:
        draws: by estimator, its records over the draws, as for :func:`stability`.
        resamples: of the samples, for the percentile-bootstrap interval.
        seed: of the resampling.

    Returns:
        DataFrame ``estimator, spearman, low, high, draws, samples``, in the order given: Spearman's correlation, its
        mean over all pairs of draws, with a 95 % interval. 1 is the same order in every draw, 0 no relation.

    Raises:
        ValueError: fewer than two draws or three samples, or draws of different samples.
    """
    rows = []
    for estimator, records in draws.items():
        values = np.stack([each.values for each in by_label(records).values()])  # (draws, n)
        if values.shape[1] < 3:
            raise ValueError(f"a rank correlation needs 3 samples or more, got {values.shape[1]}")
        interval = confidence_interval(mean_spearman, values, draws=resamples, seed=seed)
        rows.append((estimator, float(mean_spearman(values)), *map(float, interval), *values.shape))
    return pd.DataFrame(rows, columns=["estimator", "spearman", "low", "high", "draws", "samples"])
