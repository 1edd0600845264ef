"""A controlled trial: does it matter who gets the pressure? Several arms, each at equal forgetting, over seeds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ..core import registry
from ..core.messages import unknown
from ..core.records import Run
from ..intensities import intensity
from ..lab.verbs import influence, unlearn
from ..tasks.protocol import Task
from ..tasks.training import train
from .comparison import compare

PLAIN = "plain steps"
LEVEL = 0.95  # of the intervals


def trial(
    task: Task,
    arms: Mapping[str, Mapping[str, Any]],
    *,
    at_forget: Any,
    step_norms: Iterable[float | None] = (None,),
    seeds: Iterable[int] = range(5),
    steps: int = 300,
    **settings: Any,
) -> pd.DataFrame:
    """Forget with each arm on models trained from several seeds; compare where each first is equally forgotten.

    A seed is that of the training, of the batch order and of whatever chance an arm has of its own, such as the
    permutation of shuffled weights. It is the same for every arm, so arms can be compared seed by seed
    (:func:`imu_lab.over_seeds` with ``against=``).

    Args:
        arms: by name, what sets each apart: ``estimator`` (default ``"fisher-diagonal"``), ``rule``
            (``"sqrt-clipped"``), ``method`` (``"imu"``), and settings of the method.
        at_forget: the forget accuracy to reach, or ``(metric, "<=", value)``: equal forgetting.
        step_norms: the lengths that every update is scaled to; None leaves steps as they are.
        steps: updates at most.
        settings: of every arm's method.

    Returns:
        DataFrame, one row per seed, kind of step and arm: ``steps`` (``"plain steps"`` or ``"equal steps (0.02)"``),
        ``arm, seed, seconds`` (influence, weights and updates, on cached features), and the columns of
        :func:`imu_lab.compare`.
    """
    step_norms, rows = list(step_norms), []
    for seed in seeds:
        model = train(task, "train", seed=seed)
        unlearn(task, model, steps=1)  # fills the feature cache, so that no arm pays for it
        for step_norm in step_norms:
            kind = PLAIN if step_norm is None else f"equal steps ({step_norm:g})"
            for name, arm in arms.items():
                started = time.perf_counter()
                run = _run(task, model, seed, {**settings, **arm}, steps=steps, stop_at=at_forget, step_norm=step_norm)
                about = {"steps": kind, "arm": name, "seed": seed, "seconds": time.perf_counter() - started}
                found = compare(run, at_forget=at_forget).drop(columns=["run", "seed"])
                rows.append(found.assign(**about)[[*about, *found.columns]])
    return pd.concat(rows, ignore_index=True)


def _run(task: Task, model: nn.Module, seed: int, arm: Mapping[str, Any], **how: Any) -> Run:
    own = dict(arm)
    estimator, rule = own.pop("estimator", "fisher-diagonal"), own.pop("rule", "sqrt-clipped")
    method, weights = own.pop("method", "imu"), None
    if getattr(registry.methods[method], "takes_weights", True):
        scores = influence(task, model, _drawn(registry.estimators, estimator, seed))
        weights = intensity(scores, _drawn(registry.intensity_rules, rule, seed))
    return unlearn(task, model, weights, method, seed=seed, record_every=1, **how, **own)


def _drawn(known: registry.Registry, name: Any, seed: int) -> Any:
    """What is registered under a name, under this seed where it has one; an instance as it is."""
    if not isinstance(name, str):
        return name
    chance = "seed" in {each.name for each in fields(known[name])}
    return known.create(name, **({"seed": seed} if chance else {}))


def over_seeds(
    table: pd.DataFrame, quantities: Sequence[str], by: Sequence[str] = ("steps", "arm"), *, against: str | None = None
) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval, by Student's t.

    Args:
        table: one row per run, with a column ``seed``, such as :func:`imu_lab.trial` gives.
        quantities: the columns to summarise; a run without a number does not count, which ``seeds`` shows.
        by: the columns that make a group; the last names the arm.
        against: an arm; each value then is the difference to that arm's under the same seed, which cancels what a seed
            has in common: an interval that holds 0 is no difference.

    Returns:
        DataFrame ``*by, quantity, mean, low, high, seeds, of``: ``seeds`` runs with a number ``of`` all. The interval
        is NaN for fewer than two. With a control, ``against`` names it.

    Raises:
        UnknownName: a column or a control that the table does not have.
    """
    for name in (*quantities, *by, "seed"):
        if name not in table:
            raise unknown("column in this table", name, list(table.columns))
    quantities, by = list(quantities), list(by)
    values = table[quantities].astype(float) - (0 if against is None else _control(table, quantities, by, against))
    long = pd.concat([table[by], values], axis=1).melt(by, quantities, "quantity")
    grouped = long.groupby([*by, "quantity"], sort=False, dropna=False)["value"]
    found = pd.DataFrame({"mean": grouped.mean(), "seeds": grouped.count(), "of": grouped.size()})
    half = _half_width(grouped.std(ddof=1), found["seeds"])
    found.insert(1, "low", found["mean"] - half)
    found.insert(2, "high", found["mean"] + half)
    return found.reset_index() if against is None else found.reset_index().assign(against=against)


def _control(table: pd.DataFrame, quantities: list[str], by: list[str], against: str) -> np.ndarray:
    """(rows, quantities) the control's values under the same seed, beside each row; NaN where it has none."""
    arm = by[-1]
    if against not in set(table[arm]):
        raise unknown(f"{arm} to compare with", against, list(dict.fromkeys(table[arm])))
    keys = [*by[:-1], "seed"]
    controls = table.loc[table[arm] == against, [*keys, *quantities]]
    return table[keys].merge(controls, on=keys, how="left")[quantities].to_numpy(dtype=float)


def _half_width(deviation: pd.Series, count: pd.Series) -> pd.Series:
    """Of the interval, t · s / √n."""
    from scipy.stats import t  # half a second to import

    return t.ppf((1 + LEVEL) / 2, (count - 1).where(count > 1)) * deviation / np.sqrt(count)
