"""Audits of privacy: can the samples to forget be told from samples never seen?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..measures import rmia
from ..measures.membership import FALSE_POSITIVES, SCORES, auc, true_positives
from .audited import ORIGINAL, RUN, Audited, Row, notes_of
from .statistics import two_sample_interval

STATISTICS = {
    "AUC": (auc, "probability", "P(score of a member > score of a sample never seen) + ½ P(equal)"),
    "TPR at 1 % FPR": (
        true_positives,
        "share of members",
        "share of members above a score that at most 1 % of samples never seen exceed",
    ),
}


def membership_rows(asked: Audited) -> Iterator[Row]:
    """AUC and true positives by each score."""
    for name, (statistic, unit, formula) in STATISTICS.items():
        for column, about in SCORES.items():
            found = asked.of_each(lambda who, column=column: float(statistic(*asked.attacked(who, column))))
            low, high = two_sample_interval(statistic, *asked.attacked(RUN, column), draws=asked.draws, seed=asked.seed)
            yield Row(
                f"{name} by {column.replace('_', ' ')}",
                _against(asked),
                low=low,
                high=high,
                unit=unit,
                formula=f"{formula}; score {'−' if about.sign < 0 else ''}({about.formula})",
                note=notes_of(asked.sides.left_out, _resolved(asked, name)),
                **found,
            )


def _against(asked: Audited) -> str:
    return f"forget against {asked.sides.split}"


def _resolved(asked: Audited, name: str) -> str:
    """How finely so few samples can tell a false-positive rate."""
    count = len(asked.sides.others)
    if name == "AUC" or count * FALSE_POSITIVES >= 1:
        return ""
    return f"of {count} samples never seen, 1 % is none"


def rmia_rows(asked: Audited) -> Iterator[Row]:
    """AUC and true positives of offline RMIA, with the retrained models as references."""
    asked.needs_reference("RMIA")
    a = asked.once("rmia a", lambda: rmia.tuned(*_probabilities(asked, ORIGINAL, asked.retrained)))
    for name, (statistic, unit, formula) in STATISTICS.items():
        mine, original = (rmia_scores(asked, who, asked.retrained, a) for who in (RUN, ORIGINAL))
        goal, note = asked.among_retrained(
            lambda who, others, s=statistic: float(s(*rmia_scores(asked, who, others, a))), np.nan
        )
        low, high = two_sample_interval(statistic, *map(np.sort, mine), draws=asked.draws, seed=asked.seed)
        count = len(asked.retrained)
        yield Row(
            f"{name} by RMIA",
            _against(asked),
            value=float(statistic(*mine)),
            low=low,
            high=high,
            goal=goal,
            original=float(statistic(*original)),
            unit=unit,
            formula=f"{formula}; score: share of samples z never seen with r(x)/r(z) > {rmia.GAMMA:g}, r = p / "
            f"½((1 + a) p_out + 1 − a), p_out of {count} retrained model{'s' * (count > 1)}, a = {a:g} tuned on the original",
            note=notes_of(
                asked.sides.left_out,
                _resolved(asked, name),
                "a goal takes two retrained models or more: imu.references(task)" if note else "",
            ),
        )


def _probabilities(asked: Audited, who: str, others: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of members and of samples never seen: exp(−loss) under a model, and its mean under others."""

    def likely(name: str) -> list[np.ndarray]:
        return [np.exp(-side["loss"].to_numpy()) for side in asked.sides_of(name)]

    beside = [likely(name) for name in others]
    return [(own, np.mean([one[at] for one in beside], axis=0)) for at, own in enumerate(likely(who))]


def rmia_scores(asked: Audited, who: str, others: list[str], a: float) -> tuple[np.ndarray, np.ndarray]:
    """RMIA's scores of members and of samples never seen under a model, with others as references."""
    return rmia.scores(*_probabilities(asked, who, others), a)
