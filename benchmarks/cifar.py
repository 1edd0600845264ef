"""Make CIFAR-10's original models and their retrained references: ``python -m benchmarks.cifar FOLDER [--tenth]``.

The folder holds ``train/<class>/*`` and ``test/<class>/*``. What was trained before is found again, a training that was
stopped goes on from its last whole epoch, and whatever asks for these models later (``make trial``, a notebook, a sweep) finds
them under the same recipe.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import nn

import imu_lab as imu
from benchmarks.trial import plan as trial
from imu_lab.tasks.announced import announced, announcement, measured
from imu_lab.tasks.checkpoints import is_known
from imu_lab.tasks.presets import preset
from imu_lab.tasks.training import Recipe, Training

REQUESTS = {"class": {"forget_class": "airplane"}, "random": {"forget_fraction": 0.1}}
EXPECTED = "the original's test accuracy should reach {0:.2f}"


class Plan(NamedTuple):
    """How models are trained, and the test accuracy that the original should reach."""

    recipe: Recipe
    least: float


WHOLE = Plan(replace(preset("cifar10").recipe, epochs=20), 0.85)  # three originals reached 0.86 to 0.87
TENTH = Plan(trial.TENTH, 0.5)  # seven originals reached 0.51 to 0.58


class Made(NamedTuple):
    """One model: which, how long it took here, and how often it is right on test pictures, of the classes that it was shown."""

    seed: int
    name: str
    seconds: float
    accuracy: float

    def __str__(self) -> str:
        return f"seed {self.seed}  {self.name:<26} {self.seconds:7.0f} s  test accuracy {self.accuracy:.3f}"


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, a line for each model; 1 if an original stays below what it should reach."""
    given = _parsed(arguments)
    folder, plan = (trial.a_tenth(given.folder), TENTH) if given.tenth else (given.folder, WHOLE)
    plan = plan._replace(recipe=replace(plan.recipe, epochs=given.epochs or plan.recipe.epochs))
    tasks = {
        name: imu.tasks.Classification(
            str(folder), architecture="resnet-20", recipe=plan.recipe, device=given.device, **REQUESTS[name]
        )
        for name in given.requests
    }
    _say(f"{next(iter(tasks.values())).about}\n{plan.recipe}")
    reached = True
    for made in models(tasks, given.seeds):
        _say(str(made))
        reached &= made.name != "original" or made.accuracy >= plan.least
    _say(f"{EXPECTED.format(plan.least)}: {'it does' if reached else 'it does not'}")
    return int(not reached)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cifar", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of pictures, train/<class>/* and test/<class>/*")
    parser.add_argument(
        "--tenth", action="store_true", help="every tenth picture: minutes in place of hours on two cores"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of weights and batches")
    parser.add_argument(
        "--requests", nargs="+", choices=list(REQUESTS), default=list(REQUESTS), help="what is forgotten"
    )
    parser.add_argument("--device", help="where models are trained, such as cuda; the CPU by default")
    parser.add_argument("--epochs", type=int, help="in place of the recipe's own number")
    return parser.parse_args(arguments)


def models(tasks: dict[str, imu.tasks.Classification], seeds: list[int]) -> Iterator[Made]:
    """The original of each seed and its retrained references, trained where they are not on disk yet."""
    first = next(iter(tasks.values()))
    wanted = [
        ("original", first, "train"),
        *((f"without the {name} request", task, "retain") for name, task in tasks.items()),
    ]
    missing = [seed for seed in seeds for _, task, split in wanted if not is_known(task, split, seed)]
    if missing:
        one = Training(first, first.make_model(missing[0]), first.split("train"), first.recipe, missing[0])
        _say(announcement(len(missing), measured(one)[0], "stopped, it goes on where it was"))
    with announced(len(missing)) as row:
        for seed in seeds:
            for name, task, split in wanted:
                started = time.perf_counter()
                model = row.train(task, split, seed)
                yield Made(seed, name, time.perf_counter() - started, right(task, model, split == "train"))


def right(task: imu.tasks.Classification, model: nn.Module, every: bool) -> float:
    """The share of test pictures that a model names: of every class, or of those that are kept."""
    splits = [split for split in task.splits if split == "test" or every and split == "test-forget"]
    counts = [len(task.split(split)) for split in splits]
    found = [task.evaluate(model, split)["accuracy"] for split, count in zip(splits, counts) if count]
    return sum(share * count for share, count in zip(found, filter(None, counts))) / sum(counts)


if __name__ == "__main__":
    sys.exit(main())
