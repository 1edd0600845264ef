"""The explorer in plain Python: choose or select in any view, and all others follow."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import cases
import numpy as np
import pytest
from PIL import Image
from plotly.callbacks import InputDeviceState, LassoSelector, Points
from waiting import threads, until

import imu_lab as imu
from imu_lab.widgets.base import tables
from imu_lab.widgets.base.job import Job

SECONDS = 60.0


@pytest.fixture(scope="module")
def run() -> imu.Run:
    task, original = cases.task("digits class"), cases.original("digits class")
    weights = imu.intensity(imu.influence(task, original))
    return imu.unlearn(task, original, weights, steps=20, reference=cases.retrained("digits class"))


@pytest.fixture
def explorer(run: imu.Run) -> Iterator:
    Job.errors.clear()
    made = imu.explore(run, context=150)
    yield made
    assert made.wait(SECONDS) and not Job.errors, Job.errors


def trace(explorer, role: str):
    return next(each for each in explorer.map.pane.data if each.meta["role"] == role)


def click(explorer, role: str, at: int) -> None:
    found = trace(explorer, role)
    found._dispatch_on_click(Points(point_inds=[at], trace_name=role, trace_index=0), InputDeviceState())


def test_a_click_on_the_map_is_seen_everywhere(explorer, run) -> None:
    click(explorer, "forget", 7)
    example = int(run.samples["example"].iloc[7])
    assert explorer.chosen == example and f"example {example}" in explorer.sample.card.value
    ring = explorer.map.pane.layout.shapes[0]
    assert np.array_equal((ring.xanchor, ring.yanchor), explorer.land.places[7])
    assert 'class="imu-chosen"' in explorer.ledger.table.value
    row = int(np.flatnonzero(explorer.paths.examples == example)[0])
    assert [shape.y0 for shape in explorer.paths.figure.layout.shapes if shape.name == "chosen"] == [row]
    assert explorer.sample.near.layout.display is None, "and its neighbours are shown"


def test_a_click_on_a_row_of_the_trajectories_chooses_its_sample(explorer) -> None:
    heat = explorer.paths.figure.data[0]
    heat._dispatch_on_click(Points(point_inds=[[3, 5]], xs=[5], ys=[3], trace_index=0), InputDeviceState())
    assert explorer.chosen == int(heat.customdata[3][0])


@pytest.mark.few(1)
@pytest.mark.parametrize("where", ["selection.gallery", "sample.near", "ledger.strip", "ledger.rows"])
def test_a_click_on_a_picture_or_a_row_chooses_its_sample(explorer, where: str) -> None:
    click(explorer, "forget", 0)
    shown = attrgetter(where)(explorer)
    button = getattr(shown, "overlay", shown).children[3]
    name = button.tooltip
    button.click()
    assert name == f"example {explorer.chosen}" and f"{name}, class" in explorer.sample.card.value
    assert explorer.ledger.chosen == explorer.chosen
    shown = [each.tooltip for each in explorer.selection.gallery.overlay.children]
    framed = [each.tooltip for each in explorer.selection.gallery.overlay.children if "imu-marked" in each._dom_classes]
    assert framed == ([name] if name in shown else []) and (name in shown or where != "selection.gallery")


def test_a_click_on_who_is_responsible_chooses_it(explorer) -> None:
    click(explorer, "kept", 2)
    culprit = explorer.sample.responsible.gallery.overlay.children[0]
    culprit.click()
    assert culprit.tooltip == f"example {explorer.chosen}" and explorer.chosen in explorer.land.forget


def test_a_click_that_fails_is_told_in_the_panel(explorer) -> None:
    explorer.selection.gallery.overlay.show([10**6])
    explorer.selection.gallery.overlay.children[0].click()
    assert "not on the map" in explorer.error.value and isinstance(Job.errors.pop(), ValueError)


def test_the_ledger_sorts_by_why_samples_resist_and_shows_the_selection(explorer, run) -> None:
    explorer.select(run.samples["example"].iloc[:6])
    explorer.ledger.by.value, explorer.ledger.order.value = "rank", True
    table = imu.resistance(run).iloc[:6].sort_values("rank", kind="stable")
    assert [button.tooltip for button in explorer.ledger.rows.children] == [f"example {e}" for e in table["example"]]
    assert f">{tables.title('rank')}</th>" in explorer.ledger.table.value


def test_the_answer_is_named_and_follows_the_slider(explorer, run) -> None:
    explorer.choose(run.samples["example"][run.samples["margin_after"].argmin()])
    first, last = (explorer.land.answer(explorer.chosen, step).answer for step in (0, 20))
    assert first == "3" != last
    told = explorer.sample.answers.value
    assert f"after update 0</td><td>{first}<" in told and f"after update 20</td><td>{last}<" in told
    explorer.step.value = 2
    assert explorer.wait(SECONDS)
    assert "after update 2<" in explorer.sample.answers.value and "after update 20" not in explorer.sample.answers.value
    click(explorer, "kept", 2)
    assert "after update 2<" in explorer.sample.answers.value and explorer.sample.answers.value != told


def test_a_kept_sample_has_a_card_too(explorer) -> None:
    click(explorer, "kept", 2)
    assert "a kept sample" in explorer.sample.card.value and explorer.chosen not in explorer.land.forget


def lasso(explorer, corners: list[tuple[float, float]]) -> None:
    """What the page tells of a lasso: its outline, and nothing of what it caught."""
    xs, ys = zip(*corners)
    outline = LassoSelector(xs=list(xs), ys=list(ys), type="lasso")
    for found in explorer.map.pane.data:
        found._dispatch_on_selection(Points(point_inds=[], trace_name=found.name, trace_index=0), outline)


def test_several_runs_are_refused_with_what_to_do(run) -> None:
    with pytest.raises(TypeError, match=r"explore takes a run of imu.unlearn; got a list of Run; pick one"):
        imu.explore([run, run])


def test_a_lasso_selects_in_all_views(explorer, run) -> None:
    places, count = explorer.land.places, len(run.samples)
    (left, low), (x, y) = places.min(0) - 1, np.median(places[:count], axis=0)
    lasso(explorer, [(left, low), (x, low), (x, y), (left, y)])
    wanted = explorer.land.examples[(places[:, 0] < x) & (places[:, 1] < y)]
    mine = wanted[np.isin(wanted, run.samples["example"])]
    assert explorer.selected == wanted.tolist() and 0 < len(mine) < len(wanted), "retained samples too"
    assert sorted(explorer.paths.examples.tolist()) == sorted(mine)
    assert explorer.ledger.samples["example"].tolist() == mine.tolist()
    assert f"{len(mine)} of 146" in explorer.selection.count.value
    faint, full = (opacities(explorer, chosen) for chosen in (~np.isin(explorer.land.forget, mine), mine))
    assert np.median(faint) < 64 and np.median(full) == 255
    lasso(explorer, [(left, low), (left + 1e-3, low), (left, low + 1e-3)])
    assert explorer.selected == wanted.tolist(), "an empty lasso changes nothing"
    explorer.map.pane.data[0]._dispatch_on_deselect(Points(point_inds=[], trace_name="kept", trace_index=0))
    assert explorer.selected is None and len(explorer.paths.examples) == count, "a double click selects all"


def opacities(explorer, which: np.ndarray) -> np.ndarray:
    """Of the picture's pixels at the centres of forget samples, given by a mask or by their examples."""
    rows = np.flatnonzero(which if which.dtype == bool else np.isin(explorer.land.forget, which))
    return pixels(explorer, rows)[:, 3]


def pixels(explorer, rows: np.ndarray) -> np.ndarray:
    """(m, 4) red, green, blue and opacity at the places of these samples."""
    drawn = np.asarray(Image.open(io.BytesIO(explorer.map.picture.value)).convert("RGBA"))
    axes = explorer.map.pane.layout
    (left, right), (low, high) = axes.xaxis.range, axes.yaxis.range
    share = (explorer.land.places[rows] - [left, high]) / [right - left, low - high]
    column, row = (share * [drawn.shape[1], drawn.shape[0]]).astype(int).T
    return drawn[row, column]


def test_a_filter_selects_and_a_wrong_one_is_told(explorer, run) -> None:
    explorer.filter.value = "time_to_forget <= 5 or censored"
    table = imu.resistance(run)
    assert explorer.selected == table[(table["time_to_forget"] <= 5) | table["censored"]]["example"].tolist()
    explorer.filter.value = "pressure > 1e9"
    assert "no sample meets" in explorer.error.value
    explorer.filter.value = "<b>nonsense"
    assert "<b>" not in explorer.error.value and len(Job.errors) == 2
    Job.errors.clear()


def test_scrubbing_moves_border_and_colours_but_not_the_points(explorer, run) -> None:
    before = trace(explorer, "forget").x.copy()
    everything = np.arange(len(run.samples))
    explorer.step.value = 0
    assert explorer.wait(SECONDS)
    start, areas = pixels(explorer, everything), explorer.map.scene.regions.classes
    assert cases.close(explorer.map.scene.colours, run.samples["confidence_before"], within=1e-5)
    explorer.step.value = 20
    assert explorer.wait(SECONDS)
    assert cases.close(explorer.map.scene.colours, run.samples["confidence_after"], within=1e-5)
    assert not np.array_equal(explorer.map.scene.regions.classes, areas)
    assert not np.array_equal(pixels(explorer, everything), start)
    assert np.array_equal(trace(explorer, "forget").x, before)
    assert "After update 20" in explorer.map.caption.value


def test_a_scrub_sends_one_picture_and_no_samples(explorer, monkeypatch) -> None:
    explorer.step.value = 4
    assert explorer.wait(SECONDS)
    sent = []
    for name in ("_send_relayout_msg", "_send_update_msg", "_send_restyle_msg", "_send_addTraces_msg"):
        monkeypatch.setattr(explorer.map.pane, name, lambda *given, **_: sent.append(given))
    before = explorer.map.picture.value
    explorer.step.value = 3
    assert explorer.wait(SECONDS)
    assert not sent and explorer.map.picture.value != before


def test_a_selection_made_while_a_picture_waits_is_not_lost(explorer, run) -> None:
    computed, selected = threading.Event(), threading.Event()
    explorer.job.barrier = lambda: (computed.set(), selected.wait(SECONDS))
    explorer.step.value = 5
    assert computed.wait(SECONDS)
    explorer.select(run.samples["example"].iloc[[1, 4]])
    selected.set()
    assert explorer.wait(SECONDS)
    assert explorer.map.scene.step == 5 and explorer.map.scene.selected.tolist() == [1, 4]


def test_stop_and_close_end_the_playing(explorer) -> None:
    for end in (explorer.stop, explorer.close):
        explorer.step.value = 0
        explorer.play.value = True
        end()
        assert not explorer.play.value
        until(lambda: not threads("imu_lab player"))
        assert explorer.step.value < explorer.step.max


def test_playing_draws_the_last_update_too(explorer) -> None:
    explorer.play.seconds, explorer.step.value = 0.0, 17
    explorer.play.value = True
    until(lambda: not explorer.play.value)
    assert explorer.map.scene.step == explorer.step.value == 20


@pytest.mark.full
def test_any_column_can_colour(explorer, run) -> None:
    explorer.colour_by.value = "pressure"
    assert explorer.wait(SECONDS)
    assert np.array_equal(explorer.map.scene.colours, run.samples["pressure"])
    axis, pressure = explorer.map.pane.layout.coloraxis, run.samples["pressure"]
    assert (axis.cmin, axis.cmax) == (pressure.min(), pressure.max())
    names = [name for _, name in explorer.colour_by.options]
    assert {"rank", "confidence_auc", "influence", "censored", "confidence_retrained"} <= set(names)


def test_dropping_the_selection_makes_another_run_and_compares(explorer, run) -> None:
    explorer.select(run.samples["example"].iloc[:4])
    explorer.what_if.buttons["drop"].click()
    assert explorer.what_if.job.wait(SECONDS)
    other = explorer.what_if.other
    assert (other.samples["pressure"].iloc[:4] == 0).all() and explorer.runs == [run, other]
    assert "example" in explorer.what_if.table.value and len(explorer.what_if.figure.data) > 2
    explorer.shown_run.value = 1
    assert explorer.run is other and explorer.wait(SECONDS)
    assert explorer.what_if.explore.layout.display == "none", "it is on this map already"
    assert explorer.samples["pressure"].iloc[0] == 0


@pytest.mark.few(1)
@pytest.mark.parametrize("action", ["flip", "double"])
def test_the_selection_under_other_labels_or_twice(explorer, run, action: str) -> None:
    explorer.select(run.samples["example"].iloc[:4])
    explorer.what_if.buttons[action].click()
    assert explorer.what_if.job.wait(SECONDS) and "Done" in explorer.what_if.note.value
    assert "4 " in explorer.what_if.other.label and "example" in explorer.what_if.table.value
    assert explorer.runs == [run], "another forget set cannot stand on this map"
    assert explorer.what_if.explore.layout.display is None, "but on one of its own"


@pytest.mark.full
def test_a_run_with_another_forget_set_gets_an_explorer_of_its_own(explorer, run) -> None:
    what_if = explorer.what_if
    explorer.select(run.samples["example"].iloc[:4])
    made = []
    for action in ("keep", "double"):
        what_if.buttons[action].click()
        assert what_if.job.wait(SECONDS)
        what_if.explore.click()
        assert explorer.place.children == (explorer.other,) and explorer.other.run is what_if.other
        explorer.other.choose(int(what_if.other.samples["example"].iloc[-1]))
        made.append(explorer.other)
    assert made[0].comm is None and made[1].comm is not None, "the earlier one is closed"
    what_if.buttons["drop"].click()
    assert what_if.job.wait(SECONDS) and what_if.explore.layout.display == "none", "this one stands on the map"
    explorer.close()
    assert made[1].comm is None


@pytest.mark.full
def test_a_new_request_from_kept_samples(explorer) -> None:
    explorer.select(trace(explorer, "kept").customdata[:5])
    explorer.what_if.buttons["drop"].click()
    assert explorer.what_if.job.wait(SECONDS) and "Forget only these" in explorer.what_if.note.value
    Job.errors.clear()
    explorer.what_if.buttons["request"].click()
    assert explorer.what_if.job.wait(SECONDS) and len(explorer.what_if.other.samples) == 5
    assert len(explorer.runs) == 1, "another forget set cannot stand on this map"


def test_without_a_selection_a_what_if_asks_for_one(explorer) -> None:
    explorer.what_if.buttons["keep"].click()
    assert "Select some samples first" in explorer.what_if.note.value


def test_it_works_on_a_loaded_run_with_and_without_its_task(run, tmp_path: Path) -> None:
    loaded = imu.load_run(run.save(tmp_path / "run.imu"))
    assert imu.explore(loaded, context=20).map.scene.regions is not None
    bare = imu.explore(replace(loaded, task=None, snapshots=None))
    bare.choose(int(run.samples["example"].iloc[0]))
    assert bare.map.scene.regions is None and bare.selection.gallery.layout.display == "none"
    bare.step.value = 3
    assert bare.wait(SECONDS) and not Job.errors


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "answer"), [("toy", "class 0"), ("own data", ">0<"), ("person", "person "), ("sequence", "margin")]
)
def test_every_task_can_be_explored(name: str, answer: str) -> None:
    mine = imu.unlearn(cases.task(name), cases.original(name), steps=3)
    made = imu.explore(mine, context=10)
    made.choose(int(mine.samples["example"].iloc[0]))
    assert str(made.chosen) in made.sample.card.value and answer in made.sample.answers.value
    assert "camera" not in made.sample.answers.value, "the model names a person, not a picture"


@pytest.mark.full
def test_uniform_pressure_stands_beside_at_one_click(explorer, run) -> None:
    assert "uniform_rank" not in explorer.samples and explorer.selected is None
    explorer.what_if.buttons["alike"].click()
    assert explorer.what_if.job.wait(SECONDS)
    expected = imu.resistance(run, uniform=imu.again(run, weights=None))
    assert explorer.samples["uniform_rank"].tolist() == expected["uniform_rank"].tolist()
    assert "uniform_rank" in dict(explorer.colour_by.options).values()
    assert explorer.run is run and len(explorer.runs) == 2, "the run on view stays on view"
    explorer.shown_run.value = 1
    assert explorer.wait(SECONDS) and "uniform_rank" not in explorer.samples, "those were of the first run"
    explorer.shown_run.value = 0
    assert explorer.wait(SECONDS) and "uniform_rank" in explorer.samples


@pytest.mark.full
def test_a_new_run_leaves_the_one_on_view_where_it_is(explorer, run) -> None:
    explorer.select(run.samples["example"].iloc[:4])
    for count, on_view in ((1, 0), (2, 1)):
        explorer.shown_run.value = on_view
        assert explorer.wait(SECONDS)
        explorer.what_if.buttons["drop"].click()
        assert explorer.what_if.job.wait(SECONDS) and len(explorer.runs) == 1 + count
        assert explorer.run is explorer.runs[on_view] and explorer.shown_run.value == on_view


def test_a_closed_explorer_leaves_no_widget_behind(run) -> None:
    from ipywidgets.widgets.widget import _instances as known

    before = set(known)
    made = imu.explore(run, context=10)
    made.choose(int(run.samples["example"].iloc[0]))
    made.select(run.samples["example"].iloc[:3])
    made.close()
    left = {type(known[name]).__name__ for name in set(known) - before}
    assert not left, f"still there: {left}"


@pytest.mark.full
@pytest.mark.parametrize("method", ["gradient-ascent", "retrain"])
def test_a_run_that_moves_the_whole_network_has_no_still_points(method: str) -> None:
    scope = {"scope": "all"} if method == "gradient-ascent" else {}
    mine = imu.unlearn(cases.task("digits class"), cases.original("digits class"), method=method, steps=3, **scope)
    made = imu.explore(mine, context=10)
    made.choose(int(mine.samples["example"].iloc[0]))
    assert "confidence curves" in made.map.scene.about and made.map.scene.regions is None


def test_a_filter_that_cannot_be_read_says_so_and_a_good_one_takes_the_words_away(explorer) -> None:
    for query, words in {
        "pressure >": "cannot read the filter",
        "nobody == 1": "cannot read",
        "pressure": "is not a condition",
        "pressure < 0": "no sample meets the filter",
    }.items():
        explorer.filter.value = query
        assert words in explorer.error.value and isinstance(Job.errors.pop(), ValueError)
    explorer.filter.value = "pressure >= 0"
    assert not explorer.error.value and len(explorer.selected) == len(explorer.land.forget)


def test_the_filter_says_by_what_was_selected_and_nothing_where_it_was_not_the_filter(explorer) -> None:
    explorer.filter.value = "pressure >= 0"
    explorer.select([explorer.land.forget[0]])
    assert explorer.filter.value == "" and explorer.selected == [explorer.land.forget[0]]
    explorer.filter.value = "pressure >= 0"
    lasso(explorer, [(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)])
    assert explorer.filter.value == "" and len(explorer.selected) == len(explorer.land.examples)
    explorer.filter.value = "pressure < 0"
    assert "no sample meets" in explorer.error.value
    explorer.filter.value = ""
    assert not explorer.error.value and explorer.selected is None
    explorer.select_where("pressure >= 0")
    assert explorer.filter.value == "pressure >= 0" and len(explorer.selected) == len(explorer.land.forget)
    explorer.filter.value = "pressure < 0"
    explorer.clear.click()
    assert explorer.filter.value == "" and explorer.selected is None and not explorer.error.value
    Job.errors.clear()


def test_it_opens_before_the_model_is_ruined(run) -> None:
    events = {**run.events, "utility_limit": 12}
    assert imu.explore(replace(run, events=events), context=10).step.value == 11
    assert imu.explore(run, context=10).step.value == 20


def test_what_is_not_on_the_map_is_refused(explorer) -> None:
    with pytest.raises(ValueError, match="not on the map"):
        explorer.choose(10**6)
    with pytest.raises(ValueError, match="none of these examples is on the map"):
        explorer.select([10**6])


@pytest.mark.slow
def test_it_has_a_static_picture(explorer) -> None:
    assert Image.open(io.BytesIO(explorer.picture())).width == 1120


def test_a_damaged_sample_names_who_is_responsible(explorer, run, monkeypatch) -> None:
    named: list[str] = []
    monkeypatch.setattr(explorer.sample.responsible.gallery, "show", lambda _, names, examples: named.extend(names))
    assert explorer.sample.responsible.layout.display == "none"
    click(explorer, "kept", 2)
    worst = imu.responsible(run, explorer.chosen)
    worst = worst[worst["predicted"] > 0]["example"].tolist()
    assert explorer.sample.responsible.layout.display is None and worst
    assert [int(name.split(":")[0]) for name in named] == worst[: len(named)] and named
    click(explorer, "forget", 2)
    assert explorer.sample.responsible.layout.display == "none", "a sample that is to be forgotten has no culprits"


@pytest.mark.full
def test_a_users_columns_outlive_a_change_of_run(explorer, run) -> None:
    table = imu.resistance(run)
    mine = imu.explore(run, table.assign(mine=np.arange(len(table)) * 1.0), context=20)
    mine.select(run.samples["example"].iloc[:4])
    mine.what_if.buttons["drop"].click()
    assert mine.what_if.job.wait(SECONDS)
    mine.colour_by.value, mine.shown_run.value = "mine", 1
    assert mine.wait(SECONDS) and mine.run is mine.runs[1]
    assert np.array_equal(mine.map.scene.colours, np.arange(len(table)))
    mine.close()


def test_histograms_filter_every_view_together(explorer, run) -> None:
    histograms, ledger = explorer.brushes.histograms, run.samples.set_index("example")
    histograms["pressure"].span = [0, 3]
    edge = np.linspace(ledger["pressure"].min(), ledger["pressure"].max(), 31)[4]
    few = ledger.index[ledger["pressure"] < edge].tolist()
    assert explorer.selected == few and explorer.selection.ids.value == ", ".join(map(str, few))
    assert sorted(explorer.paths.examples) == sorted(few) and set(explorer.ledger.samples["example"]) == set(few)
    assert np.array_equal(explorer.map.scene.selected, np.flatnonzero(np.isin(explorer.land.forget, few)))
    assert sum(histograms["confidence_before"].now) == len(few) and "pressure 0." in explorer.selection.count.value

    explorer.brushes.add("loss_before")
    name = next(name for name, each in histograms.items() if name != "pressure" and np.count_nonzero(each.now) > 1)
    at = int(np.flatnonzero(histograms[name].now)[0])
    histograms[name].span = [at, at]
    both = explorer.selected
    assert both and set(both) < set(few) and f"{len(both)} of 146 forget samples (" in explorer.selection.count.value
    assert explorer.wait(SECONDS) and " selected, and " in explorer.selection.why.value
    assert "pressure" not in explorer.selection.why.value, "what was marked explains nothing"

    explorer._lassoed(np.array([[-1e3, -1e3], [1e3, -1e3], [1e3, 1e3], [-1e3, 1e3]]))
    assert explorer.selected == both, "a lasso around all leaves what the histograms let through"
    histograms[name]._handle_custom_msg("remove", [])
    assert explorer.selected == few and name not in histograms
    explorer.brushes.add("influence")
    assert sum(histograms["influence"].now) == len(few)
    explorer.clear.click()
    assert (
        explorer.selected is None
        and histograms["pressure"].span == []
        and "to select some" in explorer.selection.why.value
    )


def test_what_no_sample_passes_is_told(explorer, run) -> None:
    slow = run.samples.sort_values("pressure")["example"].tolist()
    explorer.select(slow[-3:])
    explorer.brushes.histograms["pressure"].span = [0, 0]
    assert explorer.selected == [] and "no sample passes all filters" in explorer.selection.count.value
    assert explorer.wait(SECONDS) and "None of the samples" in explorer.selection.why.value
    assert not explorer.ledger.samples["example"].size


def test_what_is_shown_of_how_many_is_said(explorer) -> None:
    assert "30 of 146 pictures" in explorer.selection.shown.value
    explorer.select(explorer.land.forget[:5])
    assert explorer.selection.shown.value == ""
