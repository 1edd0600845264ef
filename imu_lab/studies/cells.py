"""One cell of a trial: an arm on the models of one seed, read at the goal. It is kept on disk, so that it is made once."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..core import registry, storage
from ..core.knobs import check_count, plain
from ..core.memo import Memo, remembered
from ..core.messages import UnknownName
from ..core.records import Run
from ..core.running import digest, one_thread
from ..features.cache import view
from ..intensities import intensity
from ..lab.session import AUTO
from ..lab.verbs import influence, session_of, statistics
from ..measures.distance import KLRetrained
from ..measures.ensemble import References, references
from ..measures.reference import Reference
from ..tasks.checkpoints import train
from ..tasks.protocol import Task, offered, own_data_key
from ..tasks.sources.functions import code_of, is_own
from ..unlearning.driver import COMPARISONS
from ..unlearning.recorder import Measurement
from .comparison import ORIGINAL, compare
from .goals import DISTANCE, NEAREST, RETRAINED, check_goal, rule_of
from .head_only import head_only

# The arms that nobody has to name beside retrained models: doing nothing, and the retrained model itself.
NOTHING = {"method": "gradient-ascent", "steps": 0, "at": "end"}
STILL: dict[str, dict[str, Any]] = {ORIGINAL: NOTHING, RETRAINED: {**NOTHING, "of": "retain"}}
NEEDS = {ORIGINAL: "nothing", RETRAINED: "retain data"}
# What decides what a cell holds: rooms of the library, and files of this one.
ROOMS = ("core", "tasks", "features", "influences", "unlearning", "measures", "lab")
FILES = ("intensities.py", *(f"studies/{name}.py" for name in ("cells", "comparison", "goals", "head_only")))

LOOKS = 64  # at originals, kept at most

log = logging.getLogger(__name__)


def quiet(*_: Any) -> None:
    """Progress that nobody is told: a trial has its own bar."""


class Models:
    """The models of a task, each trained once, and the retrained ones with the outputs that were asked of them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._made: dict[tuple[str, int], nn.Module] = {}
        self._references: dict[tuple[int, ...], References] = {}
        self._warm: set[tuple[str, int]] = set()
        self._looks: Memo[Measurement] = Memo(LOOKS)

    def take(self, split: str, seed: int, model: nn.Module) -> None:
        """This is the model of a split and a seed."""
        self._made[split, seed] = model

    def __call__(self, split: str, seed: int) -> nn.Module:
        """A model, trained where it is not known."""
        if (split, seed) not in self._made:
            self.take(split, seed, train(self.task, split, seed=seed, progress=quiet))
        return self._made[split, seed]

    def warm(self, split: str, seed: int, reference: Reference | None = None) -> nn.Module:
        """A model whose feature cache is full and that was looked at beside the reference, which count in no arm's seconds; a
        look may be dear, so one does for all arms."""
        model = self(split, seed)
        if (split, seed) not in self._warm:
            self.run(model, steps=0, reference=reference)
            self._warm.add((split, seed))
        return model

    def run(self, model: nn.Module, *given: Any, reference: Reference | None = None, **how: Any) -> Run:
        """:func:`imu_lab.unlearn`, which looks at each model before its first update once for all runs beside one reference,
        and follows the distance to that where the task's outputs are probabilities."""
        compared = reference is not None and offered(self.task).probabilities
        follow = _followed(self.task, compared) if compared else None
        how |= {"reference": reference, "follow": follow, "progress": quiet, "looks": self._looks}
        return session_of(self.task, model).unlearn(*given, **how)

    def references(self, seeds: tuple[int, ...]) -> References:
        """The retrained models of some seeds."""
        if seeds not in self._references:
            self._references[seeds] = references(self.task, seeds, models=[self("retain", seed) for seed in seeds])
        return self._references[seeds]


class Made(NamedTuple):
    """What a cell holds: its row, and the packed run where the cell keeps it."""

    row: dict[str, Any]
    run: bytes = b""


@dataclass(frozen=True, eq=False)
class Cell:
    """One arm on the models of one seed.

    Attributes:
        arm, about: its name, and what is different about it (see :func:`imu_lab.trial`).
        goal: at which forgetting it is read.
        seeds: of the retrained models to compare with; none where nothing is compared.
        heads: whether to ask if only the head forgot.
        keeps_run: whether the run is kept beside the row, where :func:`imu_lab.load_run` finds it.
    """

    task: Task
    arm: str
    about: Mapping[str, Any]
    seed: int
    goal: Any
    steps: int
    step_norm: float | None
    seeds: tuple[int, ...] = ()
    heads: bool = False
    record_every: int = 1
    keeps_run: bool = False

    @cached_property
    def key(self) -> str:
        """A digest of all that decides what the cell holds: its settings, the data, and the code.

        Raises:
            ValueError: the task cannot tell its data by content.
        """
        data = own_data_key(self.task)
        if data is None:
            raise ValueError(
                f"{type(self.task).__name__} has no data_key, so that nobody can tell later of which data a cell was; leave "
                "folder= out"
            )
        task = (type(self.task).__qualname__, plain(self.task), data, self.task.split("forget").ids)
        task += (offered(self.task).code, *self._own_code())
        how = (sorted(self.about.items()), self.seed, self.goal, self.steps, self.step_norm, self.seeds, self.heads)
        how += (self.record_every,)
        return digest(*task, *how, sources(), torch.__version__)

    def _own_code(self) -> list[str]:
        """The code of what decides the cell and is none of the library's, with what it calls and names.

        Raises:
            ValueError: it cannot be read.
        """
        kinds = {type(self.task), *_registered(self.about), *map(_metric, _followed(self.task, bool(self.seeds)))}
        return sorted(_code(kind) for kind in kinds if not kind.__module__.startswith("imu_lab."))

    @property
    def models(self) -> list[tuple[str, int]]:
        """The split and the seed of each model that it takes."""
        return [("train", self.seed), *(("retain", seed) for seed in self.seeds)]

    def path(self, folder: Path, kind: str = "json") -> Path:
        """The file in which the row is kept, or of ``kind`` ``"imu"`` the run."""
        return folder / f"{self.key}.{kind}"

    def keep(self, folder: Path | None, made: Made) -> None:
        """Write down what the cell holds: the run first, so that nobody finds a row without it."""
        if folder is None or (self.keeps_run and not made.run):
            return
        if made.run:
            storage.write_whole(self.path(folder, "imu"), made.run)
        held = {"key": self.key, "arm": self.arm, "about": repr(dict(self.about)), "seed": self.seed, "row": made.row}
        storage.write_whole(self.path(folder), json.dumps(held, default=_plain, indent=1).encode())

    def kept(self, folder: Path | None) -> Made | None:
        """What the folder holds of it; None where that is nothing, no whole file, or that of another cell."""
        if folder is None or not (path := self.path(folder)).exists():
            return None
        if self.keeps_run and not (run := self.path(folder, "imu")).exists():
            return None
        try:
            if self.keeps_run and not is_zipfile(run):
                raise ValueError(f"{run.name} is no whole run")
            held = json.loads(path.read_text())
            if held["key"] != self.key or not {"seconds", "reached"} <= held["row"].keys():
                raise ValueError("it holds no row of this cell")
            return Made(held["row"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the cell %s is damaged (%s); it is made again", path, error)
            return None

    def made(self, models: Models) -> Made:
        """Make the run, and read it at the goal. An arm that cannot serve the task has a row that says why, and no numbers."""
        with one_thread():
            return self._made(models)

    def _made(self, models: Models) -> Made:
        about = dict(self.about)
        own = others = None
        if self.seeds:
            known = models.references(self.seeds)
            own, others = (known.members[at := self.seeds.index(self.seed)], known.without(at))
        model = models.warm(about.pop("of", "train"), self.seed, own)
        rule = rule_of(self.task, self.goal, own)
        at_end = about.pop("at", "") == "end"
        schedule = dict(steps=self.steps, step_norm=self.step_norm, reference=own, record_every=self.record_every)
        try:
            run, seconds = _run(models, model, self.seed, schedule | about, None if at_end else rule)
        except UnknownName:
            raise
        except ValueError as error:
            return Made({"seconds": np.nan, "reached": False, "refused": str(error)})
        row = {"seconds": seconds} | _read(run, rule, self.goal == NEAREST, at_end)
        row |= {"needs": NEEDS[self.arm]} if self.about == STILL.get(self.arm) else {}
        if row["updates"] == row["updates"]:
            row |= self._asked(run, int(row["updates"]), own, others, models)
        return Made(row, run.packed() if self.keeps_run else b"")

    def _asked(self, run: Run, step: int, own: Any, others: References | None, models: Models) -> dict[str, Any]:
        """What is asked of the model after an update, beside the run's own curve."""
        rows = run.trajectory[run.trajectory["step"] == step]
        asked: dict[str, Any] = {"margins": rows["margin"].tolist()}
        if others is None:
            return asked
        model = run.model_at(step)
        if len(self.seeds) > 1 and offered(self.task).probabilities:
            found = KLRetrained()(*view(self.task, model), others)
            asked |= {f"{split} others": values[DISTANCE] for split, values in found.items()}
        if self.heads:
            original = models("train", self.seed)
            table = head_only({"model": model}, reference=own, task=self.task, original=original)
            for row in table.itertuples():
                asked |= {f"{row.split} {row.measure}": row.model, f"{row.split} {row.measure} goal": row.goal}
        return asked


def _run(models: Models, model: Any, seed: int, about: Mapping[str, Any], stop_at: Any) -> tuple[Run, float]:
    """An arm's run, and the seconds of processor time that influence, weights and updates took."""
    task, changes = models.task, dict(about)
    estimator, rule = changes.pop("estimator", "fisher-diagonal"), changes.pop("rule", "sqrt-clipped")
    how = {name: changes.pop(name) for name in ("steps", "reference", "record_every")}
    how |= {"seed": seed, "stop_at": stop_at}
    given = changes.pop("method", "imu")
    if "step_norm" not in _settings(registry.methods, given):  # a step that is solved for has the length that it has
        changes.pop("step_norm")
    method = registry.methods.create(given, **{name: value for name, value in changes.items() if value != AUTO})
    # Made when the model was, so that it counts in no arm's seconds.
    wanted = registry.methods.declared(method, "needs_statistics")
    held = statistics(task, model, wanted) if wanted else None
    started, weights = time.process_time(), None
    if registry.methods.declared(method, "takes_weights"):
        scores = influence(task, model, drawn(registry.estimators, estimator, seed))
        weights = intensity(scores, drawn(registry.intensity_rules, rule, seed))
    run = models.run(model, weights, given, statistics=held, **how, **changes)
    return run, time.process_time() - started


def _followed(task: Task, compared: bool) -> list[Any]:
    """The metrics that a run records beside the task's own."""
    return list(dict.fromkeys([*offered(task).follows, *["kl-retrained"] * compared]))


def _metric(given: Any) -> type:
    """The class of a metric that is followed, by name or as an instance."""
    return registry.metrics[given] if isinstance(given, str) else type(given)


def _registered(about: Mapping[str, Any]) -> list[type]:
    """The classes that an arm names."""
    names = {"method": ("imu", registry.methods), "rule": ("sqrt-clipped", registry.intensity_rules)}
    names["estimator"] = ("fisher-diagonal", registry.estimators)
    given = {key: (about.get(key, usual), known) for key, (usual, known) in names.items()}
    plainly = [(value[0] if isinstance(value, tuple) else value, known) for value, known in given.values()]
    return [known[value] if isinstance(value, str) else type(value) for value, known in plainly]


def _code(kind: type) -> str:
    """What a class does, with the functions and values that it works with; of an installed one its source alone.

    Raises:
        ValueError: it cannot be read.
    """
    if is_own(kind):
        return code_of(kind)
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        raise ValueError(
            f"the code of {kind.__name__!r} cannot be read, so that nobody can tell later whether a cell is of today's; leave "
            "folder= out, or write it in a file"
        ) from None


def _settings(registered: registry.Registry, given: Any) -> set[str]:
    """The names of the settings of what is registered under a name; of an instance as it is."""
    return {each.name for each in fields(registered[given] if isinstance(given, str) else given)}


def drawn(registered: registry.Registry, given: Any, seed: int) -> Any:
    """What is registered under a name, or a name and settings, with this seed if it takes one; an instance as it is."""
    if not isinstance(given, (str, tuple)):
        return given
    name, settings = (given, {}) if isinstance(given, str) else given
    return registered.create(name, **({"seed": seed} if "seed" in _settings(registered, name) else {}), **settings)


def check_schedule(task: Task, goal: Any, references: bool, record_every: int, step_norms: Iterable[Any]) -> None:
    """Make sure that a goal is one, and that updates can be counted and scaled, before models are trained.

    Raises:
        UnknownName, ValueError: see :func:`imu_lab.trial`.
    """
    check_count("record_every", record_every, 1)
    for length in step_norms:
        if length is not None and not (isinstance(length, (int, float, np.number)) and 0 < length < np.inf):
            raise ValueError(
                f"the length of an update is a number above 0, or None for steps as they are; got {length!r}"
            )
    check_goal(task, goal, references)


def _read(run: Run, rule: tuple[str, str, float] | None, nearest: bool, at_end: bool) -> dict[str, Any]:
    """A run's row: at the goal, at its nearest point, or at its end; and how near to the goal it came."""
    if nearest:
        path = run.series("forget", DISTANCE)
        rule = (f"forget {DISTANCE}", "<=", float(path.min()))
    row = compare(run, at_forget=None if at_end else rule).iloc[0].drop(["run", "seed"]).to_dict()
    if rule is None:
        return row
    metric, operator, value = rule
    path = run.series(*metric.split(" ", 1))
    came = path.min() if operator in ("<=", "<") else path.max()
    if nearest:
        row |= {"goal": NEAREST, "reached": bool(path[row["updates"]] < path[0])}
    else:
        row |= {"goal": f"{metric} {operator} {value:.4g}", "reached": bool(COMPARISONS[operator](came, value))}
    return row | {"came_to": float(came)}


@remembered(1)
def sources() -> str:
    """A digest of the library's code that decides numbers: cells of other code are other cells."""
    root = Path(__file__).parents[1]
    files = sorted(
        [*(file for room in ROOMS for file in (root / room).rglob("*.py")), *(root / name for name in FILES)]
    )
    return digest(*(part for file in files for part in (file.relative_to(root).as_posix(), file.read_bytes())))


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, which JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if value is pd.NA:
        return None
    raise TypeError(f"a cell holds plain values only, not {value!r}")
