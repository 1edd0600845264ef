"""Which setting of a method is the best, by a rule that is the same for all methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..core.messages import unknown
from .arms import SHUFFLED, UNIFORM, Arm

DISTANCE = "test kl_retrained"
Best = str | tuple[str, str]  # a column that is to be small, or (column, ">=") for one that is to be large


def best_arm(table: pd.DataFrame, arms: Iterable[str], by: Best = DISTANCE, *, goal: bool = True) -> str:
    """The arm that reached its goal under most seeds, and of those the best by the mean of a column; else the first.

    Args:
        table: as :func:`imu_lab.trial` or :func:`imu_lab.sweep` gives it.
        by: the column, least is best; ``(column, ">=")`` for one that is to be large.
        goal: whether reaching the goal counts, which it does not for arms that are read at their end in any case.

    Raises:
        UnknownName: there is no such column.
    """
    column, operator = (by, "<=") if isinstance(by, str) else by
    if column not in table:
        raise unknown("column to choose a setting by", column, [name for name in table if table[name].dtype == float])
    sign = -1 if operator in (">=", ">") else 1

    def standing(arm: str) -> tuple[int, float]:
        rows = table[table["arm"] == arm]
        values = rows[column].astype(float)
        return -int(rows["reached"].sum()) if goal else 0, sign * values.mean() if values.notna().any() else np.inf

    return min(arms, key=standing)


def standings(table: pd.DataFrame, arms: Iterable[str], by: Best = DISTANCE) -> dict[str, dict[str, float]]:
    """By arm: under how many seeds it ``reached`` the goal, and the mean of the column that decides."""
    column = by if isinstance(by, str) else by[0]
    rows = {arm: table[table["arm"] == arm] for arm in arms}
    return {
        arm: {"reached": int(mine["reached"].sum()), column: float(mine[column].astype(float).mean())}
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
