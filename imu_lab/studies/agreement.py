"""Do estimators agree, does damping matter, who gets the pressure: arithmetic on records, each answer a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..core.messages import listed
from ..core.records import Influence, Intensity
from .statistics import spearman

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
        DataFrame ``damping, correlation, spearman, negative``: Pearson's and Spearman's correlation with the influence
        without a preconditioner, and the share of negative influences; rising in damping. Its ``attrs["indifferent"]``
        is the smallest damping from which the correlation stays above 0.99, so that the preconditioner does nothing
        (NaN if there is none).
    """
    rows = []
    for damping, scores in sorted(sweep.items()):
        if "gradient_dot" not in scores.context:
            raise ValueError("these scores carry no gradient_dot: their readout is not one linear layer")
        plain = scores.context["gradient_dot"].to_numpy()
        pearson = pd.Series(scores.values).corr(pd.Series(plain))
        rows.append((damping, pearson, float(spearman(scores.values, plain)), float((scores.values < 0).mean())))
    frame = pd.DataFrame(rows, columns=["damping", "correlation", "spearman", "negative"])
    from_here_on = (frame["correlation"] > INDIFFERENT).to_numpy()[::-1].cumprod()[::-1].astype(bool)
    frame.attrs["indifferent"] = float(frame["damping"][from_here_on].min())
    return frame


def pressure_shares(weights: Intensity, parts: int = 5) -> pd.DataFrame:
    """Who gets the pressure: the share of all weight by quantile of p(y) before unlearning.

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

    Returns:
        DataFrame ``samples, weight``, both shares rising from 0 to 1; ``attrs["gini"]`` is 0 for uniform weights and
        close to 1 when one sample takes everything.

    Source: Lorenz 1905; Gini 1912.
    """
    held = np.concatenate([[0.0], np.cumsum(np.sort(weights.values))])
    frame = pd.DataFrame({"samples": np.linspace(0, 1, len(held)), "weight": held / held[-1]})
    frame.attrs["gini"] = max(0.0, float(1 - 2 * np.trapezoid(frame["weight"], frame["samples"])))  # not -1e-16
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
