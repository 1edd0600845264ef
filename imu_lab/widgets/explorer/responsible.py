"""The forget samples whose pressure damaged a kept sample most, as first order predicts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from ..base import tables
from ..base.ledger import Pictures
from ..base.strip import Strip

SHOWN = 6
ABOUT = "Pressing these damaged it most, by a first-order prediction from the original model (nats of loss)"


class Responsible(Strip):
    """What :func:`imu_lab.responsible` says of one kept sample; ``clicked`` takes the example that is clicked."""

    def __init__(self, pictures: Pictures, clicked: Callable[[int], Any] | None = None) -> None:
        super().__init__(pictures, clicked, columns=3, size=44)
        self.add_class("imu-responsible")
        self.tell(None)

    def tell(self, table: pd.DataFrame | None) -> None:
        """Show the worst of this table; None hides the strip."""
        self.layout.display = "none" if table is None else None
        if table is not None:
            worst = table[table["predicted"] > 0].head(SHOWN)
            names = [f"{row.example}: {tables.number(row.predicted)}" for row in worst.itertuples()]
            self.show(ABOUT, worst["example"].tolist(), names)
