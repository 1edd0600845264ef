"""Exercises of ``01_influence_by_hand``."""

from __future__ import annotations

import numpy as np

from ..lab.verbs import influence
from ..tasks.toy import Toy
from .answers import Number, share
from .exercise import exercise
from .setting import AT_RANDOM, model_of, near


def by_hand() -> np.ndarray:
    """The influences (40,) that the lesson computes."""
    task = Toy(forget_blob=0, per_class=40)
    return influence(task, model_of(task), "fisher-diagonal", damping=0.01).values


@exercise(
    "01-1",
    share("of the 40 samples"),
    hints=(
        "by_hand >= 0 is True for each sample that would be dropped.",
        "The mean of an array of True and False is the share of True.",
    ),
    because="On this request every influence is negative: all points of one blob pull in one direction, and none is dropped.",
)
def dropped(answer: float) -> bool:
    return near(answer, float((by_hand() >= 0).mean()))


@exercise(
    "01-2",
    Number("the mean of all influences"),
    hints=(
        "The mean of a sum of products is the product with the mean, where everything but g_i is the same for all samples.",
        "Put ḡ in place of g_i in the formula of section 3.",
        "-(mean * mean / fisher).sum()",
    ),
    because="It is −ḡᵀF⁻¹ḡ: minus a sum of squares over positive numbers, and so never positive. "
    "Unless ḡ is zero, at least one influence is negative.",
)
def mean_influence(answer: float) -> bool | str:
    true = float(by_hand().mean())
    return near(answer, true) or ("The size is right. Mind the sign." if near(-answer, true) else False)


@exercise(
    "01-3",
    share("of the samples"),
    hints=(
        "np.sign of two arrays, compared entry by entry, gives an array of True and False.",
        "(np.sign(plain.values) != np.sign(small.values)).mean()",
    ),
    because="With almost no damping F bends the direction so far that for about every third sample the step that is really "
    "taken goes the other way than its influence says.",
)
def opposed(answer: float) -> bool | str:
    model = model_of(AT_RANDOM)
    small, plain = influence(AT_RANDOM, model, damping=1e-6).values, influence(AT_RANDOM, model, "gradient-dot").values
    true = float((np.sign(small) != np.sign(plain)).mean())
    return near(answer, true) or ("That is the share whose signs agree." if near(1 - answer, true) else False)
