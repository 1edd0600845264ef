"""A sweep: methods times settings times seeds, one row each. What fails is told in its row and stops nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.knobs import check_count
from ..core.messages import unheard, unknown, warn
from ..core.records import Run
from ..core.storage import path_of
from ..core.taken import a_table, seeds_of
from ..lab.verbs import load_run
from ..tasks.checks import checked_task
from ..tasks.protocol import Task, offered
from ..tasks.training import recipe_of
from .arms import Arm, arms_of, controls_of
from .cells import NOTHING, RETRAINED, STILL, Cell, Made, check_schedule
from .comparison import ORIGINAL
from .trial import kind_of_steps
from .tuning import DISTANCE, Best, best_arm, column_of, fair, standings
from .work import Outcome, beware_of_one_original, worked

FIRST = "steps arm method setting seed needs updates passes reached seconds error run".split()  # columns


def sweep(
    task: Task,
    methods: Any,
    settings: Any = None,
    seeds: Iterable[int] = range(3),
    *,
    at_forget: Any = None,
    steps: int = 50,
    step_norm: float | None = None,
    record_every: int = 1,
    references: bool = False,
    controls: bool = True,
    tuning: Iterable[int] = (),
    by: Best = DISTANCE,
    folder: str | Path | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Run every method under each of its settings on models trained from several seeds: one tidy frame, and saved runs.

    >>> table = imu.sweep(task, ["imu", "delete"], {"lr": [0.01, 0.1]}, range(3), at_forget=0.01, folder="sweep")
    >>> imu.over_seeds(table, ["test accuracy", "passes"])
    >>> run = imu.load_run(table["run"][0])

    Killed and asked again with the same ``folder``, it makes what is missing and nothing twice. On a cluster the same call
    stands within ``joblib.parallel_config("dask")`` (extra ``scale``); a worker that is lost costs what it was at.

    Args:
        task: the models of each seed are trained where they are not on disk.
        methods: names in ``imu_lab.methods``, or ``{name: its settings}``; ``{"a name": {"method": "imu", ...}}`` gives a
            method another name.
        settings: of every method: ``{"lr": [0.01, 0.1], "momentum": 0.9}`` tries every combination of what stands in lists;
            a list of such tries each. Methods that take weights also take ``estimator`` and ``rule``, by name or as
            ``(name, settings)``. What a method sets itself is not set here.
        seeds: of training, batch order and all that is random in a method.
        at_forget: the forgetting at which runs are read, and stop, as in :func:`imu_lab.trial`; None reads them at their end.
        steps, record_every: as in :func:`imu_lab.unlearn`.
        step_norm: the length of every update, of methods that have this setting and were not given it.
        references: retrain a model with each seed, and compare as :func:`imu_lab.trial` does.
        controls: whether ``"uniform"`` and ``"shuffled"``, which are ``"imu"`` with uniform weights and with weights on the
            wrong samples, are swept as well. ``"original"``, doing nothing, always is.
        tuning: seeds on which each method's best setting is found; the table then has that setting alone, on ``seeds``, and
            ``table.attrs["tuning"]`` says how often each that was tried reached the goal, and the mean of ``by``. All
            methods must have as many settings to try.
        by: the column that decides among settings that reached the goal as often, a gap by its size; ``(column, "<=")`` or
            ``(column, ">=")`` where its good direction is not known.
        folder: where rows and runs are kept as soon as they are made; None keeps none.
        jobs: processes, each on one thread; None for as many as there are cores.
        progress: called with (made, in all, what was made); None shows a bar with the time that is left.

    Returns:
        DataFrame, a row per method, setting and seed: ``arm`` (method with setting), ``passes`` over the training set until
        ``updates`` (of the retrained model those of its training), ``error`` why there are no numbers, ``run`` the file of
        the saved run, and the columns of :func:`imu_lab.trial`.

    Raises:
        UnknownName, TypeError, ValueError: nothing to sweep, a method or a setting that is not there, a seed that is there
            twice, or that tunes and reports, a goal or a number of steps that is none, a folder that cannot be written to;
            before any work.
    """
    task, jobs = checked_task(task), None if jobs is None else check_count("jobs", jobs, 1)
    seeds, tuning = seeds_of(seeds, "seeds"), seeds_of(tuning, "tuning", least=0)
    arms = arms_of(methods, settings)
    _check(arms, seeds, tuning)
    check_schedule(task, at_forget, references, record_every, [step_norm])
    where = None if folder is None else path_of(folder)
    how = dict(goal=at_forget, steps=steps, step_norm=step_norm, record_every=record_every, keeps_run=where is not None)

    def made(arms: list[Arm], seeds: list[int], title: str) -> pd.DataFrame:
        also = how | {"seeds": tuple(seeds) if references else ()}
        cells = [
            (arm, Cell(task, arm.name, arm.about, seed, **also))
            for seed in seeds
            for arm in [*_still(references), *arms]
        ]
        with unheard():  # what became of each run stands in the table
            outcomes = worked([cell for _, cell in cells], where, jobs, progress, title)
        return _table(cells, outcomes, where, _kind_of_steps(arms, step_norm))

    beware_of_one_original(task, seeds, references)
    arms += controls_of(arms, settings) if controls else []
    told = {}
    if tuning:
        _check_tuning(arms, by, references)
        tried = made(arms, tuning, "sweep, tuning")
        best = _best(arms, tried, by)
        arms, told = best, {"tuning": standings(tried, [arm.name for arm in arms], by)}
    table = made(arms, seeds, "sweep")
    table.attrs |= told
    if failed := int((table["error"] != "").sum()):
        warn(f"{failed} of {len(table)} runs of the sweep failed; the column error says why")
    return table


def load_runs(table: pd.DataFrame, by: str = "method", task: Task | None = None) -> dict[str, list[Run]]:
    """The runs that a sweep saved, by the method that made them.

    >>> imu.plot_pareto(imu.pareto(table), paths=imu.load_runs(table))

    Args:
        table: as :func:`sweep` gives it, or some of its rows; rows without a saved run are left out.
        by: the column whose values are the names.
        task: for runs on a user's own data (see :func:`imu_lab.load_run`).

    Raises:
        TypeError: it is no table.
        UnknownName: a column that the table does not have.
        ValueError: none of its rows has a saved run.
    """
    for name in (by, "run"):
        if name not in a_table(table, "load_runs"):
            raise unknown("column in this table", name, list(table.columns))
    kept = table[table["run"].notna()]
    if not len(kept):
        raise ValueError("no row of this table has a saved run; imu.sweep(..., folder=) keeps them")
    return {name: [load_run(path, task) for path in rows["run"]] for name, rows in kept.groupby(by, sort=False)}


def _check(arms: list[Arm], seeds: list[int], tuning: list[int]) -> None:
    """Raise ValueError for nothing to sweep, seeds that tune and report, or the name of a row that stands there anyway."""
    if not arms:
        raise ValueError("there is nothing to sweep: methods= names none; imu.methods lists them")
    if both := sorted({*seeds} & {*tuning}):
        raise ValueError(f"seeds {both} tune and report; a setting is chosen on seeds that are not reported")
    if taken := sorted({arm.of for arm in arms} & STILL.keys()):
        raise ValueError(f"{taken[0]!r} is a row that stands in every sweep; call yours otherwise")


def _check_tuning(arms: list[Arm], by: Best, references: bool) -> None:
    """Raise ValueError for methods with more settings to try than others, or a column that will not be there."""
    fair(arms)
    if "retrained" in column_of(by) and not references:
        raise ValueError(
            f"by={column_of(by)!r} needs retrained models to choose by: say references=True, or another column"
        )


def _best(arms: list[Arm], tried: pd.DataFrame, by: Best) -> list[Arm]:
    """Of each method the arm with the setting that was best."""
    of = {arm.name: arm.of for arm in arms}
    best = {each: best_arm(tried, [arm for arm in of if of[arm] == each], by) for each in dict.fromkeys(of.values())}
    return [arm for arm in arms if best[arm.of] == arm.name]


def _kind_of_steps(arms: list[Arm], step_norm: float | None) -> str:
    """How long updates are, in words: the same for all arms, or each as its setting says."""
    kinds = {kind_of_steps(arm.about.get("step_norm", step_norm), arm.about) for arm in arms}
    return kinds.pop() if len(kinds) == 1 else "steps as each setting says"


def _still(references: bool) -> list[Arm]:
    """The rows that nobody has to ask for: doing nothing, and beside retrained models the retrained one."""
    return [Arm(name, about, {}) for name, about in (STILL if references else {ORIGINAL: NOTHING}).items()]


def _table(cells: list[tuple[Arm, Cell]], outcomes: list[Outcome], folder: Path | None, steps: str) -> pd.DataFrame:
    rows = [_row(arm, cell, outcome, folder) for (arm, cell), outcome in zip(cells, outcomes)]
    table = pd.DataFrame([{"steps": steps, **row} for row in rows]).drop(columns="margins", errors="ignore")
    first = [name for name in FIRST if name in table]
    return table[[*first, *(name for name in table if name not in first)]]


def _row(arm: Arm, cell: Cell, outcome: Outcome, folder: Path | None) -> dict[str, Any]:
    """One run in a row; one that failed says why, in words."""
    row = {"arm": arm.name, "method": arm.of, "setting": arm.setting, "seed": cell.seed, "error": "", "run": None}
    if not isinstance(outcome, Made):
        return row | {"reached": False, "seconds": np.nan, "error": f"{type(outcome).__name__}: {outcome}"}
    found = {"needs": "", "updates": np.nan, "passes": np.nan, **outcome.row}
    row["error"] = found.pop("refused", "")
    if folder is not None and not row["error"]:
        row["run"] = str(cell.path(folder, "imu"))
    return row | found | ({"passes": _of_training(cell.task)} if cell.arm == RETRAINED else {})


def _of_training(task: Task) -> float:
    """How many passes over the training set a retraining takes; NaN where the task does not train by a recipe."""
    known = offered(task).trained
    if known is not None and known("retain", 0) is not None:
        return float("nan")
    return recipe_of(task).epochs * len(task.split("retain")) / len(task.split("train"))
