"""Exercises of ``08_watching_a_model_forget``."""

from __future__ import annotations

import numpy as np

from ..core.memo import remembered
from ..core.records import Run
from ..studies.collateral import collateral
from .answers import Choice, OneRun, Whole
from .exercise import exercise
from .setting import BY_CLASS, forgets, weighted_run


@remembered(1)
def first_loss() -> int:
    """The first recorded update at which a kept sample is lost."""
    run = weighted_run(BY_CLASS, 60)
    return min(step for step in run.kept_steps if collateral(run, step=step)["lost"].any())


@exercise(
    "08-1",
    Whole("the number of an update"),
    hints=(
        'imu.collateral(run, step=30)["lost"].sum() counts the kept samples that are lost at update 30.',
        "Ask every update in run.kept_steps, and take the first whose count is not 0.",
    ),
    because="Up to there every kept digit is read as before; the 3s have gone already, or are about to.",
)
def when_the_first_is_lost(answer: int) -> bool | str:
    true = first_loss()
    if abs(answer - true) <= 1:  # read off a slider
        return True
    return (
        "At that update some kept samples are lost, but not for the first time."
        if answer > true
        else "None is lost yet."
    )


@exercise(
    "08-2",
    OneRun(),
    hints=(
        'light = run.samples.nsmallest(10, "pressure")["example"] are the ten.',
        "imu.what_if(run, reweight={example: 10.0 for example in light})",
    ),
    because="Ten light samples stay light even at ten times their weight, and the run hardly changes: "
    "the heavy ones still decide. That is question 3.",
)
def ten_times(answer: Run) -> bool | str:
    run = weighted_run(BY_CLASS, 60)
    if not forgets(answer, BY_CLASS):
        return "This run forgets other samples than run does."
    mine, before = (each.samples.set_index("example")["weight"] for each in (answer, run))
    ratio = (mine / before).loc[before > 0]
    ratio = ratio / ratio.min()
    heavier = set(ratio.index[np.isclose(ratio, 10, rtol=0.05)])
    if set(ratio.index[ratio > 1.05]) != heavier or len(heavier) != 10:
        return f"{int((ratio > 1.05).sum())} samples have more weight beside the others than in run; ten should, each ten times."
    light = set(run.samples.nsmallest(10, "pressure")["example"])
    return heavier == light or "Ten samples weigh ten times as much, but not those with the least pressure."


@exercise(
    "08-3",
    Choice(("faster", "slower", "hardly different")),
    hints=(
        "imu.compare([run, mine], at_forget=0.01) has the number of updates of both in one column.",
        "How large a part of all pressure do the ten have, even after it?",
    ),
    because="Within an update or two it is the same: the ten still have a small part of all pressure.",
)
def faster(answer: str) -> bool:
    return answer == "hardly different"


@exercise(
    "08-4",
    OneRun(),
    hints=(
        "imu.fork(run, 20, ...) leaves the run at update 20; what comes after is what changes.",
        "mine = imu.fork(run, 20, weights=None, steps=80)",
    ),
    because="From update 20 on everybody is pressed alike. Uniform weights make shorter steps, so it takes longer from there: "
    "imu.compare([run, mine], at_forget=0.01) says how long.",
)
def forked(answer: Run) -> bool | str:
    if not forgets(answer, BY_CLASS):
        return "This run forgets other samples than run does."
    left = (answer.settings.get("forked") or {}).get("step")
    if left is None:
        return "This run was not forked; imu.fork makes one that leaves another."
    if left != 20:
        return f"This fork leaves at update {left}."
    if answer.samples["weight"].nunique() > 1:
        return "It leaves at update 20, but not with uniform weights."
    gone = answer.series("forget", "accuracy").min() <= 0.01
    return gone or "It leaves rightly, but does not get to 1 %: give it more steps."
