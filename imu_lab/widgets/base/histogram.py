"""A histogram of a column that one draws over to select samples: a small widget of its own, for plotly needs ten times as long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from ...core.quantities import describe
from ...studies.brushing import Bars
from . import tables
from .steady import STEADY

DRAWING = (Path(__file__).parent / "histogram.js").read_text(encoding="utf-8")


class Histogram(anywidget.AnyWidget):
    """The bars of a column; the marked ones are told to whoever listens.

    Args:
        column: its name.
        bars: the histogram of all samples.
        marked: is called when bars were marked, or are no longer.
        removed: is called when the histogram is to go.

    Attributes:
        span: the first and the last marked bar; empty for none.
        now: how many of each bar are selected.
    """

    _esm = (
        DRAWING
        + f"const steady = {STEADY};"
        + """
    export default { initialize({ model }) { steady(model) }, render({ model, el }) {
      const [head, foot] = ["p", "p"].map(() => document.createElement("p")), title = document.createElement("span");
      const close = Object.assign(document.createElement("button"), { textContent: "×", title: "Remove this histogram" });
      close.setAttribute("aria-label", `Remove the histogram of ${model.get("title")}`);
      title.textContent = model.get("title"); title.title = model.get("meaning");
      close.onclick = () => model.send("remove");
      head.append(title, close);
      foot.className = "imu-note";
      for (const words of model.get("ends")) foot.append(Object.assign(document.createElement("span"), { textContent: words }));
      el.append(head);
      const marked = span => { model.set("span", span ?? []); model.save_changes() };
      const drawing = brushable(el, { counts: model.get("counts"), label: model.get("label"), marked });
      el.append(foot);
      const show = () => drawing.show(model.get("now"), model.get("span").length ? model.get("span") : null);
      model.on("change:now change:span", show);
      show();
      return () => model.off("change:now change:span", show);
    } }"""
    )
    title, meaning, label = (traitlets.Unicode().tag(sync=True) for _ in range(3))
    ends, counts, now, span = (traitlets.List().tag(sync=True) for _ in range(4))

    def __init__(self, column: str, bars: Bars, marked: Callable[[], Any], removed: Callable[[Histogram], Any]) -> None:
        self.column, self.bars = column, bars
        about, counts = describe(column), bars.counts.tolist()
        known = bars.ends[np.isfinite(bars.ends).all(1)]
        low, high = (tables.number(float(end), column) for end in (known[0, 0], known[-1, 1]))
        ends = [low, high if len(known) == len(bars.ends) else f"{high} | none"]
        super().__init__(title=about.title, meaning=about.meaning, counts=counts, now=counts, ends=ends,
                         label=f"Histogram of {about.title}, from {low} to {high}", _dom_classes=("imu-histogram",))  # fmt: skip
        self.observe(lambda _: marked(), "span")
        self.on_msg(lambda _, said, __: removed(self) if said == "remove" else None)

    @property
    def within(self) -> np.ndarray:
        """(n,) whether each sample is in a marked bar; all are where none is marked."""
        return self.bars.within(*self.span) if self.span else np.ones(len(self.bars.bar), dtype=bool)

    def tell(self, selected: np.ndarray) -> None:
        """Show how many of each bar are among (n,) selected samples."""
        self.now = np.bincount(self.bars.bar[selected], minlength=len(self.counts)).tolist()
