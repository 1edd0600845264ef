"""Compare, or go on with it: ``python -m benchmarks.compare [--only TASK ...] [--cifar10 FOLDER] [--jobs 2] [--device cuda]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import imu_lab as imu
from benchmarks.compare import report
from benchmarks.compare.plan import (
    ALL,
    ANEW,
    ANEW_STEPS,
    ENTRIES,
    LOOKS,
    METHODS,
    SEEDS,
    WHOLE,
    is_cpu,
    made_on,
    tuning_of,
)
from benchmarks.trial import plan as trial
from benchmarks.trial.__main__ import made_by
from imu_lab.core import storage
from imu_lab.studies.arms import arms_of
from imu_lab.studies.cells import STILL
from imu_lab.unlearning.driver import COMPARISONS


def main(arguments: list[str] | None = None) -> int:
    """Make the runs that are missing, then write the table, its Markdown and the README's copy of it."""
    given = _parsed(arguments)
    affordable = [name for name in ENTRIES if name not in ALL or not is_cpu(given.device)]
    for name in given.only or affordable:
        try:
            task = trial.on(given.device, ENTRIES[name].task(given.cifar10))
            methods = chosen(ALL[name][0], given.out) if name in ALL else METHODS
        except FileNotFoundError as reason:
            sys.stdout.write(f"{name} is left out: {reason}\n")
            continue
        report.keep(compared(task, name, methods, given.jobs, given.device).assign(task=name), given.out)
    sys.stdout.write(f"{given.out / 'compare.parquet'} and {given.out / 'compare.md'} are written\n")
    return 0


def chosen(name: str, out: Path) -> dict[str, Mapping[str, Any]]:
    """Each method with the setting that was best on a task, by the rows that were kept of it.

    Raises:
        FileNotFoundError: there are none.
    """
    kept = out / "compare.parquet"
    rows = pd.read_parquet(kept) if kept.exists() else pd.DataFrame({"task": [], "arm": []})
    best = set(rows.loc[rows["task"] == name, "arm"])
    if not best:
        raise FileNotFoundError(
            f"its settings are those of {name}, which {out} has no rows of; compare that task first"
        )
    return {arm.of: arm.about for arm in arms_of(METHODS, None) if arm.name in best}


def compared(
    task: Any, name: str, methods: Mapping[str, Any], jobs: int | None, device: str | None = None
) -> pd.DataFrame:
    """The rows of one task: each method under the setting that was best on the seeds of the tuning, or its only one."""
    entry = ENTRIES[name]
    how = dict(seeds=SEEDS, references=True, tuning=tuning_of(name), by=entry.by, jobs=jobs)
    how |= {
        "step_norm": entry.step_norm,
        "record_every": entry.record_every,
        "folder": storage.data_folder() / "compare",
    }
    tables = [imu.sweep(task, methods, at_forget=entry.goal, steps=entry.steps, **how)]
    made = made_on(device, name)
    for method, tried in _of(WHOLE, made):
        how["record_every"] = LOOKS.get(method, entry.record_every)
        more = imu.sweep(task, {method: tried}, at_forget=entry.goal, steps=entry.steps, controls=False, **how)
        tables.append(_without_still(more))
    for method, tried in _of(ANEW, made):
        how["record_every"] = ANEW_STEPS
        ends = _without_still(imu.sweep(task, {method: tried}, steps=ANEW_STEPS, controls=False, **how))
        goals = tables[0].groupby("seed")["goal"].first()
        tables.append(_read_at_the_end(ends, entry.goal, goals))
    return pd.concat(tables, ignore_index=True).drop(columns="run").assign(**made_by(device))


def _of(methods: Mapping[str, Any], names: list[str]) -> list[tuple[str, Any]]:
    return [(name, tried) for name, tried in methods.items() if name in names]


def _without_still(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of methods: what is always beside them stands in the first table."""
    return table[~table["method"].isin(STILL)]


def _read_at_the_end(table: pd.DataFrame, goal: tuple, goals: pd.Series) -> pd.DataFrame:
    """Runs that were not stopped at the goal: those that are not so forgotten at their end have no numbers, as others that
    never got there.

    Args:
        goal: (metric, operator, value) of the forget set; ``"retrained"`` for the retrained model's own.
        goals: in words, by seed.
    """
    metric, operator, value = goal
    there = table[f"forget {metric}"]
    beside = table[f"forget {metric} gap"] if value == "retrained" else there - value
    reached = COMPARISONS[operator](beside, 0)
    numbers = table.select_dtypes("number").columns.drop(["seed", "seconds"])
    table = table.assign(reached=reached, came_to=there, goal=table["seed"].map(goals))
    return table.assign(**{column: table[column].where(reached) for column in numbers})


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=report.TITLE)
    parser.add_argument("--only", nargs="+", choices=list(ENTRIES), metavar="TASK", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--cifar10", type=Path, help="a folder of pictures, train/<class>/* and test/<class>/*")
    parser.add_argument("--jobs", type=int, help="processes, each on one thread; as many as there are cores")
    parser.add_argument(
        "--device", help="where models are, such as cuda, which methods that move more than CIFAR-10's readout need"
    )
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the results go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
