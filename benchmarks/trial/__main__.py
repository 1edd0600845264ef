"""Run the trial, or go on with it: ``python -m benchmarks.trial [--only NAME ...] [--cifar10 FOLDER] [--device cuda]``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
from tqdm import tqdm

import imu_lab as imu
from benchmarks.trial import report
from benchmarks.trial.plan import ARMS, ENTRIES, TUNING, UNIFORM, Arm, Entry, on, words
from imu_lab.core import storage
from imu_lab.lab.provenance import versions
from imu_lab.studies.cells import sources
from imu_lab.studies.tuning import best_arm

Progress = Callable[[int, int, str], None]


def main(arguments: list[str] | None = None) -> int:
    """Make the cells that are missing, then write the table, its Markdown and the README's copy of it."""
    given = _parsed(arguments)
    folder = storage.data_folder() / "trial" / "cells"
    tasks = dict(_makeable(given.only or list(ENTRIES), given.cifar10, given.device))
    seeds = {name: ENTRIES[name].seeds if given.seeds is None else tuple(range(given.seeds)) for name in tasks}
    with tqdm(total=sum(_cells(len(each)) for each in seeds.values()), unit="cell", desc="trial") as bar:
        for name, task in tasks.items():
            found = _tried(task, ENTRIES[name], seeds[name], bar, name, given.device, folder=folder, jobs=given.jobs)
            report.keep(found.assign(task=name), given.out)
    sys.stdout.write(f"{given.out / 'trial.parquet'} and {given.out / 'trial.md'} are written\n")
    return 0


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description="Does influence pay?")
    parser.add_argument("--only", nargs="+", choices=list(ENTRIES), metavar="TASK", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--cifar10", type=Path, help="a folder of pictures, train/<class>/* and test/<class>/*")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, each on one thread")
    parser.add_argument("--device", help="where models are, such as cuda; the CPU by default")
    parser.add_argument("--seeds", type=int, help="how many seeds, in place of each task's own number")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the results go")
    return parser.parse_args(arguments)


def _makeable(names: list[str], cifar10: Path | None, device: str | None) -> Iterator[tuple[str, Any]]:
    """The tasks by name; of one whose data are not there it is said what is missing."""
    for name in names:
        try:
            yield name, on(device, ENTRIES[name].task(cifar10))
        except FileNotFoundError as reason:
            sys.stdout.write(f"{name} is left out: {reason}\n")


def _cells(seeds: int) -> int:
    """How many cells a task takes: the tuning's, and the trial's with the two arms that do nothing."""
    return len(TUNING) * (2 + sum(len(arm.tried) for arm in ARMS.values() if not arm.control_of)) + seeds * (
        2 + len(ARMS)
    )


def _tried(
    task: Any, entry: Entry, seeds: tuple[int, ...], bar: tqdm, name: str, device: str | None, **how: Any
) -> pd.DataFrame:
    """One task's rows: each arm under the setting that was best on the seeds of the tuning."""
    rule = {"at_forget": entry.goal, "step_norms": (entry.step_norm,), "steps": entry.steps, "references": True}
    how |= rule | {"record_every": entry.record_every}
    about = {name: {**arm.about, **entry.also.get(name, {})} for name, arm in ARMS.items()}
    tuned = {name: arm for name, arm in ARMS.items() if not arm.control_of}
    tries = {f"{arm} {at}": {**about[arm], **tried} for arm in tuned for at, tried in enumerate(tuned[arm].tried)}
    tuning = imu.trial(task, tries, seeds=TUNING, progress=_on(bar, f"{name}, tuning"), **how)
    chosen = {name: _best(tuning, arm.control_of or name, arm, entry.by) for name, arm in ARMS.items()}
    arms = {name: {**about[name], **arm.tried[chosen[name]]} for name, arm in ARMS.items()}
    table = imu.trial(task, arms, seeds=seeds, heads=entry.heads, alike=UNIFORM, progress=_on(bar, name), **how)
    settings = {name: words({**arm.tried[chosen[name]], **entry.also.get(name, {})}) for name, arm in ARMS.items()}
    return table.assign(setting=table["arm"].map(settings).fillna(""), **made_by(device))


def _best(tuning: pd.DataFrame, name: str, arm: Arm, by: str) -> int:
    """The setting that reached the goal under most seeds, and of those the one with the least distance."""
    arms = [f"{name} {at}" for at in range(len(arm.tried))]
    return arms.index(best_arm(tuning, arms, by, goal=arm.about.get("at") != "end"))


def made_by(device: str | None = None) -> dict[str, str]:
    """What a report says of where its rows were made, with models on this device."""
    told = ", ".join(f"{which} {version}" for which, version in versions().items())
    return {"sources": sources()[:8], "versions": told, "machine": _machine(device)}


def _on(bar: tqdm, words: str) -> Progress:
    """Move the bar by what a trial of one task has made since it last told."""
    made = 0

    def told(now: int, total: int, what: str) -> None:
        nonlocal made
        bar.set_postfix_str(f"{words}: {what}", refresh=False)
        bar.update(now - made)
        made = now

    return told


def _machine(device: str | None) -> str:
    """The processor, cores, memory and what GPU was used: nothing that names the machine itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    kind = torch.device(device or "cpu").type
    used = "no GPU used" if kind == "cpu" else torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return f"{os.cpu_count()} cores ({models[0] if models else platform.machine()}), {memory:.0f} GiB, {used}"


if __name__ == "__main__":
    sys.exit(main())
