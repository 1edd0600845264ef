"""What single forget samples do to the kept ones in a whole run: the same run again, without the pressure of each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..core.records import Run
from ..core.running import one_thread
from ..features.readout import view
from ..lab.what_if import what_if
from ..tasks.evaluation import mean_loss
from ..tasks.protocol import Examples, labels_of
from .collateral import NoFirstOrder, damage_by_sample, damaged


def left_out(
    run: Run,
    examples: Iterable[int] | None = None,
    split: str = "retain",
    step: int | None = None,
    *,
    label: str | None = None,
    example: int | None = None,
) -> pd.DataFrame:
    """Each forget sample: the damage to kept samples that there is because it is pressed, beside what was predicted.

    Measured is the loss after the run minus the loss after the same run without that sample's pressure, so the whole road
    is in it. The others take over its share, as weights add up to the same: zero means that it does what they do.

    Args:
        run: with its task and models.
        examples: forget samples to leave out, one at a time, each in a run of its own; None for all.
        split, step, label, example: whose damage, and when; see :func:`imu_lab.damage_by_sample`.

    Returns:
        ``example, label, pressure, predicted, measured`` (nats of loss, mean over those damaged; positive is damage), most
        damaging first. ``predicted`` is empty where first order says nothing of the run.

    Raises:
        ValueError: an example that is not in the forget set, a split without the class or sample that is asked for, or a
            run that nothing can be asked of (no task, no weights, a fork).
    """
    task = run.known_task()
    step = run.kept_steps[-1] if step is None else step
    table = _predictions(run, split, step, label, example)
    wanted = table["example"].tolist() if examples is None else [int(each) for each in examples]
    whole = _loss(run, damaged(task, split, label, example), step)
    found = {}
    for each in tqdm(wanted, desc="leaving out", unit="sample", delay=2, leave=False):
        other = what_if(run, drop=[each], steps=step, record_every=max(1, step), stop_at=None, follow=())
        found[each] = whole - _loss(other, damaged(task, split, label, example), step)
    table = table[table["example"].isin(wanted)]
    table = table.assign(measured=table["example"].map(found)).sort_values("measured", ascending=False)
    table.attrs["measured"] = "each left out"
    return table.reset_index(drop=True)


def _predictions(run: Run, split: str, step: int, label: str | None, example: int | None) -> pd.DataFrame:
    try:
        return damage_by_sample(run, split, step, label=label, example=example, measure=0)
    except NoFirstOrder:
        known = run.samples[["example", "pressure"]].reset_index(drop=True)
        return known.assign(label=labels_of(run.known_task(), known["example"]), predicted=np.nan)


def _loss(run: Run, examples: Examples, step: int) -> float:
    """The mean loss of these examples after that update, or after the last where it stopped before."""
    task, model = view(run.known_task(), run.model_at(min(step, run.kept_steps[-1])))
    features = getattr(task, "seen", lambda given: given)  # as features, where the task is seen from its readout
    with one_thread():
        return mean_loss(task, model, features(examples))
