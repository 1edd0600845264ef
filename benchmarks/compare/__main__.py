"""Compare, or go on with it: ``python -m benchmarks.compare [--only TASK ...] [--cifar10 FOLDER] [--jobs 2]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

import imu_lab as imu
from benchmarks.compare import report
from benchmarks.compare.plan import ENTRIES, METHODS, SEEDS, tuning_of
from benchmarks.trial.__main__ import made_by
from imu_lab.core import storage


def main(arguments: list[str] | None = None) -> int:
    """Make the runs that are missing, then write the table, its Markdown and the README's copy of it."""
    given = _parsed(arguments)
    for name in given.only or list(ENTRIES):
        try:
            task = ENTRIES[name].task(given.cifar10)
        except FileNotFoundError as reason:
            sys.stdout.write(f"{name} is left out: {reason}\n")
            continue
        report.keep(compared(task, name, given.jobs).assign(task=name), given.out)
    sys.stdout.write(f"{given.out / 'compare.parquet'} and {given.out / 'compare.md'} are written\n")
    return 0


def compared(task: Any, name: str, jobs: int | None) -> pd.DataFrame:
    """The rows of one task: each method under the setting that was best on the seed of the tuning."""
    entry = ENTRIES[name]
    table = imu.sweep(
        task,
        METHODS,
        seeds=SEEDS,
        at_forget=entry.goal,
        steps=entry.steps,
        step_norm=entry.step_norm,
        record_every=entry.record_every,
        references=True,
        tuning=tuning_of(name),
        by=entry.by,
        folder=storage.data_folder() / "compare",
        jobs=jobs,
    )
    return table.drop(columns="run").assign(**made_by())


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=report.TITLE)
    parser.add_argument("--only", nargs="+", choices=list(ENTRIES), metavar="TASK", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--cifar10", type=Path, help="a folder of pictures, train/<class>/* and test/<class>/*")
    parser.add_argument("--jobs", type=int, help="processes, each on one thread; as many as there are cores")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the results go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
