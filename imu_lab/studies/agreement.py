"""Do they agree? Estimators on the samples to press, draws of one estimator, and runs on who resists: each answer a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..core.messages import listed, unknown
from ..core.records import Influence
from .resistance import latest, withstanding
from .statistics import confidence_interval, kendalls_w, mean_spearman, one_row, spearman

DRAWS = 1000  # of the bootstrap over samples
INDIFFERENT = 0.99  # correlation with the plain product of gradients above which the preconditioner does nothing


def rank_correlations(scores: Mapping[str, Influence] | Iterable[Influence]) -> pd.DataFrame:
    """Spearman's correlation of every pair: a square table with ones on its diagonal, NaN against a constant.

    Args:
        scores: of the same forget set, by label; unlabelled ones go by their estimator.
    """
    return pd.DataFrame({label: each.values for label, each in by_label(scores).items()}).corr("spearman")


def damping_effect(sweep: Mapping[float, Influence]) -> pd.DataFrame:
    """What damping does: agreement with the plain product of gradients, and the sign, at each damping.

    Args:
        sweep: influences by damping, on a linear readout (their context holds ``gradient_dot``).

    Returns:
        DataFrame ``damping, correlation, spearman, negative, indifferent``, rising in damping: Pearson's and Spearman's
        correlation with the influence without a preconditioner, the share of negative influences, and whether the
        correlation stays above 0.99 from this damping on, so that the preconditioner does nothing.
    """
    rows = []
    for damping, scores in sorted(sweep.items()):
        if "gradient_dot" not in scores.context:
            raise ValueError("these scores carry no gradient_dot: their readout is not one linear layer")
        plain = scores.context["gradient_dot"].to_numpy()
        pearson = pd.Series(scores.values).corr(pd.Series(plain))
        rows.append((damping, pearson, float(spearman(scores.values, plain)), float((scores.values < 0).mean())))
    frame = pd.DataFrame(rows, columns=["damping", "correlation", "spearman", "negative"])
    frame["indifferent"] = (frame["correlation"] > INDIFFERENT)[::-1].cummin()  # from here on
    return frame


def largest_disagreements(one: Influence, other: Influence, k: int = 10) -> pd.DataFrame:
    """The samples that two estimators rank most differently.

    Returns:
        DataFrame ``example, one, other, rank_one, rank_other, difference``, the largest first. Rank 1 is the most
        negative influence; ``difference`` is rank_other − rank_one, so positive means that ``one`` presses it more.
    """
    by_label([one, other])
    frame = pd.DataFrame({"example": one.frame["example"], "one": one.values, "other": other.values})
    frame["rank_one"], frame["rank_other"] = frame["one"].rank(), frame["other"].rank()
    frame["difference"] = frame["rank_other"] - frame["rank_one"]
    largest = frame["difference"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[largest].head(k).reset_index(drop=True)


def by_label(scores: Mapping[str, Influence] | Iterable[Influence]) -> dict[str, Influence]:
    """Influences by their label; unlabelled ones by their estimator, numbered where it repeats.

    Raises:
        ValueError: fewer than two, or of different samples.
    """
    if isinstance(scores, Mapping):
        named = dict(scores)
    else:
        named = {}
        for each in scores:
            label = str(each.settings.get("estimator", "scores"))
            number = sum(1 for known in named if known == label or known.startswith(f"{label} ("))
            named[label if not number else f"{label} ({number + 1})"] = each
    if len(named) < 2:
        raise ValueError(f"a comparison needs two influences or more, got {len(named)}")
    first = next(iter(named.values())).frame["example"]
    strange = [label for label, each in named.items() if not np.array_equal(each.frame["example"], first)]
    if strange:
        raise ValueError(f"{listed(strange)} speak of other samples than {next(iter(named))!r}; use one forget set")
    return named


def stability(scores: Iterable[Influence]) -> pd.DataFrame:
    """How far each sample's place depends on the draw.

    Args:
        scores: of one estimator and one forget set, one record per draw: a training seed, or an augmentation
            (:class:`imu_lab.tasks.Augmented`).

    Returns:
        DataFrame ``example, mean, deviation, mean_rank, rank_deviation, negative``: over the draws, ``negative`` the
        share in which the influence is negative. One number for all samples is what :func:`rank_stability` gives.
    """
    named = by_label(scores)
    values = np.stack([each.values for each in named.values()])  # (draws, n)
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy()
    return pd.DataFrame(
        {
            "example": next(iter(named.values())).frame["example"].to_numpy(),
            "mean": values.mean(0),
            "deviation": values.std(0),
            "mean_rank": ranks.mean(0),
            "rank_deviation": ranks.std(0),
            "negative": (values < 0).mean(0),
        }
    )


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


class RankAgreement(NamedTuple):
    """How far several rankings agree.

    Attributes:
        kendalls_w: 0 for no agreement, 1 for the same order everywhere.
        low, high: 95 % interval by resampling the samples.
        by_chance: what rankings that know nothing of each other give on average, 1 / runs: the level to compare with.
        runs, samples: how many rankings, of how many samples.
        excluded: samples that had nothing to withstand in some run: not pressed, or wrong before the first update.
    """

    kendalls_w: float
    low: float
    high: float
    by_chance: float
    runs: int
    samples: int
    excluded: int = 0

    def __repr__(self) -> str:
        return (
            f"RankAgreement(Kendall's W {self.kendalls_w:.2f}, {self.low:.2f} to {self.high:.2f}, by chance "
            f"{self.by_chance:.2f}; {self.runs} runs, {self.samples} samples, {self.excluded} excluded)"
        )

    def _repr_html_(self) -> str:
        return one_row(self)


def rank_agreement(table: pd.DataFrame, column: str = "rank", *, draws: int = DRAWS, seed: int = 0) -> RankAgreement:
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
