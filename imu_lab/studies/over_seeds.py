"""What several seeds say together: a mean with its interval, or the difference to a control, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..core.messages import unknown

LEVEL = 0.95


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
        is NaN for fewer than two. ``attrs["against"]`` is the control.

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
    found = found.reset_index()
    found.attrs["against"] = against
    return found


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
