"""Exercises of ``00_start_here``."""

from __future__ import annotations

from ..core.memo import remembered
from ..lab.verbs import unlearn
from ..tasks.evaluation import averages
from .answers import Choice, Truth, Whole
from .exercise import exercise
from .setting import AT_RANDOM, BY_CLASS, model_of, weighted_run


@exercise(
    "00-1",
    Choice(("uniform", "shuffled", "gradient-norm")),
    hints=(
        "The rule cuts every weight that is larger than the one at this quantile down to it. At 0.05 that is nearly every weight.",
        "When nearly all weights are the same, what is left of the choice of whom to press?",
    ),
    because="With nearly everything clipped to one value all weights are equal: the curve falls onto the uniform control.",
)
def clipped(answer: str) -> bool | str:
    return answer == "uniform" or "Compare the weights themselves: imu.intensity(scores, quantile=0.05).frame."


@exercise(
    "00-2",
    Whole("the number of a sample in the column example"),
    hints=(
        "run.samples has a row for each 3, and its column time_to_forget says at which update it was gone for good.",
        'run.samples.nlargest(8, "time_to_forget") holds those that go last. Several may share the last update; any will do.',
    ),
    because="It goes last. Look at it with imu.gallery: it is a textbook 3, "
    "and its weight is below 1/146, so it was pressed little.",
)
def last(answer: int) -> bool | str:
    samples = weighted_run(BY_CLASS, 60, "forgotten").samples
    if answer not in set(samples["example"]):
        return f"Sample {answer} is none of the {len(samples)} 3s that are forgotten."
    gone = samples.set_index("example")["time_to_forget"]
    return bool(gone[answer] == gone.max()) or f"Sample {answer} is gone before the last one."


@remembered(1)
def falls() -> dict[str, int]:
    """By split: the first update at which five points are lost, with steps ten times as long; the last where never."""
    calm = weighted_run(BY_CLASS, 60)
    rate = 10 * calm.settings["settings"]["lr"]
    run = unlearn(BY_CLASS, model_of(BY_CLASS), calm.samples["weight"].to_numpy(), steps=60, lr=rate)
    lines = {split: run.series(split, "accuracy") for split in ("forget", "retain", "test")}
    low = {split: line.index[line <= line.iloc[0] - 0.05] for split, line in lines.items()}
    return {split: int(steps[0]) if len(steps) else 60 for split, steps in low.items()}


@exercise(
    "00-3",
    Choice(("forget", "retain", "test")),
    hints=(
        "Read the rate that was found in run.settings, and make the run again with ten times as much: "
        "imu.unlearn(task, original, weights, steps=60, lr=...).",
        "All three fall. Draw it with imu.plot_curves and look for the line that is the first to leave its place.",
    ),
    because="The 3s go first, but the others follow at once: with such steps there is hardly an update at which to stop.",
)
def first_to_fall(answer: str) -> bool:
    at = falls()
    return at[answer] == min(at.values())


@exercise(
    "00-4",
    Truth(),
    hints=(
        "A random tenth holds ones, twos, threes … The retrained model has seen other ones, twos and threes.",
        'Measure it: task.evaluate(imu.train(task, "retain"), "forget") for the task with forget_fraction=0.1.',
    ),
    because="It still reads most of them, because it has seen others like them. Forgotten does not mean wrong: "
    "it means like the retrained model.",
)
def goes_to_zero(answer: bool) -> bool:
    kept = averages(AT_RANDOM, model_of(AT_RANDOM, "retain"), "forget")["accuracy"]
    return answer == (kept <= 0.01)
