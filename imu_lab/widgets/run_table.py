"""A table of runs with a line to filter it and a menu to order it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import ipywidgets as W
import pandas as pd

from ..core.records import Run
from ..core.taken import several_runs
from ..studies.chosen_runs import chosen_runs
from ..studies.comparison import compare
from .base import tables, theme
from .base.job import Job

SHOWN = 200  # rows; a browser takes seconds for thousands
FIRST = ("run", "arm", "method", "setting", "needs", "seed", "updates", "passes", "reached", "error")
LONG = 40  # letters beyond which a cell's words get room for a few lines, and not for one word each
WIDE = W.Layout(width="auto", flex="1 1 auto")


class RunTable(W.VBox):
    """What :func:`run_table` shows.

    Attributes:
        where: the line of conditions. by: the column that orders. falling: whether large values come first.
        table: the rows that are shown, in their order.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._whole = self.table = table
        self.where = W.Text(
            description="filter",
            placeholder="scrub, seed = 0, test accuracy > 0.9",
            continuous_update=True,
            style={"description_width": "36px"},
            layout=WIDE,
        )
        orders = [("as they are", ""), *((str(each), each) for each in table)]
        self.by = W.Dropdown(options=orders, description="order by", style={"description_width": "60px"},
                             layout=W.Layout(width="240px"))  # fmt: skip
        self.falling = W.Checkbox(False, description="largest first", indent=False, layout=W.Layout(width="110px"))
        self.words, self.rows = (
            W.HTML().add_class("imu-status"),
            W.HTML().add_class("imu-table").add_class("imu-scores"),
        )
        super().__init__([theme.style_sheet(), W.HBox([self.where, self.by, self.falling]), self.words, self.rows])
        self.add_class("imu-panel")
        for control in (self.where, self.by, self.falling):
            control.observe(self._follow, "value")
        self._show()

    def _follow(self, _: Any) -> None:
        """Something was asked for; what cannot be shown is told, and the rows stay."""
        try:
            self._show()
        except ValueError as error:
            self._tell(str(error))
        except Exception as error:  # ipywidgets would swallow it
            Job.fail(error)
            self._tell(f"{type(error).__name__}: {error}")

    def _tell(self, words: str) -> None:
        self.words.value = f'<span role="alert">{escape(" ".join(words.split()))}</span>'

    def _show(self) -> None:
        """The rows that fit, in their order; ValueError says what cannot be read, or has no order."""
        found = chosen_runs(self._whole, self.where.value)
        if self.by.value:
            found = self._ordered(found)
        rows = _html(found.head(SHOWN))
        more = f"; the first {SHOWN} are shown" if len(found) > SHOWN else ""
        self.table, self.rows.value = found, rows
        self.words.value = f"{len(found)} of {len(self._whole)} runs{more}"

    def _ordered(self, found: pd.DataFrame) -> pd.DataFrame:
        try:
            return found.sort_values(self.by.value, ascending=not self.falling.value, kind="stable")
        except TypeError:
            kinds = sorted({type(value).__name__ for value in found[self.by.value]})
            raise ValueError(
                f"{self.by.value!r} holds values of several kinds ({', '.join(kinds)}), which have no common order; "
                "order by another column"
            ) from None

    def _repr_mimebundle_(self, **how: Any) -> Any:
        bundle = super()._repr_mimebundle_(**how)
        if bundle is None:
            return bundle
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data = {**data, "text/html": self.rows.value}
        return (data, *rest) if rest else data


def run_table(runs: pd.DataFrame | Run | Iterable[Run]) -> RunTable:
    """Runs in a table with a line to filter and a menu to order them.

    >>> imu.run_table(imu.sweep(task, ["imu", "delete"], {"lr": [0.01, 0.1]}))

    Args:
        runs: the table of :func:`imu_lab.sweep`, :func:`imu_lab.trial` or :func:`imu_lab.compare`, or runs.

    Returns:
        A widget whose ``.table`` holds the rows that are shown. Conditions stand with commas between them (see
        :func:`imu_lab.chosen_runs`).

    Raises:
        TypeError: it is neither a table nor runs.
    """
    return RunTable(runs if isinstance(runs, pd.DataFrame) else compare(several_runs(runs, "run_table")))


def _html(table: pd.DataFrame) -> str:
    """The rows as HTML, in the order of the columns that tell most, without changes and gaps, which are many."""
    names = [name for name in FIRST if name in table]
    names += [name for name in table if name not in names and not str(name).endswith((" change", " gap"))]
    names.sort(key=lambda name: name == "verdict")  # whole sentences come last
    look = {name: _look(table[name]) for name in names}
    head = "".join(f"<th{look[name]}>{escape(str(name))}</th>" for name in names)
    body = [
        "<tr>" + "".join(f"<td{look[name]}>{tables.number(None if pd.isna(row[name]) else row[name], str(name))}</td>"
                         for name in names) + "</tr>"
        for row in table.to_dict("records")
    ]  # fmt: skip
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div style="overflow: auto; max-height: 420px">{whole}</div>'


def _look(column: pd.Series) -> str:
    """The class of a column's cells: words stand left, and sentences get room."""
    longest = max((len(each) for each in column if isinstance(each, str)), default=0)
    return f' class="imu-word{" imu-long" if longest > LONG else ""}"' if longest else ""
