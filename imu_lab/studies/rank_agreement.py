"""Do several runs agree on who resists? Kendall's W, with an interval from resampling the samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..core.messages import unknown
from .resistance import latest, withstanding
from .statistics import confidence_interval, kendalls_w

DRAWS = 1000


class RankAgreement(NamedTuple):
    """How far several rankings agree.

    Attributes:
        kendalls_w: 0 for no agreement, 1 for the same order everywhere.
        low, high: 95 % interval by resampling the samples.
        by_chance: what rankings that know nothing of each other give on average, 1 / runs: the level to compare with.
        runs, samples: how many rankings, of how many samples.
        left_out: samples that had nothing to withstand in some run: not pressed, or wrong before the first update.
    """

    kendalls_w: float
    low: float
    high: float
    by_chance: float
    runs: int
    samples: int
    left_out: int = 0


def agreement_of_ranks(
    table: pd.DataFrame, column: str = "rank", *, draws: int = DRAWS, seed: int = 0
) -> RankAgreement:
    """Kendall's W over the runs of a table of :func:`imu_lab.resistance`; only samples that are in every run count.

    Samples that had nothing to withstand in some run are left out: they would agree on nothing but that. In a column of
    times, whoever was never forgotten (or never came back) comes after all others, together with those like it.

    The interval is about samples, not about runs: it says how W would move with another forget set of this size. Five
    seeds are five, and no interval makes more of them.

    Args:
        table: of two runs or more, told apart by ``number``.
        column: what to rank by; the samples of each run are ranked anew by it.
        draws: resamplings of the samples.
        seed: of the resampling.

    Raises:
        UnknownName: the table has no such column.
        ValueError: fewer than two runs, fewer than three samples in all of them, or a run in which they are all alike.
    """
    if column not in table:
        raise unknown("column to rank by", column, list(table.columns))
    wide = (
        table.assign(**{column: latest(table, column)})
        .pivot(index="number", columns="example", values=column)
        .dropna(axis=1)
    )
    idle = set(table.loc[~withstanding(table, column), "example"]) & set(wide.columns)
    ranks = wide.drop(columns=list(idle)).to_numpy(dtype=float)
    runs, samples = ranks.shape
    if runs < 2 or samples < 3:
        raise ValueError(
            f"agreement needs 2 runs and 3 samples that are in all of them; got {runs} and {samples}, and {len(idle)} "
            "samples that had nothing to withstand in some run"
        )
    tied = [number for number, row in zip(wide.index, ranks) if len(np.unique(row)) == 1]
    if tied:
        raise ValueError(f"all {samples} samples have the same {column!r} in run {tied[0]}: it puts them in no order")
    low, high = confidence_interval(kendalls_w, ranks, draws=draws, seed=seed)
    return RankAgreement(float(kendalls_w(ranks)), float(low), float(high), 1 / runs, runs, samples, len(idle))
