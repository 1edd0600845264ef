"""The proponents and the opponents of one sample among the forget samples, as two strips of pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as W
import pandas as pd

from ..base.ledger import Pictures
from ..base.strip import Strip

ROLES = {
    "proponent": "Proponents: pressing one of them raises this sample's loss",
    "opponent": "Opponents: pressing one of them lowers this sample's loss",
}


class Proponents(W.VBox):
    """What :func:`imu_lab.proponents` says of one sample; ``clicked`` takes the example that is clicked."""

    def __init__(self, pictures: Pictures, clicked: Callable[[int], Any]) -> None:
        self.strips = {role: Strip(pictures, clicked, columns=6, size=36) for role in ROLES}
        super().__init__(list(self.strips.values()))
        self.add_class("imu-proponents")
        self.show(None)

    def show(self, table: pd.DataFrame | None) -> None:
        """Show this table; None hides the strips."""
        self.layout.display = "none" if table is None else None
        if table is None:
            return
        for role, meaning in ROLES.items():
            examples = table.loc[table["role"] == role, "example"].tolist()
            self.strips[role].show(meaning, examples, [str(example) for example in examples])
