"""Rows of a table of runs that fit some words or conditions."""

from __future__ import annotations

import re
from operator import eq, ne

import pandas as pd

from ..core.messages import listed, unknown
from ..core.taken import a_table
from ..unlearning.driver import COMPARISONS

BETWEEN = re.compile(r",(?![^(]*\))")  # a comma, but for those within brackets, as names of arms have them
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
CONDITION = re.compile(r"^(.+?)\s*(<=|>=|==|!=|<|>|=)\s*(.+)$")
COMPARE = {**COMPARISONS, "==": eq, "!=": ne}


def chosen_runs(table: pd.DataFrame, where: str = "") -> pd.DataFrame:
    """The rows of a table of runs that fit all of some conditions.

    Args:
        table: as :func:`imu_lab.compare` or :func:`imu_lab.sweep` gives it.
        where: conditions with commas between them: ``test accuracy > 0.9``, ``seed = 0``, ``method = imu``, or words that a row
            holds somewhere, such as ``scrub``.

    Raises:
        TypeError: it is no table.
        UnknownName: a condition on a column that the table does not have.
        ValueError: a number compared with words.
    """
    chosen = a_table(table, "chosen_runs")
    for part in filter(None, (each.strip() for each in BETWEEN.split(where))):
        chosen = chosen[_fits(chosen, part)]
    return chosen


def _fits(table: pd.DataFrame, part: str) -> pd.Series:
    """Whether each row fits one condition."""
    found = CONDITION.match(part)
    if found is None:
        words = table.select_dtypes(exclude="number").astype(str)
        held = [words[name].str.contains(part, case=False, regex=False) for name in words]
        return pd.concat(held, axis=1).any(axis=1) if held else pd.Series(False, table.index)
    name, operator, value = found.groups()
    if name not in table:
        raise unknown("column in this table", name, list(table.columns))
    compare, column = COMPARE["==" if operator == "=" else operator], table[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        try:
            return compare(column, float(value)).fillna(False).astype(bool)
        except ValueError:
            raise ValueError(f"{name!r} holds numbers; got {value!r} to compare with") from None
    if pd.api.types.is_bool_dtype(column) and operator in ("=", "==", "!="):
        if (wanted := TRUTHS.get(value.strip("'\"").casefold())) is None:
            raise ValueError(f"{name!r} holds true or false; got {value!r} to compare with")
        return compare(column, wanted)
    if operator in ("<", ">", "<=", ">="):
        some = [str(each) for each in column.dropna().unique()[:8]]
        raise ValueError(f"{name!r} holds words, which have no order; say {name} = one of {listed(some)}")
    return compare(column.astype(str), value.strip("'\""))
