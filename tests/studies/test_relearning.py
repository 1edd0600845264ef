"""Relearn time by a hand-made lesson, its censoring, and what it tells of head-only edits."""

from __future__ import annotations

import copy

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.studies import relearning
from imu_lab.studies.audited import Audited
from imu_lab.studies.relearning import Relearned, relearn


@pytest.fixture(scope="module")
def asked() -> Audited:
    """A digit was forgotten, beside its retrained model."""
    task, original, retrained = (make("digits class") for make in (cases.task, cases.original, cases.retrained))
    return Audited.of(imu.unlearn(task, original, steps=300, stop_at=0.05, reference=retrained), None, draws=100)


def test_a_lesson_is_plain_adam_on_the_readout(asked: Audited) -> None:
    task, model = asked.task, asked.models["run"]
    batch = task.split("forget").batch()
    copied = copy.deepcopy(model)
    head, losses = copied[-1], []
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    with torch.no_grad():
        features = copied[:-1](batch.inputs)
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(head(features), batch.targets, reduction="none")
        losses.append(loss.detach().numpy())
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    found = relearn(task, model, torch.arange(len(batch.targets)), lambda _: np.array([False]), updates=5, lr=1e-2)
    assert found.losses.shape == (6, len(batch.targets)) and cases.close(found.losses, np.array(losses), 1e-4)
    assert set(np.unique(found.right)) <= {0.0, 1.0}


def given(monkeypatch: pytest.MonkeyPatch, asked: Audited, right: dict[str, list[float]]) -> dict[str, relearning.Row]:
    """The rows where models learn so: by name, how many of four samples are right after each update."""
    names = {id(model): name for name, model in asked.models.items()}

    def made(task, model, some, back, updates=relearning.UPDATES, lr=0.0) -> Relearned:
        known = [4.0] if updates == 0 else right[names[id(model)]]
        table = np.array([[place < count for place in range(4)] for count in known], dtype=float)
        return Relearned(1 - table, table)

    monkeypatch.setattr(relearning, "relearn", made)
    monkeypatch.setattr(relearning, "by_content", lambda _: torch.arange(4))
    asked = Audited(asked.task, asked.run, asked.models, asked.references, 50, 0, {})
    return {row.name: row for row in relearning.relearn_rows(asked)}


def test_times_and_their_ratio_by_hand(asked: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = given(monkeypatch, asked, {"run": [0, 3, 4, 4], "retrained": [0, 0, 1, 2, 3, 3, 3, 3, 4]})
    time, ratio = rows["relearn time"], rows["relearn time, ratio to the retrained"]
    assert (time.value, time.goal, time.original, time.note) == (2, 8, 0, "")
    assert (ratio.value, ratio.goal, ratio.original) == (0.25, 1, 0)
    assert 1 <= time.low <= 2 <= time.high <= 2


def test_what_does_not_come_back_is_censored_and_that_is_said(asked: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = given(monkeypatch, asked, {"run": [0, 0, 1], "retrained": [0, 4]})
    time, ratio = rows["relearn time"], rows["relearn time, ratio to the retrained"]
    assert time.low == time.value == relearning.UPDATES and time.high == np.inf and ratio.value == relearning.UPDATES
    assert time.note == ratio.note == "not back within 300 updates, counted as 300: run"
    rows = given(monkeypatch, asked, {"run": [0, 4], "retrained": [0, 0]})
    assert rows["relearn time"].goal == 300 and "counted as 300: retrained" in rows["relearn time"].note


def test_a_retrained_model_that_knows_it_all_has_no_ratio(asked: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = given(monkeypatch, asked, {"run": [0, 4], "retrained": [4, 4]})
    ratio = rows["relearn time, ratio to the retrained"]
    assert np.isnan(ratio.value) and np.isnan(ratio.original) and "needs no update, so there is no ratio" in ratio.note


def test_the_farther_a_head_was_pushed_the_longer_it_takes(asked: Audited) -> None:
    original, retrained = asked.models["original"], asked.models["retrained"]
    pushed = imu.unlearn(asked.task, original, steps=6, step_norm=0.3, reference=retrained)
    still = imu.unlearn(asked.task, original, steps=0, reference=retrained)
    runs = {"still": still, "stopped": asked.run, "pushed": pushed}
    found = {name: next(relearning.relearn_rows(Audited.of(run, None, draws=100))) for name, run in runs.items()}
    assert found["still"].value == 0 < found["stopped"].value < found["pushed"].value
    assert all(row.low <= row.value <= row.high for row in found.values())
    assert len({row.goal for row in found.values()}) == 1 and found["stopped"].goal > 10


def test_of_single_samples_the_loss_is_to_be_back() -> None:
    task, original, retrained = (make("digits fraction") for make in (cases.task, cases.original, cases.retrained))
    run = imu.unlearn(task, original, steps=3, step_norm=0.3, reference=retrained)
    rows = list(relearning.relearn_rows(Audited.of(run, None, draws=20)))
    assert "mean loss is within 5%" in rows[0].formula and rows[0].value > 0
