"""Do they agree? Estimators on whom to press, draws of one estimator, and runs on which samples resist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..core.messages import listed, unknown
from ..core.records import Influence
from ..core.taken import a_record
from ..lab.asked import check_same_data
from .resistance import latest, withstanding
from .statistics import confidence_interval, kendalls_w, mean_spearman, one_row, spearman

DRAWS = 1000  # of the bootstrap over samples
OF_INFLUENCES = "influences, as imu.influence(task, model) gives them, two or more"
INDIFFERENT = 0.99  # correlation with the plain product of gradients above which the preconditioner does nothing


def rank_correlations(scores: Mapping[str, Influence] | Iterable[Influence]) -> pd.DataFrame:
    """Spearman's correlation of every pair of estimates: a square table with ones on its diagonal, NaN against a constant.

    >>> imu.rank_correlations([imu.influence(task, model, name) for name in ("fisher-diagonal", "exact")])

    Args:
        scores: of the same forget set, by label; without labels they are named after their estimators.
    """
    return pd.DataFrame({label: each.values for label, each in by_label(scores).items()}).corr("spearman")


def damping_effect(sweep: Mapping[float, Influence]) -> pd.DataFrame:
    """What damping does to an influence: its agreement with the plain product of gradients, and its sign.

    >>> sweep = {damping: imu.influence(task, model, damping=damping) for damping in (1e-4, 1e-2, 1)}
    >>> imu.plot_damping(imu.damping_effect(sweep))

    Args:
        sweep: influences by damping, on a linear readout (their context holds ``gradient_dot``).

    Returns:
        DataFrame ``damping, correlation, spearman, negative, indifferent``, rising in damping: Pearson's and Spearman's
        correlation with the influence without a preconditioner, the share of negative influences, and whether the
        correlation stays above 0.99 from this damping on, so that the preconditioner does nothing.
    """
    rows = []
    words = "influences by damping, such as {0.01: imu.influence(task, model, damping=0.01)}"
    for damping, scores in sorted(a_record(sweep, "damping_effect", Mapping, words).items()):
        a_record(scores, "damping_effect", Influence, words)
        if "gradient_dot" not in scores.context:
            raise ValueError("these scores have no gradient_dot to compare with: their readout is not one linear layer")
        plain = scores.context["gradient_dot"].to_numpy()
        pearson = pd.Series(scores.values).corr(pd.Series(plain), min_periods=2)
        rows.append((damping, pearson, float(spearman(scores.values, plain)), float((scores.values < 0).mean())))
    frame = pd.DataFrame(rows, columns=["damping", "correlation", "spearman", "negative"])
    frame["indifferent"] = (frame["correlation"] > INDIFFERENT)[::-1].cummin()  # from here on
    return frame


def largest_disagreements(one: Influence, other: Influence, k: int = 10) -> pd.DataFrame:
    """The samples that two estimators rank most differently.

    Args:
        one, other: influences on the same forget set.
        k: how many samples.

    Returns:
        DataFrame ``example, one, other, rank_one, rank_other, difference``, the largest difference first. Rank 1 is the
        most negative influence; ``difference`` is rank_other − rank_one, so positive means that ``one`` presses it more.
    """
    by_label([one, other])
    frame = pd.DataFrame({"example": one.frame["example"], "one": one.values, "other": other.values})
    frame["rank_one"], frame["rank_other"] = frame["one"].rank(), frame["other"].rank()
    frame["difference"] = frame["rank_other"] - frame["rank_one"]
    largest = frame["difference"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[largest].head(k).reset_index(drop=True)


def by_label(scores: Mapping[str, Influence] | Iterable[Influence]) -> dict[str, Influence]:
    """Influences by their label; without labels by their estimator, numbered where it repeats.

    Raises:
        TypeError: there is something else among them.
        ValueError: fewer than two, or of different samples or data.
    """
    if isinstance(scores, Mapping):
        named = {label: a_record(each, "a comparison", Influence, OF_INFLUENCES) for label, each in scores.items()}
    else:
        named = {}
        for each in a_record(scores, "a comparison", Iterable, OF_INFLUENCES):
            a_record(each, "a comparison", Influence, OF_INFLUENCES)
            label = str(each.settings.get("estimator", "scores"))
            number = sum(1 for name in named if name == label or name.startswith(f"{label} ("))
            named[label if not number else f"{label} ({number + 1})"] = each
    if len(named) < 2:
        raise ValueError(f"a comparison needs two influences or more, got {len(named)}")
    first = next(iter(named.values())).frame["example"]
    others = [label for label, each in named.items() if not np.array_equal(each.frame["example"], first)]
    if others:
        raise ValueError(
            f"{listed(others)} hold other samples than {next(iter(named))!r}; compare influences on one forget set"
        )
    check_same_data(named.values(), "a comparison of influences")
    return named


def stability(scores: Iterable[Influence]) -> pd.DataFrame:
    """How much each sample's influence and rank depend on the draw: on a training seed, or on an augmentation.

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

    The interval comes from resampling the samples, not the draws: it says how much the correlation would change with
    another forget set of this size. It says nothing of other seeds than these.

    >>> models = [imu.train(task, seed=seed) for seed in range(5)]
    >>> imu.rank_stability({"exact": [imu.influence(task, model, "exact") for model in models]})

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
    words = "influences by the estimator that gave them, such as {'exact': [...]}"
    for estimator, records in a_record(draws, "rank_stability", Mapping, words).items():
        values = np.stack([each.values for each in by_label(records).values()])  # (draws, n)
        if values.shape[1] < 3:
            raise ValueError(f"a rank correlation needs 3 samples or more, got {values.shape[1]}")
        interval = confidence_interval(mean_spearman, values, draws=resamples, seed=seed)
        rows.append((estimator, float(mean_spearman(values)), *map(float, interval), *values.shape))
    return pd.DataFrame(rows, columns=["estimator", "spearman", "low", "high", "draws", "samples"])


class RankAgreement(NamedTuple):
    """How far several runs agree on which samples resist.

    Attributes:
        kendalls_w: 0 for no agreement, 1 for the same order in every run.
        low, high: its 95 % interval by resampling the samples.
        by_chance: the level to compare with: independent rankings give 1 / runs on average.
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
    """Do runs agree on which samples resist? Kendall's W over the samples that are in every run.

    Samples that had nothing to withstand in some run are excluded: all runs would rank them alike for that reason alone.
    In a column of times, samples that were never forgotten (or never came back) share the last rank.

    The interval comes from resampling the samples, not the runs: it says how much W would change with another forget set
    of this size. It says nothing of other seeds than these.

    >>> runs = [imu.unlearn(task, imu.train(task, seed=seed)) for seed in range(5)]
    >>> imu.rank_agreement(imu.resistance(runs))

    Args:
        table: what :func:`imu_lab.resistance` gave for two runs or more; ``number`` tells them apart.
        column: what to rank the samples of each run by.
        draws: resamplings of the samples.
        seed: of the resampling.

    Raises:
        UnknownName: the table has no such column.
        ValueError: fewer than two runs, fewer than three samples in all of them, or a run in which they are all alike.
    """
    if column not in a_record(table, "rank_agreement", pd.DataFrame, "the table of imu.resistance(runs)"):
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
        raise ValueError(f"all {samples} samples have the same {column!r} in run {tied[0]}: it does not rank them")
    low, high = confidence_interval(kendalls_w, ranks, draws=draws, seed=seed)
    return RankAgreement(float(kendalls_w(ranks)), float(low), float(high), 1 / runs, runs, samples, len(idle))
