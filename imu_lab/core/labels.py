"""What runs are called beside each other: a label that two share is told apart by the settings in which they differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .records import Run
from .running import digest

# Settings, at any depth, in which runs of one experiment may differ: a digest is of what was made under the seed, and a
# statistic is the same one whether it was given or computed (its origin).
APART = ("seed", "versions", "compared_with", "digest", "origin")
MEASURED = ("follow", "record_every", "cached")  # what is looked at and how, which changes nothing in the run
NAMED = 3  # settings of a method that a label names; more only where these do not tell all runs apart
LONGEST = 32  # letters of a setting with its value
TASK = ("task", "task_settings")  # a seed in them decides what is to be forgotten, and is no seed of the run


def experiment(run: Run) -> dict[str, str]:
    """All that makes a run what it is, its seed and versions aside: ``{"settings.lr": "0.01", ...}``.

    What was found for it is ``"auto"``: over seeds that is one experiment, whatever number was found.
    """
    flat = _flat({name: value for name, value in run.settings.items() if name not in MEASURED})
    found = {f"settings.{name}": "auto" for name in run.settings.get("found", ())}
    return {path: found.get(path, value) for path, value in flat.items() if path != "found"}


def _flat(settings: Any, path: str = "") -> dict[str, str]:
    if not isinstance(settings, Mapping):
        plain = list(settings) if isinstance(settings, tuple) else settings  # as a saved run has it
        return {path: str(plain) if _is_of_task(path) else re.sub(r"\bseed=\d+", "seed", str(plain))}
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if name not in APART or _is_of_task(path):
            flat |= _flat(value, f"{path}.{name}" if path else str(name))
    return flat


def _is_of_task(path: str) -> bool:
    return any(name in TASK for name in path.split("."))


def told_apart(runs: Iterable[Run], *, seeds: bool = False) -> list[str]:
    """The label of each run; where several share one, it names the settings in which those differ, the method's first.

    >>> told_apart([imu.unlearn(task, model, lr=lr) for lr in (0.01, 0.1)])
    ['imu · uniform (lr 0.01)', 'imu · uniform (lr 0.1)']

    Args:
        runs: in the order of the labels.
        seeds: name the seed, too, of runs that differ in it alone; without it they are one experiment under one label.
    """
    runs = list(runs)
    known, labels = [experiment(run) for run in runs], [run.label for run in runs]
    for label in dict.fromkeys(labels):
        mine = [at for at, run in enumerate(runs) if run.label == label]
        paths = _differing([known[at] for at in mine])
        told = {path: _words(path, {known[at][path] for at in mine if path in known[at]}) for path in paths}
        for at in mine:
            words = [told[path][known[at][path]] for path in paths if path in known[at]]
            alike = [other for other in mine if known[other] == known[at]]
            if seeds and len({runs[other].settings.get("seed") for other in alike}) > 1:
                words.append(f"seed {runs[at].settings.get('seed')}")
            labels[at] = f"{label} ({', '.join(words)})" if words else label
    return labels


def _words(path: str, values: Iterable[str]) -> dict[str, str]:
    """What a label says of each value of a setting: its name and value, cut, and a digest where that leaves several alike."""
    name = path.split(".")[-1]
    name = "task seed" if name == "seed" else name
    cut = {value: f"{name} {value}"[:LONGEST] for value in values}
    alike = Counter(cut.values())
    return {value: words if alike[words] == 1 else f"{words} {digest(value)[:6]}" for value, words in cut.items()}


def _differing(settings: list[dict[str, str]]) -> list[str]:
    """The settings that are not the same in all of these: a few, and as many more as it takes to tell them apart."""
    paths = list(dict.fromkeys(path for each in settings for path in each))
    apart = [path for path in paths if len({each.get(path) for each in settings}) > 1]
    own = [path for path in apart if path.startswith("settings.")]  # the method's, in the order in which it has them
    others = sorted(
        (path for path in apart if path not in own), key=lambda path: max(len(each.get(path, "")) for each in settings)
    )
    apart = own + others  # of the others the shortest say it best
    kinds = len({tuple(sorted(each.items())) for each in settings})
    count = min(NAMED, len(own))  # of the others only what it takes: they follow from the method's, or explain nothing
    while count < len(apart) and len({tuple(each.get(path) for path in apart[:count]) for each in settings}) < kinds:
        count += 1
    return apart[:count]
