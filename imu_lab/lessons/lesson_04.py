"""Exercises of ``04_influence_as_a_direction``."""

from __future__ import annotations

from typing import Any

from ..core.memo import remembered
from ..core.records import Run
from ..features.statistics import Statistics
from ..lab.joint import joint_intensity
from ..lab.verbs import statistics, unlearn
from .answers import Number, Truth, Whole
from .exercise import exercise
from .setting import AT_RANDOM, BY_CLASS, model_of


@remembered(1)
def kept() -> Statistics:
    """The statistic of the training set under seed 0."""
    return statistics(AT_RANDOM, model_of(AT_RANDOM))


def turned(rho: float) -> Run:
    """Curvature ascent under seed 0, in equal steps, until the forget set's loss is that of the retrained model."""
    model, retrained = model_of(AT_RANDOM), model_of(AT_RANDOM, "retain")
    how: dict[str, Any] = {"steps": 300, "step_norm": 0.02, "follow": ["kl-retrained"], "reference": retrained}
    return unlearn(
        AT_RANDOM,
        model,
        method="curvature-ascent",
        stop_at=("loss", ">=", "retrained"),
        statistics=kept(),
        rho=rho,
        **how,
    )


@exercise(
    "04-1",
    Number("a damping ρ", 0.0, 1e6),
    hints=(
        "With more damping both factors come nearer to the identity, and the step nearer to the plain gradient's.",
        "Damp more: 10, for example.",
    ),
    because="With so much damping both factors are nearly the identity, and the step is nearly the plain gradient's.",
)
def damped(answer: float) -> bool | str:
    here, near = (turned(rho).value("test", "kl_retrained") for rho in (answer, 0.1))
    return here > 2 * near or f"At this ρ it is {here / near:.2f} times that of ρ = 0.1."


@remembered(1)
def ends() -> tuple[float, float]:
    """Test distance after a class request, with the curvature of the training set and with the forget set's own."""
    model, retrained = model_of(BY_CLASS), model_of(BY_CLASS, "retain")
    how: dict[str, Any] = {"steps": 70, "step_norm": 0.02, "stop_at": 0.01, "follow": ["kl-retrained"]}
    made = [
        unlearn(BY_CLASS, model, method="curvature-ascent", curvature=whose, reference=retrained, **how)
        for whose in ("train", "forget")
    ]
    return made[0].value("test", "kl_retrained"), made[1].value("test", "kl_retrained")


@exercise(
    "04-2",
    Truth(),
    hints=(
        "The forget set holds 3s alone. What can it know of the directions in which the other digits differ?",
        "A direction of which the forget set knows nothing looks flat to it, and the step goes there.",
    ),
    because="The curvature of 3s alone says nothing of the directions in which the other digits differ, so those look flat, "
    "and the step goes there.",
)
def as_well(answer: bool) -> bool:
    train, forget = ends()
    return answer == (forget < 2 * train)


@exercise(
    "04-3",
    Whole("how many samples"),
    hints=("jointly.values holds a weight for each sample.", "int((jointly.values == 0).sum())"),
    because="For these samples the harm that their push adds to that of the others is larger than what it gains.",
)
def left_alone(answer: int) -> bool:
    shares = joint_intensity(AT_RANDOM, model_of(AT_RANDOM), statistics=kept())
    return answer == int((shares.values == 0).sum())
