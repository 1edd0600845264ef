"""What-ifs from a selection: drop, weigh, keep, relabel, double, ask for it alone; and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import ipywidgets as W

from ... import figures
from ...core.records import Run
from ...lab.again import again
from ...lab.what_if import differences, what_if
from ...studies.comparison import compare
from ..base import tables, theme
from ..base.bundle import FigureWidget
from ..base.closing import close_all
from ..base.job import Job, Report

SHOWN = 6  # rows of the table of differences
HEIGHT = 320
ACTIONS = {
    "drop": ("drop it", "No pressure on the selected samples; they are still measured."),
    "reweight": ("weigh it", "Multiply the weights of the selected samples."),
    "keep": ("keep it", "Move the selected samples to the retain set."),
    "flip": ("flip its labels", "Unlearn each selected sample under the label likeliest after its own."),
    "double": ("have it twice", "A second copy of each selected sample in the forget set, with the same weight."),
    "request": ("ask for it", "A new request: forget the selected training samples, and nothing else."),
    "alike": ("press all alike", "The whole run under uniform weights, whatever is selected: who resists then?"),
}


class Change(NamedTuple):
    """What to do with which samples, starting from which run."""

    run: Run
    action: str
    examples: tuple[int, ...]
    factor: float


class WhatIf(W.VBox):
    """Buttons that make the run on view again with the selection treated otherwise.

    Args:
        run: gives the run on view.
        selection: gives the examples that it is about.
        made: takes what was asked and the new run, and says whether it can be shown where the first one is.

    Attributes:
        result: the widget that shows the comparison, to be placed by the caller. other: the newest run.
        explore: a button in it, shown where the newest run needs views of its own, which are the caller's matter too.
    """

    def __init__(
        self, run: Callable[[], Run], selection: Callable[[], list[int]], made: Callable[[Change, Run], bool]
    ) -> None:
        self._run, self._selection, self._made = run, selection, made
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
            description="explore this run",
            icon="search",
            tooltip="It has another forget set: show it in an explorer of its own, below.",
            layout=W.Layout(width="auto", align_self="flex-start", display="none"),
        ).add_class("imu-what-if-explore")
        self.result = W.VBox()
        self.job = Job(self._answer, self._draw, on_error=self._failed)
        super().__init__(
            [W.HBox(list(self.buttons.values()), layout=W.Layout(flex_flow="row wrap")), self.factor, self.note]
        )

    def close(self) -> None:
        """Close what stands in no box as long as nothing was asked, too."""
        close_all([self.table, self.explore])
        super().close()

    def ask(self, action: str) -> None:
        """Make the run again with the selection treated so."""
        examples = tuple(self._selection())
        if not examples and action != "alike":
            self.note.value = "<p>select some samples first: click, lasso or filter</p>"
            return
        whom = "all" if action == "alike" else f"{len(examples)}"
        self.note.value = f"<p>{whom} samples: making the run again …</p>"
        self.job.submit(Change(self._run(), action, examples, float(self.factor.value)))

    def _answer(self, change: Change, report: Report) -> tuple[Change, Run]:
        watch = lambda done, total: report(done, total, "unlearning")  # noqa: E731
        if change.action == "alike":
            return change, again(change.run, weights=None, progress=watch)
        mine = set(change.run.samples["example"].tolist())
        inside = [example for example in change.examples if example in mine]
        if change.action != "request" and not inside:
            raise ValueError("the selection holds no forget sample; only a new request can be about kept ones")
        given: dict[str, Any] = {
            "reweight": {"reweight": dict.fromkeys(inside, change.factor)},
            "request": {"request": change.examples},
        }.get(change.action, {change.action: inside})
        return change, what_if(change.run, progress=watch, **given)

    def _failed(self, error: BaseException) -> None:
        self.note.value = f'<p role="alert">{escape(" ".join(str(error).split()))}</p>'

    def _draw(self, answer: tuple[Change, Run]) -> None:
        change, self.other = answer
        runs = [change.run, self.other]
        if self.figure is None:
            self.figure = FigureWidget(figures.plot_curves(runs))
            self.figure.update_layout(height=HEIGHT, autosize=True)
            self.figure.add_class("imu-what-if")
            self.result.children = [theme.section("The first run and the other"), self.figure, self.table,
                                    self.explore]  # fmt: skip
        else:
            figures.update_curves(self.figure, runs)
        self.table.value = comparison(*runs)
        self.note.value = f"<p>done: {escape(self.other.label)}</p>"
        self.explore.layout.display = "none" if self._made(change, self.other) else None


def comparison(run: Run, other: Run) -> str:
    """Both runs at their last update, and the samples that changed most."""
    metric = run.headline
    rows = compare([run, other]).to_dict("records")
    columns = {"updates": "updates"} | {
        f"{split} {metric}": f"{split} {metric}" for split in ("forget", "retain", "test")
    }
    named = [dict(row, name=f"{at}: {row['run']}", colour=figures.colour(row["run"])) for at, row in enumerate(rows)]
    changed = differences(run, other).head(SHOWN)
    body = [dict(row, name=f"example {row['example']}", colour=figures.theme.INK) for row in changed.to_dict("records")]
    quantities = {"time_to_forget": "time to forget", "time_to_forget_other": "now", "confidence_after": "confidence left",
                  "confidence_after_other": "now", "pressure": "pressure", "pressure_other": "now"}  # fmt: skip
    return tables.scores(named, columns) + (tables.scores(body, quantities) if body else "")
