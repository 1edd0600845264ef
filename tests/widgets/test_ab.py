"""The panel of two runs: its threshold moves the attack's figure, its words and who is shown on either side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.studies.side_by_side import SideBySide
from imu_lab.widgets.base.job import Job

SECONDS = 60.0


@pytest.fixture(scope="module")
def record() -> SideBySide:
    """Two runs side by side; nobody may change them."""
    task, how = (
        cases.task("digits class"),
        {"steps": 8, "step_norm": 0.05, "reference": cases.retrained("digits class")},
    )
    original = cases.original("digits class")
    return imu.side_by_side(imu.unlearn(task, original, **how), imu.unlearn(task, original, method="delete", **how))


@pytest.fixture
def panel(record: SideBySide) -> Iterator:
    Job.errors.clear()
    made = imu.ab(replace(record, scores=record.scores.copy()))  # the panel's own, which a test may change
    assert made.wait(SECONDS)
    yield made
    assert not Job.errors, Job.errors
    made.close()


def test_the_threshold_moves_the_line_the_words_and_the_pictures(panel) -> None:
    record = panel.record
    assert set(panel.figures) == {"plane", "matrices", "classes", "layers", "attack"}
    assert [name for _, name in panel.model.options] == ["A", "B", "original", "retrained"]
    for at in np.quantile(record.scores["loss"], [0.2, 0.7]):
        panel.threshold.value = float(at)
        assert panel.wait(SECONDS)
        table = record.attacked("A", "loss", panel.threshold.value)
        called = table.loc[table["called"], "member"]
        assert f"{called.sum()} of {table['member'].sum()} members" in panel.words.value
        assert f"{(~called).sum()} of {(~table['member']).sum()} never seen" in panel.words.value
        assert panel.figures["attack"].layout.shapes[0].x0 == pytest.approx(panel.threshold.value)
    assert panel.called.layout.display is None and panel.called.value
    panel.threshold.value = panel.threshold.min
    assert panel.wait(SECONDS) and panel.called.layout.display == "none" and panel.passed.value, "nobody is called"


@pytest.mark.full
def test_another_score_and_another_model_begin_in_the_middle_of_their_scores(panel) -> None:
    panel.score.value = "confidence"
    panel.model.value = "B"
    assert panel.wait(SECONDS)
    scores = panel.record.scores
    middle = scores.loc[scores["model"] == "B", "confidence"].median()
    assert abs(panel.threshold.value - middle) <= panel.threshold.step
    assert (panel.threshold.min, panel.threshold.max) == pytest.approx(
        (scores["confidence"].min(), scores["confidence"].max())
    )
    assert "B: delete" in panel.figures["attack"].layout.title.text


def test_a_task_whose_answers_are_no_classes_says_so() -> None:
    Job.errors.clear()
    task, how = cases.task("sequence"), {"steps": 2}
    made = imu.ab(*(imu.unlearn(task, cases.original("sequence"), seed=seed, **how) for seed in (0, 1)))
    assert made.wait(SECONDS) and "plane" in made.record.missing
    said = made.figures["plane"].layout.annotations[0].text
    assert said.replace("<br>", " ") == made.record.missing["plane"] and max(map(len, said.split("<br>"))) <= 60
    assert not made.figures["plane"].layout.xaxis.visible
    assert not Job.errors
    made.close()


def test_a_model_of_one_layer_has_no_features_to_compare() -> None:
    points, labels = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    task = imu.tasks.Classification.from_data(
        torch.nn.Linear(4, 2), (points, labels), (points + 0.1, labels), forget_indices=range(5)
    )
    reference = torch.nn.Linear(4, 2)
    runs = [imu.unlearn(task, imu.train(task), steps=steps, lr=1e-2, reference=reference) for steps in (1, 2)]
    made = imu.ab(*runs)
    assert made.wait(SECONDS) and "no layer before its output" in made.figures["layers"].layout.annotations[0].text
    assert {"plane", "matrices", "classes"}.isdisjoint(made.record.missing)
    made.close()


def test_pictures_near_the_threshold_tell_their_scores_apart(panel, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(panel.called, "show", lambda pictures, captions: told.extend(captions))
    panel.record.scores.loc[panel.record.scores["model"] == "A", "loss"] += 100.0
    panel.threshold.max = 200.0
    panel.threshold.value = float(panel.record.scores.query("model == 'A'")["loss"].median())
    assert panel.wait(SECONDS)
    table = panel.record.attacked("A", "loss", panel.threshold.value)
    nearest = table.loc[table["called"], "score"].sort_values(ascending=False).head(len(told))
    values = [float(words.removeprefix("new ")) for words in told]
    assert told and cases.close(values, nearest, within=0.005), "three digits"


def test_runs_do_not_borrow_the_colours_of_splits(panel) -> None:
    dots = {trace.meta["model"]: trace.marker.color for trace in panel.figures["classes"].data}
    taken = {trace.line.color for trace in panel.figures["layers"].data}
    taken |= {trace.marker.color for trace in panel.figures["plane"].data}
    assert len(set(dots.values())) == 2 and taken.isdisjoint(dots.values())


def test_what_is_made_already_takes_nothing_beside_it(panel) -> None:
    with pytest.raises(TypeError, match="holds both runs and their reference: give it alone"):
        imu.ab(panel.record, reference=cases.retrained("digits class"))
