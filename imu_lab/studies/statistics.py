"""The statistics that the studies share: Spearman's correlation, Kendall's W, and a bootstrap over samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

FLOATS = 2**17  # resampled values held at once by the bootstrap: 1 MiB, which stays in the processor's cache


def spearman(one: np.ndarray, other: np.ndarray, axis: int = -1) -> Any:
    """Spearman's rank correlation along one axis; NaN where either side is constant.

    Tied values share their mean rank. The other axes broadcast, so one call compares many pairs.

    Args:
        one, other: (..., n), or with the n values along ``axis``.
    """
    from scipy.stats import rankdata  # half a second to import

    ranks = [rankdata(values, axis=axis) for values in (one, other)]
    centred = [each - each.mean(axis, keepdims=True) for each in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(axis) * (centred[1] ** 2).sum(axis))
    return (centred[0] * centred[1]).sum(axis) / np.where(scale > 0, scale, np.nan)


def mean_spearman(values: np.ndarray, axis: int = -1) -> Any:
    """The mean over all pairs of m rankings (m, ..., n) of Spearman's correlation; NaN where one is constant."""
    first, second = np.triu_indices(len(values), 1)
    return spearman(values[first], values[second], axis).mean(0)


def kendalls_w(values: np.ndarray, axis: int = -1) -> Any:
    """Kendall's coefficient of concordance of m rankings (m, ..., n), corrected for ties.

    The variance of the n rank sums, divided by what it would be if all rankings were the same: 1 for one common order,
    1/m on average for rankings that know nothing of each other. NaN where every ranking is one single tie. The same as
    ``scipy.stats.friedmanchisquare(*values.T).statistic / (m * (n - 1))``, which takes 3 values or more, one bootstrap
    draw at a time.

    Source: Kendall & Babington Smith 1939.
    """
    from scipy.stats import rankdata  # half a second to import

    ranks = rankdata(values, axis=axis)
    possible = len(ranks) * ranks.var(axis).sum(0)
    return ranks.sum(0).var(axis) / np.where(possible > 0, possible, np.nan)


def one_row(record: Any) -> str:
    """HTML of a named tuple's numbers as a table with one row, as a notebook shows it; its tables are left out."""
    values = {name: value for name, value in record._asdict().items() if np.isscalar(value)}
    return pd.DataFrame([values]).round(3).to_html(index=False)


def confidence_interval(
    statistic: Callable[..., Any], *samples: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[Any, Any]:
    """The 95 % percentile-bootstrap interval of a statistic over the last axis; NaN where no draw has a value.

    Args:
        statistic: takes the resampled arrays and ``axis``, and reduces that axis.
        samples: one array (..., n) or several, whose n entries are drawn together.
        draws: how many resamplings; those in which the statistic is not defined do not count.
        seed: of the draws.

    Source: Efron 1979. Where every draw has a value this is :func:`scipy.stats.bootstrap`, which has no interval otherwise.
    """
    random, count = np.random.default_rng(seed), samples[0].shape[-1]
    batch = max(1, FLOATS // sum(values.size for values in samples))
    batches = []
    for start in range(0, draws, batch):
        rows = random.integers(count, size=(min(batch, draws - start), count))
        batches.append(statistic(*(values[..., rows] for values in samples), axis=-1))
    drawn = np.concatenate(batches, axis=-1)  # (..., draws)
    # Not NumPy's nanpercentile, which warns where there is nothing to rank.
    bounds = pd.DataFrame(drawn.reshape(-1, draws).T).quantile([0.025, 0.975]).to_numpy()
    low, high = bounds.reshape(2, *drawn.shape[:-1])
    return low, high


def two_sample_interval(
    statistic: Callable[..., Any], first: np.ndarray, second: np.ndarray, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of a statistic of two samples, each drawn by itself; NaN of a single value.

    Args:
        statistic: takes (..., n) and (..., m) resampled values and ``axis``.
        first, second: (n,) and (m,).

    Source: Efron 1979, by :func:`scipy.stats.bootstrap`.
    """
    if min(len(first), len(second)) < 2:
        return float("nan"), float("nan")
    from scipy.stats import bootstrap  # half a second to import

    found = bootstrap(
        (first, second),
        statistic,
        n_resamples=max(2, draws),  # of one it warns that it has no spread
        batch=max(1, FLOATS // (len(first) + len(second))),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def share_interval(right: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a share: Wilson's of (n,) yes or no, the percentile bootstrap's of shares in between.

    Wilson's does not shrink to nothing where all are right or none is.

    Source: Wilson 1927, by ``scipy.stats.binomtest``.
    """
    right = np.asarray(right, dtype=float)
    if not len(right):
        return float("nan"), float("nan")
    if not np.isin(right, (0, 1)).all():
        low, high = confidence_interval(lambda drawn, axis: drawn.mean(axis), np.sort(right))
        return float(low), float(high)
    from scipy.stats import binomtest  # half a second to import

    found = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
