"""Which samples resist forgetting: how long and how strongly each withstands a run, from its trajectory.

A sample that is still right when the run ends is *censored*: it was not forgotten at the end, it was not forgotten.
And resistance is confounded by pressure: a sample that received none cannot be said to resist, so it is marked, and the
same figures under uniform pressure can stand beside a run's own. Nor does a sample that was wrong before the first update
resist, and one that goes only after the kept samples have gone was not forgotten, but lost in a collapse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..core.records import Run
from ..lab.again import again
from ..unlearning.recorder import time_to_forget
from .rebound import rebound as rebound_of

# Those that stand again under uniform pressure.
COLUMNS = ("time_to_forget", "censored", "after_limit", "confidence_auc", "rank")


def resistance(
    runs: Run | Iterable[Run], *, uniform: Run | Sequence[Run] | bool | None = None, rebound: int | None = None
) -> pd.DataFrame:
    """How each forget sample withstood one run or several; works on loaded runs.

    Args:
        runs: a run, or several: other seeds, other methods, other originals.
        uniform: for each of them the same run under uniform weights (``imu.again(run, weights=None)``), or True to make
            them here: then ``uniform_time_to_forget, uniform_censored, uniform_after_limit, uniform_confidence_auc,
            uniform_rank`` stand beside its own.
        rebound: how many updates of relearning to try; None tries none, and without a model the column is empty.

    Returns:
        One row per run and forget sample: ``number`` (of the run, from 0), ``run``, ``seed``, ``example``, ``label``,
        ``time_to_forget`` (empty where ``censored``), ``time_below_retrained``, ``confidence_auc`` (mean confidence over
        the updates, 0 to 1), ``final_margin``, ``forgetting_events``, ``wrong_before`` (misclassified before the first
        update: there was nothing to withstand), ``pressure``, ``pressed``, ``after_limit``, ``rank`` (1 = forgotten
        first; those not forgotten before the utility limit last, among themselves by their mean confidence until then),
        ``rebound`` (updates of relearning) and ``rebound_censored`` (it was tried, and did not come back).

    Raises:
        ValueError: no run, too few uniform ones or one of other samples, or ``uniform=True`` for a fork, whose first part
            has other settings.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    beside = _beside(uniform, runs)
    rows = [_of_run(run, number, other, rebound) for number, (run, other) in enumerate(zip(runs, beside))]
    if not rows:
        raise ValueError("resistance needs at least one run; got none")
    return pd.concat(rows, ignore_index=True)


def _beside(uniform: Run | Sequence[Run] | bool | None, runs: list[Run]) -> list[Run | None]:
    if uniform is None or uniform is False:
        return [None] * len(runs)
    if uniform is True:
        return [again(run, weights=None) for run in runs]
    others = [uniform] if isinstance(uniform, Run) else list(uniform)
    if len(others) != len(runs):
        raise ValueError(f"uniform must hold a run for each of the {len(runs)} runs, got {len(others)}")
    return others


def _of_run(run: Run, number: int, uniform: Run | None, rebound: int | None) -> pd.DataFrame:
    table = _measured(run)
    table.insert(0, "number", number)
    table.insert(1, "run", run.label)
    table.insert(2, "seed", run.settings.get("seed"))
    if uniform is not None:
        other = _measured(uniform).set_index("example")
        missing = set(table["example"]) - set(other.index)
        if missing:
            raise ValueError(f"the uniform run has another forget set: it lacks {len(missing)} of {len(table)} samples")
        other = other.loc[table["example"]]
        for name in COLUMNS:
            table[f"uniform_{name}"] = other[name].to_numpy()
    updates = np.full(len(table), np.nan) if rebound is None else rebound_of(run, rebound)
    table["rebound_censored"] = np.isinf(updates)
    table["rebound"] = np.where(np.isinf(updates), np.nan, updates)
    return table


def _measured(run: Run) -> pd.DataFrame:
    """Everything that the records of one run say."""
    samples, examples = run.samples, run.samples["example"]
    confidence, margin = (wide(run, name).reindex(columns=examples).to_numpy() for name in ("confidence", "margin"))
    steps = np.sort(run.trajectory["step"].unique())
    times = time_to_forget(margin, steps)
    table = pd.DataFrame({"example": examples.to_numpy()})
    table["label"] = samples["label"].to_numpy() if "label" in samples else ""
    table["time_to_forget"] = times
    table["censored"] = np.isnan(times)
    table["time_below_retrained"] = _time_below(confidence, samples, steps)
    table["confidence_auc"] = mean_over_updates(confidence, steps)
    table["final_margin"] = margin[-1] if len(margin) else np.nan
    table["forgetting_events"] = forgetting_events(margin)
    table["wrong_before"] = margin[0] < 0 if len(margin) else False
    table["pressure"] = samples["pressure"].to_numpy() if "pressure" in samples else np.nan
    table["pressed"] = table["pressure"] != 0  # a method that does not tell whom it pressed: unknown is not zero
    limit = run.events.get("utility_limit")
    limit = np.inf if limit is None else limit
    table["after_limit"] = times > limit
    useful = steps <= limit  # what a model does that has collapsed ranks nobody
    table["rank"] = ranked(
        time_to_forget(margin[useful], steps[useful]), mean_over_updates(confidence[useful], steps[useful])
    )
    return table


# Columns of times, and the marks of rows whose time is later than all others, because it did not come.
LATEST = {
    "time_to_forget": "censored",
    "uniform_time_to_forget": "uniform_censored",
    "rebound": "rebound_censored",
}


OF_CONFIDENCE = ("confidence_auc", "time_below_retrained")  # columns that do not ask whether a sample was right


def latest(table: pd.DataFrame, column: str) -> pd.Series:
    """A column of :func:`resistance` to rank by: infinite where its time did not come, empty where it is not known."""
    if column == "time_below_retrained":  # without a retrained model a run knows none
        runs = table["number"] if "number" in table else pd.Series(0, index=table.index)
        known = table[column].groupby(runs).transform("count") > 0
        return table[column].mask(table[column].isna() & known, np.inf)
    mark = LATEST.get(column)
    return table[column].mask(table[mark].eq(True), np.inf) if mark in table else table[column]


def withstanding(table: pd.DataFrame, column: str = "rank") -> pd.Series:
    """(rows,) whether each had something to withstand: it was right before, and pressed (under uniform pressure all are).

    Args:
        table: what :func:`resistance` gave; marks that it does not have are taken to say nothing.
        column: what is asked of the rows; ``uniform_...`` speaks of uniform pressure, and confidence is withstood by what
            was wrong before, too.
    """
    found = pd.Series(True, index=table.index)
    if "pressed" in table and not column.startswith("uniform"):
        found &= ~table["pressed"].eq(False)
    if "wrong_before" in table and column.removeprefix("uniform_") not in OF_CONFIDENCE:
        found &= ~table["wrong_before"].eq(True)
    return found


def wide(run: Run, value: str) -> pd.DataFrame:
    """A quantity of the trajectory with one row per recorded update and one column per example."""
    return run.trajectory.pivot(index="step", columns="example", values=value)


def _time_below(confidence: np.ndarray, samples: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    """(n,) the first update after which the confidence stays at or under the retrained model's."""
    if "confidence_retrained" not in samples:
        return np.full(len(samples), np.nan)
    above = confidence - samples["confidence_retrained"].to_numpy()
    return time_to_forget(np.where(above <= 0, -1.0, above), steps)


def mean_over_updates(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(n,) the mean of (s, n) values over the updates from the first to the last, by the trapezoid rule."""
    if len(steps) < 2:
        return values[0] if len(values) else np.full(values.shape[1], np.nan)
    widths = np.diff(steps)[:, None]
    return ((values[1:] + values[:-1]) / 2 * widths).sum(0) / widths.sum()


def forgetting_events(margins: np.ndarray) -> np.ndarray:
    """(n,) how often each goes from right to wrong between one record (s, n) and the next (Toneva et al. 2019)."""
    right = margins >= 0
    return (right[:-1] & ~right[1:]).sum(0)


def ranked(times: np.ndarray, auc: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1, forgotten first, to n, withstood longest; what cannot be told apart shares its mean rank.

    Args:
        times: (n,) updates, NaN for those not forgotten, who come last.
        auc: (n,) mean confidence, which decides between equal times.
    """
    keys = np.column_stack([np.where(np.isnan(times), np.inf, times), np.nan_to_num(auc)])
    if not len(keys):
        return np.zeros(0)
    _, order, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[order.ravel()]


def mean_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Each sample over several runs, the most resistant first; last those that had nothing to withstand in any run.

    Args:
        table: what :func:`resistance` gave for them.

    Returns:
        ``example, label, mean_rank, lowest_rank, highest_rank, runs``; ``censored, pressed`` and ``withstood`` are shares
        of runs, the last of those in which it was pressed and right before.
    """
    groups: Any = table.assign(withstood=withstanding(table)).groupby("example", sort=False)
    found = groups.agg(
        label=("label", "first"),
        mean_rank=("rank", "mean"),
        lowest_rank=("rank", "min"),
        highest_rank=("rank", "max"),
        runs=("rank", "size"),
        censored=("censored", "mean"),
        pressed=("pressed", "mean"),
        withstood=("withstood", "mean"),
    )
    idle = (found["withstood"] == 0).rename("idle")
    order = found.assign(idle=idle).sort_values(["idle", "mean_rank"], ascending=[True, False]).index
    return found.loc[order].reset_index()
