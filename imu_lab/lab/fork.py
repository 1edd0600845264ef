"""A run that goes back to an update of another run and continues with other settings; it shares the record up to there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..core.messages import unheard, warn
from ..core.outcome import beware
from ..core.records import Run
from ..unlearning.driver import collapsed_at, utility_limit
from ..unlearning.recorder import SplitMetrics, time_to_forget
from ..unlearning.snapshots import Snapshots
from .again import again, began_at


def fork(run: Run, step: int, **changes: Any) -> Run:
    """Go back to a recorded update and continue differently; the result can be compared with ``run`` update by update.

    The optimizer starts afresh, without the momentum of the updates before, and batches are drawn from the first one on. What
    a method does once, at its beginning, it does not do again: it looks back to the model that it began with, and a step that
    was solved for goes on to where it leads. Another method begins with the model of that update.

    >>> calmer = imu.fork(run, 20, weights=None)  # uniform pressure from update 20 on

    Args:
        run: with its task and models.
        step: the recorded update to fork from.
        changes: weights, method, steps (after the fork) and settings, as in :func:`imu_lab.again`.

    Returns:
        A run whose curves and trajectories are those of ``run`` up to ``step``. The pressure in its ledger is what each
        sample received after the fork, and before it its even share of the total of ``run``; ``settings["forked"]``
        names the run and the update. Its events, such as a collapse, count from the original.

    Warns:
        UserWarning: as :func:`imu_lab.unlearn`, of the whole way from the original.
    """
    with unheard() as said:
        after = again(run, start=step, **changes)
    joined = continued(run, after, step)
    kept = {at: state for at, state in run.snapshots.kept.items() if at < step}
    kept |= {at + step: state for at, state in after.snapshots.kept.items()}
    events = {name: _moved(after.events.get(name), step) for name in ("steps", "stopped_at", "diverged_at")}
    early, late = run.events.get("goal_at"), _moved(after.events.get("goal_at"), step)
    events["goal_at"] = early if early is not None and early <= step else late
    whole: Any = WholeWay.of(joined)
    events |= {"utility_limit": utility_limit(whole), "collapsed_at": collapsed_at(whole)}
    ledger = _ledger(run, after, joined.trajectory, step)
    if after.events.get("forgotten") is not None:
        events["forgotten"] = int(((ledger["margin_before"] >= 0) & (ledger["margin_after"] < 0)).sum())
    since = began_at(run, int(step), changes.get("method"))
    settings = {**after.settings, "steps": int(step) + after.settings["steps"]}
    settings |= {"forked": {"run": run.label, "step": int(step), "since": since}}
    forked = replace(
        joined,
        samples=ledger,
        events={**after.events, **events},
        settings=settings,
        snapshots=Snapshots(kept),
    )
    for words in [*(each for each in said if each != beware(after)), beware(forked)]:
        if words:
            warn(words)
    return forked


class WholeWay(NamedTuple):
    """What was measured on the whole way, as a recorder has it."""

    task: Any
    steps: list[int]
    metrics: list[SplitMetrics]

    @classmethod
    def of(cls, run: Run) -> WholeWay:
        """From the curve of a run."""
        found: dict[int, SplitMetrics] = {int(step): {} for step in run.steps}
        for step, split, metric, value in run.curve[["step", "split", "metric", "value"]].itertuples(index=False):
            found[int(step)].setdefault(split, {})[metric] = value
        return cls(run.task, list(found), list(found.values()))


def continued(run: Run, after: Run, step: int) -> Run:
    """``after``, which began at the update ``step`` of ``run``, with the curves and trajectories of ``run`` up to there."""
    tables = {
        name: _joined(getattr(run, name), getattr(after, name), step) for name in ("curve", "trajectory", "terms")
    }
    return replace(after, **tables)


def _joined(before: pd.DataFrame, after: pd.DataFrame, step: int) -> pd.DataFrame:
    """The rows of ``before`` up to the fork, then those of ``after``, whose own first state is that of the fork."""
    late = after[after["step"] > 0]
    return pd.concat([before[before["step"] <= step], late.assign(step=late["step"] + step)], ignore_index=True)


def _moved(at: int | None, step: int) -> int | None:
    return None if at is None else int(at) + step


def _ledger(run: Run, after: Run, trajectory: pd.DataFrame, step: int) -> pd.DataFrame:
    """The fork's ledger: "before" is the original model, the time to forget and the pressure count from it."""
    samples, before = after.samples.copy(), run.samples.set_index("example").loc[after.samples["example"]]
    for name in ("loss_before", "confidence_before", "margin_before"):
        samples[name] = before[name].to_numpy()
    samples["pressure"] += before["pressure"].to_numpy() * step / max(1, run.events.get("steps") or 1)
    margins = trajectory.pivot(index="step", columns="example", values="margin")[samples["example"]]
    samples["time_to_forget"] = time_to_forget(margins.to_numpy(), np.asarray(margins.index))
    return samples
