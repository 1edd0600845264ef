"""What is compared: methods, each with three settings to try, and tasks with their goals. Add a method or a task here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import imu_lab as imu
from benchmarks import cifar
from benchmarks.trial import plan as trial

TUNING = (100, 101)  # seeds on which each method's setting is chosen; they are reported nowhere
SEEDS = (0, 1, 2)
UNIFORM = "uniform"
MOMENTA = {"momentum": [0.9, 0.5, 0.0]}
RHOS = {"rho": [0.1, 0.03, 0.3]}
RETAIN_WEIGHTS = {"retain_weight": [1.0, 0.3, 3.0]}

# By name; those that work from the forget set, from a statistic of the training set, and from retain data.
METHODS: Mapping[str, Mapping[str, Any]] = {
    UNIFORM: {"method": "imu", "rule": "uniform", **MOMENTA},
    "imu": {"rule": [("sqrt-clipped", how) for how in trial.PRESSED]},
    "adaptive-ascent": {"power": [0.5, 1.0, 2.0]},
    "random-label": MOMENTA,
    "boundary-shrink": {"epsilon": [0.5, 0.1, 1.0]},
    "npo": {"beta": [1.0, 0.3, 3.0]},
    "delete": MOMENTA,
    "undial": {"beta": [10.0, 3.0, 30.0]},
    "curvature-ascent": {"rule": "uniform", **RHOS},
    "joint-ascent": RHOS,
    "ssd": {"alpha": [1.0, 3.0, 10.0]},
    "gradient-difference": RETAIN_WEIGHTS,
    "neggrad-plus": {"alpha": [0.95, 0.99, 0.8]},
    "kl-ascent": RETAIN_WEIGHTS,
    "fine-tune": MOMENTA,
    "l1-sparse": {"gamma": [5e-4, 5e-5, 5e-3]},
    "salun": {"share": [0.5, 0.3, 0.8]},
    "scrub": {"gamma": [1.0, 0.3, 3.0]},
}
# Those that move more than the readout. Each look at them takes all data through the whole network, which of CIFAR-10 makes
# hours of a tuning on two cores, so there they take a GPU. CF-k above k = 1, for with one layer it is fine-tuning.
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "bad-teacher": {"share": [0.3, 0.1, 1.0]},
    "cf-k": {"layers": [2, 3, 4]},
}
LOOKS = {"cf-k": 10}  # updates from one look to the next, where a run makes all of its updates and each look is dear
# EU-k begins with layers that know nothing, which may be past the goal, and comes back from there: it is read at its end, after
# half as many passes as a retraining takes. Steps of 0.02 would not bring fresh layers anywhere in so few.
ANEW: Mapping[str, Any] = {
    "eu-k": [{"layers": 1, "step_norm": 0.1}, {"layers": 1, "step_norm": 0.05}, {"layers": 2, "step_norm": 0.05}]
}
ANEW_STEPS = 120
TASKS = ("digits, class 3", "digits, random tenth", "CIFAR-10, aeroplanes", "CIFAR-10, random tenth")
# All pictures, whose models take hours of two cores: the task whose best settings each takes, and what is forgotten.
ALL = {
    "all of CIFAR-10, aeroplanes": ("CIFAR-10, aeroplanes", "class"),
    "all of CIFAR-10, random tenth": ("CIFAR-10, random tenth", "random"),
}


def _with_all_pictures(like: str, request: str) -> trial.Entry:
    def task(folder: Path | None) -> imu.tasks.Classification:
        return imu.tasks.Classification(str(trial.there(folder)), recipe=cifar.WHOLE.recipe, **cifar.REQUESTS[request])

    return replace(trial.ENTRIES[like], task=task, missing=f"{trial.NEEDED}; and `--device cuda`")


ENTRIES = {
    **{name: trial.ENTRIES[name] for name in TASKS},
    **{name: _with_all_pictures(*how) for name, how in ALL.items()},
}


def methods_of(name: str) -> list[str]:
    """The methods that are compared on a task: of all of CIFAR-10 those that move the readout alone."""
    return list(METHODS) if name in ALL else [*METHODS, *WHOLE, *ANEW]


def made_on(device: str | None, name: str) -> list[str]:
    """Those that are made where models are on this device: of CIFAR-10 on a CPU those that move the readout alone."""
    return list(METHODS) if is_cpu(device) and name.startswith("CIFAR") else methods_of(name)


def is_cpu(device: str | None) -> bool:
    """Whether models are on the CPU there, as they are where no device is given."""
    return (device or "cpu") == "cpu"


def tuning_of(name: str) -> tuple[int, ...]:
    """The seeds of a task's tuning: one where models take minutes to train, none where settings are another task's."""
    if name in ALL:
        return ()
    return TUNING[:1] if name.startswith("CIFAR") else TUNING
