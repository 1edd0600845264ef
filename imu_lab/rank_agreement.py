"""Do several runs agree on who resists? Kendall's W, with an interval from resampling the samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from .registry import unknown

DRAWS = 1000
TIMES = ("time_to_forget", "time_below_retrained", "rebound")  # columns that are empty where it never happened: latest


class RankAgreement(NamedTuple):
    """How far several rankings agree.

    Attributes:
        kendalls_w: 0 for no agreement, 1 for the same order everywhere.
        low, high: 95 % interval by resampling the samples.
        by_chance: what rankings that know nothing of each other give on average, 1 / runs: the level to compare with.
        runs, samples: how many rankings, of how many samples.
        without_pressure: samples left out because some run did not press them: they resisted nothing there.
    """

    kendalls_w: float
    low: float
    high: float
    by_chance: float
    runs: int
    samples: int
    without_pressure: int = 0


def agreement_of_ranks(
    table: pd.DataFrame, column: str = "rank", *, draws: int = DRAWS, seed: int = 0
) -> RankAgreement:
    """Kendall's W over the runs of a table of :func:`imu_lab.resistance`; only samples that are in every run count.

    Of a run's own resistance only samples that every run pressed count. In a column of times, whoever was never forgotten
    comes after all who were, together with the others of that kind.

    The interval is about samples, not about runs: it says how W would move with another forget set of this size. Five
    seeds are five, and no interval makes more of them.

    Args:
        table: of two runs or more, told apart by ``number``.
        column: what to rank by; the samples of each run are ranked anew by it.
        draws: resamplings of the samples.
        seed: of the resampling.

    Raises:
        ValueError: fewer than two runs, or fewer than three samples in all of them.
    """
    if column not in table:
        raise unknown("column to rank by", column, list(table.columns))
    known = table.assign(**{column: table[column].fillna(np.inf)}) if column.endswith(TIMES) else table
    wide = known.pivot(index="number", columns="example", values=column).dropna(axis=1)
    unpressed = set() if column.startswith("uniform") else _unpressed(table) & set(wide.columns)
    values = wide.drop(columns=list(unpressed)).to_numpy(dtype=float)
    runs, samples = values.shape
    if runs < 2 or samples < 3:
        raise ValueError(
            f"agreement needs 2 runs and 3 samples that are in all of them; got {runs} and {samples}, and "
            f"{len(unpressed)} samples that some run did not press"
        )
    random = np.random.default_rng(seed)
    drawn = [kendalls_w(values[:, random.integers(samples, size=samples)]) for _ in range(draws)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return RankAgreement(kendalls_w(values), float(low), float(high), 1 / runs, runs, samples, len(unpressed))


def _unpressed(table: pd.DataFrame) -> set[int]:
    """The samples that got no pressure in one run or more."""
    return set(table.loc[~table["pressed"].astype(bool), "example"].tolist()) if "pressed" in table else set()


def kendalls_w(values: np.ndarray) -> float:
    """Kendall's coefficient of concordance of (m, n) values, one row per judge, corrected for ties.

    W = 12 S / (m²(n³ − n) − m Σ T), S the squared deviations of the n rank sums, T = Σ(t³ − t) over a judge's ties
    (Kendall & Babington Smith 1939). NaN where every judge sees one single tie.
    """
    from scipy.stats import rankdata  # half a second to import

    ranks = rankdata(values, axis=1)
    judges, count = ranks.shape
    sums = ranks.sum(0)
    ties = 0.0
    for row in ranks:
        sizes = np.unique(row, return_counts=True)[1].astype(float)
        ties += (sizes**3 - sizes).sum()
    possible = judges**2 * (float(count) ** 3 - count) - judges * ties
    return float(12 * np.square(sums - sums.mean()).sum() / possible) if possible > 0 else float("nan")
