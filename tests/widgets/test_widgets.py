"""Controls, menus, the job, the shared plotly bundle, the gallery and the panel, in plain Python without a browser."""

from __future__ import annotations

import base64
import io
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from html import unescape

import anywidget
import ipywidgets as W
import numpy as np
import pandas as pd
import plotly
import plotly.graph_objects as go
import pytest
from PIL import Image
from waiting import threads, until

from imu_lab.core.knobs import knob
from imu_lab.core.registry import Registry
from imu_lab.figures import live
from imu_lab.studies.landscape import OnePrediction
from imu_lab.widgets.base import bundle as shared
from imu_lab.widgets.base import gallery, ledger, still, tables
from imu_lab.widgets.base import job as job_module
from imu_lab.widgets.base.bundle import FigureWidget
from imu_lab.widgets.base.controls import Choice, Controls, Menu, onward
from imu_lab.widgets.base.job import Job, Superseded, overheard
from imu_lab.widgets.base.panel import Panel, duration

SECONDS = 10.0


@dataclass(frozen=True)
class Everything:
    """One knob of each kind."""

    damping: float = knob(1e-2, help="a logarithmic slider", valid="(0, inf)", range=(1e-6, 1e2), scale="log")
    quantile: float = knob(0.93, help="a linear slider", valid="(0, 1]", range=(0.05, 1.0))
    count: int = knob(8, help="whole numbers", valid="[1, inf)", range=(1, 512))
    relative: bool = knob(False, help="a switch")
    optimizer: str = knob("sgd", help="a menu", choices=("sgd", "adamw"))
    step_norm: float | None = knob(
        None, help="may be off", valid="(0, inf)", range=(1e-3, 1.0), scale="log", optional=True
    )
    free: float = knob(2.0, help="no range")
    hidden: int = 3


@dataclass(frozen=True)
class Plain:
    """No settings at all."""


@pytest.fixture
def no_errors() -> Iterator[None]:
    """Every exception of every job is collected; this test must cause none."""
    Job.errors.clear()
    yield
    assert not Job.errors, Job.errors


# --- controls


def test_each_kind_of_knob_has_its_control() -> None:
    made = {name: type(control.editor) for name, control in Controls(Everything).controls.items()}
    assert made == {
        "damping": W.FloatLogSlider,
        "quantile": W.FloatSlider,
        "count": W.IntSlider,
        "relative": W.Checkbox,
        "optimizer": W.Dropdown,
        "step_norm": W.FloatLogSlider,
        "free": W.FloatText,
    }


def test_controls_start_with_the_settings_they_are_given() -> None:
    assert Controls(Everything(count=3)).value["count"] == 3
    assert Controls(Everything, {"count": 5, "unknown": 1}).value["count"] == 5
    assert Controls(Everything).value == {
        "damping": 0.01,
        "quantile": 0.93,
        "count": 8,
        "relative": False,
        "optimizer": "sgd",
        "step_norm": None,
        "free": 2.0,
    }


def test_moving_a_slider_changes_the_value_once() -> None:
    controls, seen = Controls(Everything), []
    controls.observe(lambda change: seen.append(change.new), "value")
    controls.controls["damping"].editor.value = 0.1000000001
    assert [value["damping"] for value in seen] == [0.1], "and keeps a readable number"


def test_setting_the_value_moves_the_sliders_once() -> None:
    controls, seen = Controls(Everything), []
    controls.observe(lambda change: seen.append(change.new), "value")
    controls.value = {**controls.value, "damping": 1.0}
    assert controls.controls["damping"].editor.value == pytest.approx(1.0)
    assert [value["damping"] for value in seen] == [1.0]


def test_an_optional_setting_has_a_switch() -> None:
    control = Controls(Everything).controls["step_norm"]
    assert control.value is None and control.editor.disabled
    control.place(0.25)
    assert control.value is None, "placing the slider does not switch it on"
    control.editor.value = 0.2512
    assert control.value is None, "nor does the page, which moves it to a position that it can show"
    control.editor.value = 0.25
    control.switch.value = True
    assert control.value == 0.25 and not control.editor.disabled
    control.value = None
    assert not control.switch.value and control.editor.disabled


@pytest.mark.parametrize("name, value, shown, next_one", [
    ("step_norm", 0.02, 10**-1.7, 10**-1.65), ("damping", 0.03, 10**-1.5, 10**-1.55), ("quantile", 0.8334, 0.83, 0.84)
])  # fmt: skip
def test_a_value_between_two_positions_stays_when_the_page_shows_it_at_the_nearest(
    name: str, value: float, shown: float, next_one: float
) -> None:
    controls = Controls(Everything, {"quantile": 0.8334, "step_norm": 0.02, "damping": 0.03})
    control, asked = controls.controls[name], []
    controls.observe(lambda change: asked.append(change.new[name]), "value")
    step = control.editor.step
    assert round((np.log10(shown) if name != "quantile" else shown) / step, 6) % 1 in (0.0, 1.0)
    control.editor.value = shown
    assert control.value == value and not asked, "nobody has moved it"
    control.editor.value = next_one
    assert asked == [float(f"{next_one:.4g}")] == [control.value]
    control.editor.value = shown
    assert control.value == float(f"{shown:.4g}"), "now somebody has"
    controls.value = {**controls.value, name: value}
    control.editor.value = shown
    assert control.value == value
    if control.switch is not None:
        control.switch.value = False
        control.switch.value = True
        assert control.value == value, "a switch moves no slider"


def test_a_value_outside_the_slider_widens_it() -> None:
    controls = Controls(Everything, {"quantile": 0.01})
    assert controls.value["quantile"] == 0.01
    controls.value = {**controls.value, "damping": 1e4}
    assert controls.controls["damping"].value == 1e4


def test_a_value_that_is_not_allowed_is_refused_before_anything_moves() -> None:
    controls = Controls(Everything)
    for wrong in ({"count": 5, "damping": -1.0}, {"count": 5, "optimizer": "adam"}, {"count": 5, "dampnig": 1.0}):
        with pytest.raises(ValueError, match="damping|Did you mean"):
            controls.value = wrong
        assert controls.value["count"] == 8 and controls.controls["count"].editor.value == 8
    with pytest.raises(ValueError, match="damping"):
        controls.controls["damping"].value = -1.0


def test_an_editor_bears_its_settings_name_with_a_switch_and_without() -> None:
    controls = Controls(Everything, first=("damping",)).controls
    assert [control.editor.description for control in controls.values()] == list(controls)


def test_help_is_the_tooltip() -> None:
    assert Controls(Everything).controls["count"].editor.tooltip == "whole numbers"


def test_rare_settings_wait_behind_more() -> None:
    shown = Controls(Everything, first=("damping",), hide=("free",)).children
    assert [type(child).__name__ for child in shown] == ["Control", "Accordion"]


# --- menu


@pytest.fixture
def things() -> Registry:
    registry = Registry("thing")
    registry.register("everything")(Everything)
    registry.register("plain")(Plain)
    return registry


def test_the_menu_shows_the_chosen_items_settings(things: Registry) -> None:
    menu = Menu(things, "everything", label="thing", start=lambda name: {"count": 4} if name == "everything" else {})
    assert menu.value.name == "everything" and menu.value.settings["count"] == 4
    menu.names.value = "plain"
    assert menu.value == Choice("plain", {})
    assert "No settings at all." in menu.about.value


def test_the_menu_remembers_the_settings_of_each_item(things: Registry) -> None:
    menu = Menu(things, "everything", label="thing")
    menu.controls.controls["count"].value = 77
    menu.names.value = "plain"
    menu.names.value = "everything"
    assert menu.value.settings["count"] == 77


def test_the_menu_can_be_set(things: Registry) -> None:
    menu = Menu(things, "plain", label="thing")
    menu.value = Choice("everything", {"count": 9})
    assert menu.names.value == "everything" and menu.controls.controls["count"].editor.value == 9


def test_what_is_registered_later_appears(things: Registry) -> None:
    menu = Menu(things, "plain", label="thing")

    @dataclass(frozen=True)
    class Mine:
        """Mine <b>alone</b>."""

        strength: float = knob(1.0, help="how strong", range=(0.0, 2.0))

    things.register("mine")(Mine)
    menu.refresh()
    assert "mine" in menu.names.options and menu.names.value == "plain"
    menu.names.value = "mine"
    assert menu.value.settings == {"strength": 1.0}
    assert "&lt;b&gt;" in menu.about.value, "a docstring is text, not HTML"


def test_what_is_registered_again_gets_its_new_settings(things: Registry) -> None:
    menu = Menu(things, "plain", label="thing")
    things.register("plain")(Everything)
    assert menu.refresh() and not menu.refresh()
    assert "damping" in menu.value.settings


def test_settings_that_a_new_version_refuses_are_forgotten(things: Registry) -> None:
    menu = Menu(things, "everything", label="thing")
    menu.controls.value = {"count": 77, "quantile": 0.5}

    @dataclass(frozen=True)
    class Narrower:
        """The same with other limits."""

        count: int = knob(2, help="few", valid="[1, 9]", range=(1, 9))
        quantile: float = knob(0.93, help="the same", valid="(0, 1]", range=(0.05, 1.0))

    things.register("everything")(Narrower)
    assert menu.refresh() and menu.value.settings == {"count": 2, "quantile": 0.5}


# --- job


def test_the_newest_settings_are_answered_and_the_rest_dropped(no_errors: None) -> None:
    gate, started, computed, drawn = threading.Event(), threading.Event(), [], []

    def compute(settings: int, report: object) -> int:
        computed.append(settings)
        started.set()
        gate.wait(SECONDS)
        return settings

    job = Job(compute, drawn.append)
    job.submit(0)
    assert started.wait(SECONDS)
    for settings in range(1, 6):
        job.submit(settings)
    gate.set()
    assert job.wait(SECONDS)
    assert computed == [0, 5] and drawn == [0, 5] and job.dropped == 4


def test_partial_answers_are_drawn_and_the_last_one_always(no_errors: None) -> None:
    drawn: list[int] = []
    job = Job(lambda settings, report: (part for part in range(settings)), drawn.append)
    job.submit(1000)
    assert job.wait(SECONDS)
    assert drawn[0] == 0 and drawn[-1] == 999 and len(drawn) < 20, "at most about five a second between them"


def test_what_can_wait_is_drawn_once_nobody_asks_and_answers_keep_a_distance(
    no_errors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "DISTANCE", 0.2)
    drawn, times, rests = [], [], []

    def draw(answer: int) -> Callable[[], None]:
        times.append(time.perf_counter())
        drawn.append(answer)
        return lambda: rests.append(answer)

    job = Job(lambda settings, report: settings, draw)
    for asked in range(40):  # a key that is held down
        job.submit(asked)
        time.sleep(0.01)
        assert rests == []
    assert job.wait(SECONDS)
    assert rests == [39] == drawn[-1:] and drawn[0] == 0 and len(drawn) <= 5
    assert min(later - sooner for sooner, later in zip(times, times[1:])) >= 0.19
    start = time.perf_counter()
    job.submit(40)  # one that is pressed after a while waits for nobody
    until(lambda: drawn[-1] == 40)
    assert time.perf_counter() - start < 0.19
    assert job.wait(SECONDS) and rests == [39, 40]


@pytest.mark.parametrize("ends", ["stopped", "wrong"])
def test_the_rest_of_what_is_drawn_is_drawn_where_the_next_question_has_no_answer(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Job, "errors", [])
    rests, working = [], threading.Event()

    def compute(settings: int, report: Callable) -> int:
        while settings == 0 and ends == "stopped":
            working.set()
            report.patience = 0.0
            report()
        return 1 // settings

    job = Job(compute, lambda answer: lambda: rests.append(answer))
    job.barrier = lambda: job.submit(0)  # so somebody asks while the answer is drawn
    job.submit(1)
    if ends == "stopped":
        assert working.wait(SECONDS) and rests == []
        job.stop()
    assert job.wait(SECONDS) and rests == [1] and len(Job.errors) == (ends == "wrong")


def test_a_long_computation_is_left_when_a_newer_question_comes(no_errors: None) -> None:
    drawn: list[str] = []
    started = threading.Event()

    def compute(settings: str, report: object) -> str:
        for step in range(10_000 if settings == "long" else 1):
            started.set()
            time.sleep(0.001)
            report(step, 10_000, "waiting")
        return settings

    job = Job(compute, drawn.append)
    job.submit("long")
    assert started.wait(SECONDS)
    job.submit("short")
    assert job.wait(SECONDS)
    assert drawn == ["short"] and job.dropped == 1


def test_warnings_are_told_with_the_answer(no_errors: None) -> None:
    told: list[list[str]] = []
    job = Job(
        lambda settings, report: warnings.warn("it diverged", stacklevel=1),
        lambda answer: None,
        on_done=told.append,
    )
    job.submit(1)
    assert job.wait(SECONDS) and told == [["it diverged"]]


def test_stop_ends_the_computation_at_its_next_report(no_errors: None) -> None:
    left, drawn, started = [], [], threading.Event()

    def compute(settings: int, report: object) -> None:
        try:
            while True:
                started.set()
                time.sleep(0.001)
                report()
        except Superseded:
            left.append(True)
            raise

    job = Job(compute, drawn.append)
    job.submit(1)
    assert started.wait(SECONDS)
    job.stop()
    assert job.wait(SECONDS) and left and not drawn


def test_exceptions_reach_the_panel_and_the_list() -> None:
    Job.errors.clear()
    shown: list[BaseException] = []
    job = Job(lambda settings, report: 1 / settings, lambda answer: None, on_error=shown.append)
    job.submit(0)
    assert job.wait(SECONDS)
    assert isinstance(shown[0], ZeroDivisionError) and Job.errors == shown
    job.submit(1)
    assert job.wait(SECONDS) and len(shown) == 1, "and the job goes on"


def a_step_further(before: int, now: int) -> int:
    return 2 * now - before


def test_what_will_probably_be_asked_is_worked_out_while_nobody_asks(no_errors: None) -> None:
    foreseen, drawn = [], []
    job = Job(lambda settings, report: settings, drawn.append, likely=a_step_further,
              ahead=lambda settings, report: foreseen.append(settings))  # fmt: skip
    for settings, expected in ((1, []), (3, [5]), (4, [5, 5])):
        job.submit(settings)
        assert job.wait(SECONDS, ahead=True) and foreseen == expected
    assert drawn == [1, 3, 4], "and nothing of it is drawn"


@pytest.mark.parametrize(("asked", "end"), [(7, "left"), (3, "gone on with")])
def test_another_question_ends_what_is_worked_out_ahead_and_the_foreseen_one_does_not(
    no_errors: None, asked: int, end: str
) -> None:
    started, gate, ends, drawn = threading.Event(), threading.Event(), [], []

    def ahead(settings: int, report: object) -> None:
        started.set()
        gate.wait(SECONDS)
        try:
            report()
        except Superseded:
            ends.append("left")
            raise
        ends.append("gone on with")

    job = Job(lambda settings, report: settings, drawn.append, likely=a_step_further, ahead=ahead)
    job.submit(1)
    assert job.wait(SECONDS)
    job.submit(2)
    assert started.wait(SECONDS) and job.wait(SECONDS), "the answer is there, and the next one is worked out"
    job.submit(asked)
    gate.set()
    assert job.wait(SECONDS) and ends[0] == end and drawn == [1, 2, asked]


def test_what_fails_ahead_is_told_when_it_is_asked() -> None:
    Job.errors.clear()
    job = Job(lambda settings, report: 1 / settings, lambda answer: None, likely=a_step_further,
              ahead=lambda settings, report: 1 / settings)  # fmt: skip
    for settings in (2, 1):
        job.submit(settings)
        assert job.wait(SECONDS, ahead=True) and not Job.errors
    job.submit(0)
    assert job.wait(SECONDS) and isinstance(Job.errors.pop(), ZeroDivisionError)


def test_what_takes_long_is_not_worked_out_ahead(no_errors: None, monkeypatch: pytest.MonkeyPatch) -> None:
    foreseen: list[int] = []
    job = Job(lambda settings, report: time.sleep(0.002), lambda answer: None, likely=a_step_further,
              ahead=lambda settings, report: foreseen.append(settings))  # fmt: skip
    monkeypatch.setattr("imu_lab.widgets.base.job.QUICK", 0.001)
    for settings in (1, 2):
        job.submit(settings)
        assert job.wait(SECONDS, ahead=True)
    assert not foreseen


@pytest.mark.parametrize(
    ("slider", "positions"),
    [
        (W.FloatLogSlider(1e-2, base=10, min=-5, max=1, step=0.05), lambda at: 10 ** (-5 + 0.05 * at)),
        (W.FloatSlider(0.5, min=0.05, max=1.0, step=0.01), lambda at: 0.05 + 0.01 * at),
        (W.IntSlider(60, min=1, max=300, step=1), lambda at: 1 + at),
    ],
    ids=["logarithmic", "linear", "whole"],
)
def test_a_slider_that_goes_on_comes_to_its_next_position(slider: W.Widget, positions: Callable) -> None:
    most = round((slider.max - slider.min) / slider.step)
    for first, second in ((3, 4), (9, 7), (0, 3), (most - 2, most - 1)):
        found = onward(slider, positions(first), positions(second))
        assert found == pytest.approx(positions(2 * second - first), rel=1e-12)
        assert isinstance(found, type(slider.value))
    for first, second in ((4, 4), (1, 0), (most - 1, most), (0, most)):
        assert onward(slider, positions(first), positions(second)) is None, "it stands still, or is at its end"
    assert onward(W.Dropdown(options=[1, 2]), 1, 2) is None


@pytest.mark.full
def test_a_long_computation_tells_how_long_it_will_take(no_errors: None) -> None:
    seen: list = []

    def compute(settings: int, report: object) -> None:
        for step in range(1, 101):
            time.sleep(0.008)
            report(step, 100, "waiting")

    job = Job(compute, lambda answer: None, on_progress=seen.append)
    job.submit(1)
    assert job.wait(SECONDS)
    assert seen and seen[0].what == "waiting" and seen[0].left > 0
    assert len(seen) <= 6, "about five a second"
    before = len(seen)
    until(lambda: not threads("imu_lab ticker"))
    assert len(seen) == before, "and none after the answer"


# --- the shared bundle


def test_the_bundle_is_where_plotly_keeps_it() -> None:
    assert int(plotly.__version__.split(".")[0]) < 8, "the shared bundle rests on the private layout of plotly 6 and 7"
    assert shared.BUNDLE.stat().st_size > 1_000_000 and shared.loader().bundle == shared.BUNDLE.read_text(
        encoding="utf-8"
    )


def test_only_the_loader_carries_the_bundle() -> None:
    first, second = FigureWidget(), FigureWidget(go.Figure(go.Scatter(y=[1, 2])))
    for figure in (first, second):
        assert len(figure.get_state()["_esm"]) < 4000
    assert sum(len(str(value)) for value in second.get_state().values()) < 50_000
    assert isinstance(shared.loader(), anywidget.AnyWidget) and shared.loader() is shared.loader()


def test_an_update_is_one_message_and_news_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = FigureWidget(go.Figure([go.Scatter(y=[1, 2]), go.Scatter(y=[3, 4])]))
    sent: list[tuple] = []
    monkeypatch.setattr(FigureWidget, "send_state", lambda self, key=None: sent.append((key, self.get_state(key))))
    for values, title in ([5, 6], "told"), ([3, 4], "before"), ([5, 6], "told"):
        with figure.batch_update():
            figure.data[1].y = values
            figure.layout.title.text = title
    assert len(sent) == 3 and {key for key, _ in sent} == {"_py2js_update"}
    told = [state["_py2js_update"] for _, state in sent]
    assert told[0]["style_traces"] == [1] and told[0]["layout_data"] == {"title.text": "told"}
    numbers = [each["trace_edit_id"] for each in told]
    assert len(set(numbers)) == len(numbers), "the page takes two equal messages in a row for one"


def test_asked_for_its_state_a_figure_tells_its_data_of_now() -> None:
    figure = FigureWidget(go.Figure(go.Scatter(y=[1, 2])))
    with figure.batch_update():
        figure.data[0].y = [5, 6]
        figure.layout.title.text = "now"
    figure.add_scatter(y=[7])
    state = figure.get_state()
    assert [list(trace["y"]) for trace in state["_widget_data"]] == [[5, 6], [7]]
    assert state["_widget_layout"]["title"]["text"] == "now"
    figure.data[0].y = [8, 9]
    assert list(state["_widget_data"][0]["y"]) == [5, 6], "what was told is not the figure's own"


def test_a_closed_loader_is_replaced() -> None:
    old = shared.loader()
    old.close()
    assert shared.loader() is not old


# --- gallery, tables, still


def test_pictures_become_one_png() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (7, 8, 8, 3), dtype=np.uint8)
    sheet = Image.open(io.BytesIO(gallery.tiled(pictures, columns=4, size=32)))
    assert sheet.size == (4 * 38, 2 * 38)
    left, top = 2 * 38 + 3, 3
    tile = np.asarray(sheet.convert("RGB"))[top : top + 32, left : left + 32]
    assert (tile[::4, ::4] == pictures[2]).all() and (tile[3::4, 3::4] == pictures[2]).all(), "pixels stay sharp"


def test_an_empty_gallery_takes_no_room() -> None:
    shown = gallery.Gallery(size=32)
    shown.show(None)
    assert shown.layout.display == "none"
    shown.show(np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"])
    assert shown.layout.display is None and shown.value.startswith(b"\x89PNG")
    assert shown.overlay is None and list(shown.children) == [shown.image], "and nobody asked for clicks: no buttons"


def test_each_picture_of_a_gallery_can_be_clicked() -> None:
    clicked: list[int] = []
    shown = gallery.Gallery(clicked.append, columns=3, size=32)
    shown.show(np.zeros((5, 8, 8, 3), np.uint8), examples=[11, 17, 2, 40, 3])
    buttons = shown.overlay.children
    assert [button.tooltip for button in buttons] == [f"example {each}" for each in (11, 17, 2, 40, 3)]
    assert shown.overlay.layout.grid_template_columns == "repeat(3, minmax(0, 1fr))"
    buttons[1].click()
    shown.show(np.zeros((2, 8, 8, 3), np.uint8), examples=[5, 6])
    assert shown.overlay.children == buttons[:2], "buttons are kept, and told what they stand for now"
    assert shown.overlay.layout.grid_template_columns == "repeat(2, minmax(0, 1fr))"
    shown.overlay.children[1].click()
    buttons[4].click()  # one that is no longer shown
    assert clicked == [17, 6]


def test_the_marked_picture_keeps_its_frame_wherever_it_stands() -> None:
    shown = gallery.Gallery(lambda example: None, size=32)
    framed = lambda: [button.tooltip for button in shown.overlay.children if "imu-marked" in button._dom_classes]  # noqa: E731
    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    shown.show(pictures, examples=[4, 5, 6])
    shown.mark(5)
    assert framed() == ["example 5"]
    shown.show(pictures, examples=[5, 7, 8])
    assert framed() == ["example 5"] and shown.overlay.children[0].tooltip == "example 5"
    shown.mark(None)
    assert framed() == []


@pytest.fixture
def clickable() -> Iterator[tuple[ledger.Ledger, list[int]]]:
    chosen: list[int] = []
    made = ledger.Ledger(ledger.Pictures(None), chosen.append)
    frame = {
        "example": [3, 1, 2],
        "label": list("abc"),
        "pressure": [0.1, 0.3, 0.2],
        "time_to_forget": [1.0, 2.0, np.nan],
    }
    rows = pd.DataFrame(frame)
    made.show(rows.assign(rank=[0.5, 0.0, 1.0], censored=[False, False, True], run="x"))
    yield made, chosen


def test_each_row_of_the_ledger_can_be_clicked(clickable: tuple) -> None:
    made, chosen = clickable
    assert [button.tooltip for button in made.rows.children] == ["example 1", "example 2", "example 3"]
    made.rows.children[1].click()
    made.order.value = True
    made.refresh()
    made.rows.children[0].click()
    assert chosen == [2, 3]


def test_the_ledger_sorts_by_each_quantity_it_is_given(clickable: tuple) -> None:
    made, _ = clickable
    assert [name for _, name in made.by.options] == ["pressure", "time_to_forget", "rank", "censored"]
    assert dict(made.by.options)[tables.title("rank")] == "rank" and tables.title("rank") not in made.table.value
    made.by.value = "rank"
    made.refresh()
    assert [button.tooltip for button in made.rows.children] == ["example 2", "example 3", "example 1"]
    assert 'class="imu-sorted" title="' in made.table.value and f">{tables.title('rank')}</th>" in made.table.value
    made.show(made.samples.drop(columns="rank"))
    assert made.by.value == "pressure", "a column that is gone gives way to the first"


def test_tables_escape_what_users_name() -> None:
    rows = pd.DataFrame({"example": [1], "label": ["<script>"], "weight": [0.25], "time_to_forget": [np.nan]})
    page = tables.ledger(rows, "weight", lambda example: "", chosen=1)
    assert "<script>" not in page and "&lt;script&gt;" in page and "imu-chosen" in page and "–" in page


def test_answers_leave_out_what_nobody_knows() -> None:
    page = tables.answers({"first": OnePrediction("<three>", 0.5, np.nan), "then": OnePrediction(None, 0.25, np.nan)})
    assert "&lt;three&gt;" in page and "0.250" in page and "margin" not in page
    assert tables.answers({"first": OnePrediction(None, np.nan, np.nan)}) == ""


def test_an_answer_of_many_letters_may_take_several_lines() -> None:
    page = tables.answers(
        {"first": OnePrediction("a person of many names", 0.5, np.nan), "then": OnePrediction("7", 0.2, 1.0)}
    )
    assert page.count("imu-long") == 1 and '<td class="imu-long">a person of many names</td>' in page


def test_a_still_picture_holds_figures_pictures_and_words() -> None:
    sheet = Image.open(
        io.BytesIO(still.composed("A title", ["some words", [gallery.tiled(np.zeros((1, 8, 8, 3), np.uint8))]]))
    )
    assert sheet.width == still.WIDTH and sheet.height > 64


def test_a_small_patch_keeps_its_colour_among_many() -> None:
    """A key in a legend is small, a colour scale has hundreds of shades."""
    pixels = np.zeros((1, 200, 200, 3), np.uint8)
    pixels[0, :, :, 2], pixels[0, :, :, 0] = np.arange(200), np.arange(200)[:, None]
    pixels[0, 90:94, 90:100] = 213, 94, 0
    sheet = Image.open(io.BytesIO(still.composed("", [[gallery.tiled(pixels, size=200)]]))).convert("RGB")
    off = np.abs(np.asarray(sheet).astype(int) - (213, 94, 0)).max(-1)
    assert (off <= 12).sum() >= 40


def test_words_above_a_still_figure_are_as_wide_as_their_place() -> None:
    words = ("Crosses mark the kept samples &lt;lost&gt; so far. " * 6).strip()
    title = still.fitted(live.heading("After update 3", words), 490)
    head, *small = title.split("<br>")
    assert head == "After update 3" and len(small) > 2
    told = [re.fullmatch(r"<span[^>]*>(.*)</span>", line)[1] for line in small]
    assert " ".join(told) == words
    assert max(gallery.font(12).getlength(unescape(line)) for line in told) < 490
    assert still.fitted("", 490) == "" and still.fitted("short", 490) == "short"


@pytest.mark.slow
def test_no_word_of_a_still_figure_is_cut() -> None:
    pytest.importorskip("kaleido")
    figure = go.Figure(layout=dict(template="imu_lab", height=200, xaxis_visible=False, yaxis_visible=False))
    figure.layout.title.text = live.heading("A title", "each word of a sentence that is longer than half a page " * 3)
    try:
        sheet = Image.open(io.BytesIO(still.composed("", [[figure, figure]]))).convert("L")
    except Exception as error:
        if "chrome" in str(error).lower() or "browser" in str(error).lower():
            pytest.skip(f"static pictures need Chromium: {error}")
        raise
    ink = np.asarray(sheet) < 160
    half = still.WIDTH // 2
    assert ink[40:130, 300 : half - 40].any(), "the words are there"
    assert not ink[40:130, half - 3 : half].any() and not ink[40:130, -3:].any(), "and none runs into the edge"


# --- panel


@pytest.fixture
def panel() -> Panel:
    slider = W.FloatSlider(1.0, min=0.0, max=10.0)
    answer = W.HTML()
    made = Panel(
        [slider],
        [answer],
        title="A <panel>",
        question=lambda: slider.value,
        compute=lambda x, report: 1 / x,
        draw=lambda value: setattr(answer, "value", f"{value:.3f}"),
        still_rows=lambda: [[gallery.tiled(np.zeros((1, 8, 8, 3), np.uint8))]],
    )
    slider.observe(made.ask, "value")
    made.slider, made.answer = slider, answer
    return made


def test_a_panel_answers_its_controls(panel: Panel, no_errors: None) -> None:
    panel.slider.value = 4.0
    assert panel.wait(SECONDS)
    assert panel.answer.value == "0.250" and panel.status.value == "up to date"


def test_errors_appear_in_the_panel_and_go_with_the_next_answer(panel: Panel) -> None:
    panel.slider.value = 4.0
    panel.wait(SECONDS)
    panel.slider.value = 0.0
    panel.wait(SECONDS)
    assert "ZeroDivisionError" in panel.error.value and panel.error.layout.display is None
    assert panel.answer.value == "0.250", "what was drawn stays"
    panel.slider.value = 2.0
    panel.wait(SECONDS)
    assert panel.error.value == "" and panel.error.layout.display == "none" and panel.answer.value == "0.500"
    Job.errors.clear()


def test_an_error_is_one_escaped_line(panel: Panel) -> None:
    panel.guarded(lambda: (_ for _ in ()).throw(ValueError("a\nb <img src=x onerror=alert(1)>")))()
    assert "<img" not in panel.error.value and "\n" not in panel.error.value
    assert isinstance(Job.errors.pop(), ValueError)


def test_a_long_computation_can_be_stopped() -> None:
    started = threading.Event()

    def compute(_: int, report: object) -> None:
        while True:
            started.set()
            time.sleep(0.002)
            report(1, 100, "waiting")

    made = Panel([], [], title="t", question=lambda: 1, compute=compute, draw=lambda answer: None, still_rows=list)
    assert made.stop_button.layout.display == "none"
    made.ask()
    assert started.wait(SECONDS)
    until(lambda: made.stop_button.layout.display != "none")
    assert "waiting" in made.status.value and "left" in made.status.value
    made.stop_button.click()
    assert made.wait(SECONDS)
    assert made.status.value == "stopped" and made.stop_button.layout.display == "none"


def test_the_static_picture_is_made_only_when_asked(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMU_LAB_STATIC", raising=False)
    assert "image/png" not in panel._repr_mimebundle_()
    monkeypatch.setenv("IMU_LAB_STATIC", "1")
    bundle = panel._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_times_are_written_for_people() -> None:
    assert [duration(seconds) for seconds in (0.0482, 2.31, 240.0)] == ["48 ms", "2.3 s", "4 min"]


def test_who_listens_within_a_listener_hears_alone_and_then_the_other_hears_again() -> None:
    with warnings.catch_warnings():
        before = warnings.showwarning, list(warnings.filters)
        with overheard() as outer:
            with overheard() as inner:
                warnings.warn("within", stacklevel=1)
            warnings.warn("after", stacklevel=1)
        assert (inner, outer) == (["within"], ["after"])
        assert (warnings.showwarning, list(warnings.filters)) == before


def test_jobs_that_overlap_leave_warnings_as_they_were() -> None:
    """Each hears its own, what the notebook warns of meanwhile is shown there, and afterwards all is as before."""
    begun, ended, heard = [threading.Event() for _ in "ab"], [threading.Event() for _ in "ab"], {}

    def compute(at: int, _: object) -> int:
        begun[at].set()
        assert ended[at].wait(SECONDS)
        warnings.warn(f"of job {at}", stacklevel=1)
        return at

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        before = warnings.showwarning, list(warnings.filters)
        jobs = [Job(compute, lambda _: None, on_done=partial(heard.__setitem__, at)) for at in (0, 1)]
        for at in (0, 1):
            jobs[at].submit(at)
            assert begun[at].wait(SECONDS)
        warnings.warn("of the notebook", stacklevel=1)
        for at in (0, 1):  # the first to begin ends first
            ended[at].set()
            assert jobs[at].wait(SECONDS, ahead=True)
        assert (warnings.showwarning, list(warnings.filters)) == before
        warnings.warn("of the notebook afterwards", stacklevel=1)
    assert heard == {0: ["of job 0"], 1: ["of job 1"]}
    assert [str(each.message) for each in shown] == ["of the notebook", "of the notebook afterwards"]
