"""Runs side by side: one row each, at the end or at equal forgetting, with the gap to the retrained model and a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..core.labels import told_apart
from ..core.messages import unknown
from ..core.quantities import describe
from ..core.records import Run
from ..core.registry import methods
from ..core.taken import several_runs
from ..lab.asked import originals_of, requests_of
from ..tasks.protocol import Abilities, offered
from ..unlearning import driver
from ..unlearning.request import needs

ORIGINAL = "original"  # the row of doing nothing


def compare(
    runs: Iterable[Run] | Run, at_forget: float | str | tuple[str, str, float | str] | None = None
) -> pd.DataFrame:
    """One row per run, then the original: the metrics, and their gaps to the retrained model where a run recorded it.

    >>> imu.compare([run, imu.again(run, weights=None)], at_forget=0.05)

    Args:
        runs: any runs, loaded ones too.
        at_forget: compare each run at its first recorded update whose forget accuracy is at or below this (or that
            meets ``(metric, "<=", value)``): at equal forgetting. ``"retrained"`` in place of the number stands for what
            the retrained model reaches, as in ``("loss", ">=", "retrained")``. None compares the last updates. A run that
            never gets there has ``reached`` False and no numbers.

    Returns:
        DataFrame: ``run, needs, seed, updates, passes, reached``, then ``<split> <metric>``, ``<split> <metric> change`` (since the
        original model) and ``<split> <metric> gap`` (to the retrained model). The last row, ``"original"``, is doing
        nothing: the model that the runs began with, after 0 updates, whatever is left of the forget set. ``run``
        names the settings in which runs of one method differ; runs that differ by ``seed`` alone share their name, so that
        ``groupby("run")`` is over seeds.

        Of a distance to several references (:func:`imu_lab.references`), ``<split> <metric> floor`` is how far two of them are
        from each other, and the gap counts from there. Where a run recorded a distance to the retrained model, ``verdict``
        says of the first such distance, on what is to forget and on unseen data that is to keep, whether the run is farther
        from the retrained model than doing nothing, and whether that difference lies inside the noise floor.
        ``needs`` says what a method works from: the forget set, a statistic of the training set, or retain data. ``passes``
        is what its updates cost until then, see :func:`passes`.

        Runs that forget other samples, as :func:`imu_lab.what_if` makes them, or samples of other data, answer another request:
        requests are then numbered in the order of the runs, behind each name, and each has an ``"original"`` of its own. So has
        each of several models that runs of one request began with, and these are numbered in the same way; where each seed has
        a model of its own, names stay as they are and each ``"original"`` has the seed of its runs.

    Raises:
        TypeError: there is something else than runs.
    """
    runs = several_runs(runs, "compare")
    rules = [_rule(run, at_forget) for run in runs]
    if not runs:
        return pd.DataFrame()
    steps = [_first_met(run, rule) for run, rule in zip(runs, rules)]
    seeds = [run.settings.get("seed") for run in runs]
    looks = [Look(*each) for each in zip(told_apart(runs), map(_needs, runs), seeds, runs, steps)]
    asked, begun = requests_of(runs), originals_of(runs)
    kinds = list(zip(asked, begun))
    first = [kinds.index(kind) for kind in dict.fromkeys(kinds)]  # the first run of each request from each original
    several = len(first) > len(set(asked))
    by_seed = several and len(first) == len(set(zip(asked, seeds))) == len(set(zip(kinds, seeds)))
    looks += [Look(ORIGINAL, "nothing", seeds[at] if by_seed else None, runs[at], 0) for at in first]
    reached = [step == step for step in steps] + [rules[at] is None or steps[at] == 0 for at in first]
    requests = len(set(asked)) > 1
    marks = [
        ", ".join([f"request {number}"] * requests + [f"model {model}"] * (several and not by_seed))
        for number, model in kinds
    ]
    behind = [f" ({each})" if each else "" for each in [*marks, *(marks[at] for at in first)]]
    looks = [look._replace(name=look.name + words) for look, words in zip(looks, behind)]
    return _table(looks, reached)


class Look(NamedTuple):
    """A run as it was after some update, which makes a row."""

    name: str
    needs: str
    seed: int | None
    run: Run
    step: float  # NaN for one that never got there


def _table(looks: list[Look], reached: list[bool]) -> pd.DataFrame:
    """A row for each look; with verdicts where some run recorded a distance to the retrained model."""
    rows = [
        {"run": look.name, "needs": look.needs, "seed": look.seed, "updates": look.step}
        | {"passes": passes(look.run, look.step), "reached": there}
        | _values(look.run, look.step)
        for look, there in zip(looks, reached)
    ]
    verdicts = [_verdict(look.run, look.step) for look in looks]
    if any(verdicts):
        rows = [row | {"verdict": verdict} for row, verdict in zip(rows, verdicts)]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def _rule(run: Run, at_forget: Any) -> driver.StopRule | None:
    """At which forgetting a run is compared."""
    when = tuple(run.settings.get("forgotten_when", Abilities.forgotten_when))
    goal = None if run.task is None else offered(run.task).goal
    return driver.stop_rule(at_forget, run.retrained_values, when, goal, "at_forget")


def passes(run: Run, step: float | None = None) -> float:
    """What a run cost until an update (None: its last) in passes over the training set, so that methods can be compared.

    An example of the forget or the retain set that the method reads counts as often as it is read, and a statistic of the
    training set as the one pass that it takes; what was done to find the weights and the learning rate does not count. NaN
    where nobody counted, as in runs of earlier versions.
    """
    whole, step = run.events.get("train_examples"), run.steps[-1] if step is None else step
    if step == 0:
        return 0.0
    read = run.terms[run.terms["term"] == "examples"] if len(run.terms) else run.terms
    if not whole or step != step or not len(read):
        return float("nan")
    return float(read.loc[read["step"] <= step, "value"].sum()) / whole + bool(run.settings.get("statistics"))


def _needs(run: Run) -> str:
    """What a run's method worked from; empty where a run of an earlier version had a method that is not known here."""
    if "needs" in run.settings:
        return run.settings["needs"]
    name = run.settings.get("method")
    return needs(methods[name]) if name in methods else ""


def _first_met(run: Run, rule: driver.StopRule | None) -> float:
    """The first recorded update at which the rule is met, NaN where it never is; without a rule, the last."""
    if rule is None:
        return run.steps[-1] if len(run.steps) else np.nan
    keys = dict.fromkeys(zip(run.curve["split"], run.curve["metric"]))
    if (rule.split, rule.metric) not in keys:
        raise unknown("metric to compare at", f"{rule.split} {rule.metric}", [" ".join(key) for key in keys])
    values = run.series(rule.split, rule.metric)
    met = values.index[driver.COMPARISONS[rule.operator](values, rule.value)]
    return met[0] if len(met) else np.nan


def _values(run: Run, step: float) -> dict[str, float]:
    """Each metric of a run after some update, its change since the start and its gap to the retrained model."""
    start, then, retrained = _by_key(run.curve, 0), _by_key(run.curve, step), _by_key(run.reference)
    row: dict[str, float] = {}
    for key in dict.fromkeys(zip(run.curve["split"], run.curve["metric"])):
        value = then.get(key, np.nan)
        row[" ".join(key)] = value
        row[" ".join(key) + " change"] = value - start.get(key, np.nan)
        row[" ".join(key) + " gap"] = value - retrained.get(key, np.nan)
        if key[0] in (floor := run.noise_floor(key[1])):
            row[" ".join(key) + " floor"] = floor[key[0]]
    return row


def _verdict(run: Run, step: float) -> str:
    """How a run after some update compares with doing nothing, by the first distance to the retrained model that it recorded.

    Empty where it recorded none.
    """
    metric = next((name for name in run.curve["metric"].unique() if describe(name).goal is not None), None)
    if metric is None:
        return ""
    if step != step:
        return "never got there"
    goal, floors = describe(metric).goal, run.noise_floor(metric)
    recorded = run.curve.loc[run.curve["metric"] == metric, "split"].unique()
    splits = [split for split in ("forget", "test") if split in recorded] or list(recorded)
    words = []
    for split in splits:
        start, value, floor = run.value(split, metric, 0), run.value(split, metric, step), floors.get(split, np.nan)
        change, noise = abs(value - goal) - abs(start - goal), abs(floor - goal)
        if step == 0:
            there = "inside" if abs(value - goal) <= noise else "outside"
            words.append(
                f"{split}: {value:.3g}" + (f", {there} the noise floor ({floor:.3g})" if noise == noise else "")
            )
            continue
        which = "farther than" if change > 0 else "nearer than" if change < 0 else "as far as"
        inside = f", a difference inside the noise floor ({floor:.3g})" if abs(change) <= noise else ""
        words.append(f"{split}: {which} doing nothing ({value:.3g} against {start:.3g}{inside})")
    return "; ".join(words)


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
