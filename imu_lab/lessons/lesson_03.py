"""Exercises of ``03_can_influence_be_fooled``."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..core.memo import remembered
from ..intensities import intensity
from ..lab.verbs import influence
from ..studies.ground_truth import leave_one_out
from ..studies.refit import refit
from ..tasks.variants.planted import Planted
from .answers import Number, Truth, Whole
from .exercise import exercise
from .setting import AT_RANDOM, BY_CLASS, model_of


def attackers_share(estimator: str, strength: float = 3.0, **settings: Any) -> float:
    """Share of all weight that the adversarial tenth takes."""
    model = model_of(BY_CLASS)
    attacked = Planted(BY_CLASS, kind="adversarial", share=0.1, strength=strength, against=model)
    weights = intensity(influence(attacked, model, estimator), **settings)
    return float(weights.values[attacked.is_planted].sum())


@exercise(
    "03-1",
    Number("a quantile", 0.0, 1.0),
    hints=(
        "The attackers have the largest weights. Where would you have to cut so that they are no larger than the others'?",
        "Clip harder: 0.3, for example.",
    ),
    because="The attackers have the largest weights, so a low enough cut makes them no larger than the others. "
    "It cuts honest samples, too.",
)
def clipped_enough(answer: float) -> bool | str:
    taken = attackers_share("fisher-diagonal", quantile=answer)
    return taken < 0.4 or f"At this quantile they take {taken:.0%}."


@exercise(
    "03-2",
    Truth(),
    hints=(
        "A larger budget makes the model more wrong about the sample, and so its gradient longer.",
        "Does gradient-cosine count how long a gradient is?",
    ),
    because="gradient-cosine counts no lengths, and a larger budget mostly makes gradients longer.",
)
def raises_it(answer: bool) -> bool:
    gain = attackers_share("gradient-cosine", 6.0) - attackers_share("gradient-cosine")
    return answer == (gain > 0.1)


@remembered(1)
def rank_gaps() -> pd.Series:
    """By example: how far its rank under the cheap estimate is from that in truth."""
    model = model_of(AT_RANDOM)
    truth = leave_one_out(AT_RANDOM, model, l2=1e-3).set_index("example")["influence"]
    cheap = influence(AT_RANDOM, refit(AT_RANDOM, model, l2=1e-3), "fisher-diagonal").frame.set_index("example")
    return (cheap["influence"].rank() - truth.rank()).abs()


@exercise(
    "03-3",
    Whole("the number of a sample in the column example"),
    hints=(
        "Rank both columns with .rank(), subtract, and take the absolute value.",
        'gap.idxmax() is the row of the largest gap; truth["example"] says which sample stands in that row.',
    ),
    because="In truth it is among those that hold the set up most, and the cheap estimate puts it at the other end.",
)
def misjudged(answer: int) -> bool | str:
    gaps = rank_gaps()
    if answer not in gaps.index:
        return f"Sample {answer} is not in the forget set; a row's number is not its example."
    return bool(gaps[answer] == gaps.max()) or f"Its ranks are {gaps[answer]:.0f} places apart; others are further."
