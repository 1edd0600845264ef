"""Exercises of ``10_forget_a_person``."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ..core.memo import remembered
from ..core.records import Run
from ..intensities import intensity
from ..lab.verbs import influence, unlearn
from ..measures.retrieval import retrieve
from ..tasks.reid import ReID
from .answers import Whole, share
from .exercise import exercise
from .setting import model_of, near

TASK = ReID("figures", forget_persons=(7,))


@remembered(1)
def answers() -> pd.DataFrame:
    """What the retrained model answers to each query for person 7."""
    return retrieve(TASK, model_of(TASK, "retain"), label="retrained").answers


@exercise(
    "10-1",
    Whole("the number of a person"),
    hints=(
        "A wrong answer has mark == 'wrong', and rank counts the places that count; take those with rank <= 6.",
        "value_counts() of the column person, of those rows.",
    ),
    because="One of her two lookalikes: the embedding describes what a picture looks like, and these two look much like her.",
)
def lookalike(answer: int) -> bool | str:
    table = answers()
    wrong = table[(table["mark"] == "wrong") & (table["rank"] <= 6)]["person"].value_counts()
    if answer not in wrong.index:
        return f"Person {answer} is not among the wrong answers."
    return bool(wrong[answer] == wrong.max()) or "Another person stands there more often."


@remembered(1)
def deep_run() -> Run:
    """The lesson's run on the last block, the embedding and the classifier."""
    original, retrained = model_of(TASK), model_of(TASK, "retain")
    deep = replace(TASK, readout=("backbone.block4", "embedding", "classifier"))
    goal = TASK.evaluate(retrained, "test-forget")["map"]
    weights = intensity(influence(deep, original))
    return unlearn(deep, original, weights, steps=45, reference=retrained, stop_at=("test-forget map", "<=", goal))


@exercise(
    "10-2",
    share("of the way"),
    hints=(
        'names = deep_run.series("test-forget", "identity_accuracy"); at = names.index[names == 0][0] is the update.',
        'finds = deep_run.series("test-forget", "map"); how far has it come from its first value at that update?',
        "(finds.iloc[0] - finds[at]) / (finds.iloc[0] - finds.iloc[-1])",
    ),
    because="Naming is gone when at most a part of the way in finding is done. The rest of the way is what costs the others.",
)
def covered(answer: float) -> bool | str:
    names, finds = (deep_run().series("test-forget", metric) for metric in ("identity_accuracy", "map"))
    at = names.index[names == 0][0]
    true = float((finds.iloc[0] - finds[at]) / (finds.iloc[0] - finds.iloc[-1]))
    return near(answer, true) or ("That is what was still to go." if near(1 - answer, true) else False)


@exercise(
    "10-3",
    share("of the queries"),
    hints=(
        "If the query's own camera counted, the answer at place 1 would decide. Whose picture stands there?",
        "first = found['retrained'].answers.query('place == 1'), and then the share of rows in which person is 7.",
    ),
    because="The nearest picture is nearly always one of the same person by the same camera, so that retrieval looks far "
    "better than it is. That is why the benchmark's rule leaves them out.",
)
def seeming_rank1(answer: float) -> bool:
    first = answers().query("place == 1")
    return near(answer, float((first["mark"] != "wrong").mean()))
