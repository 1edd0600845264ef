"""Runs side by side: one row each, at the end or at equal forgetting, with the gap to the retrained model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ..core.messages import unknown
from ..core.records import Run
from ..tasks.protocol import Abilities
from ..unlearning import driver


def compare(runs: Iterable[Run] | Run, at_forget: float | tuple[str, str, float] | None = None) -> pd.DataFrame:
    """One row per run: its metrics, and their gaps to the retrained model where the run recorded it.

    >>> imu.compare([run, imu.again(run, weights=None)], at_forget=0.05)

    Args:
        runs: any runs, loaded ones too.
        at_forget: compare each run at its first recorded update whose forget accuracy is at or below this (or that
            meets ``(metric, "<=", value)``): at equal forgetting. None compares the last updates. A run that never gets
            there has ``reached`` False and no numbers.

    Returns:
        DataFrame: ``run, seed, updates, reached``, then ``<split> <metric>``, ``<split> <metric> change`` (since the
        original model) and ``<split> <metric> gap`` (to the retrained model).
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    when = [tuple(run.settings.get("forgotten_when", Abilities.forgotten_when)) for run in runs]
    rules = [driver.stop_rule(at_forget, None, mine) for mine in when]
    return pd.DataFrame([_row(run, rule) for run, rule in zip(runs, rules)])


def _row(run: Run, rule: driver.StopRule | None) -> dict[str, Any]:
    keys = list(dict.fromkeys(zip(run.curve["split"], run.curve["metric"])))
    step: float = run.steps[-1]
    if rule is not None:
        if (rule.split, rule.metric) not in keys:
            names = [" ".join(key) for key in keys]
            raise unknown("metric to compare at", f"{rule.split} {rule.metric}", names)
        values = run.series(rule.split, rule.metric)
        met = values.index[driver.COMPARISONS[rule.operator](values, rule.value)]
        step = met[0] if len(met) else np.nan
    row = {"run": run.label, "seed": run.settings.get("seed"), "updates": step, "reached": step == step}
    start, then, retrained = _by_key(run.curve, 0), _by_key(run.curve, step), _by_key(run.reference)
    for key in keys:
        value = then.get(key, np.nan)
        row[" ".join(key)] = value
        row[" ".join(key) + " change"] = value - start.get(key, np.nan)
        row[" ".join(key) + " gap"] = value - retrained.get(key, np.nan)
    return row


def _by_key(table: pd.DataFrame, step: float | None = None) -> dict[tuple[str, str], float]:
    """{(split, metric): value} of a curve at one update, or of a table without updates."""
    rows = table if step is None else table[table["step"] == step]
    return dict(zip(zip(rows["split"], rows["metric"]), rows["value"]))


def usual_step(run: Run) -> float:
    """The median length of the updates made while some sample was still remembered; NaN where there was none.

    Ascent has no minimum: once everything is forgotten the updates grow without limit, and are not typical any more.
    """
    lengths = run.terms.loc[run.terms["term"] == "update_norm", "value"]
    remembered = run.series("forget", run.headline).iloc[:-1]
    return float(lengths.iloc[: int((remembered > 0).sum()) or None].median())
