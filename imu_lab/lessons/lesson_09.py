"""Exercises of ``09_forget_a_pattern``."""

from __future__ import annotations

import math

from ..core.memo import remembered
from ..core.records import Run
from ..intensities import intensity
from ..lab.verbs import influence, unlearn
from ..tasks.sequence import Sequence
from .answers import Choice, Number, OneRun, Whole
from .exercise import exercise
from .setting import forgets, model_of, near

TASK = Sequence("small", forget_sources=(1,), train_sources=(0, 1))


@remembered(1)
def run() -> Run:
    """The lesson's run of fifty updates."""
    original = model_of(TASK)
    weights = intensity(influence(TASK, original))
    return unlearn(TASK, original, weights, steps=50, reference=model_of(TASK, "retain"))


@exercise(
    "09-1",
    Whole("the number of an update"),
    hints=(
        'line = run.series("test-forget", "kl_retrained") is the line of the figure, indexed by update.',
        "line.idxmin()",
    ),
    because="About a third of the way: the updates after it undo what the first third gained, and more.",
)
def closest(answer: int) -> bool | str:
    line = run().series("test-forget", "kl_retrained")
    if answer not in line.index:
        return f"There is no update {answer} in this run."
    return answer == line.idxmin() or f"There the distance is {line[answer]:.3f}; it has been smaller."


@exercise(
    "09-2",
    Number("a loss in nats per token"),
    hints=("A token predicted with probability p costs −log p nats.", "-np.log(0.1)"),
    because="−log 0.1 is about 2.303 nats.",
)
def knows_nothing(answer: float) -> bool | str:
    true = math.log(10)
    if near(answer, math.log2(10)):
        return "That is in bits; a nat is counted with the natural logarithm."
    return near(answer, true, within=0.005) or ("The size is right. Mind the sign." if near(-answer, true) else False)


@exercise(
    "09-3",
    Choice(("better", "worse")),
    hints=(
        'The table of section 2 has the retrained model\'s loss on source 1: row "retrained", "test-forget".',
        "A smaller loss is better. Which of the two is smaller?",
    ),
    because="Worse than knowing nothing: after a leak to 0–3 it is sure that source 0 is writing, and expects more of the same. "
    "Never having learned a pattern is not the same as being neutral about it.",
)
def retrained_on_source_1(answer: str) -> bool:
    loss = TASK.evaluate(model_of(TASK, "retain"), "test-forget")["loss"]
    return answer == ("worse" if loss > math.log(10) else "better")


@exercise(
    "09-4",
    OneRun(),
    hints=(
        "stop_at takes a metric, a comparison and a value.",
        'imu.unlearn(task, original, weights, reference=retrained, stop_at=("kl_retrained", "<=", 0.3))',
    ),
    because="It stopped where it should. Without the retrained model you could not: the distance is measured from it. "
    "In practice one needs a stop that asks no such oracle.",
)
def stops_by_itself(answer: Run) -> bool | str:
    if not forgets(answer, TASK):
        return "This run does not forget source 1 of the lesson."
    if answer.events.get("stopped_at") is None:
        return "This run did not stop by itself."
    if "kl_retrained" not in set(answer.curve["metric"]):
        return "This run does not know its distance to the retrained model; give it reference=retrained."
    distance = answer.value("forget", "kl_retrained")
    earlier = answer.series("forget", "kl_retrained").iloc[:-1]
    if distance > 0.3:
        return f"It stopped at a distance of {distance:.2f}."
    return bool((earlier > 0.3).all()) or "It was at 0.3 or below before it stopped."
