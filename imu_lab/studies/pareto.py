"""Who is not beaten on both counts: forgetting and keeping, means over seeds, and what it cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.messages import unknown
from ..core.taken import a_table
from .cells import RETRAINED
from .trial import over_seeds
from .tuning import DISTANCE, sign_of, sized

FLOOR = "two retrained models"
AXES = ("forget kl_retrained", DISTANCE)


def pareto(table: pd.DataFrame, forget: str = AXES[0], kept: str = AXES[1], *, by: str | None = None) -> pd.DataFrame:
    """Each method's place between forgetting and keeping, and who is beaten on both.

    >>> imu.plot_pareto(imu.pareto(table))

    Args:
        table: as :func:`imu_lab.sweep` or :func:`imu_lab.trial` gives it.
        forget, kept: the columns across and up: distances to the retrained model, gaps to it (``"forget accuracy gap"``,
            of which the size counts), or what is known on a kept split (``"test accuracy"``).
        by: the column that tells methods apart; None for ``"method"``, or ``"arm"`` where there is no such column.

    Returns:
        DataFrame, a row per method in the order of the table: ``across, up`` (what the axes are), ``x, x_low, x_high`` and
        ``y, y_low, y_high``, the means over ``seeds`` with 95 % intervals by Student's t, ``passes``, ``front`` (whether no
        other method is as good on both and better on one, by the means; doing nothing is one of them, the retrained
        model is the goal and none of them), ``dominated_by`` (who is, best on ``kept`` first). Of a method that never got there
        under some seeds the means are over the others, ``seeds`` of ``of``: it beats nobody who got there more often. A row
        ``"two retrained models"`` is the noise floor, where the table knows it. Methods without numbers on both are left out;
        ``.attrs["without"]`` names them.

    Raises:
        TypeError: it is no table.
        UnknownName: a column that the table does not have.
        ValueError: nobody can say which direction of a column is good; or what stands under one name has several rows for a
            seed, so that settings or kinds of step would be pooled as if they were seeds.
    """
    by = by or ("method" if "method" in a_table(table, "pareto") else "arm")
    for name in (forget, kept, by, "seed"):
        if name not in table:
            raise unknown("column in this table", name, list(table.columns))
    if (several := table.duplicated([by, "seed"])).any():
        raise ValueError(
            f"{by} {table.loc[several, by].iloc[0]!r} has several rows for one seed, so that its settings would be pooled as if "
            "they were seeds; say by='arm', or keep one setting and one kind of step"
        )
    signs = {forget: sign_of(forget), kept: sign_of(kept)}
    given = table.assign(**{name: sized(table[name], name) for name in (forget, kept)})
    costs = ["passes"] if "passes" in table else []
    found = over_seeds(given, list(dict.fromkeys([forget, kept, *costs])), by=[by])
    place = {name: found[found["quantity"] == name].set_index(by) for name in (forget, kept, *costs)}
    known = [each for each in place[forget].index if all(np.isfinite(place[at].loc[each, "mean"]) for at in signs)]
    got = pd.concat([place[at]["seeds"] for at in signs], axis=1).min(axis=1)
    rows = [
        {by: name, "across": forget, "up": kept, "seeds": int(got[name]), "of": int(place[forget].loc[name, "of"])}
        | _interval("x", place[forget].loc[name])
        | _interval("y", place[kept].loc[name])
        | {cost: place[cost].loc[name, "mean"] for cost in costs}
        for name in known
    ]
    front = _floored(_fronted(pd.DataFrame(rows), by, signs[forget], signs[kept]), table, by, forget, kept)
    front.attrs["without"] = [str(name) for name in place[forget].index if name not in known]
    return front


def _fronted(frame: pd.DataFrame, by: str, across: int, up: int) -> pd.DataFrame:
    """With who is beaten by whom; the retrained model beats nobody, and is not beaten."""
    if not len(frame):
        return frame
    x, y = across * frame["x"].to_numpy(), up * frame["y"].to_numpy()  # small is good
    rivals = (frame[by] != RETRAINED).to_numpy()
    beaten = (x[None] <= x[:, None]) & (y[None] <= y[:, None]) & ((x[None] < x[:, None]) | (y[None] < y[:, None]))
    beaten &= rivals[None] & rivals[:, None]  # row by column
    reached = (frame["seeds"] / frame["of"]).to_numpy()
    beaten &= reached[None] >= reached[:, None]
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
    row = {by: FLOOR, "across": forget, "up": kept, "x": x, "y": y}
    row |= {"seeds": 0, "of": 0, "front": False, "dominated_by": ""}
    return pd.concat([frame, pd.DataFrame([row])], ignore_index=True) if np.isfinite(x + y) else frame


def _interval(axis: str, found: pd.Series) -> dict[str, float]:
    return {axis: found["mean"], f"{axis}_low": found["low"], f"{axis}_high": found["high"]}
