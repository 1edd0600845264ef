"""Exercises of ``02_from_influence_to_intensity``."""

from __future__ import annotations

from ..core.memo import remembered
from ..core.registry import intensity_rules
from ..intensities import intensity
from ..lab.verbs import influence
from ..studies.pressure import pressure_shares
from ..studies.trial import over_seeds, trial
from .answers import Choice, Number, Truth
from .exercise import exercise
from .setting import AT_RANDOM, BY_CLASS, model_of


@exercise(
    "02-1",
    Number("a quantile", 0.0, 1.0),
    hints=(
        "The quantile is where the largest weights are cut off. What does a lower cut do to how equal they are?",
        "Down: imu.intensity(class_scores, quantile=0.3).effective",
    ),
    because="Cut lower, and more samples share the largest weight, so that they are worth more equal ones.",
)
def more_equal(answer: float) -> bool | str:
    worth = intensity(influence(BY_CLASS, model_of(BY_CLASS)), quantile=answer).effective
    return worth > 100 or f"At this quantile the weights are worth {worth:.0f} equal samples."


@exercise(
    "02-2",
    Choice(lambda: list(intensity_rules)),
    hints=(
        "Section 3 draws, for each fifth, the share of the weight that it gets; the best-known fifth stands at the right end.",
        "One rule turns the idea of influence round.",
    ),
    because="It gives most to the weakest influences, and those are the samples that the model knows well.",
)
def for_the_memorised(answer: str) -> bool:
    scores = influence(AT_RANDOM, model_of(AT_RANDOM))
    given = {rule: pressure_shares(intensity(scores, rule))["weight"].iloc[-1] for rule in intensity_rules}
    return answer == max(given, key=given.get)


@remembered(1)
def shuffled_against_weighted() -> tuple[float, float]:
    """The 95 % interval of what shuffled weights lose beyond the paper's, at equal steps, over ten seeds."""
    arms = {rule: {"rule": rule} for rule in ("sqrt-clipped", "shuffled")}
    made = trial(AT_RANDOM, arms, at_forget=0.9, step_norms=(0.02,), seeds=range(10))
    row = over_seeds(made, ["retain accuracy change"], against="sqrt-clipped").set_index("arm").loc["shuffled"]
    return float(row["low"]), float(row["high"])


@exercise(
    "02-3",
    Truth(),
    hints=(
        'row has the columns "low" and "high": the ends of the interval.',
        "The interval holds 0 when low is below it and high above.",
    ),
    because="The same weights on the wrong samples lose about as much as on the right ones: it is the shape, few samples with "
    "most of the weight, that costs, and not who they are.",
)
def holds_zero(answer: bool) -> bool:
    low, high = shuffled_against_weighted()
    return answer == (low <= 0 <= high)
