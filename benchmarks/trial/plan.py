"""What is tried: the arms with their settings, and the tasks with their goals. Add an arm or a task here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imu_lab as imu
from imu_lab.core import storage

TUNING = (100, 101)  # seeds on which each arm's setting is chosen; they are reported nowhere
UNIFORM = "uniform ascent"
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """An arm of the trial.

    Attributes:
        about: what is the same in all tries (see :func:`imu_lab.trial`).
        tried: the settings that are tried, as many for every arm; the first is the default.
        control_of: the arm whose control this is: it takes the setting that was chosen for that one.
    """

    about: Settings
    tried: tuple[Settings, Settings, Settings]
    control_of: str = ""


MOMENTA = ({"momentum": 0.9}, {"momentum": 0.5}, {"momentum": 0.0})
RHOS = ({"rho": 0.1}, {"rho": 0.03}, {"rho": 0.3})
PRESSED = ({"quantile": 0.93}, {"quantile": 0.8}, {"top": 0.5})
WEIGHTED = tuple({"rule": ("sqrt-clipped", how)} for how in PRESSED)
SHUFFLED = tuple({"rule": ("shuffled", {"of": imu.intensity_rules.create("sqrt-clipped", **how)})} for how in PRESSED)
ONCE = {"rule": "uniform", "at": "end"}

ARMS = {
    UNIFORM: Arm({"rule": "uniform"}, MOMENTA),
    "IMU weights": Arm({}, WEIGHTED),
    "IMU weights, shuffled": Arm({}, SHUFFLED, "IMU weights"),
    "curvature-ascent": Arm({"method": "curvature-ascent", "rule": "uniform"}, RHOS),
    "curvature-ascent, forget set alone": Arm(
        {"method": "curvature-ascent", "rule": "uniform", "curvature": "forget"}, RHOS
    ),
    "joint-ascent": Arm({"method": "joint-ascent"}, RHOS),
    "joint-ascent, shuffled": Arm({"method": "joint-ascent", "shuffled": True}, RHOS, "joint-ascent"),
    "DELETE": Arm({"method": "delete"}, MOMENTA),
    "influence-step": Arm({"method": "influence-step", **ONCE}, RHOS),
    "newton-step": Arm({"method": "newton-step", **ONCE}, RHOS),
    "best with retain data": Arm(
        {}, ({"method": "gradient-difference"}, {"method": "kl-ascent"}, {"method": "npo-kl"})
    ),
}


@dataclass(frozen=True)
class Entry:
    """A task of the trial.

    Attributes:
        task: from the folder of CIFAR-10 (or None) to the task.
        goal: at which forgetting arms are read, as in :func:`imu_lab.trial`; ``forgetting`` says it in words.
        step_norm, steps: the length of every update, and how many there are at most.
        by: what decides which setting of an arm is the best, as small as it can be.
        known: the metric of what is known on kept unseen data, shown beside the distances.
        heads: whether to ask if only the head forgot.
        also: what is different about some arms on this task, by name.
        missing: what to do where the task cannot be made.
    """

    task: Callable[[Path | None], Any]
    goal: Any
    forgetting: str
    step_norm: float
    steps: int
    seeds: tuple[int, ...] = tuple(range(5))
    by: str = "test kl_retrained"
    known: str = "test accuracy"
    heads: bool = False
    record_every: int = 1
    also: Mapping[str, Settings] = field(default_factory=dict)
    missing: str = ""


CLASS = (("accuracy", "<=", 0.01), "1 % accuracy on the forget set")
RANDOM = (("loss", ">=", "retrained"), "the loss of the retrained model on the forget set")
NEEDED = 'needs a folder of CIFAR-10 pictures, `train/<class>/*` and `test/<class>/*`: ARGS="--cifar10 FOLDER"'
CIFAR = f"{NEEDED}; a tenth of the pictures is taken"
# Of so few pictures a network learns more from many small batches: 8 epochs in batches of 128 reach 0.48.
TENTH = imu.tasks.Recipe(epochs=7, lr=0.1, batch_size=32, augment=True)
ENTRIES = {
    "digits, random tenth": Entry(
        lambda _: imu.tasks.Classification("digits", forget_fraction=0.1), *RANDOM, 0.02, 300, tuple(range(8))
    ),
    "digits, class 3": Entry(
        lambda _: imu.tasks.Classification("digits", forget_class=3), *CLASS, 0.02, 300, tuple(range(8)), heads=True
    ),
    "digits, class 3, two layers": Entry(
        lambda _: imu.tasks.Classification("digits", forget_class=3, readout=("8", "10")),
        *CLASS,
        0.05,
        120,
        tuple(range(8)),
        heads=True,
        record_every=2,
    ),
    "sequences, source 1": Entry(
        lambda _: imu.tasks.Sequence("small", forget_sources=(1,)),
        "nearest",
        "the update nearest to the retrained model on the forget set, by KL",
        0.02,
        150,
        by="forget kl_retrained",
        known="test loss",
        record_every=3,
        also=dict.fromkeys(("joint-ascent", "joint-ascent, shuffled"), {"refresh": 10}),  # 19,000 rows are solved for
    ),
    "re-ID figures, person 7": Entry(
        lambda _: imu.tasks.ReID("figures", forget_persons=(7,)),
        ("identity_accuracy", "<=", 0.01),
        "1 % identity accuracy on the forgotten person",
        0.02,
        300,
        known="test identity_accuracy",
        heads=True,
    ),
    "CIFAR-10, random tenth": Entry(
        lambda folder: imu.tasks.Classification(str(a_tenth(folder)), forget_fraction=0.1, recipe=TENTH),
        *RANDOM,
        0.02,
        300,
        missing=CIFAR,
    ),
    "CIFAR-10, aeroplanes": Entry(
        lambda folder: imu.tasks.Classification(str(a_tenth(folder)), forget_class="airplane", recipe=TENTH),
        *CLASS,
        0.02,
        300,
        missing=CIFAR,
    ),
}


def a_tenth(folder: Path | None) -> Path:
    """A folder with every tenth picture of each class, in the folder of data; copied once.

    Raises:
        FileNotFoundError: there is no folder, or nothing in it.
    """
    folder = there(folder)
    to = storage.data_folder() / "trial" / "cifar10-tenth"
    for split in ("train", "test"):
        for label in sorted(each for each in (folder / split).iterdir() if each.is_dir()):
            (to / split / label.name).mkdir(parents=True, exist_ok=True)
            for file in sorted(label.iterdir())[::10]:
                if not (to / split / label.name / file.name).exists():
                    shutil.copy(file, to / split / label.name / file.name)
    return to


def there(folder: Path | None) -> Path:
    """The folder of CIFAR-10.

    Raises:
        FileNotFoundError: none is given, or nothing is in it.
    """
    if folder is None or not (folder / "train").is_dir() or not (folder / "test").is_dir():
        raise FileNotFoundError(NEEDED)
    return folder


def on(device: str | None, task: Any) -> Any:
    """The task with its models on a device; as it is for None."""
    return task if device is None else replace(task, device=device)


def words(settings: Any) -> str:
    """Settings for a reader: ``rho 0.1``; of a rule its own."""
    parts = []
    for name, value in settings.items():
        about = value[1] if isinstance(value, tuple) else None
        of = about.get("of") if about else None
        plain = {name: getattr(of, name) for name in ("quantile", "top")} if of is not None else about
        parts.append(words(plain) if plain else f"{name} {value}" if name != "method" else str(value))
    return ", ".join(parts)
