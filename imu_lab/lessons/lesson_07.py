"""Exercises of ``07_which_samples_resist``."""

from __future__ import annotations

import pandas as pd

from ..core.memo import remembered
from ..core.records import Run
from ..core.running import fingerprint, tensors_of
from ..lab.again import again
from ..studies.agreement import rank_agreement
from ..studies.resistance import resistance
from .answers import Choice, Runs, Whole, share
from .exercise import exercise
from .setting import AT_RANDOM, BY_CLASS, forgets, near, weighted_run


@remembered(1)
def under_equal_pressure() -> pd.DataFrame:
    """Resistance of the lesson's run, beside that under uniform weights."""
    run = weighted_run(BY_CLASS, 40, "forgotten")
    return resistance(run, uniform=again(run, weights=None, steps=80))


@exercise(
    "07-1",
    Whole("the number of a sample in the column example"),
    hints=(
        "Leave out the samples whose uniform_censored is True: nobody knows how long they would have held out.",
        'known = table[~table["uniform_censored"]], and then the row with the largest uniform_rank.',
    ),
    because="A censored sample may resist more, but nobody knows how much; so it is left out before one sorts.",
)
def most_resistant(answer: int) -> bool | str:
    table = under_equal_pressure().set_index("example")
    if answer not in table.index:
        return f"Sample {answer} is none of those that are forgotten; a row's number is not its example."
    if table.loc[answer, "uniform_censored"]:
        return f"Sample {answer} is censored: it was still right when the run ended."
    known = table[~table["uniform_censored"]]["uniform_rank"]
    return bool(known[answer] == known.max()) or f"Its rank is {known[answer]:g}; another went later."


@exercise(
    "07-2",
    share("of the upper half"),
    hints=(
        'upper = mixed_table[mixed_table["rank"] > mixed_table["rank"].median()]',
        "The column pressed is True for whoever got pressure; ~ turns it round, and the mean is a share.",
    ),
    because='About half of the "most resistant" samples were never pushed. A ranking that ignores this is mostly about the '
    "rule, and not about the samples.",
)
def never_pushed(answer: float) -> bool | str:
    table = resistance(weighted_run(AT_RANDOM, 40))
    true = float((~table[table["rank"] > table["rank"].median()]["pressed"]).mean())
    return near(answer, true) or ("That is the share that was pressed." if near(1 - answer, true) else False)


@exercise(
    "07-3",
    Runs(5),
    hints=(
        "imu.again(uniform, seed=1) repeats the run with another order of its batches.",
        "mine = [imu.again(uniform, seed=seed) for seed in range(5)]",
    ),
    because="The five rankings agree almost perfectly: with one model, the order of the batches hardly matters.",
)
def batch_orders(answer: list[Run]) -> bool | str:
    if not all(forgets(run, BY_CLASS) for run in answer):
        return "Not all of these runs forget the 3s of the lesson; repeat the run named uniform."
    if any(run.samples["weight"].nunique() > 1 for run in answer):
        return "These runs do not press all samples alike; repeat the run named uniform."
    if len({run.settings["seed"] for run in answer}) < 5:
        return "Two of these runs have the same seed, and so the same order of batches."
    if len({fingerprint(*tensors_of(run.model_at(0))) for run in answer}) > 1:
        return "These runs do not start from one model."
    if any(run.samples["time_to_forget"].isna().mean() > 0.5 for run in answer):
        return "Most 3s are still read when one of these runs ends; repeat the run named uniform, which is longer."
    agreed = rank_agreement(resistance(answer)).kendalls_w
    return agreed > 0.95 or f"Kendall's W of these runs is {agreed:.2f}; runs of one model agree more than that."


@exercise(
    "07-4",
    Choice(("the model", "the order of batches")),
    hints=(
        "Compare Kendall's W of your five runs with that of five models.",
        "In one case only the order of batches differs, in the other the model too. Where is the agreement higher?",
    ),
    because="With one model and five orders W is nearly 1, with five models about 0.9: most of the disagreement comes from "
    "training, that is from which samples a model happened to fit well, and not from unlearning.",
)
def what_decides(answer: str) -> bool:
    return answer == "the model"
