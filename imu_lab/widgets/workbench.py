"""The workbench: influence, intensity and unlearning behind sliders, with every control one click away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go

from .. import figures, registry
from ..comparison import compare
from ..figures.theme import colour
from ..results import Run
from ..session import Session
from ..tasks.training import train
from . import tables, theme
from .controls import STYLE, Menu, after_each_cell
from .job import Job, Report
from .ledger import Ledger, Pictures, card, no_card
from .panels import Panel
from .pipeline import Answer, Pipeline, Question, usual_step
from .shared_bundle import FigureWidget

NEVER = "never"  # a menu cannot hold None
STOPS = {"after all updates": NEVER, "forget accuracy ≤ 1 %": 0.01, "forget accuracy ≤ 10 %": 0.1,
         "at the retrained model's level": "retrained"}
EQUAL_FORGETTING = 0.01
HEIGHTS = {"curves": 380, "influence": 320, "intensity": 320}  # pixels
CLICKABLE = ("influence", "intensity")  # their dots stand for samples
SHOWN_FIRST = ("lr", "alpha", "step_norm", "scope")
STALE = 0.25  # opacity of a control that belongs to the question before


def workbench(task: Any, original: Any, *, reference: Any = None, steps: int = 60, seed: int = 0,
              estimator: str = "fisher-diagonal", rule: str = "sqrt-clipped", method: str = "imu",
              compare_with: tuple[str, ...] = ("uniform",), stop_at: Any = None) -> Workbench:
    """The whole pipeline behind sliders: move one and see what every sample and every metric does.

    Args:
        task, original: what to forget, from which trained model; neither is changed.
        reference: the retrained model; None trains it in the background while you look around.
        steps: updates of each run at first.
        seed: of each run at first.
        estimator, rule, method: what is chosen at first; names in the registries.
        compare_with: the rules of the controls that run beside it at first.
        stop_at: as in :func:`imu_lab.unlearn`.

    Returns:
        A panel to be shown as the last line of a cell. Its ``answer`` holds the records that are drawn.
    """
    return Workbench(task, original, reference=reference, steps=steps, seed=seed, chosen=(estimator, rule, method),
                     compare_with=compare_with, stop_at=stop_at)


class Workbench(Panel):
    """See :func:`workbench`.

    Attributes:
        estimator, rule, method: menus with the settings of what is chosen.
        steps, seed, stop_at, compared: the other controls.
        figures: ``"curves"``, ``"influence"``, ``"intensity"``.
        answer: the records that are drawn.
        chosen: the example whose card is shown.
    """

    def __init__(self, task: Any, original: Any, *, reference: Any, steps: int, seed: int, chosen: tuple[str, str, str],
                 compare_with: tuple[str, ...], stop_at: Any) -> None:
        self.task, self.session = task, Session(task, original, reference)
        self.pipeline = Pipeline(self.session)
        self.answer: Answer | None = None
        self.chosen: int | None = None
        self.figures: dict[str, FigureWidget] = {}
        self._listening: set[str] = set()
        self._make_controls(chosen, steps, seed, stop_at, compare_with)
        self._make_views()
        super().__init__(self._side(), self._views(), title=f"Workbench · {title_of(task)}", question=self.question,
                         compute=self.pipeline, draw=self.draw, still_rows=self.still_rows)
        self._listen()
        self._retraining = Job(self._retrain, self._retrained, on_error=self.show_error)
        self.ask()
        if reference is None:
            self._retraining.submit(True)

    # --- the left side

    def _make_controls(self, chosen: tuple[str, str, str], steps: int, seed: int, stop_at: Any,
                       compare_with: tuple[str, ...]) -> None:
        estimator, rule, method = chosen
        self.estimator = Menu(registry.estimators, estimator, label="estimator")
        self.rule = Menu(registry.intensity_rules, rule, label="rule")
        self.method = Menu(registry.methods, method, label="method", start=self.session.defaults, first=SHOWN_FIRST)
        wide = {"style": STYLE, "layout": W.Layout(width="auto")}
        self.steps = W.IntSlider(steps, 1, max(300, steps), description="updates", tooltip="Updates of each run.", **wide)
        self.seed = W.IntSlider(seed, 0, max(20, seed), description="seed", tooltip="Of the order of batches.", **wide)
        stop_at = NEVER if stop_at is None else stop_at
        stops = STOPS if stop_at in STOPS.values() else STOPS | {f"at {stop_at}": stop_at}
        self.stop_at = W.Dropdown(options=list(stops.items()), value=stop_at, description="stop", **wide)
        self.compared = {name: W.Checkbox(name in compare_with, description=name, indent=False, layout=W.Layout(width="auto"))
                         for name in ("uniform", "shuffled", "gradient-norm")}
        for name, box in self.compared.items():
            box.add_class(f"imu-compare-{name}")
        self.reference_note = W.HTML().add_class("imu-about").add_class("imu-reference")

    def _side(self) -> list[W.Widget]:
        boxes = W.HBox(list(self.compared.values()), layout=W.Layout(flex_flow="row wrap", grid_gap="0 14px"))
        parts = {"1 · Influence": [self.estimator], "2 · Intensity": [self.rule],
                 "3 · Unlearning": [self.method, self.steps, self.stop_at, self.seed],
                 "4 · Compare with": [boxes, self.reference_note]}
        return [widget for title, widgets in parts.items() for widget in (theme.section(title), *widgets)]

    def _listen(self) -> None:
        for menu in (self.estimator, self.rule, self.method):
            menu.observe(self.ask, "value")
        for control in (self.steps, self.seed, self.stop_at, *self.compared.values()):
            control.observe(self.ask, "value")
        for button, step in ((self.ledger.back, -1), (self.ledger.forth, 1)):
            button.on_click(self.guarded(lambda _, step=step: self.ledger.turn(step)))
        for control in (self.ledger.by, self.ledger.order):
            control.observe(self.guarded(self.ledger.refresh), "value")
        after_each_cell(self.guarded(self.refresh))

    def refresh(self) -> None:
        """Take up what was registered since; runs after every cell."""
        for menu in (self.estimator, self.rule, self.method):
            menu.refresh()

    def question(self) -> Question:
        """What the controls say now."""
        self.refresh()
        rule = self.rule.value
        beside = tuple(name for name, box in self.compared.items() if box.value and name != rule.name)
        stop_at = None if self.stop_at.value == NEVER else self.stop_at.value
        return Question(self.estimator.value, rule, self.method.value, self.steps.value, self.seed.value, stop_at, beside)

    # --- the right side

    def _make_views(self) -> None:
        self.scores = W.HTML().add_class("imu-table").add_class("imu-scores")
        self.card = W.HTML(no_card(self.task)).add_class("imu-card")
        self.ledger = Ledger(Pictures(self.task), self.choose)
        self.captions = {name: W.HTML().add_class("imu-caption") for name in HEIGHTS}
        self.places = {name: place(self.captions[name], name) for name in HEIGHTS}

    def _views(self) -> list[W.Widget]:
        pair = W.HBox([self.places["influence"], self.places["intensity"]], layout=W.Layout(flex_flow="row wrap"))
        return [self.places["curves"], self.scores, pair, theme.section("One sample"), self.card,
                theme.section("Every sample"), self.ledger]

    def draw(self, answer: Answer) -> None:
        """Show an answer; called from the job's thread, the only one that writes into the figures."""
        before, self.answer = self.answer, answer
        runs, stale = with_stale(answer, before)
        if answer.complete or len(runs) == 1 + answer.expected:
            self._figure("curves", figures.plot_curves, figures.update_curves, list(runs))
            fade(self.figures["curves"], {run.label for run in stale} - {run.label for run in answer.runs})
        if before is None or answer.scores is not before.scores:
            self._figure("influence", figures.plot_influence, figures.update_influence, answer.scores)
            self._figure("intensity", figures.plot_intensity, figures.update_intensity, answer.weights)
        self.ledger.show(answer.run)
        self.scores.value = score_table(answer.runs, self.session.reference is not None)
        self._place_step_norm(answer.run)
        self._show_card()

    def _figure(self, name: str, plot: Callable, update: Callable, *records: Any) -> None:
        if name not in self.figures:
            self.figures[name] = live_figure(plot(*records), HEIGHTS[name]).add_class(f"imu-{name}")
            self.places[name].children = [self.captions[name], self.figures[name]]
        else:
            update(self.figures[name], *records)
        figure = self.figures[name]
        self.captions[name].value = tables.caption(figure.layout.title.text)
        for trace in figure.data if name in CLICKABLE else ():
            if trace.uid not in self._listening:  # a figure makes new traces when it needs others
                self._listening.add(trace.uid)
                trace.on_click(self.guarded(self._clicked))

    def _clicked(self, trace: Any, points: Any, _: Any) -> None:
        if points.point_inds and trace.customdata is not None and trace.mode == "markers":
            self.choose(int(trace.customdata[points.point_inds[0]]))

    def choose(self, example: int) -> None:
        """Show the card of this forget sample, and mark it in the ledger."""
        known = self.answer.run.samples["example"].tolist()
        if example not in known:
            raise ValueError(f"example {example} is not in the forget set; it has {len(known)}, {known[0]} to {known[-1]}")
        self.chosen = self.ledger.chosen = example
        self._show_card()
        self.ledger.refresh()

    def _show_card(self) -> None:
        if self.chosen is not None:
            runs = [(tables.legend_name(run), colour(run.label), run) for run in self.answer.runs]
            self.card.value = card(self.task.card(self.chosen), self.chosen, runs)

    def _place_step_norm(self, run: Run) -> None:
        """Equal steps start at the length that the plain steps have: a comparison, not a new setting."""
        control = self.method.controls.controls.get("step_norm")
        if control is not None and control.value is None and (length := usual_step(run)) > 0:
            control.place(length)

    # --- the retrained model

    def _retrain(self, _: Any, report: Report) -> Any:
        self.reference_note.value = '<p>training the retrained model in the background …</p>'
        return train(self.task, "retain")

    def _retrained(self, model: Any) -> None:
        self.session.reference = model
        self.pipeline.forget_runs()
        self.reference_note.value = "<p>dotted: the retrained model</p>"
        self.ask()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the retrained model is there and the newest question is answered and drawn."""
        return self._retraining.wait(timeout) and super().wait(timeout)

    # --- for readers without a kernel

    def still_rows(self) -> list:
        """The rows of the static picture."""
        words = "   ·   ".join(f"{choice.name}({', '.join(f'{key}={value}' for key, value in choice.settings.items())})"
                               for choice in self.question()[:3])
        return [words, *[[self.figures[name]] for name in HEIGHTS]]


def place(caption: W.Widget, name: str) -> W.VBox:
    """Where a figure will stand, already as high as it will be; the intensity has two panels and takes more width."""
    flex = "1.5 1 440px" if name == "intensity" else "1 1 340px"
    box = W.VBox([caption], layout=W.Layout(flex=flex, min_width="0", min_height=f"{HEIGHTS[name] + 40}px"))
    return box.add_class("imu-captioned")


def live_figure(drawn: go.Figure, height: int) -> FigureWidget:
    """A figure for the panel; its title stands above it as words that wrap, so it needs no room for one."""
    figure = FigureWidget(drawn)
    figure.update_layout(height=height, autosize=True, margin_t=20)
    figure.update_xaxes(title_font_size=11).update_yaxes(title_font_size=11)
    return figure


def with_stale(answer: Answer, before: Answer | None) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """The runs to draw: those of the answer, and until they are there the missing controls of the answer before."""
    if answer.complete or before is None:
        return answer.runs, ()
    stale = before.runs[1:][len(answer.runs) - 1 :]
    return answer.runs + stale, stale


def fade(figure: go.Figure, labels: set[str]) -> None:
    """Make the lines of these runs faint, all others full."""
    with figure.batch_update():
        for trace in figure.data:
            wanted = STALE if (trace.meta or {}).get("run") in labels else None
            if trace.opacity != wanted:
                trace.opacity = wanted


def score_table(runs: tuple[Run, ...], referenced: bool) -> str:
    """Each run at equal forgetting, as a table."""
    table = compare(runs, at_forget=EQUAL_FORGETTING)
    splits = [split for split in ("retain", "test") if f"{split} accuracy" in table]
    columns = {"updates": "updates until 99 % forgotten"}
    for split in splits:
        columns |= {f"{split} accuracy": f"{split} accuracy then"}
        columns |= {f"{split} accuracy gap": "against retrained"} if referenced else {}
    table["updates"] = table["updates"].astype(object).where(table["reached"], "not reached")
    rows = [dict(row, name=tables.legend_name(run), colour=colour(run.label))
            for run, row in zip(runs, table.to_dict("records"))]
    return tables.scores(rows, columns)


def title_of(task: Any) -> str:
    """A task in a few words: its kind, and what it forgets."""
    asked = [f"{name.removeprefix('forget_')} {value}" for name, value in vars(task).items()
             if name.startswith("forget_") and value is not None]
    data = getattr(task, "data", None)
    return " · ".join([data if isinstance(data, str) else type(task).__name__, *[f"forget {what}"[:60] for what in asked]])
