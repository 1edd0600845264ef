"""Which samples resist forgetting: how long and how strongly each withstands a run, from its trajectory.

A sample that is still classified correctly when the run ends is *censored*: its time to forget is unknown. Resistance is
confounded by pressure: a sample that received none cannot be said to resist, so it is marked, and the same columns under
uniform pressure can be added. Nor does a sample resist that was wrong before the first update; and one that is forgotten
only after kept accuracy has fallen was lost in the collapse of the model. A tie of the true class with another, a margin
of 0, is not right, as no accuracy counts it, and not yet forgotten either, for nothing else is ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..core.labels import told_apart
from ..core.messages import unheard
from ..core.records import Run
from ..core.registry import methods
from ..core.taken import a_record, several_runs
from ..lab.again import again
from ..lab.asked import check_same_data
from ..unlearning.recorder import time_to_forget
from .rebound import rebound as rebound_of

# Columns repeated with a ``uniform_`` prefix.
COLUMNS = ("time_to_forget", "censored", "after_limit", "confidence_auc", "rank")


def resistance(
    runs: Run | Iterable[Run], *, uniform: Run | Sequence[Run] | bool | None = None, rebound: int | None = None
) -> pd.DataFrame:
    """How long and how strongly each forget sample withstood one run or several; works on loaded runs.

    >>> imu.resistance(run).sort_values("rank").tail()  # the most resistant samples

    Args:
        runs: a run, or several: other seeds, other methods, other originals.
        uniform: for each of them the same run under uniform weights (``imu.again(run, weights=None)``), or True to make
            them here. This adds ``uniform_time_to_forget, uniform_censored, uniform_after_limit, uniform_confidence_auc``
            and ``uniform_rank``.
        rebound: how many updates of relearning to try; None tries none. Without a model the column is empty.

    Returns:
        One row per run and forget sample: ``number`` (of the run, from 0), ``run``, ``seed``, ``example``, ``label``,
        ``time_to_forget`` (empty where ``censored``), ``time_below_retrained``, ``confidence_auc`` (mean confidence over
        the updates, 0 to 1), ``final_margin``, ``forgetting_events``, ``wrong_before`` (misclassified before the first
        update: it had nothing to withstand), ``pressure``, ``pressed``, ``after_limit``, ``rank`` (1 = forgotten
        first; samples not forgotten before the utility limit come last, ordered by their mean confidence until then),
        ``rebound`` (updates of relearning) and ``rebound_censored`` (relearning was tried, and it did not come back).
        ``.attrs["about"]`` says of each run how many samples were forgotten, and how many pressed.

    Raises:
        ValueError: no run, one without margins, runs on different data, another number of uniform runs, a uniform run of
            other samples, or ``uniform=True`` for a fork, whose first updates had other settings.
    """
    runs = several_runs(runs, "resistance")
    controls = _controls(uniform, runs)
    check_same_data([each for each in (*runs, *controls) if each is not None], "resistance")
    named = enumerate(zip(told_apart(runs), runs, controls))
    rows = [_of_run(run, label, number, control, rebound) for number, (label, run, control) in named]
    if not rows:
        raise ValueError("resistance needs at least one run; got none")
    table = pd.concat(rows, ignore_index=True)
    table.attrs["about"] = "; ".join(f"{each['run'].iloc[0]}: {counted(each)}" for each in rows if len(each))
    return table


def _controls(uniform: Run | Sequence[Run] | bool | None, runs: list[Run]) -> list[Run | None]:
    if uniform is None or uniform is False:
        return [None] * len(runs)
    if uniform is True:
        for run in runs:
            name = run.settings["method"]
            if methods.declared(name, "finds_shares"):
                raise ValueError(
                    f"method {name!r} finds its own shares, so uniform=True would compare the run with itself; "
                    'pass uniform= a run under even pressure, such as imu.unlearn(task, model, method="imu")'
                )
        with unheard():
            return [again(run, weights=None) for run in runs]
    others = several_runs(uniform, "uniform=")
    if len(others) != len(runs):
        raise ValueError(f"uniform must hold a run for each of the {len(runs)} runs, got {len(others)}")
    return others


def _of_run(run: Run, label: str, number: int, uniform: Run | None, rebound: int | None) -> pd.DataFrame:
    table = _measured(run)
    table.insert(0, "number", number)
    table.insert(1, "run", label)
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
    """The columns that come from the records of one run."""
    if "margin" not in run.trajectory:
        raise ValueError(f"{run.label} recorded no margins, so when a sample was forgotten is not known")
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
    table["wrong_before"] = margin[0] <= 0 if len(margin) else False
    table["pressure"] = samples["pressure"].to_numpy() if "pressure" in samples else np.nan
    table["pressed"] = table["pressure"] != 0  # a method may not record the pressure: NaN is not zero
    limit = run.events.get("utility_limit")
    limit = np.inf if limit is None else limit
    table["after_limit"] = times > limit
    useful = steps <= limit  # the order in which a collapsed model loses samples says nothing of them
    table["rank"] = ranked(
        time_to_forget(margin[useful], steps[useful]), mean_over_updates(confidence[useful], steps[useful])
    )
    return table


class Counts(NamedTuple):
    """How many samples of a table of :func:`imu_lab.resistance` have something to tell.

    Attributes:
        samples: all of them.
        pressed: that received pressure. withstood: that were right before, too, and so had something to withstand.
        forgotten: of those that withstood, before the utility limit. late: only after it, when the model had collapsed.
    """

    samples: int
    pressed: int
    withstood: int
    forgotten: int
    late: int

    def __str__(self) -> str:
        late = f" ({self.late} more only after the utility limit)" if self.late else ""
        return f"{self.forgotten} of {self.samples} samples forgotten{late}, {self.pressed} pressed"


def counted(table: pd.DataFrame, column: str = "rank") -> Counts:
    """Count in a table of :func:`imu_lab.resistance`; what a mark whose column is missing would say is not the case.

    Args:
        table: of one run or several.
        column: the measure of resistance; of ``uniform_...`` the marks of the run under uniform pressure count.
    """
    uniform = "uniform_" if column.startswith("uniform_") else ""
    withstood = withstanding(table, column)
    forgotten = withstood & ~marked(table, f"{uniform}censored")
    late = forgotten & marked(table, f"{uniform}after_limit")
    pressed = len(table) if uniform or "pressed" not in table else int((~table["pressed"].eq(False)).sum())
    return Counts(len(table), pressed, int(withstood.sum()), int((forgotten & ~late).sum()), int(late.sum()))


def marked(table: pd.DataFrame, column: str) -> pd.Series:
    """Where a column of yes and no says yes: nowhere where it is missing or empty."""
    return table[column].eq(True) if column in table else pd.Series(False, index=table.index)


# Columns of times, and the columns that mark rows whose time did not come: it is later than all others.
LATEST = {"time_to_forget": "censored", "uniform_time_to_forget": "uniform_censored", "rebound": "rebound_censored"}
OF_CONFIDENCE = ("confidence_auc", "time_below_retrained")  # columns that make sense for misclassified samples, too


def latest(table: pd.DataFrame, column: str) -> pd.Series:
    """A column of :func:`resistance` to rank by: infinite where its time did not come, empty where it is unknown."""
    if column == "time_below_retrained":  # unknown in a run without a retrained model
        runs = table["number"] if "number" in table else pd.Series(0, index=table.index)
        measured = table[column].groupby(runs).transform("count") > 0
        return table[column].mask(table[column].isna() & measured, np.inf)
    mark = LATEST.get(column)
    return table[column].mask(table[mark].eq(True), np.inf) if mark in table else table[column]


def withstanding(table: pd.DataFrame, column: str = "rank") -> pd.Series:
    """(rows,) whether each sample had something to withstand: it was right before, and pressed.

    Args:
        table: what :func:`imu_lab.resistance` gave; a mark whose column is missing does not exclude anything.
        column: the measure of resistance; under uniform pressure (``uniform_...``) all are pressed, and confidence can fall
            in a sample that was wrong before, too.
    """
    withstood = pd.Series(True, index=table.index)
    if "pressed" in table and not column.startswith("uniform"):
        withstood &= ~table["pressed"].eq(False)
    if "wrong_before" in table and column.removeprefix("uniform_") not in OF_CONFIDENCE:
        withstood &= ~table["wrong_before"].eq(True)
    return withstood


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
    left = margins >= 0  # a tie is not forgotten yet
    return (left[:-1] & ~left[1:]).sum(0)


def ranked(times: np.ndarray, auc: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1, forgotten first, to n, withstood longest; ties share their mean rank.

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
    """Each sample's ranks over several runs, the most resistant first.

    Samples that had nothing to withstand in any run come last.

    Args:
        table: what :func:`imu_lab.resistance` gave for these runs.

    Returns:
        ``example, label, mean_rank, lowest_rank, highest_rank, runs``; ``censored, pressed`` and ``withstood`` (pressed,
        and right before) are shares of runs.
    """
    a_record(table, "mean_ranks", pd.DataFrame, "the table of imu.resistance(runs)", ["rank", "censored", "pressed"])
    groups = table.assign(withstood=withstanding(table)).groupby("example", sort=False)
    means = groups.agg(
        label=("label", "first"),
        mean_rank=("rank", "mean"),
        lowest_rank=("rank", "min"),
        highest_rank=("rank", "max"),
        runs=("rank", "size"),
        censored=("censored", "mean"),
        pressed=("pressed", "mean"),
        withstood=("withstood", "mean"),
    )
    idle = (means["withstood"] == 0).rename("idle")
    order = means.assign(idle=idle).sort_values(["idle", "mean_rank"], ascending=[True, False]).index
    return means.loc[order].reset_index()
