"""What is compared: methods, each with three settings to try, and tasks with their goals. Add a method or a task here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
# Left out are those that move more than the readout: EU-k, bad teacher, and CF-k above k = 1, which fine-tuning is. Each look
# at them takes all data through the whole network: of CIFAR-10 a run takes minutes, others a second. And EU-k cannot be read at
# equal forgetting of a random request: it begins with a readout that knows nothing, past the goal, and comes back from there.
TASKS = ("digits, class 3", "digits, random tenth", "CIFAR-10, aeroplanes", "CIFAR-10, random tenth")
ENTRIES = {name: trial.ENTRIES[name] for name in TASKS}


def tuning_of(name: str) -> tuple[int, ...]:
    """The seeds of a task's tuning: one where models take minutes to train."""
    return TUNING[:1] if name.startswith("CIFAR") else TUNING
