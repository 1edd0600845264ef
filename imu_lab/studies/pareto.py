"""Who is not beaten on both counts: forgetting and keeping, means over seeds, and what it cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.messages import unknown
from ..core.quantities import describe
from .cells import RETRAINED
from .trial import over_seeds

FLOOR = "two retrained models"
KEPT = ("retain", "test")
AXES = ("forget kl_retrained", "test kl_retrained")


def pareto(table: pd.DataFrame, forget: str = AXES[0], kept: str = AXES[1], *, by: str = "method") -> pd.DataFrame:
    """Each method's place between forgetting and keeping, and who is beaten on both.

    >>> imu.plot_pareto(imu.pareto(table))

    Args:
        table: as :func:`imu_lab.sweep` or :func:`imu_lab.trial` gives it.
        forget, kept: the columns across and up: distances to the retrained model, gaps to it (``"forget accuracy gap"``,
            of which the size counts), or what is known on a kept split (``"test accuracy"``).
        by: the column that tells methods apart.

    Returns:
        DataFrame, a row per method in the order of the table: ``across, up`` (what the axes are), ``x, x_low, x_high`` and
        ``y, y_low, y_high``, the means over ``seeds`` with 95 % intervals by Student's t, ``passes``, ``front`` (whether no
        other method is as good on both and better on one, by the means; doing nothing is one of them, the retrained
        model is the goal and none of them), ``dominated_by`` (who is, best on ``kept`` first). A row ``"two retrained
        models"`` is the noise floor, where the table knows it. Methods without numbers on both are left out.

    Raises:
        UnknownName: a column that the table does not have.
        ValueError: nobody can say which direction of a column is good.
    """
    for name in (forget, kept, by, "seed"):
        if name not in table:
            raise unknown("column in this table", name, list(table.columns))
    signs = {forget: _sign(forget), kept: _sign(kept)}
    given = table.assign(**{name: _sized(table[name], name) for name in (forget, kept)})
    costs = ["passes"] if "passes" in table else []
    found = over_seeds(given, list(dict.fromkeys([forget, kept, *costs])), by=[by])
    place = {name: found[found["quantity"] == name].set_index(by) for name in (forget, kept, *costs)}
    known = [each for each in place[forget].index if all(np.isfinite(place[at].loc[each, "mean"]) for at in signs)]
    rows = [
        {by: name, "across": forget, "up": kept, "seeds": int(place[forget].loc[name, "seeds"])}
        | _interval("x", place[forget].loc[name])
        | _interval("y", place[kept].loc[name])
        | {cost: place[cost].loc[name, "mean"] for cost in costs}
        for name in known
    ]
    return _floored(_fronted(pd.DataFrame(rows), by, signs[forget], signs[kept]), table, by, forget, kept)


def _fronted(frame: pd.DataFrame, by: str, across: int, up: int) -> pd.DataFrame:
    """With who is beaten by whom; the retrained model beats nobody, and is not beaten."""
    if not len(frame):
        return frame
    x, y = across * frame["x"].to_numpy(), up * frame["y"].to_numpy()  # small is good
    rivals = (frame[by] != RETRAINED).to_numpy()
    beaten = (x[None] <= x[:, None]) & (y[None] <= y[:, None]) & ((x[None] < x[:, None]) | (y[None] < y[:, None]))
    beaten &= rivals[None] & rivals[:, None]  # row by column
    best_first = np.argsort(y, kind="stable")
    names = frame[by].to_numpy()
    told = [", ".join(str(names[at]) for at in best_first if beaten[mine, at]) for mine in range(len(frame))]
    return frame.assign(front=rivals & ~beaten.any(1), dominated_by=told)


def _floored(frame: pd.DataFrame, table: pd.DataFrame, by: str, forget: str, kept: str) -> pd.DataFrame:
    """With a row for the noise floor, where the axes are distances and the table knows it."""
    others = [f"{name.split(' ')[0]} others" for name in (forget, kept)]
    if not len(frame) or (forget, kept) != AXES or not all(name in table for name in others):
        return frame
    x, y = table.loc[table[by] == RETRAINED, others].astype(float).mean()
    row = {by: FLOOR, "across": forget, "up": kept, "seeds": 0, "x": x, "y": y, "front": False, "dominated_by": ""}
    return pd.concat([frame, pd.DataFrame([row])], ignore_index=True) if np.isfinite(x + y) else frame


def _interval(axis: str, found: pd.Series) -> dict[str, float]:
    return {axis: found["mean"], f"{axis}_low": found["low"], f"{axis}_high": found["high"]}


def _sized(values: pd.Series, name: str) -> pd.Series:
    """Of a gap its size, for it is as bad to one side as to the other."""
    return values.astype(float).abs() if name.endswith(" gap") else values.astype(float)


def _sign(name: str) -> int:
    """1 where a small value of a column is good, −1 where a large one is.

    Raises:
        ValueError: neither can be said.
    """
    split, _, metric = name.partition(" ")
    if metric.endswith(" gap"):
        return 1
    quantity = describe(metric)
    if quantity.goal is not None:
        return 1 if quantity.goal == 0 else -1
    if split in KEPT and (metric == "loss" or quantity.good.endswith("low")):
        return 1
    if split in KEPT and quantity.good.endswith("high"):
        return -1
    raise ValueError(
        f"nobody can say which direction of {name!r} is good: forgotten means like the retrained model, so take "
        f"'{name} gap', or a distance such as {AXES[0]!r}"
    )
