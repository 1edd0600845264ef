"""The forget samples that hold one sample up, and those that work against it, as two strips of pictures."""

from __future__ import annotations

import ipywidgets as W
import pandas as pd

from .gallery import Gallery
from .ledger import Pictures

ROLES = {
    "supporter": "hold it up: pressing one of them raises this sample's loss",
    "opponent": "work against it: pressing one of them lowers this sample's loss",
}


class Supporters(W.VBox):
    """What :func:`imu_lab.supporters` says of one sample, in pictures or, without any, in numbers."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.words = {role: W.HTML().add_class("imu-about") for role in ROLES}
        self.strips = {role: Gallery(columns=8, size=36) for role in ROLES}
        super().__init__([each for role in ROLES for each in (self.words[role], self.strips[role])])
        self.add_class("imu-supporters")
        self.show(None)

    def show(self, table: pd.DataFrame | None) -> None:
        """Show this table; None hides the strips."""
        self.layout.display = "none" if table is None else None
        if table is None:
            return
        for role, meaning in ROLES.items():
            examples = table.loc[table["role"] == role, "example"].tolist()
            pictures = self._pictures.of(examples)
            names = [] if pictures is not None and examples else [": ", ", ".join(map(str, examples)) or "nobody"]
            self.words[role].value = f"<p>{''.join([meaning, *names])}</p>"
            self.strips[role].show(pictures, [str(example) for example in examples])
