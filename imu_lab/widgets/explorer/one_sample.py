"""One sample of a run: its card, what models answer to it, its neighbours, and who damaged it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as W
import pandas as pd

from ... import figures
from ...core.records import Run
from ...studies.collateral import NoFirstOrder, responsible
from ...studies.landscape import Landscape
from ..base import tables
from ..base.gallery import Gallery
from ..base.ledger import Pictures, card
from ..base.strip import Strip

NEAR = 6
WORST = 6  # forget samples
DAMAGED = "Pressing these damaged it most, by a first-order prediction from the original model (nats of loss)"
NO_CARD = '<p class="imu-note">Click a dot, a row of the trajectories, a picture or a row of the table to see that sample.</p>'


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
            worst = table[table["predicted"] > 0].head(WORST)
            names = [f"{row.example}: {tables.number(row.predicted)}" for row in worst.itertuples()]
            self.show(DAMAGED, worst["example"].tolist(), names)


class OneSample(W.VBox):
    """See the module; ``clicked`` takes the example of a picture that is clicked.

    Attributes:
        card, answers: HTML of the sample, and of what the model says of it at first and now.
        near, responsible: its neighbours, and for a kept sample the forget samples that damaged it.
    """

    def __init__(self, pictures: Pictures, clicked: Callable[[int], Any]) -> None:
        self._pictures = pictures
        self.card = W.HTML(NO_CARD).add_class("imu-card")
        self.answers = W.HTML().add_class("imu-table").add_class("imu-answers")
        self.near = Gallery(clicked, columns=NEAR, size=44).add_class("imu-near")
        self.responsible = Responsible(pictures, clicked)
        super().__init__([self.card, self.answers, self.near, self.responsible])

    def show(self, example: int, land: Landscape, runs: Mapping[str, Run], step: int) -> None:
        """Show this sample after update ``step`` of the run whose landscape it is; ``runs`` are compared on the card."""
        self.tell_runs(example, land, runs)
        self.tell_answers(example, land, step)
        near = land.nearest(example, NEAR)
        self.near.show(self._pictures.of(near), [str(each) for each in near], near)
        self.responsible.tell(_damage(example, land, step))

    def tell_runs(self, example: int, land: Landscape, runs: Mapping[str, Run]) -> None:
        """Its card: for a forget sample with its confidence in each run, that of the landscape first."""
        task = land.run.task
        look = task.card(example) if task is not None else f"<p>example {example}</p>"
        if example in land.forget:
            named = [(name, figures.colour(run.label), run) for name, run in runs.items()]
            self.card.value = card(look, example, sorted(named, key=lambda item: item[2] is not land.run))
        else:
            self.card.value = f"{tables.card(look, {}, [])}<p class='imu-note'>a kept sample</p>"

    def tell_answers(self, example: int, land: Landscape, step: int) -> None:
        """What the model answers after this update, and what it answered at first."""
        steps = dict.fromkeys((int(land.steps[0]), step))
        self.answers.value = tables.answers({f"after update {at}": land.answer(example, at) for at in steps})


def _damage(example: int, land: Landscape, step: int) -> pd.DataFrame | None:
    """Who damaged a kept sample; None for a forget sample, and where first order says nothing."""
    if example in land.forget or not land.linear:
        return None
    try:
        return responsible(land.run, example, step=step)
    except NoFirstOrder:
        return None
