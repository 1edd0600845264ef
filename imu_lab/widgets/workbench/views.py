"""The right side of the workbench: an answer as figures, a table of runs, the card of a sample and the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ipywidgets as W
import pandas as pd
import plotly.graph_objects as go

from ... import figures
from ...core.quantities import describe
from ...core.records import Influence, Intensity, Run
from ..base import gallery, tables, theme
from ..base.bundle import FigureWidget
from ..base.ledger import Ledger, Pictures, card
from ..base.run_table import run_table
from ..base.strip import Strip
from .pipeline import Answer

HEIGHTS = {"curves": 270, "influence": 265, "intensity": 265}  # pixels: curves and influence share a screen of 800
EQUAL_FORGETTING = 0.01
STILL_PICTURES = 16
WAITING = "<p>Working out the first answer …</p>"
NO_CARD = '<p class="imu-note">Click a dot in a figure, or a row of the table below, to see that sample.</p>'

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


class Views(W.VBox):
    """Shows answers, one writer at a time: the job's thread draws them, the kernel's own thread answers clicks.

    Args:
        task: whose samples are shown.
        guarded: wraps callbacks so that their exceptions appear in the panel.
        proponents: from influences and an example to who holds it up, or None (:meth:`Pipeline.proponents`).

    Attributes:
        figures: ``"curves"``, ``"influence"``, ``"intensity"``, as they are made.
        metric: which metric the curves show.
        answer: the records that are drawn.
        chosen: the example whose card is shown.
        sample, every: the card of one sample, and the ledger of all; the panel places them.
    """

    def __init__(self, task: Any, guarded: Callable[[Callable], Callable], proponents: Callable) -> None:
        self.task, self._guarded, self._proponents = task, guarded, proponents
        self._writing = threading.RLock()
        self.answer: Answer | None = None
        self._complete: Answer | None = None  # the last one with all its controls
        self._scores: Influence | None = None  # those that are drawn, as are these:
        self._weights: Intensity | None = None
        self._listed: Run | None = None
        self.chosen: int | None = None
        self.figures: dict[str, FigureWidget] = {}
        self._listening: set[str] = set()
        self.metric = W.Dropdown(
            tooltip="what the curves show", layout=W.Layout(width="150px", visibility="hidden")
        ).add_class("imu-metric")
        self.scores = W.HTML().add_class("imu-table").add_class("imu-scores")
        self.card = W.HTML(NO_CARD).add_class("imu-card")
        self.pictures = Pictures(task)
        self.proponents = Proponents(self.pictures, guarded(self.choose))
        self.ledger = Ledger(self.pictures, guarded(self.choose))
        self.captions = {
            name: W.HTML(WAITING, layout=W.Layout(flex="1 1 auto")).add_class("imu-caption") for name in HEIGHTS
        }
        self.places = {name: place(name) for name in HEIGHTS}
        self.sample = W.VBox([theme.section("One sample"), self.card, self.proponents])
        self.every = W.VBox([theme.section("Every sample"), self.ledger])
        super().__init__(self._arranged())
        self._listen()

    def _arranged(self) -> list[W.Widget]:
        for name, box in self.places.items():
            extra = [self.metric] if name == "curves" else []
            box.children = [W.HBox([self.captions[name], *extra], layout=W.Layout(align_items="flex-start"))]
        pair = W.HBox([self.places["influence"], self.places["intensity"]], layout=W.Layout(flex_flow="row wrap"))
        return [
            self.places["curves"],
            pair,
            self.scores,
        ]

    def _listen(self) -> None:
        for button, step in ((self.ledger.back, -1), (self.ledger.forth, 1)):
            button.on_click(self._guarded(lambda _, step=step: self.ledger.turn(step)))
        for control in (self.ledger.by, self.ledger.order):
            control.observe(self._guarded(self.ledger.refresh), "value")

    # --- drawing

    def show_influences(self, scores: Influence) -> None:
        """Draw influences, unless they are drawn: the page is busy with them while the runs are made."""
        with self._writing:
            if self._scores is None or not alike(scores, self._scores):
                self._scores = scores
                self._draw("influence", figures.plot_influence, figures.update_influence, scores)
                self._mark()

    def show(self, answer: Answer) -> Callable[[], None]:
        """Draw an answer's curves and its influences, unless they are drawn; what is returned draws all else."""
        with self._writing:
            self.answer = answer
            self._offer_metrics(answer.run)
            self._show_curves(*with_stale(answer, self._complete), answer)
            self.show_influences(answer.scores)
            if answer.complete:
                self._complete = answer
        return partial(self._show_rest, answer)

    def _show_rest(self, answer: Answer) -> None:
        with self._writing:
            if self._weights is None or not alike(answer.weights, self._weights):
                self._weights = answer.weights
                self._draw("intensity", figures.plot_intensity, figures.update_intensity, answer.weights)
                self._mark()
            if answer.run is not self._listed:
                self._listed = answer.run
                self.ledger.show(answer.run.samples)
            if answer.complete:
                names = [tables.legend_name(run) for run in answer.runs]
                self.scores.value = run_table(answer.runs, names, at_forget=EQUAL_FORGETTING)
            self._show_card()

    def _show_curves(self, runs: tuple[Run, ...], stale: tuple[Run, ...], answer: Answer) -> None:
        """Draw these runs, the stale ones faint; wait for the controls where there are not even stale ones."""
        if len(runs) < 1 + answer.expected:
            return
        faint = {run.label for run in stale} - {run.label for run in answer.runs}
        choices = dict(metric=self.metric.value, faint=faint)
        self._draw("curves", figures.plot_curves, figures.update_curves, list(runs), **choices)

    def _draw(self, name: str, plot: Callable, update: Callable, record: Any, **choices: Any) -> None:
        if name not in self.figures:
            self.figures[name] = live_figure(plot(record, **choices), HEIGHTS[name]).add_class(f"imu-{name}")
            self.places[name].children = [self.places[name].children[0], self.figures[name]]
        figure = update(self.figures[name], record, **choices)
        if self.captions[name].value != (caption := tables.caption(figure.layout.title.text)):
            self.captions[name].value = caption
        for trace in figure.data if name != "curves" else ():
            if trace.uid not in self._listening:  # a figure makes new traces when it needs others
                self._listening.add(trace.uid)
                trace.on_click(self._guarded(self._clicked))

    def _offer_metrics(self, run: Run) -> None:
        names = list(run.curve["metric"].unique())
        if [name for _, name in self.metric.options] != names:
            wanted = self.metric.value if self.metric.value in names else run.headline
            self.metric.options = [(describe(name).title, name) for name in names]
            self.metric.value = wanted
            self.metric.layout.visibility = None

    # --- one sample

    def _clicked(self, trace: Any, points: Any, _: Any) -> None:
        if points.point_inds and has_dots(trace):
            self.choose(int(trace.customdata[points.point_inds[0]]))

    def choose(self, example: int) -> None:
        """Show the card of this forget sample, and mark it in the figures and the ledger; at the first answer if need be."""
        ids = self.task.split("forget").ids.tolist()
        if example not in ids:
            raise ValueError(
                f"example {example} is not in the forget set; it has {len(ids)} samples, from {min(ids)} to {max(ids)}"
            )
        with self._writing:
            self.chosen = self.ledger.chosen = example
            if self.answer is not None:
                self._show_card()
                self.ledger.refresh()
                self._mark()

    def _show_card(self) -> None:
        if self.chosen is not None:
            runs = [(tables.legend_name(run), figures.colour(run.label), run) for run in self.answer.runs]
            self.card.value = card(self.task.card(self.chosen), self.chosen, runs)
            self.proponents.show(self._proponents(self.answer.scores, self.chosen))

    def _mark(self) -> None:
        if self.chosen is not None:
            for name in {"influence", "intensity"} & self.figures.keys():  # the second comes later
                ring(self.figures[name], self.chosen)

    def still_rows(self) -> list:
        """What made the answer, the figures, and the samples under the most pressure, for a static picture."""
        if self.answer is None:
            return []
        records = [(self.answer.scores, "estimator"), (self.answer.weights, "rule"), (self.answer.run, "method")]
        rows: list = ["   ·   ".join(provenance(record.settings, kind) for record, kind in records)]
        rows += [[self.figures[name]] for name in HEIGHTS if name in self.figures]
        top = self.answer.run.samples.sort_values("pressure", ascending=False, kind="stable").head(STILL_PICTURES)
        pictures = self.pictures.of(top["example"].tolist())
        if pictures is not None:
            captions = [str(example) for example in top["example"]]
            rows += ["The samples under the most pressure", [gallery.tiled(pictures, captions, columns=STILL_PICTURES)]]
        return rows


def place(name: str) -> W.VBox:
    """Where a figure will stand, already as high as it will be; the intensity has two panels and takes more width."""
    flex = {"curves": "0 0 auto", "influence": "1 1 340px", "intensity": "1.4 1 420px"}[name]
    layout = W.Layout(flex=flex, min_width="0", min_height=f"{HEIGHTS[name] + 40}px")
    return W.VBox(layout=layout).add_class("imu-captioned")


def live_figure(drawn: go.Figure, height: int) -> FigureWidget:
    """A figure for the panel; its title stands above it as words that wrap, so it needs no room for one."""
    figure = FigureWidget(drawn)
    figure.update_layout(height=height, autosize=True, margin=dict(t=20, r=28))
    return figure


def alike(first: Influence | Intensity, second: Influence | Intensity) -> bool:
    """Whether two records hold the same numbers, made in the same way."""
    return first.settings == second.settings and first.frame.equals(second.frame)


def with_stale(answer: Answer, before: Answer | None) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """The runs to draw: those of the answer, and for missing controls those of the complete answer before."""
    if answer.complete or before is None:
        return answer.runs, ()
    stale = before.runs[1:][len(answer.runs) - 1 :]
    return answer.runs + stale, stale


def ring(figure: go.Figure, example: int) -> None:
    """A ring around this sample's dot, in a figure whose dots carry their example as ``customdata``."""
    rest = [shape for shape in figure.layout.shapes if shape.name != "chosen"]
    around = dict(type="circle", name="chosen", xsizemode="pixel", ysizemode="pixel", x0=-8, x1=8, y0=-8, y1=8)
    around["line"] = {"color": figures.theme.INK, "width": 2}
    for trace in figure.data:
        examples = list(trace.customdata) if has_dots(trace) else []
        if example in examples:
            at = examples.index(example)
            where = dict(xref=trace.xaxis or "x", yref=trace.yaxis or "y", xanchor=trace.x[at], yanchor=trace.y[at])
            rest.append(around | where)
    figure.layout.shapes = rest


def has_dots(trace: Any) -> bool:
    """Whether each point of a trace is a sample, its example in ``customdata``."""
    return trace.type.startswith("scatter") and trace.mode == "markers" and trace.customdata is not None


def provenance(settings: Mapping[str, Any], kind: str) -> str:
    """``name(setting=value, ...)`` of what made a record."""
    return f"{settings[kind]}({', '.join(f'{name}={value}' for name, value in settings['settings'].items())})"


def title_of(task: Any) -> str:
    """A task in a few words: its kind or data, and what it forgets."""
    asked = [
        f"{name.removeprefix('forget_')} {value}"[:60]
        for name, value in vars(task).items()
        if name.startswith("forget_") and not (value is None or isinstance(value, bool))
        if not (isinstance(value, tuple) and not value)  # nothing of this kind
    ]
    data = getattr(task, "data", None)
    return " · ".join([data if isinstance(data, str) else type(task).__name__, *[f"forget {what}" for what in asked]])
