"""The ledger as a view: one row per forget sample, sorted by any column, with its picture; and one sample's card."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets as W
import numpy as np
import pandas as pd

from ...core.memo import remembered
from ...core.records import Run
from ...studies.brushing import quantities
from ...studies.resistance import resistance
from ...tasks.protocol import pictures_of
from . import gallery, tables
from .overlay import Overlay, covered

ROWS = 8
STRIP = 20  # pictures
THUMBNAIL = 24  # pixels
KEPT_PICTURES = 4096


class Pictures:
    """Pictures of a task's samples, each drawn once; a task without pictures has none."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self.tag = remembered(KEPT_PICTURES)(self._tag)

    def of(self, examples: list[int]) -> np.ndarray | None:
        """uint8 (n, h, w, 3), or None where there are none."""
        return pictures_of(self._task, examples) if examples else None

    def _tag(self, example: int, size: int = THUMBNAIL) -> str:
        """An ``<img>`` of the example, ``size`` pixels high, or nothing."""
        pictures = self.of([example])
        if pictures is None:
            return ""
        address = gallery.data_address(pictures[0], size)
        return f'<img alt="example {example}" height="{size}" src="{address}">'


class Ledger(W.VBox):
    """The top of the ledger, by any column, either way round: a strip of pictures, and a table; each sample a button.

    ``turn`` steps through it, row by row, whatever the rows are sorted by. ``samples`` holds the rows that are shown.
    """

    def __init__(self, pictures: Pictures, choose: Callable[[int], None]) -> None:
        self._pictures, self._choose = pictures, choose
        self.samples = pd.DataFrame({"example": []})
        self._drawn: list[int] = []
        self.chosen: int | None = None
        self.by = W.Dropdown(
            options=menu(tables.LEDGER),
            value="pressure",
            description="sort by",
            style={"description_width": "50px"},
            layout=W.Layout(width="220px"),
        )
        self.order = W.ToggleButtons(
            options=[("highest first", False), ("lowest first", True)], style={"button_width": "auto"}
        )
        self.back, self.forth = (
            W.Button(icon=icon, tooltip=tip, layout=W.Layout(width="34px"))
            for icon, tip in (("chevron-left", "the sample above"), ("chevron-right", "the sample below"))
        )
        self.strip = gallery.Gallery(choose, columns=STRIP, size=36).add_class("imu-strip")
        self.table = W.HTML().add_class("imu-table")
        self.rows = Overlay(choose)
        head = W.HBox([self.by, self.order, self.back, self.forth], layout=W.Layout(flex_flow="row wrap"))
        super().__init__([head, self.strip, covered(self.table, self.rows).add_class("imu-rows")])
        self.add_class("imu-ledger")

    def show(self, samples: pd.DataFrame, columns: list[str] | None = None) -> None:
        """Show these rows of a run's ledger, to be sorted by these columns; None for all that hold quantities."""
        self.samples = samples
        self._offer(quantities(samples) if columns is None else columns)
        self.refresh()

    def _offer(self, columns: list[str]) -> None:
        """Offer these columns to sort by, and stay with the chosen one where it is among them."""
        if [name for _, name in self.by.options] != columns:
            wanted = self.by.value if self.by.value in columns else next(iter(columns), None)
            self.by.options = menu(columns)
            self.by.value = wanted

    def refresh(self, *_: Any) -> None:
        """Show the rows again: the order or the chosen sample has changed."""
        rows = self._sorted()
        page = rows.iloc[self._page(rows, ROWS) :][:ROWS]
        self.rows.show(page["example"].tolist())
        self.table.value = tables.ledger(page, self.by.value, self._pictures.tag, self.chosen)
        examples = rows["example"].iloc[self._page(rows, STRIP) :][:STRIP].tolist()
        if self._drawn != examples:  # most answers leave the order as it was
            self._drawn = examples
            self.strip.show(self._pictures.of(examples), examples=examples)
        self.strip.mark(self.chosen)

    def turn(self, by: int) -> None:
        """Choose the sample that many rows further down, or up."""
        examples = self._sorted()["example"].tolist()
        if examples:
            at = examples.index(self.chosen) + by if self.chosen in examples else 0
            self._choose(int(examples[max(0, min(at, len(examples) - 1))]))

    def _sorted(self) -> pd.DataFrame:
        if self.by.value not in self.samples:
            return self.samples
        return self.samples.sort_values(self.by.value, ascending=self.order.value, kind="stable")

    def _page(self, rows: pd.DataFrame, length: int) -> int:
        """The first row of the page that holds the chosen sample."""
        examples = rows["example"].tolist()
        return examples.index(self.chosen) // length * length if self.chosen in examples else 0


def menu(columns: Iterable[str]) -> list[tuple[str, str]]:
    """Columns under their titles."""
    return [(tables.title(name), name) for name in columns]


def widened(samples: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The ledger with the columns of another table that it does not have.

    Raises:
        ValueError: a table does not say whose its rows are.
    """
    for each in (samples, table):
        if "example" not in each:
            known = ", ".join(map(str, each.columns)) or "none"
            raise ValueError(f"the table has no column 'example', which says whose its rows are; it has: {known}")
    more = table[["example", *[name for name in table.columns if name not in samples]]].drop_duplicates("example")
    return samples.merge(more, on="example", how="left")


def withstood(run: Run, uniform: Run | None = None) -> pd.DataFrame:
    """How each sample withstood the run (:func:`imu_lab.resistance`); a run without margins, as one read from files, tells none."""
    return resistance(run, uniform=uniform) if "margin" in run.trajectory else run.samples[["example"]]


def card(look: str, example: int, runs: list[tuple[str, str, Run]]) -> str:
    """The card of one sample as HTML.

    Args:
        look: the task's own HTML of it.
        example: its index in the training split.
        runs: (name, colour, run), the main run first.
    """
    row = runs[0][2].samples.set_index("example").loc[example]
    facts = {name: row[name] for name in tables.LEDGER if name in row}
    lines = [(name, colour, confidence(run, example)) for name, colour, run in runs]
    return tables.card(look, facts, lines)


def confidence(run: Run, example: int) -> pd.Series:
    """One sample's confidence, by update."""
    rows = run.trajectory[run.trajectory["example"] == example]
    return rows.set_index("step")["confidence"]
