"""Histograms of any columns of the ledger, several at once: what is marked in all of them is selected everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets as W
import numpy as np
import pandas as pd

from ...studies.brushing import bars
from ..base.closing import close_all
from ..base.histogram import Histogram
from ..base.ledger import menu

FIRST = ("time_to_forget", "confidence_before", "pressure")  # shown at first, where they are known


class Brushes(W.VBox):
    """Histograms, and a menu for more of them; ``changed`` is called when what they let through has changed.

    Attributes:
        histograms: from a column to its :class:`Histogram`.
    """

    def __init__(self, changed: Callable[[], Any]) -> None:
        self._changed, self._silent = changed, False
        self._samples, self._columns = pd.DataFrame({"example": []}), []
        self.histograms: dict[str, Histogram] = {}
        self.column = W.Dropdown(description="histogram of", style={"description_width": "92px"},
                                 layout=W.Layout(width="280px"))  # fmt: skip
        self.more = W.Button(description="Add", tooltip="Draw over a histogram to select by it; a double click clears it.",
                             layout=W.Layout(width="auto"))  # fmt: skip
        self.more.on_click(lambda _: self.add(self.column.value))
        self._row = W.HBox(layout=W.Layout(flex_flow="row wrap"))
        super().__init__([self._row, W.HBox([self.column, self.more])])
        self.add_class("imu-brushes")

    def offer(self, samples: pd.DataFrame, columns: list[str]) -> None:
        """Take this ledger's columns; marks are kept where a histogram is the same as before, and forgotten elsewhere."""
        if self._samples is samples:
            return
        before, self._samples = self.histograms, samples
        self._columns, self.histograms = columns, {}
        for name in [name for name in before or FIRST if name in columns]:
            self.add(name)
            earlier = before.get(name)
            if earlier and np.array_equal(earlier.bars.bar, self.histograms[name].bars.bar):
                self._mark(self.histograms[name], earlier.span)
        self._follow()
        close_all(before.values())

    def add(self, column: str | None) -> None:
        """Show the histogram of this column, too."""
        if column is None or column in self.histograms:
            return
        made = Histogram(column, bars(self._samples[column].astype(float)), self._marked, self.remove)
        self.histograms[column] = made
        self._follow()
        made.tell(self.passing)

    def remove(self, histogram: Histogram) -> None:
        """Take a histogram away, and what was marked in it."""
        self.histograms.pop(histogram.column, None)
        self._follow()
        histogram.close()
        self._changed()

    def _follow(self) -> None:
        """Show the histograms that there are, and offer the other columns."""
        self._row.children = list(self.histograms.values())
        rest = [name for name in self._columns if name not in self.histograms]
        self.column.options = menu(rest)
        self.column.value = next(iter(rest), None)
        self.more.disabled = self.column.disabled = not rest

    def clear(self) -> None:
        """Mark nothing any more; nobody is told."""
        for each in self.histograms.values():
            self._mark(each, [])

    def _mark(self, histogram: Histogram, span: list[int]) -> None:
        self._silent = True
        try:
            histogram.span = list(span)
        finally:
            self._silent = False

    def _marked(self) -> None:
        if not self._silent:
            self._changed()

    @property
    def marked(self) -> dict[str, str]:
        """The columns in which something is marked, and what, in words."""
        return {
            name: f"{each.title} {each.bars.words(*each.span)}" for name, each in self.histograms.items() if each.span
        }

    @property
    def passing(self) -> np.ndarray:
        """(n,) whether each sample of the ledger is marked in all histograms in which anything is."""
        return np.logical_and.reduce(
            [np.ones(len(self._samples), bool), *(each.within for each in self.histograms.values())]
        )

    def examples(self) -> list[int] | None:
        """Those that pass; None where nothing is marked."""
        return self._samples.loc[self.passing, "example"].tolist() if self.marked else None

    def tell(self, selected: Iterable[int]) -> None:
        """Show which samples are selected."""
        mine = self._samples["example"].isin(list(selected)).to_numpy()
        for each in self.histograms.values():
            each.tell(mine)
