"""A run that goes back to an update of another run and continues with other settings; it shares the record up to there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..core.messages import unheard, unknown, warn
from ..core.outcome import beware
from ..core.records import Run
from ..tasks.protocol import offered
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
        events["forgotten"] = int(((ledger["margin_before"] > 0) & (ledger["margin_after"] < 0)).sum())
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


def rewind(run: Run, unseen: str | None = None) -> Run:
    """The run cut off at the update whose value on the forget set is nearest to that on unseen samples of the same kind.

    Pressed on, a model knows the forget set worse than what it never saw, and that gives the forget set away. The value on
    unseen samples is taken at the end of the run, as in the paper; the value is the task's headline, such as the accuracy. Of
    updates that are equally near it is the last, for which a method that repairs has repaired most. The original is none of
    them.

    Source: SCRUB+R of Kurmanji et al. 2023 (arXiv 2302.09880), which goes back to a checkpoint by error.

    Args:
        run: with its task and its states, of any method.
        unseen: the split of unseen samples; None for those of the forgotten class or person where the run followed them,
            else the test split.

    Returns:
        A run of so many updates, whose ``settings["forked"]`` names the run and the update.

    Raises:
        ValueError: the run did not follow such a split, or kept no state but the first.
    """
    task = run.known_task()
    metric = offered(task).forgotten_when[0]
    followed = run.curve.query("metric == @metric")
    splits = list(dict.fromkeys(followed["split"]))
    split = unseen or ("test-forget" if "test-forget" in splits else "test")
    if split not in splits:
        raise unknown(f"split on which the run followed {metric}", split, splits)
    goal = float(followed[followed["split"] == split]["value"].iloc[-1])
    mine = followed[followed["split"] == "forget"].set_index("step")["value"]
    steps = [step for step in run.kept_steps if step in mine.index and step > 0]
    if not steps:
        raise ValueError("the run keeps no state after an update to go back to")
    return fork(run, min(reversed(steps), key=lambda step: abs(mine[step] - goal)), steps=0)


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
    early, late = before[before["step"] <= step], after[after["step"] > 0]
    # pandas 2 warns that one day empty tables will have a say in the types of columns.
    parts = [part for part in (early, late.assign(step=late["step"] + step)) if len(part)]
    return pd.concat(parts or [early], ignore_index=True)


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
