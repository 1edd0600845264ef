"""Exercises of ``11_forget_a_fact``."""

from __future__ import annotations

import math

from ..core.memo import remembered
from ..core.records import Run
from ..intensities import intensity
from ..lab.verbs import influence, unlearn
from ..studies.leakage import ALL, leakage
from ..tasks.language import Language
from .answers import Choice, Number, OneRun
from .exercise import exercise
from .setting import model_of, near

AUTHORS, SHAPE = (3, 8, 21, 30), (64, 2, 4, 1024)
GOAL = ("loss", ">=", "retrained")


@remembered(1)
def task() -> Language:
    """The lesson's; made when it is asked for, since it needs more than the library's own packages."""
    return Language("invented-authors", forget_authors=AUTHORS, shape=SHAPE)


@remembered(1)
def run() -> Run:
    """The lesson's run, looked at when it ends."""
    original = model_of(task())
    weights = intensity(influence(task(), original))
    how = {"steps": 100, "record_every": 100, "stop_at": GOAL, "follow": ()}
    return unlearn(task(), original, weights, reference=model_of(task(), "retain"), **how)


def kept() -> list[str]:
    """The authors to keep."""
    corpus = task().corpus
    return [corpus.name(number) for number in corpus.authors if number not in AUTHORS]


@exercise(
    "11-1",
    Number("a truth ratio", 0.0),
    hints=(
        "The geometric mean of the wrong answers' probabilities is e to the minus mean of their losses.",
        "Divide it by the probability of the right answer in other words, which is e to the minus its loss.",
        "np.exp(-np.mean([2, 3, 4])) / np.exp(-1)",
    ),
    because="e⁻³ / e⁻¹ = e⁻² ≈ 0.135: the right answer is about seven times as likely as a wrong one.",
)
def ratio(answer: float) -> bool | str:
    arithmetic = sum(math.exp(-loss) for loss in (2, 3, 4)) / 3 / math.exp(-1)
    if near(answer, arithmetic):
        return "That is the paper's, with the arithmetic mean of the probabilities; the one used here is geometric."
    if near(answer, math.exp(2)):
        return "That is right over wrong. The truth ratio is wrong over right."
    return near(answer, math.exp(-2))


@exercise(
    "11-2",
    Choice(kept),
    hints=(
        "imu.leakage(run) has a row for each author; those with forgotten False were to be kept.",
        'table = imu.leakage(run); kept = table[~table["forgotten"]]',
        'kept.loc[kept["probability_change"].idxmin(), "label"]',
    ),
    because="Nobody asked to forget this author, and no answer about them was pressed.",
)
def damaged(answer: str) -> bool | str:
    table = leakage(run())
    mine = table[(table["pressed"] == ALL) & ~table["forgotten"] & table["label"].isin(kept())].set_index("label")
    change = mine["probability_change"]
    return bool(change[answer] <= change.min() + 1e-3) or f"{answer} lost {-change[answer]:.2f}; somebody lost more."


@exercise(
    "11-3",
    OneRun(),
    hints=(
        "Notebook 04 knows a method that divides the curvature out of the step.",
        'imu.unlearn(task, original, method="curvature-ascent", reference=references, steps=100, record_every=100, '
        'stop_at=("loss", ">=", goal))',
    ),
    because="The same forgetting, at a smaller price: the step goes where the answers about others bend least.",
)
def cheaper(answer: Run) -> bool | str:
    if answer.task is None or not set(answer.samples["example"]) == set(task().split("forget").ids.tolist()):
        return "This run has another request. Forget the same four authors."
    mine, theirs = run(), answer
    if theirs.value("forget", "loss") < 0.98 * mine.value("forget", "loss"):
        return f"It ended at a forget loss of {theirs.value('forget', 'loss'):.2f}; the goal is {mine.value('forget', 'loss'):.2f}."
    ends = [each.value("retain", "probability") for each in (mine, theirs)]
    return (
        ends[1] > ends[0] + 0.01
        or f"The answers to keep have a probability of {ends[1]:.2f}; in run it is {ends[0]:.2f}."
    )
