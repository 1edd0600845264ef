"""The forget samples whose pressure damaged a kept sample most, as first order predicts it: a strip of pictures."""

from __future__ import annotations

import ipywidgets as W
import pandas as pd

from . import tables
from .gallery import Gallery
from .ledger import Pictures

SHOWN = 6
ABOUT = "Pressing these damaged it most, as predicted by first order from the original model (nats of loss)"


class Responsible(W.VBox):
    """What :func:`imu_lab.responsible` says of one kept sample, in pictures or, without any, in numbers."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.words = W.HTML().add_class("imu-about")
        self.strip = Gallery(columns=SHOWN, size=44)
        super().__init__([self.words, self.strip])
        self.add_class("imu-responsible")
        self.show(None)

    def show(self, table: pd.DataFrame | None) -> None:
        """Show the worst of this table; None hides the strip."""
        self.layout.display = "none" if table is None else None
        if table is None:
            return
        worst = table[table["predicted"] > 0].head(SHOWN)
        names = [f"{row.example}: {tables.number(row.predicted)}" for row in worst.itertuples()]
        pictures = self._pictures.of(worst["example"].tolist())
        told = [] if pictures is not None and names else [": ", ", ".join(names) or "nobody did"]
        self.words.value = f"<p>{''.join([ABOUT, *told])}</p>"
        self.strip.show(pictures, names)
