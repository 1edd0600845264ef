"""The workbench in plain Python: sliders are set, dots are clicked, and what is drawn must be what the records hold."""

from __future__ import annotations

import base64
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cases
import numpy as np
import pytest
from plotly.callbacks import InputDeviceState, Points
from waiting import threads, until

import imu_lab as imu
from imu_lab import figures
from imu_lab.core.messages import warn
from imu_lab.figures.curve_panels import FAINT
from imu_lab.studies.comparison import usual_step
from imu_lab.widgets.base.controls import Choice
from imu_lab.widgets.base.job import Job
from imu_lab.widgets.workbench.asking import NEVER, stops
from imu_lab.widgets.workbench.pipeline import Pipeline
from imu_lab.widgets.workbench.views import has_dots, title_of
from imu_lab.widgets.workbench.workbench import Workbench, workbench

SECONDS = 60.0


@pytest.fixture(scope="module")
def task() -> Any:
    return cases.task("digits class")


@pytest.fixture(scope="module")
def models() -> tuple:
    return cases.original("digits class"), cases.retrained("digits class")


@pytest.fixture
def panel(task: Any, models: tuple) -> Iterator[Workbench]:
    """A workbench with an answer; no callback and no computation of the test may fail unless it takes the error."""
    Job.errors.clear()
    made = workbench(task, models[0], reference=models[1], steps=40)
    assert made.wait(SECONDS)
    yield made
    made.close()
    assert not Job.errors, Job.errors


def line(panel: Workbench, split: str, run: Any) -> tuple[list, list]:
    """What the curves figure shows for one split of one run."""
    for trace in panel.figures["curves"].data:
        if (trace.meta["role"], trace.meta.get("split"), trace.meta.get("run")) == ("line", split, run.label):
            return list(trace.x), list(trace.y)
    raise AssertionError(f"no line for {split} of {run.label}")


def click(figure: Any, role: str, at: int) -> int:
    """Click a dot as the browser reports it; returns its example."""
    position, trace = next((i, each) for i, each in enumerate(figure.data) if each.meta["role"] == role)
    points = Points(point_inds=[at], trace_name=trace.name, trace_index=position)
    trace._dispatch_on_click(points, InputDeviceState())
    return int(trace.customdata[at])


# --- what is drawn


def test_the_curves_are_the_runs_own(panel: Workbench) -> None:
    for run in panel.answer.runs:
        for split in ("forget", "retain", "test", "test-forget"):
            x, y = line(panel, split, run)
            series = run.series(split, "accuracy")
            assert x == list(series.index) and y == list(series)


def test_a_moved_slider_draws_the_new_run(panel: Workbench, task: Any, models: tuple) -> None:
    before = panel.answer.run
    panel.controls.estimator.controls.controls["damping"].editor.value = 1e-4
    assert panel.wait(SECONDS)
    assert panel.answer.run is not before
    by_hand = imu.unlearn(task, models[0], imu.intensity(imu.influence(task, models[0], damping=1e-4)), steps=40)
    assert line(panel, "forget", panel.answer.run)[1] == list(by_hand.series("forget", "accuracy"))
    scores = imu.influence(task, models[0], damping=1e-4)
    dots = [trace for trace in panel.figures["influence"].data if trace.meta["role"] == "ascend"][0]
    assert cases.close(np.sort(dots.x), np.sort(scores.values[scores.values < 0]), within=1e-5)


def test_influences_are_drawn_while_the_run_is_made(panel: Workbench, monkeypatch) -> None:
    session, before, drawn = panel.session, places(panel), []
    unlearn = session.unlearn
    monkeypatch.setattr(session, "unlearn", lambda *arguments, **settings: drawn.append(places(panel)) or unlearn(
        *arguments, **settings))  # fmt: skip
    panel.controls.estimator.controls.controls["damping"].editor.value = 1e-4
    assert panel.wait(SECONDS)
    during, after = drawn[0], places(panel)
    assert during["influence"] == after["influence"] != before["influence"]
    assert during["intensity"] == before["intensity"] != after["intensity"], "which can wait until the curves are drawn"
    frame = panel.answer.scores.frame
    assert {at: x for at, (x, _) in during["influence"].items()} == dict(zip(frame["example"], frame["influence"]))


@pytest.mark.parametrize(
    ("menu", "setting", "factor"),
    [("estimator", "damping", 10**0.05), ("method", "lr", 10**-0.1), ("rule", "quantile", None), ("", "steps", None)],
    ids=["damping", "rate", "quantile", "updates"],
)
def test_the_next_position_of_a_slider_is_answered_before_it_is_asked(
    panel: Workbench, monkeypatch: pytest.MonkeyPatch, menu: str, setting: str, factor: float | None
) -> None:
    controls = panel.controls
    slider = getattr(controls, menu).controls.controls[setting].editor if menu else getattr(controls, setting)
    made, unlearn = [], panel.session.unlearn
    monkeypatch.setattr(panel.session, "unlearn", lambda *arguments, **settings: made.append(
        unlearn(*arguments, **settings)) or made[-1])  # fmt: skip
    monkeypatch.setattr("imu_lab.widgets.base.job.QUICK", SECONDS)  # however slow the machine
    for _ in range(2):
        slider.value = slider.value * factor if factor else slider.value - 2 * slider.step
        assert panel.job.wait(SECONDS, ahead=True)
    at_hand = list(made)
    slider.value = slider.value * factor if factor else slider.value - 2 * slider.step
    assert panel.wait(SECONDS) and any(panel.answer.run is run for run in at_hand)
    foreseen, question = panel.answer, panel.controls.question()
    panel.job.stop()
    assert panel.job.wait(SECONDS, ahead=True)
    fresh = list(Pipeline(panel.session)(question, lambda *_: None))[-1]
    assert foreseen.scores.frame.equals(fresh.scores.frame) and foreseen.weights.frame.equals(fresh.weights.frame)
    assert foreseen.run.settings == fresh.run.settings
    for ours, theirs in zip(foreseen.runs, fresh.runs, strict=True):
        assert ours.curve.equals(theirs.curve)


def test_what_a_slider_leaves_as_it_is_is_not_drawn_again(panel: Workbench, monkeypatch) -> None:
    drawn = []
    for name in ("influence", "intensity", "curves"):
        update = getattr(figures, f"update_{name}")
        monkeypatch.setattr(figures, f"update_{name}", lambda *arguments, name=name, update=update, **settings: (
            drawn.append(name) or update(*arguments, **settings)))  # fmt: skip
    panel.controls.method.controls.controls["lr"].editor.value /= 2
    assert panel.wait(SECONDS)
    assert set(drawn) == {"curves"}
    panel.controls.rule.controls.controls["top"].editor.value = 0.5
    assert panel.wait(SECONDS)
    assert set(drawn) == {"intensity", "curves"}
    panel.controls.estimator.controls.controls["damping"].editor.value = 1e-4
    assert panel.wait(SECONDS)
    assert set(drawn) == {"influence", "intensity", "curves"}


def places(panel: Workbench) -> dict[str, dict[int, tuple]]:
    """Where the dot of each sample stands in the influence and in the intensity figure."""
    dots = {name: filter(has_dots, panel.figures[name].data) for name in ("influence", "intensity")}
    return {name: {int(at): (float(x), float(y)) for trace in traces for at, x, y in zip(trace.customdata, trace.x, trace.y)}
            for name, traces in dots.items()}  # fmt: skip


def test_a_chosen_sample_shows_who_holds_it_up(panel: Workbench, task: Any, models: tuple) -> None:
    assert panel.views.proponents.layout.display == "none"
    example = click(panel.figures["influence"], "ascend", 4)
    expected = imu.proponents(imu.influence_matrix(task, models[0]), example)
    found = panel.pipeline.proponents(panel.answer.scores, example)
    assert found["example"].tolist() == expected["example"].tolist() and cases.close(
        found["influence"].tolist(), expected["influence"].tolist()
    )
    shown = panel.views.proponents
    assert shown.layout.display is None and shown.strips["proponent"].gallery.value
    assert "None." in shown.strips["opponent"].words.value, "in a class request all pull in one direction"
    panel.controls.estimator.value = Choice("el2n", {})
    assert panel.wait(SECONDS) and shown.layout.display == "none", "the size of an error says nothing of pairs"


@pytest.mark.full
def test_the_note_tells_how_far_the_retrained_model_is(task: Any, models: tuple, monkeypatch) -> None:
    told = threading.Event()

    def slow(*_: Any, progress: Callable) -> Any:
        while not told.wait(0.01):
            progress(3, 12)
        return models[1]

    monkeypatch.setattr("imu_lab.widgets.workbench.workbench.train", slow)
    made = workbench(task, models[0], steps=5)
    until(lambda: "epoch 3 of 12, about " in made.controls.note.value)
    assert " left …" in made.controls.note.value
    told.set()
    assert made.wait(SECONDS)
    until(lambda: not threads("imu_lab ticker"))
    assert "Training" not in made.controls.note.value and "retrained model" in made.controls.note.value
    made.close()


def test_the_retrained_model_is_the_dotted_line(panel: Workbench) -> None:
    dotted = [t for t in panel.figures["curves"].data if t.meta["role"] == "retrained" and t.meta["split"] == "test"]
    reference = panel.answer.run.reference.set_index(["split", "metric"])["value"]
    assert list(dotted[0].y) == [reference["test", "accuracy"]] * 2


def test_without_a_reference_it_is_trained_in_the_background(task: Any, models: tuple) -> None:
    Job.errors.clear()
    made = workbench(task, models[0], steps=5)
    assert made.wait(SECONDS)
    assert len(made.answer.run.reference) and "dotted" in made.controls.note.value
    assert not Job.errors
    made.close()


@pytest.mark.full
def test_one_part_of_the_controls_is_open_and_the_others_say_what_is_chosen(panel: Workbench) -> None:
    parts = panel.controls.parts
    assert parts.selected_index == 0 and parts.titles[0] == "1 · Influence: fisher-diagonal"
    panel.controls.rule.value = Choice("linear", {})
    panel.controls.compared["shuffled"].value = True
    assert panel.wait(SECONDS)
    assert parts.titles[1:] == ("2 · Intensity: linear", "3 · Unlearning: imu", "4 · Compare with: uniform, shuffled")


def test_another_metric_is_drawn_without_a_new_run(panel: Workbench) -> None:
    run = panel.answer.run
    panel.views.metric.value = "loss"
    assert panel.wait(SECONDS)
    assert panel.answer.run is run
    assert line(panel, "forget", run)[1] == list(run.series("forget", "loss"))


def test_rho_and_curvature_are_among_what_is_seen_at_once(task: Any, models: tuple) -> None:
    panel = workbench(task, models[0], reference=models[1], steps=1, method="curvature-ascent", estimator="curvature")
    for menu in (panel.controls.method, panel.controls.estimator):
        shown = menu.controls.children
        assert {"rho", "curvature"} <= {name for name, control in menu.controls.controls.items() if control in shown}
    panel.close()


@pytest.mark.full
def test_the_distance_to_the_retrained_models_can_be_chosen_with_its_floor_and_doing_nothing(
    task: Any, models: tuple, panel: Workbench
) -> None:
    assert ("KL to the retrained model", "kl_retrained") in panel.views.metric.options
    made = workbench(task, models[0], reference=imu.references(task, seeds=range(2)), steps=5)
    assert made.wait(SECONDS) and "mean of 2 retrained models" in made.controls.note.value
    made.views.metric.value = "kl_retrained"
    assert made.wait(SECONDS)
    run = made.answer.run
    drawn = {(trace.meta["role"], trace.meta.get("split")): trace for trace in made.figures["curves"].data}
    assert line(made, "test", run)[1] == list(run.series("test", "kl_retrained"))
    assert list(drawn["retrained", "test"].y) == [run.noise_floor("kl_retrained")["test"]] * 2
    assert max(drawn["noise floor", "test"].y) == run.noise_floor("kl_retrained")["test"] > 0
    assert list(drawn["nothing", "test"].y) == [run.value("test", "kl_retrained", 0)] * 2
    made.close()


# --- controls


def test_ticked_controls_run_beside_the_main_run(panel: Workbench) -> None:
    assert [run.label for run in panel.answer.runs] == ["imu · sqrt-clipped", "imu · uniform"]
    panel.controls.compared["shuffled"].value = True
    panel.controls.compared["uniform"].value = False
    assert panel.wait(SECONDS)
    assert [run.label for run in panel.answer.runs] == ["imu · sqrt-clipped", "imu · shuffled"]


@pytest.mark.full
def test_a_control_equal_to_the_main_rule_is_left_out(panel: Workbench) -> None:
    panel.controls.rule.names.value = "uniform"
    assert panel.wait(SECONDS)
    assert [run.label for run in panel.answer.runs] == ["imu · uniform"]
    assert panel.controls.compared["uniform"].disabled


@pytest.mark.full
def test_clearing_caches_forgets_the_runs_behind_a_panel(panel: Workbench) -> None:
    before = panel.answer.run
    imu.clear_caches()
    panel.ask()
    assert panel.wait(SECONDS) and panel.answer.run is not before and panel.answer.run.curve.equals(before.curve)


@pytest.mark.full
def test_controls_are_kept_while_only_the_main_run_changes(panel: Workbench) -> None:
    control = panel.answer.runs[1]
    panel.controls.estimator.controls.controls["damping"].editor.value = 1e-3
    assert panel.wait(SECONDS)
    assert panel.answer.runs[1] is control, "uniform weights read no influence"


def test_influences_are_worked_out_anew_where_something_they_depend_on_may_have_changed(panel: Workbench) -> None:
    scores, rate = panel.answer.scores, panel.controls.method.controls.controls["lr"].editor
    rate.value = 2e-3
    assert panel.wait(SECONDS) and panel.answer.scores is scores, "a slider of the method leaves them alone"
    panel.refresh()  # as after a cell, which may have edited what an estimator calls
    rate.value = 3e-3
    assert panel.wait(SECONDS) and panel.answer.scores is not scores


def test_a_cell_that_ends_while_a_question_is_answered_breaks_nothing(panel: Workbench, monkeypatch) -> None:
    kind = imu.estimators[panel.controls.estimator.value.name]
    alike, scores = kind.__eq__, panel.answer.scores
    # The cell ends just when the kept influences are found to be those that are asked for.
    monkeypatch.setattr(kind, "__eq__", lambda self, other: (panel.pipeline.refresh(), alike(self, other))[1])
    panel.controls.method.controls.controls["lr"].editor.value = 2e-3
    assert panel.wait(SECONDS) and panel.answer.run.settings["settings"]["lr"] == pytest.approx(2e-3)
    assert panel.answer.scores is scores


@pytest.mark.full
def test_controls_follow_the_method(panel: Workbench) -> None:
    control = panel.answer.runs[1]
    panel.controls.method.controls.controls["lr"].editor.value = 3e-3
    assert panel.wait(SECONDS)
    assert panel.answer.runs[1] is not control
    assert panel.answer.runs[1].settings["settings"]["lr"] == pytest.approx(3e-3)


@pytest.mark.full
def test_while_controls_are_missing_the_old_ones_stand_faint(panel: Workbench) -> None:
    complete = panel.answer
    for lr in (2e-3, 3e-3):  # two answers in a row without their controls, as while a slider is dragged
        run = panel.session.unlearn(complete.weights, steps=40, lr=lr)
        panel.views.show(complete._replace(runs=(run,)))
        assert line(panel, "forget", run)[1] == list(run.series("forget", "accuracy"))
        opacity = {trace.meta["run"]: trace.opacity for trace in panel.figures["curves"].data if "run" in trace.meta}
        assert opacity["imu · uniform"] == FAINT and opacity["imu · sqrt-clipped"] in (None, 1.0)
        grey = [trace for trace in panel.figures["curves"].data if trace.meta["role"] == "past limit"]
        assert grey and all(trace.opacity == (FAINT if len(trace.x) else 1.0) for trace in grey)
    # Another metric lays the axes out anew; while lines are faint that must not cost a range.
    for metric in ("loss", "accuracy"):
        panel.views.metric.value = metric
        assert panel.wait(SECONDS)
        panel.views.show(complete._replace(runs=(run,)))
        layout = panel.figures["curves"].layout
        assert layout.xaxis.range is not None and (layout.yaxis.range is None) == (metric == "loss")
    panel.views.show(complete)
    assert all(trace.opacity in (None, 1.0) for trace in panel.figures["curves"].data)


@pytest.mark.full
def test_a_sample_may_be_chosen_before_the_first_answer(task: Any, models: Any) -> None:
    early = workbench(task, models[0], reference=models[1], steps=5)
    chosen = int(task.split("forget").ids[3])
    early.choose(chosen)
    assert early.wait(SECONDS) and f"example {chosen}" in early.views.card.value
    early.close()


@pytest.mark.full
def test_equal_steps_apply_to_every_run(panel: Workbench) -> None:
    switch = panel.controls.method.controls.controls["step_norm"]
    assert switch.value is None and switch.editor.value == pytest.approx(usual_step(panel.answer.run), rel=1e-3)
    switch.switch.value = True
    assert panel.wait(SECONDS)
    for run in panel.answer.runs:
        lengths = run.terms.loc[run.terms["term"] == "update_norm", "value"]
        assert cases.close(lengths, switch.value, within=1e-5)


def test_stop_and_seed_and_updates_reach_the_run(panel: Workbench) -> None:
    controls = panel.controls
    controls.seed.value, controls.steps.value, controls.stop_at.value = 3, 80, 0.01
    assert panel.wait(SECONDS)
    run = panel.answer.run
    assert run.settings["seed"] == 3 and run.settings["stop_at"] == 0.01
    assert run.events["stopped_at"] and run.value("forget", "accuracy") <= 0.01
    controls.stop_at.value = NEVER
    assert panel.wait(SECONDS)
    assert panel.answer.run.events["steps"] == 80


def test_runs_are_made_anew_where_a_cell_has_edited_what_a_rule_calls(panel: Workbench) -> None:
    """Those at hand and the one that was worked out ahead, too: weights and run of one answer belong together."""
    power = {"of": 1.0}  # as a name of the notebook's that a cell sets anew

    @imu.intensity_rule("of-a-power")
    @dataclass(frozen=True)
    class OfAPower:
        """Weights that a helper decides."""

        def __call__(self, influence: np.ndarray) -> np.ndarray:
            return np.abs(influence) ** power["of"]

    def moved(to: int) -> np.ndarray:
        panel.controls.seed.value = to
        assert panel.wait(SECONDS) and panel.job.wait(SECONDS, ahead=True)
        ledger = panel.answer.run.samples.sort_values("example")["weight"].to_numpy()
        assert np.array_equal(ledger, panel.answer.weights.frame.sort_values("example")["weight"])
        return ledger

    try:
        panel.refresh()
        panel.controls.rule.names.value = "of-a-power"
        before = [moved(seed) for seed in (0, 1)]
        kept = moved(0)
        run = panel.answer.run
        panel.refresh()
        assert moved(1) is not None and np.array_equal(moved(0), kept) and panel.answer.run is run, "nothing was edited"
        moved(1)  # and seed 2 is made ahead
        power["of"] = 2.0
        panel.refresh()
        for seed in (2, 1, 0):
            assert cases.close(moved(seed), before[0] ** 2 / (before[0] ** 2).sum())
    finally:
        imu.intensity_rules.unregister("of-a-power")


@pytest.mark.parametrize(
    "how", [lambda words: warnings.warn(words, stacklevel=2), warn], ids=["Python's", "the library's"]
)
def test_what_a_method_warned_of_is_told_whenever_its_run_is_shown(how: Callable[[str], None]) -> None:
    Job.errors.clear()

    @dataclass(frozen=True)
    class Worried(imu.methods["imu"]):
        """It has doubts before it begins."""

        def __call__(self, task: Any, model: Any, request: Any) -> Any:
            if request.seed == 0:
                how("doubtful from the first update on")
            return super().__call__(task, model, request)

    with imu.methods.temporarily("worried", Worried):
        made = workbench(cases.task("toy"), cases.original("toy"), reference=cases.retrained("toy"), steps=2,
                         method="worried", compare_with=())  # fmt: skip
        assert made.wait(SECONDS) and "doubtful" in made.error.value
        run = made.answer.run
        for seed in (1, 0):
            made.controls.seed.value = seed
            assert made.wait(SECONDS) and ("doubtful" in made.error.value) == (seed == 0)
        assert made.answer.run is run and not Job.errors
        made.close()


def test_a_metric_that_a_cell_registers_anew_or_edits_is_measured_anew() -> None:
    """Of the run, and of the retrained model, too."""

    @dataclass(frozen=True)
    class Following(imu.tasks.Toy):
        """A task that follows a metric of the notebook's."""

        follows = ("tried here",)

    def registered(by: int) -> None:
        @imu.metric("tried here")
        @dataclass(frozen=True)
        class Tried:
            """A number that a helper decides."""

            def __call__(self, task: Any, model: Any, reference: Any = None) -> dict:
                return {"forget": {"tried": by * factor["now"]}}

    def shown(panel: Workbench) -> tuple[float, float]:
        assert panel.wait(SECONDS)
        run = panel.answer.run
        return run.value("forget", "tried"), run.retrained_values["forget"]["tried"]

    factor = {"now": 1}
    registered(by=2)
    try:
        made = workbench(Following(), cases.original("toy"), reference=cases.retrained("toy"), steps=2)
        assert shown(made) == (2, 2)
        registered(by=3)
        made.refresh()
        assert shown(made) == (3, 3)
        factor["now"] = 5
        made.refresh()
        made.ask()
        assert shown(made) == (15, 15)
        run = made.answer.run
        made.refresh()
        made.ask()
        assert shown(made) == (15, 15) and made.answer.run is run, "nothing was edited"
        made.close()
    finally:
        imu.metrics.unregister("tried here")


@pytest.mark.full
def test_what_a_cell_registers_appears(panel: Workbench) -> None:
    @imu.intensity_rule("heaviest")
    @dataclass(frozen=True)
    class Heaviest:
        """Press the strongest alone."""

        share: float = imu.knob(0.5, help="how many", valid="(0, 1]", range=(0.1, 1.0))

        def __call__(self, influence: np.ndarray) -> np.ndarray:
            return (influence <= np.quantile(influence, self.share)).astype(float)

    try:
        panel.controls.refresh()
        panel.controls.rule.names.value = "heaviest"
        panel.controls.rule.controls.controls["share"].editor.value = 0.2
        assert panel.wait(SECONDS)
        assert panel.answer.weights.settings["settings"] == {"share": 0.2}
        assert "heaviest" in panel.controls.compared
        run = panel.answer.run
        imu.intensity_rule("heaviest")(dataclass(frozen=True)(type("Heaviest", (Heaviest,), {})))
        panel.controls.refresh()
        assert panel.wait(SECONDS)
        assert panel.answer.run is not run, "registered again: the same settings, but other code"
    finally:
        imu.intensity_rules.unregister("heaviest")


# --- samples


@pytest.mark.few(1)
@pytest.mark.parametrize("name, role", [("influence", "ascend"), ("intensity", "selected")])
def test_a_clicked_dot_shows_its_sample(panel: Workbench, name: str, role: str) -> None:
    example = click(panel.figures[name], role, 7)
    assert f"example {example}" in panel.views.card.value and "<svg" in panel.views.card.value
    row = panel.answer.run.samples.set_index("example").loc[example]
    assert f"<dd>{row['time_to_forget']:.0f}</dd>" in panel.views.card.value
    assert f'<tr class="imu-chosen"><td class="imu-word"><img alt="example {example}"' in panel.views.ledger.table.value
    rings = [shape for shape in panel.figures[name].layout.shapes if shape.name == "chosen"]
    dots = next(trace for trace in panel.figures[name].data if trace.meta["role"] == role)
    assert (rings[0].xanchor, rings[0].yanchor) == (dots.x[7], dots.y[7])


@pytest.mark.full
def test_the_card_follows_the_slider(panel: Workbench) -> None:
    example = click(panel.figures["influence"], "ascend", 3)
    before = panel.views.card.value
    panel.controls.method.controls.controls["lr"].editor.value = 3e-3
    assert panel.wait(SECONDS)
    assert panel.views.card.value != before and f"example {example}" in panel.views.card.value


@pytest.mark.full
def test_the_ledger_is_sorted_by_any_column(panel: Workbench) -> None:
    samples, ledger = panel.answer.run.samples, panel.views.ledger
    ledger.by.value, ledger.order.value = "influence", True
    lowest = samples.sort_values("influence")["example"].iloc[:2].tolist()
    first, second = (ledger.table.value.index(f"<td>{example}</td>") for example in lowest)
    assert first < second
    ledger.turn(1)
    assert panel.views.chosen == lowest[0], "the first step chooses the first row"
    ledger.forth.click()
    assert panel.views.chosen == lowest[1]


@pytest.mark.full
def test_an_example_outside_the_forget_set_is_told(panel: Workbench) -> None:
    panel.choose(10**6)
    assert "not in the forget set" in panel.error.value
    assert isinstance(Job.errors.pop(), ValueError)


# --- failures and limits


def test_an_error_leaves_what_was_drawn(panel: Workbench) -> None:
    drawn = line(panel, "forget", panel.answer.run)
    with pytest.raises(ValueError, match="damping"):
        panel.controls.estimator.controls.value = {"damping": -1.0}
    panel.controls.estimator.controls.value = {"damping": 0.0}
    assert panel.wait(SECONDS)
    assert "use damping &gt; 0" in panel.error.value and isinstance(Job.errors.pop(), ValueError)
    assert line(panel, "forget", panel.answer.run) == drawn
    panel.controls.estimator.controls.value = {"damping": 0.1}
    assert panel.wait(SECONDS)
    assert panel.error.value == ""


@pytest.mark.full
def test_a_run_that_diverges_says_so(panel: Workbench) -> None:
    panel.controls.method.controls.value = {"lr": 1e30}
    assert panel.wait(SECONDS)
    assert "diverged at update" in panel.error.value
    panel.controls.method.controls.value = {"lr": 1e-3}
    assert panel.wait(SECONDS)
    assert panel.error.value == ""
    panel.controls.method.controls.value = {"lr": 1e30}
    assert panel.wait(SECONDS) and "diverged at update" in panel.error.value, "also when its run is at hand"


def test_unknown_names_are_told_before_work_starts(task: Any, models: tuple) -> None:
    with pytest.raises(imu.UnknownName, match="Did you mean 'uniform'"):
        workbench(task, models[0], reference=models[1], compare_with=("unifrom",))
    with pytest.raises(imu.UnknownName, match="Did you mean 'fisher-diagonal'"):
        workbench(task, models[0], reference=models[1], estimator="fisher_diagonal")


@pytest.mark.full
def test_dragging_drops_what_is_superseded(panel: Workbench) -> None:
    slider = panel.controls.estimator.controls.controls["damping"].editor
    for value in np.geomspace(1e-3, 1e-1, 30):
        slider.value = float(value)
    assert panel.wait(SECONDS)
    assert panel.job.dropped > 0
    assert panel.answer.scores.settings["settings"]["damping"] == pytest.approx(0.1), "and ends with the last position"


@pytest.mark.full
def test_the_original_is_untouched(panel: Workbench, task: Any, models: tuple) -> None:
    before = {name: value.clone() for name, value in models[0].state_dict().items()}
    panel.controls.steps.value = 30
    assert panel.wait(SECONDS)
    assert all((value == before[name]).all() for name, value in models[0].state_dict().items())


def test_a_task_without_pictures_or_labels_works() -> None:
    Job.errors.clear()
    task = imu.tasks.Toy()
    made = workbench(task, imu.train(task, "train"), reference=imu.train(task, "retain"), steps=10)
    assert made.wait(SECONDS) and not Job.errors
    made.choose(int(made.answer.run.samples["example"].iloc[0]))
    assert "blob" in made.views.card.value and made.views.ledger.strip.layout.display == "none"
    made.close()


def test_a_run_may_stop_at_the_tasks_own_goal_where_there_is_one() -> None:
    whole, some = (dict(stops(cases.task(name), None)) for name in ("digits class", "digits fraction"))
    assert whole["when the request counts as forgotten"] == "forgotten" and "forgotten" not in some.values()
    assert list(dict(stops(cases.task("digits class"), "forgotten")).values()).count("forgotten") == 1


@dataclass(frozen=True)
class Writing(imu.tasks.Toy):
    """A task one of whose metrics asks for the whole model, as that of answers in a model's own words does."""

    def evaluate(self, model: Any, split: str, examples_of: Any = None, whole: Any = None) -> dict[str, float]:
        return super().evaluate(model, split, examples_of)


def test_a_model_that_writes_its_answers_is_looked_at_a_dozen_times_and_the_panel_says_so() -> None:
    Job.errors.clear()
    for kind, steps, expected in ((Writing, 30, list(range(0, 31, 3))), (imu.tasks.Toy, 30, list(range(31)))):
        task = kind()
        made = workbench(task, imu.train(task, "train"), reference=imu.train(task, "retain"), steps=steps)
        assert made.wait(SECONDS) and not Job.errors
        for run in made.answer.runs:
            assert sorted(set(run.curve["step"])) == expected
        assert ("looked at about 12 times" in made.controls.note.value) == (kind is Writing)
        made.controls.steps.value = 5
        assert made.wait(SECONDS) and sorted(set(made.answer.run.curve["step"])) == list(range(6))
        made.close()


@pytest.mark.full
def test_the_static_picture(panel: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido")
    monkeypatch.setenv("IMU_LAB_STATIC", "1")
    try:
        picture = base64.b64decode(panel._repr_mimebundle_()["image/png"])
    except Exception as error:
        if "chrome" in str(error).lower() or "browser" in str(error).lower():
            pytest.skip(f"static pictures need Chromium: {error}")
        raise
    assert picture.startswith(b"\x89PNG") and 20_000 < len(picture) < 400_000


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*the run")
def test_the_learning_rate_begins_where_one_was_found_and_a_moving_slider_does_not_warn() -> None:
    """A task of a user's own declares no rate: the slider stands where a run reaches its goal in half the updates."""
    task, model = cases.task("own data"), cases.original("own data")
    found = imu.Session(task, model).defaults("imu", steps=40)["lr"]
    assert found != imu.Session(task, model).defaults("imu")["lr"]
    expected = imu.unlearn(task, model, steps=40).settings["settings"]["lr"]
    panel = workbench(task, model, reference=imu.train(task, "retain"), steps=40)
    assert panel.wait(SECONDS)
    slider = panel.controls.method.controls.controls["lr"]
    assert slider.value == found == expected == panel.answer.run.settings["settings"]["lr"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for rate in (1e-5, 0.5, 1.0):  # nothing happens; the model collapses
            slider.value = rate
            assert panel.wait(SECONDS)
            assert panel.answer.run.settings["settings"]["lr"] == rate and panel.error.value == ""
    assert [each for each in caught if issubclass(each.category, UserWarning)] == []
    panel.close()
    control = imu.run_control(task, model, steps=40)
    assert control.method.value.settings["lr"] == found
    control.close()


def test_a_title_says_what_is_asked_and_nothing_else() -> None:
    asked = {
        "data": "authors",
        "forget_authors": (3, 8),
        "forget_pairs": (),
        "forget_class": None,
        "forget_rows": np.ones(2),
    }
    assert title_of(SimpleNamespace(**asked)) == "authors · forget authors (3, 8) · forget rows [1. 1.]"
