"""Run control: start, pause, one step, stop, rewind to any recorded update, fork there with other settings, compare."""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from html import escape
from typing import Any, NamedTuple

import ipywidgets as W
import pandas as pd

from .. import figures
from ..core import registry
from ..core.labels import told_apart
from ..core.records import Run
from ..lab.fork import continued, fork
from ..lab.live import Estimate, Gate, estimate, so_far
from ..lab.session import Session
from ..tasks.protocol import Task
from .base import tables, theme
from .base.bundle import FigureWidget
from .base.controls import STYLE, Choice, Menu
from .base.job import DRAW_INTERVAL, Progress, Report
from .base.panel import Panel, duration
from .base.run_table import run_table

HEIGHTS = {"curves": 380, "paths": 360}
NO_RUN = {  # what stands where a figure will be
    "curves": '<p>No run yet<br><span class="imu-note">Press Start, or Step for one update at a time: curves are drawn '
    "while the run is under way.</span></p>",
    "paths": '<p><span class="imu-note">Trajectories of the samples follow when it has ended.</span></p>',
}
KEPT_RUNS = 8
SHOWN_FIRST = ("lr", "alpha", "step_norm")


class Order(NamedTuple):
    """What the worker is to do: ``"estimate"``, ``"start"`` or ``"fork"``, with which settings."""

    kind: str
    rule: Choice
    method: Choice
    steps: int
    seed: int
    at: int = 0
    parent: Run | None = None


def run_control(
    task: Task,
    original: Any,
    *,
    reference: Any = None,
    steps: int = 60,
    rule: str = "sqrt-clipped",
    method: str = "imu",
) -> RunControl:
    """Buttons for an unlearning run, and everything it does, while it does it.

    Args:
        task, original: what to forget, from which trained model; neither is changed.
        reference: the retrained model, to compare with.
        steps: updates at first. rule, method: chosen at first; names in the registries.

    Returns:
        A panel; ``run`` is the newest finished run, ``runs`` all that are drawn.
    """
    return RunControl(task, original, reference, steps, rule, method)


class RunControl(Panel):
    """See :func:`run_control`.

    Attributes:
        runs: finished runs, oldest first; forks stand beside what they left. gate: holds and releases the run under way.
        from_run: the menu of finished runs; the slider rewinds the chosen one, the fork leaves it.
        live: what the run under way has recorded, or None.
    """

    def __init__(self, task: Any, original: Any, reference: Any, steps: int, rule: str, method: str) -> None:
        self.session = Session(task, original, reference)
        self.runs: list[Run] = []
        self.live: Run | None = None
        self._rewound: Run | None = None  # whose updates the slider offers and whose trajectories are drawn
        self._drawing = threading.RLock()  # the worker draws a finished run, the kernel's own thread a chosen one
        self.gate = Gate()
        self.figures: dict[str, FigureWidget] = {}
        self._last_draw = self._began = 0.0
        self._make_controls(steps, rule, method)
        self.scores = W.HTML().add_class("imu-table").add_class("imu-scores")
        self.captions = {name: W.HTML(NO_RUN[name]).add_class("imu-caption") for name in HEIGHTS}
        self.places = {name: W.VBox([self.captions[name]], layout=W.Layout(min_height=f"{height + 30}px"))
                       .add_class("imu-captioned") for name, height in HEIGHTS.items()}  # fmt: skip
        super().__init__(self._side(), [self.places["curves"], self.scores, self.places["paths"]], title="Run control",
                         question=lambda: self._order("estimate"), compute=self._work, draw=self._draw,
                         still_rows=lambda: [[figure] for figure in self.figures.values()])  # fmt: skip
        self.add_class("imu-run-control")
        self._listen()
        self._show_state()
        self.ask()

    # --- controls

    def _make_controls(self, steps: int, rule: str, method: str) -> None:
        wide = {"style": STYLE, "layout": W.Layout(width="auto")}
        self.rule = Menu(registry.intensity_rules, rule, label="rule")
        start = partial(self.session.defaults, steps=steps)  # with the learning rate that fits so many updates
        self.method = Menu(registry.methods, method, label="method", start=start, first=SHOWN_FIRST)
        self.steps = W.IntSlider(steps, 1, max(300, steps), description="steps", **wide)
        self.seed = W.IntSlider(0, 0, 20, description="seed", **wide)
        icons = {"start": "play", "pause": "pause", "step": "step-forward", "stop": "stop"}
        tips = {"start": "Start a run, or resume it.", "pause": "Pause after this update.", "step": "Make one update.",
                "stop": "End the run and keep what it recorded."}  # fmt: skip
        self.buttons = {name: W.Button(icon=icon, description=name.capitalize(), tooltip=tips[name],
                                       layout=W.Layout(width="auto")).add_class(f"imu-{name}")
                        for name, icon in icons.items()}  # fmt: skip
        self.bar = W.IntProgress(0, 0, steps, layout=W.Layout(width="auto")).add_class("imu-progress")
        self.note = W.HTML().add_class("imu-about").add_class("imu-run-note")
        self.costs = W.HTML().add_class("imu-about").add_class("imu-costs")
        self.from_run = W.Dropdown(description="from run", disabled=True, **wide).add_class("imu-from-run")
        self.rewind = W.SelectionSlider(options=[0], value=0, description="rewind to", disabled=True, **wide)
        self.rewind.add_class("imu-rewind")
        self.fork = W.Button(icon="code-fork", description="Fork here with these settings", disabled=True,
                             layout=W.Layout(width="auto")).add_class("imu-fork")  # fmt: skip

    def _side(self) -> list[W.Widget]:
        # Of fixed widths: under the mouse no button moves when Start becomes Resume.
        columns = W.Layout(grid_template_columns="5fr 4fr 4fr 4fr")
        row = W.GridBox(list(self.buttons.values()), layout=columns).add_class("imu-buttons")
        return [
            theme.section("Settings"),
            self.rule,
            self.method,
            self.steps,
            self.seed,
            self.costs,
            theme.section("Run"),
            row,
            self.bar,
            self.note,
            theme.section("Rewind and fork"),
            self.from_run,
            self.rewind,
            self.fork,
        ]

    def _listen(self) -> None:
        for name, action in {"start": self.start, "pause": self.pause, "step": self.step, "stop": self.stop}.items():
            self.buttons[name].on_click(self.guarded(lambda _, action=action: action()))
        self.fork.on_click(self.guarded(lambda _: self.fork_here()))
        self.from_run.observe(self.guarded(lambda _: self._choose_run()), "value")
        self.rewind.observe(self.guarded(lambda _: self._mark()), "value")
        for control in (self.method, self.steps, self.rule):
            control.observe(lambda _: None if self.under_way else self.ask(), "value")

    def _order(self, kind: str, **more: Any) -> Order:
        return Order(kind, self.rule.value, self.method.value, self.steps.value, self.seed.value, **more)

    # --- what a person does

    @property
    def run(self) -> Run | None:
        """The newest finished run."""
        return self.runs[-1] if self.runs else None

    @property
    def under_way(self) -> bool:
        """Whether a run is being made, or held."""
        return self.live is not None

    def start(self, paused: bool = False) -> None:
        """Start a run, or let the one that is held go on."""
        if self.under_way:
            self.gate.go()
            return self._show_state()
        self.gate.reset(paused)
        self._begin(self._order("start"))

    def pause(self) -> None:
        """Hold the run after the update that it is making."""
        self.gate.pause()
        self._show_state()

    def step(self) -> None:
        """Make one update; starts a run that is held at once where none is under way."""
        if not self.under_way:
            self.start(paused=True)
        self.gate.once()
        self._show_state()

    def stop(self) -> None:
        """End the run; what it recorded stays."""
        self.gate.end()

    def close(self) -> None:
        """End the run under way, which may be held for ever, and take the panel from the page."""
        if hasattr(self, "job"):  # a panel that was refused while it was made is closed, too
            self.job.stop()
            self.gate.end()
        super().close()

    def fork_here(self) -> None:
        """Leave the chosen run at the update that the slider points at, with the settings that the controls show.

        Raises:
            ValueError: no run has been made yet, or one is under way.
        """
        if self.under_way or self._rewound is None:
            raise ValueError("a fork needs a finished run; start one, or stop the one under way")
        self.gate.reset()
        self._begin(self._order("fork", at=int(self.rewind.value), parent=self._rewound))

    def _begin(self, order: Order) -> None:
        self.live = order.parent if order.parent is not None else BEGINNING
        self.bar.max, self.bar.value = order.steps, 0
        self._began = time.perf_counter()
        self._show_state()
        self.job.submit(order)

    # --- the worker

    def _work(self, order: Order, report: Report) -> Any:
        scores = self.session.influence()
        weights = self.session.intensity(scores, order.rule.name, **order.rule.settings)
        name, settings = order.method
        if order.kind == "estimate":
            return estimate(self.session, weights, name, steps=order.steps, **settings)
        about = {"method": name, "weights": weights.settings, "settings": settings, "seed": order.seed}
        if order.parent is not None:
            about["forked"] = {"run": order.parent.label, "step": order.at}
        goal = self.session.of_reference()
        arguments = dict(
            settings,
            steps=order.steps,
            seed=order.seed,
            stop=self.gate.stop,
            progress=lambda *_: None,
            watch=lambda state: self._watch(state, about, order, goal),
        )
        try:
            if order.parent is None:
                return self.session.unlearn(weights, name, **arguments)
            return fork(order.parent, order.at, weights=weights, method=name, **arguments)
        finally:
            self.live = None
            self._show_state()

    def _watch(self, state: Any, about: dict[str, Any], order: Order, goal: pd.DataFrame) -> None:
        """Show how far it is a few times a second, and wait where the run is held."""
        now = time.perf_counter()
        if self.gate.paused:
            self._began = math.inf  # what was held says nothing of the time left
        if self.gate.paused or now - self._last_draw >= DRAW_INTERVAL:
            self._last_draw = now
            self.live = so_far(state, about, goal)
            if order.parent is not None:
                self.live = continued(order.parent, self.live, order.at)
            self._draw_runs([*self.runs, self.live])
            self.bar.value = state.step
            self._show_state(state.step)
        self.gate()

    def _draw(self, answer: Run | Estimate) -> None:
        if isinstance(answer, Estimate):
            size = f"{answer.bytes / 2**20:.1f} MiB"
            self.costs.value = f"<p>The run will take about {duration(answer.seconds)} and {size}.</p>"
            return
        self.runs = [*self.runs, answer][-KEPT_RUNS:]
        self.bar.value = answer.events["steps"] - (answer.settings.get("forked") or {"step": 0})["step"]
        self._draw_runs(self.runs)
        names = [f"{number}: {label}" for number, label in enumerate(told_apart(self.runs, seeds=True), 1)]
        self.scores.value = run_table(self.runs, names)
        with self._drawing:
            self._rewind_in(answer)
            # The newest first: new options select their first, so no older run is drawn in between.
            self.from_run.options = list(zip(names, self.runs))[::-1]
            self.from_run.value = answer
        for control in (self.from_run, self.rewind, self.fork):
            control.disabled = False
        self._show_state()

    def _choose_run(self) -> None:
        with self._drawing:
            chosen = self.from_run.value
            if chosen is not None and chosen is not self._rewound:
                self._rewind_in(chosen)

    def _rewind_in(self, run: Run) -> None:
        """Offer the updates of this run to rewind to, the last one first, and show its trajectories."""
        self._rewound = run
        self.rewind.options = run.kept_steps
        self.rewind.value = run.kept_steps[-1]
        self._show_paths(run)

    # --- showing

    def _draw_runs(self, runs: list[Run]) -> None:
        if "curves" not in self.figures:
            self._place("curves", figures.plot_curves(runs))
        else:
            figures.update_curves(self.figures["curves"], runs)
        self.captions["curves"].value = tables.caption(self.figures["curves"].layout.title.text)

    def _show_paths(self, run: Run) -> None:
        if "paths" not in self.figures:
            self._place("paths", figures.plot_trajectories(run))
        else:
            figures.update_trajectories(self.figures["paths"], run)
        self.captions["paths"].value = tables.caption(self.figures["paths"].layout.title.text)
        self._mark()

    def _place(self, name: str, drawn: Any) -> None:
        figure = FigureWidget(drawn)
        figure.update_layout(height=HEIGHTS[name], autosize=True, margin=dict(t=16, r=24))
        self.figures[name] = figure.add_class(f"imu-{name}")
        self.places[name].children = [self.captions[name], self.figures[name]]

    def _mark(self) -> None:
        """A line at the update that the rewind slider points at, across the trajectories."""
        if "paths" not in self.figures:
            return
        look = dict(color=figures.colour("forget"), width=2, dash="dot")
        with self._drawing:
            figure, at = self.figures["paths"], self.rewind.value
            rest = [shape for shape in figure.layout.shapes if shape.name != "rewind"]
            line = dict(type="line", name="rewind", x0=at, x1=at, y0=0, y1=1, yref="paper", line=look)
            figure.layout.shapes = [*rest, line]

    def _progress(self, progress: Progress) -> None:
        super()._progress(progress)
        if self.under_way:  # its time and its updates stand beside the buttons
            self.status.value = "paused" if self.gate.paused else "running"

    def _show_state(self, step: int | None = None) -> None:
        busy, paused = self.under_way, self.gate.paused
        words = "ready" if not busy else "paused" if paused else "running"
        if step is not None:
            words += f" · after update {step} of {self.bar.max}"
            if step and (spent := time.perf_counter() - self._began) > 0:
                words += f" · about {duration(spent / step * (self.bar.max - step))} left"
        self.note.value = f"<p>{escape(words)}</p>"
        self.buttons["start"].description = "Resume" if busy and paused else "Start"
        self.buttons["start"].disabled = busy and not paused
        self.buttons["pause"].disabled = not busy or paused
        self.buttons["stop"].disabled = not busy


BEGINNING: Any = object()  # a run that has not recorded anything yet
