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
from ..core.messages import unheard, unknown
from ..core.records import Run
from ..intensities import intensity
from ..lab.verbs import influence, unlearn
from ..tasks.announced import announced
from ..tasks.protocol import Task
from ..tasks.training import is_known
from .comparison import compare

PLAIN = "plain steps"
LEVEL = 0.95  # of the intervals


@unheard()  # what became of each run stands in the table
def trial(
    task: Task,
    arms: Mapping[str, Mapping[str, Any]],
    *,
    at_forget: float | tuple[str, str, float],
    step_norms: Iterable[float | None] = (None,),
    seeds: Iterable[int] = range(5),
    steps: int = 300,
    **settings: Any,
) -> pd.DataFrame:
    """Run each arm on models trained from several seeds, and compare all runs at equal forgetting.

    A seed determines the training, the batch order and the random parts of an arm, such as the permutation of shuffled
    weights. Every arm gets the same seeds, so arms can be compared seed by seed (:func:`imu_lab.over_seeds` with
    ``against=``).

    >>> arms = {"influence": {}, "uniform": {"rule": "uniform"}, "shuffled": {"rule": "shuffled"}}
    >>> imu.plot_trial(imu.over_seeds(imu.trial(task, arms, at_forget=0.05), ["updates"], against="uniform"))

    Args:
        arms: by name, what is different about each: ``estimator`` (default ``"fisher-diagonal"``), ``rule``
            (``"sqrt-clipped"``), ``method`` (``"imu"``), and settings of the method.
        at_forget: the forget accuracy at which runs are compared, or ``(metric, "<=", value)``.
        step_norms: the lengths that every update is scaled to (shares of the readout's own, with
            ``relative_steps=True``); None leaves steps as they are.
        steps: how many updates to make at most.
        settings: of every arm's method.

    Returns:
        DataFrame, one row per seed, kind of step and arm: ``steps`` (``"plain steps"`` or ``"equal steps (0.02)"``),
        ``arm, seed, seconds`` (influence, weights and updates, on cached features), and the columns of
        :func:`imu_lab.compare`.
    """
    step_norms, rows, seeds = list(step_norms), [], list(seeds)
    how = dict(at_forget=at_forget, steps=steps)
    missing = sum(not is_known(task, "train", seed) for seed in seeds)
    with announced(missing, "seeds= says how many") as models:
        for seed in seeds:
            model = models.train(task, "train", seed)
            unlearn(task, model, steps=1)  # fills the feature cache, so that it counts in no arm's seconds
            for step_norm in step_norms:
                for name, arm in arms.items():
                    rows.append(_row(task, model, seed, name, {**settings, **arm}, step_norm=step_norm, **how))
    return pd.concat(rows, ignore_index=True)


def _row(
    task: Task,
    model: nn.Module,
    seed: int,
    name: str,
    arm: Mapping[str, Any],
    *,
    at_forget: Any,
    steps: int,
    step_norm: float | None,
) -> pd.DataFrame:
    """One arm under one seed and one kind of step."""
    kind, started = PLAIN if step_norm is None else f"equal steps ({step_norm:g})", time.perf_counter()
    run = _run(task, model, seed, arm, steps=steps, stop_at=at_forget, step_norm=step_norm)
    told = {"steps": kind, "arm": name, "seed": seed, "seconds": time.perf_counter() - started}
    row = compare(run, at_forget=at_forget).head(1).drop(columns=["run", "seed"])
    return row.assign(**told)[[*told, *row.columns]]


def _run(task: Task, model: nn.Module, seed: int, arm: Mapping[str, Any], **schedule: Any) -> Run:
    changes = dict(arm)
    estimator, rule = changes.pop("estimator", "fisher-diagonal"), changes.pop("rule", "sqrt-clipped")
    method, weights = changes.pop("method", "imu"), None
    if registry.methods.declared(registry.methods[method], "takes_weights"):
        scores = influence(task, model, _drawn(registry.estimators, estimator, seed))
        weights = intensity(scores, _drawn(registry.intensity_rules, rule, seed))
    return unlearn(task, model, weights, method, seed=seed, record_every=1, **schedule, **changes)


def _drawn(registered: registry.Registry, name: Any, seed: int) -> Any:
    """What is registered under this name, with this seed if it takes one; an instance as it is."""
    if not isinstance(name, str):
        return name
    chance = "seed" in {each.name for each in fields(registered[name])}
    return registered.create(name, **({"seed": seed} if chance else {}))


def over_seeds(
    table: pd.DataFrame, quantities: Sequence[str], by: Sequence[str] = ("steps", "arm"), *, against: str | None = None
) -> pd.DataFrame:
    """The mean over seeds with its 95 % interval, by Student's t.

    Args:
        table: one row per run, with a column ``seed``, as :func:`imu_lab.trial` gives.
        quantities: the columns to summarise; runs without a number do not count, see ``seeds``.
        by: the columns that make a group; the last names the arm.
        against: an arm; each value is then the difference to that arm's value under the same seed, in which the effect of
            the seed cancels: where the interval holds 0, no difference was found.

    Returns:
        DataFrame ``*by, quantity, mean, low, high, seeds, of``: ``seeds`` runs with a number, of all. The interval
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
    summary = pd.DataFrame({"mean": grouped.mean(), "seeds": grouped.count(), "of": grouped.size()})
    half = _half_width(grouped.std(ddof=1), summary["seeds"])
    summary.insert(1, "low", summary["mean"] - half)
    summary.insert(2, "high", summary["mean"] + half)
    return summary.reset_index() if against is None else summary.reset_index().assign(against=against)


def _control(table: pd.DataFrame, quantities: list[str], by: list[str], against: str) -> np.ndarray:
    """(rows, quantities) the control's values under each row's seed; NaN where it has none."""
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
