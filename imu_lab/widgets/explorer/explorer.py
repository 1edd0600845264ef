"""The explorer: one linked view of a run. Choose a sample anywhere, and every view follows.

The map, the trajectories, the gallery, the ledger and the card all show one selection (many samples) and one chosen
sample. Scrubbing goes through the job, which drops what was overtaken; choosing answers at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as W
import numpy as np
import pandas as pd

from ...core.records import Run
from ...figures.explorer import Scene, plot_map
from ...lab.what_if import subset
from ...studies.landscape import Landscape
from ..base import tables, theme
from ..base.controls import STYLE
from ..base.job import Report
from ..base.ledger import Ledger, Pictures, menu, quantities, widened, withstood
from ..base.panel import Panel
from ..pages import page
from ..pages.run_page import run_page
from .brushes import Brushes
from .one_sample import OneSample
from .paths import Paths
from .player import Player
from .sample_map import SampleMap
from .selection import Selection
from .what_if import Change, WhatIf

SEEN = 64  # pixels, of the picture under the mouse
HEIGHT = 252  # pixels, of the map and of the trajectories: both share a screen of 800 with the card
ROWS = 1000  # trajectories drawn of a selection
INTERVAL = 0.1  # seconds between updates while it plays
PATIENCE = 10.0  # seconds that it waits for a picture
EXAMPLE = "such as: pressure == 0"  # as much as the field shows
HINT = "A pandas query over the ledger, such as: pressure == 0 or time_to_forget > 20"


class Question(NamedTuple):
    """What the map is to show."""

    step: int
    colour_by: str


def explore(run: Run, table: pd.DataFrame | None = None, *, projection: str = "pca", context: int = 4000) -> Explorer:
    """One linked view of a run: the map of all samples, trajectories, gallery, ledger and the card of one sample.

    Args:
        run: any run, also a loaded one; without its task there is no border, and no pictures.
        table: more columns to colour and filter by, with ``example``, such as :func:`imu_lab.explain_resistance` gives;
            None takes :func:`imu_lab.resistance`. *Uniform pressure* adds the columns of uniform pressure.
        projection: ``"pca"``, ``"t-sne"`` or ``"umap"``.
        context: how many retained samples to show around the forget set.

    Returns:
        A panel to be shown as the last line of a cell; its ``selected`` and ``chosen`` can be read and set by ``select``
        and ``choose``.

    Raises:
        TypeError: no single run.
    """
    return Explorer(run, table, projection=projection, context=context)


class Explorer(Panel):
    """See :func:`explore`; ``save`` writes it to a file.

    Attributes:
        run: the run on view. runs: it and all what-ifs that share its forget set.
        samples: the ledger with all columns to colour and filter by.
        selected: examples, or None for all: those drawn around, asked for or given, as far as all histograms let them through.
        brushes: the histograms. chosen: the example on the card, or None.
        other: the explorer of a what-if with another forget set, or None.
    """

    def __init__(self, run: Run, table: pd.DataFrame | None, *, projection: str, context: int) -> None:
        self.run, self.runs = run, [run]
        self.land = Landscape(run, projection, context)
        self._table, self._alike = table, {}  # the latter: by the number of a run, the same run under uniform pressure
        self.samples = self._widened(0)
        self._drawn: list[int] | None = None  # drawn around, asked for or given: the selection before the histograms
        self.selected: list[int] | None = None
        self.chosen: int | None = None
        self.other: Explorer | None = None
        self._how = dict(projection=projection, context=context)
        self._drawing, self._telling = threading.RLock(), threading.local()
        self._make_controls()
        self._make_views()
        below = [theme.section("Every sample of the selection"), self.ledger, self.place]
        super().__init__(self._side(), self._main(), title="Explorer", question=self._asked, compute=self._scene,
                         draw=self._draw_map, still_rows=self._still, below=below)  # fmt: skip
        self.add_class("imu-explorer")
        self._draw_map(self._scene(self._asked(), None))
        self._follow_selection()
        self._listen()

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> Path:
        """Write what is on view to one HTML file whose views stay linked without a kernel (see :func:`imu_lab.report`).

        It starts with the run, the selection, the chosen sample and the colours of this moment.

        Raises:
            FileExistsError: the path is taken and ``overwrite`` is False.
        """
        path = page.check_path(path, overwrite)
        mine = None if self.selected is None else np.intersect1d(self.land.forget, self.selected)
        choices = dict(selected=mine, chosen=self.chosen, colour_by=self.colour_by.value)
        return page.write(path, run_page(self.land, self.samples, **choices), overwrite)

    def stop(self) -> None:
        """Stop playing, and what is being drawn."""
        self.play.value = False
        super().stop()

    def close(self) -> None:
        """Stop all work and take the panel from the page."""
        if not hasattr(self, "job"):
            return  # it was never finished: what it should show was refused
        self.play.value = False
        self.what_if.job.stop()
        self.selection.explaining.stop()
        self.job.stop()
        if self.other is not None:
            self.other.close()  # it stands in this one, and would be closed with its work going on
        super().close()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the newest question is answered and drawn, and the selection explained."""
        return super().wait(timeout) and self.selection.explaining.wait(timeout)

    # --- the left side

    def _make_controls(self) -> None:
        steps = [int(step) for step in self.land.steps]
        wide = {"style": STYLE, "layout": W.Layout(width="auto")}
        first = self.run.last_useful(steps)
        self.step = W.IntSlider(
            first,
            steps[0],
            max(steps[-1], 1),
            description="update",
            style={"description_width": "50px"},
            layout=W.Layout(flex="1 1 auto", width="0"),
        )
        self.step.add_class("imu-step")
        self.play = Player(self.step, INTERVAL, lambda: self.wait(PATIENCE), self.guarded)
        self.colour_by = W.Dropdown(options=self._colours(), value="confidence", description="colour by", **wide)
        self.filter = W.Text(placeholder=EXAMPLE, description="filter", continuous_update=False, tooltip=HINT, **wide)
        self.filter.add_class("imu-filter")
        self.clear = W.Button(description="Show all", icon="times", layout=W.Layout(width="auto", flex="0 0 auto"))
        self.shown_run = W.Dropdown(options=[(label(self.run, 0), 0)], description="run", **wide)
        self.what_if = WhatIf(lambda: self.run, self._chosen_or_selected, self._take_up)

    def _colours(self) -> list[tuple[str, str]]:
        """What dots can be coloured by."""
        live = [(f"{tables.title(name)} now", name) for name in ("confidence", "margin") if name in self.run.trajectory]
        return live + menu(quantities(self.samples))

    def _side(self) -> list[W.Widget]:
        return [theme.section("Go through the updates"), W.HBox([self.step, self.play]), self.shown_run,
                theme.section("Colour and filter"), self.colour_by, self.filter, W.HBox([self.clear, self.selection.count]),
                theme.section("One sample, and its neighbours"), self.sample,
                theme.section("What-ifs on the selection"), self.what_if]  # fmt: skip

    def _listen(self) -> None:
        self.step.observe(self.ask, "value")
        self.colour_by.observe(lambda _: self.ask() if self._heard() else None, "value")
        self.filter.observe(
            self.guarded(lambda change: self.select_where(change.new) if self._heard() else None), "value"
        )
        self.clear.on_click(self.guarded(lambda _: self._show_all()))
        self.what_if.explore.on_click(self.guarded(lambda _: self._explore_other()))
        self.shown_run.observe(self.guarded(lambda change: self._show_run(change.new)), "value")
        self.ledger.back.on_click(self.guarded(lambda _: self.ledger.turn(-1)))
        self.ledger.forth.on_click(self.guarded(lambda _: self.ledger.turn(1)))
        for control in (self.ledger.by, self.ledger.order):
            control.observe(self.guarded(self.ledger.refresh), "value")

    # --- the right side

    def _make_views(self) -> None:
        self.map: SampleMap | None = None
        self.paths: Paths | None = None
        self.pictures = Pictures(self.run.task)
        choose = self.guarded(self.choose)
        self.ledger = Ledger(self.pictures, choose)
        self.sample = OneSample(self.pictures, choose)
        self.place = W.VBox()  # of the other explorer
        self.brushes = Brushes(self.guarded(self._brushed))
        self.selection = Selection(self.brushes, self.pictures, choose, self.show_error)
        layout = W.Layout(flex="1 1 420px", min_width="0", min_height=f"{HEIGHT + 36}px")
        self.places = {name: W.VBox(layout=layout).add_class("imu-captioned") for name in ("map", "paths")}

    def _main(self) -> list[W.Widget]:
        pair = W.HBox(list(self.places.values()), layout=W.Layout(flex_flow="row wrap"))
        return [pair, theme.section("The selection"), *self.selection.rows, self.what_if.result]  # fmt: skip

    # --- the map

    def _asked(self) -> Question:
        return Question(self._recorded(), self.colour_by.value)

    def _recorded(self) -> int:
        """The last recorded update at or before the slider's."""
        steps = self.land.steps
        return int(steps[max(0, np.searchsorted(steps, self.step.value, side="right") - 1)])

    def _scene(self, question: Question, report: Report | None) -> Scene:
        land = self.land
        values = land.values(question.colour_by, question.step, self.samples)[land.forgotten]
        chosen = None if self.chosen is None else land.position.get(self.chosen)
        regions = land.regions(question.step)
        shown = [] if regions is None else np.unique(regions.classes).tolist()
        names = {number: land.class_name(number) for number in shown}
        return Scene(land.examples, land.places, land.labels, land.forgotten, land.lost(question.step), values,
                     question.colour_by, self._selected_rows(), chosen, regions, question.step, land.about, names)  # fmt: skip

    def _selected_rows(self) -> np.ndarray | None:
        if self.selected is None:
            return None
        return np.flatnonzero(np.isin(self.land.forget, self.selected))

    def _draw_map(self, scene: Scene) -> None:
        with self._drawing:
            place = None if self.chosen is None else self.land.position.get(self.chosen)
            now = scene._replace(selected=self._selected_rows(), chosen=place)  # they may have moved on
            if self.map is None:
                self.map = self._made_map(now)
            else:
                self.map.show(now)
            if self.chosen is not None:
                self.sample.tell_answers(self.chosen, self.land, now.step)

    def _made_map(self, scene: Scene) -> SampleMap:
        hear = dict(clicked=self.choose, lassoed=self._lassoed, deselected=self._show_all)
        heard = {name: self.guarded(answer) for name, answer in hear.items()}
        made = SampleMap(scene, HEIGHT, **heard, thumbnail=lambda example: self.pictures.tag(example, SEEN))
        self.places["map"].children = [made]
        return made

    def _lassoed(self, corners: np.ndarray) -> None:
        """Select what lies inside an outline."""
        inside = np.flatnonzero(self.land.within(corners))
        if len(inside):
            self._drawn = self.land.examples[inside].tolist()
            self._write_filter("")
            self._brushed()

    # --- selecting

    def select(self, examples: Iterable[int] | None) -> None:
        """Show these samples everywhere; None for all of the forget set.

        Raises:
            ValueError: none of them is on the map.
        """
        wanted = None if examples is None else [int(e) for e in examples if int(e) in self.land.position]
        if wanted is not None and not wanted:
            raise ValueError(f"none of these examples is on the map, which shows {len(self.land.examples)} samples")
        self._write_filter("")
        self.brushes.clear()
        self._select(wanted)
        self.clear_error()

    def _select(self, examples: list[int] | None) -> None:
        self._drawn = examples
        with self._drawing:
            self.map.wipe()
        self._brushed()

    def _brushed(self) -> None:
        """Select what was drawn around, asked for or given, as far as the histograms let it through."""
        drawn, passing = self._drawn, self.brushes.examples()
        if drawn is not None and passing is not None:
            passing = [example for example in passing if example in set(drawn)]
        self.selected = drawn if passing is None else passing
        self._follow_selection()
        self._redraw_map()

    def _write_filter(self, words: str) -> None:
        """Words in the filter's box, without selecting by them."""
        with self._unheard():
            self.filter.value = words

    def select_where(self, query: str) -> None:
        """Select by a pandas query over the ledger's columns, such as ``"pressure == 0"``; an empty one selects all.

        Raises:
            ValueError: it cannot be read, is no condition, or no sample meets it; the selection stays as it was.
        """
        if not query.strip():
            return self.select(None)
        try:
            found = self.samples.eval(query, engine="python")
        except Exception as error:  # whatever pandas, numpy or Python make of it
            raise ValueError(f"cannot read the filter {query!r} ({error}); {HINT}") from error
        if not isinstance(found, pd.Series) or found.dtype != bool:
            raise ValueError(f"the filter {query!r} is not a condition; {HINT}")
        if not found.any():
            raise ValueError(f"no sample meets the filter {query!r}")
        self._select(self.samples.loc[found, "example"].tolist())
        self._write_filter(query)
        self.clear_error()

    def _show_all(self) -> None:
        self.select(None)

    def _follow_selection(self) -> None:
        """Show the selection in the trajectories, the gallery and the ledger."""
        mine = self.land.forget if self.selected is None else np.intersect1d(self.land.forget, self.selected)
        few = subset(self.run, mine, ROWS)
        with self._drawing:
            if self.paths is None:
                self.paths = Paths(few, HEIGHT, self.guarded(self.choose))
                self.places["paths"].children = [self.paths]
            else:
                self.paths.show(few)
        self.ledger.show(self.samples[self.samples["example"].isin(mine)], quantities(self.samples))
        self.selection.show(self.samples, mine, self.selected)

    # --- one sample

    def choose(self, example: int) -> None:
        """Show the card of this sample, and mark it everywhere.

        Raises:
            ValueError: it is not on the map.
        """
        if int(example) not in self.land.position:
            raise ValueError(f"example {example} is not on the map, which shows {len(self.land.examples)} samples")
        self.chosen = self.ledger.chosen = int(example)
        with self._drawing:
            self.sample.show(self.chosen, self.land, self._named(), self._recorded())
            self.paths.mark(self.chosen)
            self.map.mark(self.land.places[self.land.position[self.chosen]])
        self.selection.gallery.mark(self.chosen)
        self.ledger.refresh()

    def _named(self) -> dict[str, Run]:
        """The runs by their names in the menu."""
        return {label(run, at): run for at, run in enumerate(self.runs)}

    def _redraw_map(self) -> None:
        """Show the selection on the map at once."""
        with self._drawing:  # else a newer update could be drawn between reading the scene and drawing it
            self._draw_map(self.map.scene)

    # --- other runs

    def _chosen_or_selected(self) -> list[int]:
        """What a what-if is about: the selection, else the chosen sample."""
        if self.selected is not None:
            return self.selected
        return [] if self.chosen is None else [self.chosen]

    def _take_up(self, change: Change, run: Run) -> bool:
        """Offer a what-if's run where it has the same forget set: same samples, and each under the same label."""
        same = run.task == self.run.task and np.array_equal(run.samples["example"], self.run.samples["example"])
        if same:
            with self._drawing:
                self.runs.append(run)
                if change.action == "alike":
                    self._alike[self.runs.index(change.run)] = run
                runs = [(name, at) for at, name in enumerate(self._named())]
                self._offer(self.shown_run, runs, self.shown_run.value)
                self._show_columns()
                if self.chosen is not None:
                    self.sample.tell_runs(self.chosen, self.land, self._named())
        return same

    def _widened(self, number: int) -> pd.DataFrame:
        """A run's ledger with how each sample withstood it, and with the columns that a user gave."""
        run = self.runs[number]
        own, given = withstood(run, uniform=self._alike.get(number)), self._table
        if given is None:
            return widened(run.samples, own)
        if number:  # what was given speaks of the first run; of another, what was known before it
            return widened(widened(run.samples, own), given.loc[:, ~given.columns.str.startswith("uniform_")])
        return widened(widened(run.samples, given), own)

    def _show_columns(self) -> None:
        """Offer the columns that are known of the run on view, and show them."""
        self.samples = self._widened(self.runs.index(self.run))
        self.brushes.offer(self.samples, quantities(self.samples))
        chosen, options = self.colour_by.value, self._colours()
        self._offer(self.colour_by, options, chosen if chosen in dict(options).values() else "confidence")
        self._brushed()

    def _offer(self, control: W.Dropdown, options: list[tuple[str, Any]], value: Any) -> None:
        """New options: ipywidgets then chooses the first of them, which nobody asked for."""
        with self._unheard():
            control.options, control.value = options, value

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """What controls are told meanwhile is no question of a user's."""
        self._telling.now = True
        try:
            yield
        finally:
            self._telling.now = False

    def _heard(self) -> bool:
        """Whether a control's news are a user's. Each thread tells for itself: a what-if ends in its own."""
        return not getattr(self._telling, "now", False)

    def _explore_other(self) -> None:
        """Place an explorer of the newest what-if below all of this one, instead of an earlier one."""
        earlier, self.other = self.other, Explorer(self.what_if.other, None, **self._how)
        self.place.children = [self.other]
        if earlier is not None:
            earlier.close()

    def _show_run(self, number: int | None) -> None:
        if not self._heard() or number is None or self.runs[number] is self.run:
            return
        with self._drawing:
            self.run = self.runs[number]
            self.land = self.land.of(self.run)
            self.step.max = max(int(self.land.steps[-1]), 1)
            self._show_columns()
        if self.chosen is not None:
            self.choose(self.chosen)
        self.ask()

    def _still(self) -> list:
        chosen = None if self.chosen is None else self.land.position.get(self.chosen)
        rows: list = [[plot_map(self.map.scene._replace(chosen=chosen)), self.paths.figure]]
        return rows + [[gallery]] if (gallery := self.selection.gallery.value) else rows


def label(run: Run, number: int) -> str:
    """A run in the menu."""
    return f"{number}: {run.label}"
