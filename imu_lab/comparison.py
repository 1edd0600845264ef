"""Runs side by side: one row each, at the end or at equal forgetting, with the gap to the retrained model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from . import registry
from .results import Run
from .tasks.protocol import FORGOTTEN_WHEN
from .unlearning import driver


def compare(runs: Iterable[Run] | Run, at_forget: Any = None) -> pd.DataFrame:
    """One row per run: its metrics, and their gaps to the retrained model where a run knows it.

    Args:
        runs: any runs, also loaded ones.
        at_forget: compare each run at its first recorded update whose forget accuracy is at or below this (or that
            meets ``(metric, "<=", value)``): at equal forgetting. None compares the last updates. A run that never gets
            there has ``reached`` False and no numbers.

    Returns:
        DataFrame: ``run, seed, updates, reached``, then ``<split> <metric>``, ``<split> <metric> change`` (since the
        original model) and ``<split> <metric> gap`` (to the retrained model).
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    when = [tuple(run.settings.get("forgotten_when", FORGOTTEN_WHEN)) for run in runs]
    rules = [driver.stop_rule(at_forget, None, mine) for mine in when]
    return pd.DataFrame([_row(run, rule) for run, rule in zip(runs, rules)])


def _row(run: Run, rule: driver.StopRule | None) -> dict[str, Any]:
    wide = run.curve.pivot(index="step", columns=["split", "metric"], values="value")
    step: float = wide.index[-1]
    if rule is not None:
        if (rule.split, rule.metric) not in wide:
            raise registry.unknown(
                "metric to compare at", f"{rule.split} {rule.metric}", [" ".join(key) for key in wide]
            )
        met = wide.index[driver.COMPARISONS[rule.operator](wide[(rule.split, rule.metric)], rule.value)]
        step = met[0] if len(met) else np.nan
    row = {"run": run.label, "seed": run.settings.get("seed"), "updates": step, "reached": step == step}
    retrained = run.reference.set_index(["split", "metric"])["value"]
    keys = list(dict.fromkeys(zip(run.curve["split"], run.curve["metric"])))
    for key in keys:
        value = wide.at[step, key] if row["reached"] else np.nan
        row[" ".join(key)] = value
        row[" ".join(key) + " change"] = value - wide.at[0, key]
        row[" ".join(key) + " gap"] = value - retrained.get(key, np.nan)
    return row


def usual_step(run: Run) -> float:
    """The median length of the updates made while some sample was still remembered; NaN where there was none.

    The ascent has no bottom: once everything is forgotten the updates grow without limit, and say nothing of the way
    there.
    """
    lengths = run.terms.loc[run.terms["term"] == "update_norm", "value"]
    remembered = run.series("forget", "accuracy").iloc[:-1]
    return float(lengths.iloc[: int((remembered > 0).sum()) or None].median())
