"""What-ifs from a selection: drop, reweight, keep, relabel, duplicate, forget it alone; and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import ipywidgets as W

from ... import figures
from ...core.labels import told_apart
from ...core.records import Run
from ...lab.again import again
from ...lab.what_if import differences, what_if
from ..base import tables, theme
from ..base.bundle import FigureWidget
from ..base.closing import close_all
from ..base.job import Job, Report
from ..base.run_table import run_table

SHOWN = 6  # rows of the table of differences
HEIGHT = 320
ACTIONS = {
    "drop": ("Drop", "No pressure on the selected samples; they are still measured."),
    "reweight": ("Reweight", "Multiply the weights of the selected samples."),
    "keep": ("Keep", "Move the selected samples to the retain set."),
    "flip": ("Flip labels", "Unlearn each selected sample under the label likeliest after its own."),
    "double": ("Duplicate", "A second copy of each selected sample in the forget set, with the same weight."),
    "request": ("Forget only these", "A new request: forget the selected training samples and nothing else."),
    "alike": ("Uniform pressure", "The whole run under uniform weights, whatever is selected: who resists then?"),
}


class Change(NamedTuple):
    """What to do with which samples, starting from which run."""

    run: Run
    action: str
    examples: tuple[int, ...]
    factor: float


class WhatIf(W.VBox):
    """Buttons that make the run on view again with the selection treated differently.

    Args:
        run: gives the run on view.
        selection: gives the examples that it is about.
        take_up: takes what was asked and the new run, and says whether it can be shown where the first one is.

    Attributes:
        result: the widget that shows the comparison, to be placed by the caller. other: the newest run.
        explore: a button in it, shown where the newest run needs views of its own, which are the caller's matter too.
    """

    def __init__(
        self, run: Callable[[], Run], selection: Callable[[], list[int]], take_up: Callable[[Change, Run], bool]
    ) -> None:
        self._run, self._selection, self._take_up = run, selection, take_up
        self.other: Run | None = None
        self.figure: FigureWidget | None = None
        self.factor = W.FloatLogSlider(
            2.0,
            base=10,
            min=-2,
            max=2,
            step=0.1,
            description="factor",
            readout_format=".2g",
            style={"description_width": "50px"},
            layout=W.Layout(width="auto"),
        )
        self.note = W.HTML().add_class("imu-about").add_class("imu-what-if-note")
        self.buttons = {name: W.Button(description=words, tooltip=tip, layout=W.Layout(width="auto"))
                        for name, (words, tip) in ACTIONS.items()}  # fmt: skip
        for name, button in self.buttons.items():
            button.add_class(f"imu-what-if-{name}").on_click(lambda _, name=name: self.ask(name))
        self.table = W.HTML().add_class("imu-table").add_class("imu-differences")
        self.explore = W.Button(
            description="Explore this run",
            icon="search",
            tooltip="It has another forget set, so it is shown in an explorer of its own, below.",
            layout=W.Layout(width="auto", align_self="flex-start", display="none"),
        ).add_class("imu-what-if-explore")
        self.caption = W.HTML().add_class("imu-caption")
        self.result = W.VBox()
        self.job = Job(self._answer, self._draw, on_error=self._failed)
        super().__init__(
            [W.HBox(list(self.buttons.values()), layout=W.Layout(flex_flow="row wrap")), self.factor, self.note]
        )

    def close(self) -> None:
        """Close what stands in no box as long as nothing was asked, too."""
        close_all([self.caption, self.table, self.explore])
        super().close()

    def ask(self, action: str) -> None:
        """Make the run again with the selection treated so."""
        examples = tuple(self._selection())
        if not examples and action != "alike":
            self.note.value = "<p>Select some samples first: click, lasso or filter.</p>"
            return
        change = "under uniform pressure" if action == "alike" else f"with {len(examples)} samples treated differently"
        self.note.value = f"<p>Making the run again {change} …</p>"
        self.job.submit(Change(self._run(), action, examples, float(self.factor.value)))

    def _answer(self, change: Change, report: Report) -> tuple[Change, Run]:
        progress = lambda done, total: report(done, total, "unlearning")  # noqa: E731
        if change.action == "alike":
            return change, again(change.run, weights=None, progress=progress)
        forget_set = set(change.run.samples["example"].tolist())
        inside = [example for example in change.examples if example in forget_set]
        if change.action != "request" and not inside:
            raise ValueError(
                f"the selection holds no sample of the forget set; to forget kept samples, press {ACTIONS['request'][0]!r}"
            )
        changes: dict[str, Any] = {
            "reweight": {"reweight": dict.fromkeys(inside, change.factor)},
            "request": {"request": change.examples},
        }.get(change.action, {change.action: inside})
        return change, what_if(change.run, progress=progress, **changes)

    def _failed(self, error: BaseException) -> None:
        self.note.value = f'<p role="alert">{escape(" ".join(str(error).split()))}</p>'

    def _draw(self, answer: tuple[Change, Run]) -> None:
        change, self.other = answer
        runs = [change.run, self.other]
        if self.figure is None:
            self.figure = FigureWidget(figures.plot_curves(runs))
            self.figure.update_layout(height=HEIGHT, autosize=True, margin=dict(t=20, r=20))
            self.figure.add_class("imu-what-if")
            captioned = W.VBox([self.caption, self.figure]).add_class("imu-captioned")
            self.result.children = [theme.section("The first run and the other"), captioned, self.table,
                                    self.explore]  # fmt: skip
        else:
            figures.update_curves(self.figure, runs)
        self.caption.value = tables.caption(self.figure.layout.title.text)
        self.table.value = comparison(*runs)
        self.note.value = f"<p>Done: {escape(self.other.label)}.</p>"
        self.explore.layout.display = "none" if self._take_up(change, self.other) else None


def comparison(run: Run, other: Run) -> str:
    """Both runs at their last update, and the samples that changed most."""
    changed = differences(run, other).head(SHOWN)
    rows = [dict(row, name=f"example {row['example']}", colour=figures.theme.INK) for row in changed.to_dict("records")]
    quantities = {"time_to_forget": "time to forget", "time_to_forget_other": "now", "confidence_after": "confidence left",
                  "confidence_after_other": "now", "pressure": "pressure", "pressure_other": "now"}  # fmt: skip
    samples = tables.scores(rows, quantities) if rows else ""
    names = [f"{number}: {label}" for number, label in enumerate(told_apart([run, other], seeds=True))]
    return run_table([run, other], names) + samples
