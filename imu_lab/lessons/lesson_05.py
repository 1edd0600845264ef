"""Exercises of ``05_imu_against_the_others``."""

from __future__ import annotations

from ..core.memo import remembered
from ..core.records import Run
from ..lab.verbs import unlearn
from ..measures.distance import KLRetrained
from ..measures.reference import Reference
from ..studies.comparison import passes
from ..tasks.training import recipe_of
from .answers import Number, OneRun, Truth
from .exercise import exercise
from .setting import BY_CLASS, model_of, near


@exercise(
    "05-1",
    Number("passes over the training set", 0.0, 1e4),
    hints=(
        "An epoch of the retraining reads each example that is retained once. Which share of the training set is that?",
        "epochs * len(task.split('retain')) / len(task.split('train'))",
    ),
    because="Each of its epochs reads what is retained, a little less than a pass over the whole training set.",
)
def of_retraining(answer: float) -> bool | str:
    epochs, share = recipe_of(BY_CLASS).epochs, len(BY_CLASS.split("retain")) / len(BY_CLASS.split("train"))
    if near(answer, epochs) and not near(answer, epochs * share):
        return "That is the number of epochs; an epoch of a retraining does not read the whole training set."
    return near(answer, epochs * share)


def ascent(step_norm: float) -> Run:
    """Uniform ascent under seed 0 until 1 % of the 3s is still read."""
    how = {"reference": model_of(BY_CLASS, "retain"), "follow": ["kl-retrained"]}
    return unlearn(BY_CLASS, model_of(BY_CLASS), steps=400, step_norm=step_norm, stop_at=0.01, **how)


@remembered(1)
def at_equal_forgetting() -> tuple[float, float]:
    """The distance to the retrained model on the test set: of short steps, and of those of the lesson."""
    return ascent(0.005).value("test", "kl_retrained"), ascent(0.02).value("test", "kl_retrained")


@exercise(
    "05-2",
    OneRun(),
    hints=(
        "Which method of the lesson costs less than a pass and is drawn to a target?",
        'imu.unlearn(task, original, method="delete", momentum=0.0, steps=100, step_norm=0.02, stop_at=0.01)',
    ),
    because="It forgot as much for as little, and went to a target in place of away from one.",
)
def cheap_and_near(answer: Run) -> bool | str:
    if answer.task != BY_CLASS:
        return "This run forgets something else than the 3s of the lesson."
    if not answer.value("forget", "accuracy") <= 0.01:
        return f"It still reads {answer.value('forget', 'accuracy'):.1%} of the forget set."
    if not (cost := passes(answer)) <= 1:
        return f"It cost {cost:.2f} passes over the training set."
    retrained = Reference.of(BY_CLASS, model_of(BY_CLASS, "retain"))
    here = KLRetrained()(BY_CLASS, answer.model, retrained)["test"]["kl_retrained"]
    share = here / at_equal_forgetting()[1]
    return (
        share <= 0.6 or f"On the test set it ends {share:.2f} times as far from the retrained model as uniform ascent."
    )


@exercise(
    "05-3",
    Truth(),
    hints=(
        "How much of the forget set do the short steps still read after 30 updates?",
        "Run both with stop_at=0.01 and enough steps, and compare .value('test', 'kl_retrained').",
    ),
    because="After 30 updates the short steps have hardly begun to forget; where they have forgotten as much, they are as far.",
)
def nearer_by_a_fifth(answer: bool) -> bool:
    short, usual = at_equal_forgetting()
    return answer == (short < 0.8 * usual)
