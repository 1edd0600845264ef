"""The panel of two runs: its threshold moves the attack's figure, its words and who is shown on either side."""

from __future__ import annotations

from collections.abc import Iterator

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.widgets.base.job import Job

SECONDS = 60.0


@pytest.fixture
def panel() -> Iterator:
    Job.errors.clear()
    task, how = (
        cases.task("digits class"),
        {"steps": 8, "step_norm": 0.05, "reference": cases.retrained("digits class")},
    )
    original = cases.original("digits class")
    made = imu.ab(imu.unlearn(task, original, **how), imu.unlearn(task, original, method="delete", **how))
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
    assert made.figures["plane"].layout.annotations[0].text == "nothing to show for this task"
    assert not Job.errors
    made.close()


def test_what_is_made_already_takes_nothing_beside_it(panel) -> None:
    with pytest.raises(TypeError, match="holds both runs and their reference: give it alone"):
        imu.ab(panel.record, reference=cases.retrained("digits class"))
