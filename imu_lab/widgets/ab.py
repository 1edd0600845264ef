"""Two runs side by side in one panel: five views, and an attack whose threshold is dragged, with who stands on either side."""

from __future__ import annotations

from typing import Any, NamedTuple

import ipywidgets as W
import numpy as np
import plotly.graph_objects as go

from ..core.records import Run
from ..figures import live
from ..figures.side_by_side import VIEWS, content
from ..measures.membership import SCORES
from ..studies.side_by_side import SideBySide, side_by_side
from ..tasks.protocol import Task, pictures_of
from .base import tables
from .base.bundle import FigureWidget
from .base.gallery import Gallery
from .base.panel import Panel

SHOWN = 12  # pictures on either side of the threshold
HEIGHT = 300
ORDER = ("attack", *(view for view in VIEWS if view != "attack"))  # what the threshold moves stands beside it
SIDES = ("Called members, those nearest to the threshold first", "Not called")
MEMBERS = {True: "members", False: "never seen"}
STYLE = {"description_width": "78px"}


class Question(NamedTuple):
    """What the attack is: of whom, by which score, from where on it says "member"."""

    model: str
    score: str
    threshold: float


def ab(
    run_a: Run | SideBySide, run_b: Run | None = None, *, reference: Any = None, task: Task | None = None
) -> SideBySidePanel:
    """Two runs of one request in one panel, beside the retrained model.

    A shared plane of both models' answers, prediction matrices, gaps by class, features by layer, and an attack whose
    threshold is dragged, with the samples on either side of it.

    Args:
        run_a, run_b: with their task and their models; or what :func:`imu_lab.side_by_side` made of them.
        reference, task: see :func:`imu_lab.side_by_side`.

    Raises:
        TypeError, ValueError: see :func:`imu_lab.side_by_side`.
    """
    if isinstance(run_a, SideBySide):
        if any(each is not None for each in (run_b, reference, task)):
            raise TypeError("what imu.side_by_side made holds both runs and their reference: give it alone")
        return SideBySidePanel(run_a)
    return SideBySidePanel(side_by_side(run_a, run_b, reference=reference, task=task))


class SideBySidePanel(Panel):
    """The panel of :func:`ab`.

    Attributes:
        record: what it shows.
        model, score, threshold: the controls of the attack.
        figures: the views, by name.
        called, passed: pictures of those whom the attack takes for members, and of the others; the nearest to the
            threshold first.
    """

    def __init__(self, record: SideBySide) -> None:
        self.record = record
        attackable = "scores" not in record.missing
        models = list(dict.fromkeys(record.scores["model"])) if attackable else []
        wide = W.Layout(width="auto")
        self.model = W.Dropdown(
            options=[(_plain(record, name), name) for name in models], description="model", style=STYLE, layout=wide
        )
        self.score = W.Dropdown(options=list(SCORES), description="score", style=STYLE, layout=wide)
        self.threshold = W.FloatSlider(description="threshold", readout_format=".3g", style=STYLE, layout=wide)
        self.figures = {view: FigureWidget(_framed(live.draw(content(record, view)))) for view in ORDER}
        self.captions = {view: W.HTML(tables.caption(figure.layout.title.text)).add_class("imu-caption")
                         for view, figure in self.figures.items()}  # fmt: skip
        self.called, self.passed = Gallery(columns=SHOWN // 2, size=40), Gallery(columns=SHOWN // 2, size=40)
        self.words = W.HTML()
        if attackable:
            self._reach()
            for control in (self.model, self.score):
                control.observe(self._moved, "value")
            self.threshold.observe(self.ask, "value")
        grid = W.GridBox(
            [W.VBox([self.captions[view], self.figures[view]]).add_class("imu-captioned") for view in ORDER],
            layout=W.Layout(grid_template_columns="repeat(auto-fit, minmax(420px, 1fr))"),
        )
        heads = [W.HTML(f"<p>{words}</p>").add_class("imu-about") for words in SIDES]
        controls = [self.model, self.score, self.threshold, self.words, heads[0], self.called, heads[1], self.passed]
        super().__init__(
            controls if attackable else [W.HTML("<br>".join(record.missing.values()))],
            [grid],
            title=f"A: {record.names['A']}   |   B: {record.names['B']}",
            question=self._question,
            compute=lambda question, report: (question, record.attacked(*question)),
            draw=self._draw,
            still_rows=self._still,
        )
        if attackable:
            self.ask()

    def _question(self) -> Question:
        return Question(self.model.value, self.score.value, self.threshold.value)

    def _reach(self) -> None:
        """The slider goes from the least to the largest score, and begins in their middle."""
        values = self.record.scores[self.score.value]
        low, high = float(values.min()), float(values.max())
        with self.threshold.hold_trait_notifications():
            self.threshold.min, self.threshold.max = min(self.threshold.min, low), max(self.threshold.max, high)
            self.threshold.value = float(values[self.record.scores["model"] == self.model.value].median())
            self.threshold.min, self.threshold.max, self.threshold.step = low, high, (high - low) / 500 or 0.01

    def _moved(self, change: Any) -> None:
        self.guarded(self._reach)()
        self.ask()

    def _draw(self, answer: tuple[Question, Any]) -> None:
        question, table = answer
        view = content(self.record, "attack", question.score, question.model, question.threshold)
        live.update(self.figures["attack"], view)
        self.captions["attack"].value = tables.caption(self.figures["attack"].layout.title.text)
        near = table.assign(far=(table["score"] - question.threshold).abs()).sort_values("far", kind="stable")
        unseen = near[~near["member"]].head(1)
        near = near[near["member"]] if len(unseen) and self._pictures(unseen) is None else near
        for gallery, rows in ((self.called, near[near["called"]]), (self.passed, near[~near["called"]])):
            rows = rows.head(SHOWN)
            captions = [
                f"{'' if member else 'new '}{tables.number(float(value))}"
                for member, value in zip(rows["member"], rows["score"])
            ]
            gallery.show(self._pictures(rows), captions)
        counts = table.groupby("member")["called"].agg(["sum", "size"])
        said = [f"{row['sum']} of {row['size']} {MEMBERS[member]}" for member, row in counts[::-1].iterrows()]
        self.words.value = f"called members: {', '.join(said)}"

    def _pictures(self, rows: Any) -> np.ndarray | None:
        """What the samples look like, members from the training set and the others from the unseen data; None where the task
        shows none of them."""
        found = [
            pictures_of(self.record.task, np.array([example]), "train" if member else "test")
            for example, member in zip(rows["example"], rows["member"])
        ]
        return np.concatenate(found) if found and all(each is not None for each in found) else None

    def _still(self) -> list:
        views = [self.figures[view] for view in ORDER]
        sides = [(words, g) for words, g in zip(SIDES, (self.called, self.passed)) if g.layout.display is None]
        pictures = [row for words, gallery in sides for row in (words, [gallery.value])]
        return [views[:2], views[2:4], views[4:], *pictures]


def _plain(record: SideBySide, name: str) -> str:
    return f"{name}: {record.names[name]}" if name in record.names else name


def _framed(figure: go.Figure) -> go.Figure:
    return figure.update_layout(height=HEIGHT, autosize=True, margin_t=28)  # its title stands above it
