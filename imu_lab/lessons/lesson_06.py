"""Exercises of ``06_auditing_a_forgetter``."""

from __future__ import annotations

import numpy as np

from ..core.records import Run
from ..measures.membership import true_positives
from ..studies.audit import audit
from .answers import Number, OneRun, Whole
from .exercise import exercise
from .setting import BY_CLASS, forgets, model_of, near

LEAST, MOST = 0.8, 1.25  # of the relearn time, as a ratio


@exercise(
    "06-1",
    Number("nats", 0.0, 100.0),
    hints=(
        "Three terms: one of the true class with p_y = 0.7, and one for each of the others.",
        "-0.3 * log(0.7) - 0.2 * log(1 - 0.2) - 0.1 * log(1 - 0.1)",
    ),
    because="The others count by how surely they are ruled out, log(1 − p_k), so that it falls to 0 as p_y rises to 1.",
)
def modified_entropy(answer: float) -> bool | str:
    own, others = 0.7, np.array([0.2, 0.1])
    true = float(-(1 - own) * np.log(own) - others @ np.log(1 - others))
    wrong = float(-(1 - own) * np.log(own) - others @ np.log(others))
    if near(answer, wrong):
        return "That takes log p_k of the other classes, as the wrong copies do; it is log(1 − p_k)."
    return near(answer, true)


@exercise(
    "06-2",
    OneRun(),
    hints=(
        "The run of the lesson without stop_at, and longer: the ratio rises with the updates.",
        'imu.unlearn(task, original, weights, steps=steps), with steps above 34; imu.audit(run, "relearning") tells the ratio.',
        "Where one update jumps over it: a smaller lr= makes smaller steps.",
    ),
    because="The way back is as long as if a 3 had never been seen, and no feature has changed. It tells how far the readout "
    "was pushed, and not what is left.",
)
def ratio(answer: Run) -> bool | str:
    if not forgets(answer, BY_CLASS):
        return "This run does not forget the 3s of the lesson."
    if answer.moves_backbone or answer.settings.get("readout") != ["10"]:
        return "More than the readout may move in this run."
    found = float(audit(answer, "relearning", reference=model_of(BY_CLASS, "retain"), draws=1)["value"].iloc[1])
    return LEAST <= found <= MOST or f"The ratio of this run is {found:.2f}."


@exercise(
    "06-3",
    Whole("how many samples", 1),
    hints=("One sample of how many is 1 %?", "1 / 0.01"),
    because="Below that a threshold at 1 % lies at the very highest of the unseen scores, and the number hangs on that one sample.",
)
def unseen(answer: int) -> bool:
    def exceeded(count: int) -> bool:
        others = np.arange(min(count, 1000), dtype=float)
        # Whether its highest score may lie above the threshold.
        return count > 0 and bool(true_positives(others[-1:], others) > 0)

    return exceeded(answer) and not exceeded(answer - 1)
