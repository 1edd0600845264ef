"""Records explain their columns and answer small questions."""

from __future__ import annotations

import dataclasses
import html
import re

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.core import records
from imu_lab.core.quantities import describe
from imu_lab.core.records import Influence, Intensity


@pytest.fixture(scope="module")
def run() -> imu.Run:
    """A short run on the blobs, with a reference."""
    return imu.unlearn(
        cases.task("toy"), cases.original("toy"), steps=4, reference=cases.retrained("toy"), record_every=2
    )


def test_records_are_frozen(run: imu.Run) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.curve = None


def test_every_column_has_a_meaning_and_a_unit(run: imu.Run) -> None:
    known = [*run.curve["metric"], *run.terms["term"], *run.trajectory, "weight", "influence", "selected", "pressure"]
    for name in set(known):
        about = describe(name)
        assert about.meaning and about.unit and about.title, name


def test_metrics_say_which_direction_is_good(run: imu.Run) -> None:
    assert all(describe(name).good for name in run.curve["metric"].unique())


def test_an_unknown_column_speaks_for_itself() -> None:
    assert describe("my_own_thing").title == "my own thing"
    uniform, own = describe("uniform_time_to_forget"), describe("time_to_forget")
    assert uniform.title == "time to forget, uniform pressure" and uniform[1:] == own[1:]
    assert describe("influence_el2n").title == "influence, el2n"


def test_the_gradient_of_a_term_is_known_by_the_term() -> None:
    assert describe("npo_gradient") == ("NPO gradient", "norm", "length of the NPO term's gradient", "", None)
    assert describe("l1_gradient").title == "L1 gradient" and describe("my_term_gradient").title == "my gradient"
    assert describe("uniform_ascent_gradient").title == "ascent gradient, uniform pressure"


def test_effective_number_of_samples() -> None:
    frame = pd.DataFrame({"weight": [0.25] * 4, "selected": [True] * 4})
    assert Intensity(frame, frame).effective == pytest.approx(4)
    assert Intensity(frame.assign(weight=[1.0, 0, 0, 0]), frame).effective == pytest.approx(1)


def test_the_share_of_opposed_signs() -> None:
    frame = pd.DataFrame({"influence": [-1.0, -1.0, 1.0, 2.0]})
    context = pd.DataFrame({"gradient_dot": [-1.0, 1.0, 1.0, 1.0]})
    assert Influence(frame, context).opposed == 0.25
    assert np.isnan(Influence(frame, pd.DataFrame({"loss": [0.0] * 4})).opposed)


def test_signs_are_not_compared_with_another_targets() -> None:
    task, original = cases.task("toy"), cases.original("toy")
    for _ in range(2):  # the context is kept from one to the next
        on_forget, on_retain = (imu.influence(task, original, target=name) for name in ("forget", "retain"))
        plain = on_forget.context["gradient_dot"].to_numpy()
        assert on_forget.opposed == np.mean(np.sign(plain) != np.sign(on_forget.values))
        assert np.isnan(on_retain.opposed)


def test_a_run_gives_single_numbers_and_lines(run: imu.Run) -> None:
    curve = run.curve
    forget = curve[(curve["split"] == "forget") & (curve["metric"] == "accuracy")].set_index("step")["value"]
    assert run.steps.tolist() == [0, 2, 4]
    assert run.value("forget", "accuracy") == forget[4] and run.value("forget", "accuracy", 0) == forget[0]
    assert run.series("forget", "accuracy").to_dict() == forget.to_dict()
    assert np.isnan(run.value("forget", "accuracy", 1)) and np.isnan(run.value("nowhere", "accuracy"))


def test_the_last_useful_update_is_the_last_before_the_utility_limit(run: imu.Run) -> None:
    for limit, steps, last in ((None, None, 4), (4, None, 2), (3, None, 2), (3, [0, 4], 0), (0, None, 0)):
        limited = dataclasses.replace(run, events={**run.events, "utility_limit": limit})
        assert limited.last_useful(steps) == last


def test_a_label_tells_runs_apart() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    weights = imu.intensity(imu.influence(task, model))
    plain = imu.unlearn(task, model, weights, steps=1)
    equal = imu.unlearn(task, model, weights, steps=1, step_norm=0.1)
    assert plain.label == "imu · sqrt-clipped" and equal.label == "imu · sqrt-clipped · equal steps"
    assert "1 updates" in repr(plain)


def test_the_reference_is_in_the_record(run: imu.Run) -> None:
    task, reference = cases.task("toy"), cases.retrained("toy")
    table = run.reference.set_index(["split", "metric"])["value"]
    for split in ("forget", "retain", "test"):
        assert table[(split, "accuracy")] == task.evaluate(reference, split)["accuracy"]


def test_a_run_says_what_was_forgotten_and_what_was_kept(run: imu.Run) -> None:
    values = [f"{split} {run.value(split, 'accuracy'):.3f}" for split in ("retain", "test")]
    forget = f"forget accuracy {run.value('forget', 'accuracy'):.3f}"
    assert repr(run) == f"Run(imu · uniform, 4 updates, {', '.join([forget, *values])})"
    table = run.summary().set_index("split")
    for split in ("forget", "retain", "test"):
        before, after = run.value(split, "accuracy", 0), run.value(split, "accuracy")
        retrained = run.task.evaluate(cases.retrained("toy"), split)["accuracy"]
        assert table.loc[split].to_dict() == {"before": before, "after": after, "retrained": retrained}
    alone = dataclasses.replace(run, reference=run.reference.iloc[:0])
    assert list(alone.summary()) == ["split", "before", "after"] and "retrained" not in alone._repr_html_()
    ruined = dataclasses.replace(run, events={**run.events, "utility_limit": 3, "diverged_at": 4})
    assert "kept accuracy fell 5 points at update 3, diverged at update 4" in repr(ruined)


def test_a_run_whose_headline_was_not_recorded_tells_the_metric_that_was(run: imu.Run) -> None:
    curve = run.curve[run.curve["metric"] == "loss"]
    bare = dataclasses.replace(run, curve=curve)
    assert bare.headline == "loss" and f"forget loss {bare.value('forget', 'loss'):.3f}" in repr(bare)
    empty = dataclasses.replace(run, curve=curve.iloc[:0])
    assert empty.headline == "accuracy" and repr(empty) == "Run(imu · uniform, 4 updates)" and empty._repr_html_()


def test_a_run_is_made_by_names_alone(run: imu.Run) -> None:
    with pytest.raises(TypeError):
        imu.Run(run.curve, run.samples, run.trajectory, run.terms, run.reference, {}, {})
    tables = {name: getattr(run, name) for name in records.TABLES}
    made = imu.Run(**tables, settings={}, events={})
    with pytest.raises(ValueError, match="made from tables alone"):
        made.model


def test_records_show_themselves_as_tables_in_a_notebook() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    scores = imu.influence(task, model)
    weights = imu.intensity(scores, "linear")
    for record, ranked, column in ((scores, scores.values, "influence"), (weights, -weights.values, "weight")):
        shown = record._repr_html_()
        rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", shown, re.S)]
        first = record.frame["example"].to_numpy()[np.argsort(ranked, kind="stable")[:8]]
        assert [int(row[0]) for row in rows] == first.tolist() and f"8 of {len(record)} rows" in shown
        assert f"<th>{column}</th>" in shown and html.escape(repr(record)) in shown
    assert "gradient_norm" in scores._repr_html_() and scores._repr_html_().count("<th>example</th>") == 1
    hostile = dataclasses.replace(scores, settings={"estimator": "<script>"})
    assert "<script>" not in hostile._repr_html_()
