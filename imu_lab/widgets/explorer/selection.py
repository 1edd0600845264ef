"""What is shown of a selection: how many it has, what tells them from the others, their pictures and their ids."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as W
import numpy as np
import pandas as pd

from ...studies.brushing import Rule, explain_selection
from ..base.gallery import Gallery
from ..base.job import Job, Report
from ..base.ledger import Pictures, quantities
from .brushes import Brushes

SHOWN = 30  # pictures of a selection
SELECT = "Draw around samples on the map, or over histograms, to select some; several histograms filter together."


class Selection:
    """The views of the selected samples, without the map, the trajectories and the ledger.

    Attributes:
        count: how many, and by which histograms. why: in words, what tells them from the others.
        gallery: some of their pictures, and ``shown`` how many. ids: theirs, to be copied.
        rows: all of these but ``count``, and the histograms, one under the other.
        explaining: works out what ``why`` says.
    """

    def __init__(self, brushes: Brushes, pictures: Pictures, choose: Callable, on_error: Callable) -> None:
        self.brushes, self.pictures = brushes, pictures
        self.count = W.HTML().add_class("imu-about").add_class("imu-count")
        self.why = W.HTML().add_class("imu-about").add_class("imu-why")
        self.shown = W.HTML().add_class("imu-about")
        self.gallery = Gallery(choose, columns=SHOWN // 2, size=44).add_class("imu-gallery")
        self.ids = W.Textarea(rows=1, description="ids", tooltip="The selected forget samples, to be copied.",
                              style={"description_width": "30px"}, layout=W.Layout(width="auto")).add_class("imu-ids")  # fmt: skip
        self.rows = [brushes, self.why, self.shown, self.gallery, self.ids]
        self.explaining = Job(self._explain, self._told_why, on_error=on_error)
        self._samples, self._selected = pd.DataFrame(), None

    def show(self, samples: pd.DataFrame, mine: np.ndarray, selected: list[int] | None) -> None:
        """Show some samples of a ledger.

        Args:
            mine: (m,) those of them that are selected.
            selected: these, and others beside the forget set; None where nothing was selected.
        """
        self._samples, self._selected = samples, selected
        self._show_gallery(mine.tolist() if selected is None else selected)
        self.brushes.offer(samples, quantities(samples))
        self.brushes.tell(mine)
        self.ids.value = ", ".join(map(str, mine))
        self._show_count(len(mine), len(samples))

    def _show_count(self, count: int, among: int) -> None:
        """How many are selected, by which histograms, and, worked out meanwhile, what tells them from the others."""
        filtered = "; ".join(self.brushes.marked.values())
        none = "" if count else "; no sample passes all filters: double-click a histogram, or show all"
        words = f"{count:,} of {among:,} forget samples{none}{f' ({filtered})' if filtered else ''}"
        self.count.value = f"<p>{escape(words)}</p>"
        if self._selected is None:
            self.why.value = f"<p>{SELECT}</p>"
        else:
            self.explaining.submit(self._selected)

    def _explain(self, selected: list[int], report: Report) -> Rule:
        """What else than the marked columns tells the selected from the others."""
        columns = [name for name in quantities(self._samples) if name not in self.brushes.marked]
        return explain_selection(self._samples, selected, columns)

    def _told_why(self, rule: Rule) -> None:
        if self._selected is not None:
            words = str(rule)
            self.why.value = f"<p>{escape(words[:1].upper() + words[1:])}.</p>"

    def _show_gallery(self, examples: list[int]) -> None:
        count = len(examples)
        if count > SHOWN:
            examples = [examples[at] for at in np.linspace(0, count - 1, SHOWN).round().astype(int)]
        pictures = self.pictures.of(examples)
        self.gallery.show(pictures, [str(example) for example in examples], examples)
        thinned = pictures is not None and count > len(examples)
        self.shown.value = f"<p>{len(examples)} of {count:,} pictures, evenly spaced</p>" if thinned else ""
