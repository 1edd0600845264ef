"""Which setting of a method is the best, by a rule that is the same for all methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..core.messages import unknown
from ..core.quantities import KEPT, describe
from .arms import SHUFFLED, UNIFORM, Arm

DISTANCE = "test kl_retrained"
Best = str | tuple[str, str]  # a column whose good direction is known, or (column, "<=") or (column, ">=")


def best_arm(table: pd.DataFrame, arms: Iterable[str], by: Best = DISTANCE, *, goal: bool = True) -> str:
    """The arm that reached its goal under most seeds, and of those the best by the mean of a column; else the first.

    Args:
        table: as :func:`imu_lab.trial` or :func:`imu_lab.sweep` gives it.
        by: the column, a gap by its size; ``(column, "<=")`` or ``(column, ">=")`` where its good direction is not known.
        goal: whether reaching the goal counts, which it does not for arms that are read at their end in any case.

    Raises:
        UnknownName: there is no such column.
        ValueError: nobody can say which direction of the column is good.
    """
    column = column_of(by)
    if column not in table:
        raise unknown("column to choose a setting by", column, [name for name in table if table[name].dtype == float])
    sign = sign_of(column) if isinstance(by, str) else -1 if by[1] in (">=", ">") else 1

    def standing(arm: str) -> tuple[int, float]:
        rows = table[table["arm"] == arm]
        values = sized(rows[column], column)
        return -int(rows["reached"].sum()) if goal else 0, sign * values.mean() if values.notna().any() else np.inf

    return min(arms, key=standing)


def column_of(by: Best) -> str:
    """The column that decides."""
    return by if isinstance(by, str) else by[0]


def standings(table: pd.DataFrame, arms: Iterable[str], by: Best = DISTANCE) -> dict[str, dict[str, float]]:
    """By arm: under how many seeds it ``reached`` the goal, and the mean of the column that decides."""
    column = column_of(by)
    rows = {arm: table[table["arm"] == arm] for arm in arms}
    return {
        arm: {"reached": int(mine["reached"].sum()), column: float(sized(mine[column], column).mean())}
        for arm, mine in rows.items()
    }


def fair(arms: list[Arm]) -> None:
    """Raise ValueError unless all methods have as many settings to try; of controls those of what they control."""
    counts = Counter(arm.of for arm in arms if arm.of not in (UNIFORM, SHUFFLED))
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"every method gets the same number of settings to try, for one left at its defaults is no baseline; here are {told}"
        )


def sized(values: pd.Series, name: str) -> pd.Series:
    """Of a gap its size, for it is as bad to one side as to the other."""
    return values.astype(float).abs() if name.endswith(" gap") else values.astype(float)


def sign_of(name: str) -> int:
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
        f"'{name} gap', or a distance such as {DISTANCE!r}"
    )
