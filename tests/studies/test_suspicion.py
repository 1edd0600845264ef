"""Held-out heads: each prediction is that of a fit without the sample, and wrong labels stand out."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.studies import suspicion
from imu_lab.studies.suspicion import left_out, moved


@pytest.mark.parametrize(("count", "width"), [(30, 4), (12, 20)])
def test_each_prediction_is_that_of_a_fit_to_all_others(
    count: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    values, targets = random.normal(size=(count, width)), np.eye(3)[np.arange(count) % 3]
    standard = (values - values.mean(0)) / values.std(0)
    by_penalty = {}
    for penalty in (0.5, 20.0):
        rows = []
        for out in range(count):
            kept = np.arange(count) != out
            inside = np.c_[standard[kept], np.ones(count - 1)]
            shrink = np.diag([penalty] * width + [0.0])
            head = np.linalg.solve(inside.T @ inside + shrink, inside.T @ targets[kept])
            rows.append(np.r_[standard[out], 1.0] @ head)
        by_penalty[penalty] = np.array(rows)
        monkeypatch.setattr(suspicion, "PENALTIES", [penalty])
        assert cases.close(left_out(values, targets), by_penalty[penalty], within=1e-9)
    monkeypatch.setattr(suspicion, "PENALTIES", list(by_penalty))
    best = min(by_penalty.values(), key=lambda rows: np.square(rows - targets).mean())
    assert cases.close(left_out(values, targets), best, within=1e-9)


def blobs(wrong: tuple[int, ...], **request: object) -> tuple[imu.tasks.Task, torch.nn.Module]:
    """Three groups of points in eight dimensions, some of the first under another label, before an identity network."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(40)
    points = torch.eye(8)[labels] * 3 + torch.randn(120, 8, generator=generator)
    given = labels.clone()
    given[list(wrong)] = 1
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(8, 3))
    names = ["cat", "dog", "owl"]
    words = [names[k] for k in given]
    task = imu.tasks.Classification.from_data(model, (points, words), (points + 0.1, words), **request)
    return task, model


def test_wrong_labels_are_the_most_doubtful_and_the_right_ones_are_likelier() -> None:
    wrong = (3, 11, 22)
    task, model = blobs(wrong, forget_class="dog")
    table = imu.suspects(task, model)
    assert len(table) == 43 and set(table["example"].head(3)) == set(wrong)
    assert (table["likelier"].head(3) == "cat").all() and (table["label"] == "dog").all()
    assert (table["label_suspicion"].head(3) > 0.5).all() and (table["label_suspicion"].iloc[3:] < 0.5).mean() > 0.9
    assert table["label_suspicion"].is_monotonic_decreasing
    assert len(imu.suspects(task, model, "train")) == 120 and "file" not in table


@pytest.mark.filterwarnings("ignore:the model trained on")  # hardly trained on purpose
def test_it_goes_with_a_resistance_table_and_stands_in_an_explanation_without_training() -> None:
    task, model = blobs((3, 11, 22), forget_class="dog")
    model = imu.train(task, "retain", recipe=imu.tasks.Recipe(epochs=1, lr=1e-9))
    with torch.no_grad():
        model[1].weight.copy_(3 * torch.eye(8)[:3]), model[1].bias.zero_()
    run = imu.unlearn(task, model, steps=40, stop_at="forgotten")
    table = imu.resistance(run).merge(imu.suspects(task, model), on=["example", "label"])
    assert len(table) == 43
    explained = imu.explain_resistance(run, training=False).set_index("example")["label_suspicion"]
    assert cases.close(explained.loc[table["example"]].to_numpy(), table["label_suspicion"].to_numpy())


def test_pictures_are_moved_by_an_eighth() -> None:
    spot = torch.zeros(1, 1, 16, 16)
    spot[..., 8, 8] = 1
    for down, right, flip in suspicion.COPIES:
        (there,) = moved(spot, down, right, flip).nonzero().tolist()
        assert there[2:] == [8 + 2 * down, 15 - (8 + 2 * right) if flip else 8 + 2 * right]


def test_a_picture_whose_pixels_are_known_by_heart_is_still_told_by_its_copies() -> None:
    """The network sees a bright bar, high or low, and one pixel that betrays the wrong label of a single picture."""
    generator = torch.Generator().manual_seed(0)
    labels, pictures = torch.arange(40) % 2, 0.1 * torch.randn(40, 1, 16, 16, generator=generator)
    for at, label in enumerate(labels):
        pictures[at, 0, 3 + 8 * label : 6 + 8 * label] += 1
    given = labels.clone()
    given[8], pictures[8, 0, 0, 0] = 1, 50.0
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 3), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight.zero_()[0, :128], network[1].weight[1, 128:] = 0.1, 0.1
        network[1].weight[0, :128], network[1].weight[2, 0] = 0.1, 1.0
    words = [["high", "low"][k] for k in given]
    task = imu.tasks.Classification.from_data(network, (pictures, words), (pictures + 0.01, words), forget_class="low")
    table = imu.suspects(task, network)
    assert table["example"][0] == 8 and table["label_suspicion"][0] > 0.5 > table["label_suspicion"][1]
    assert table["likelier"][0] == "high"


def test_what_has_no_labels_has_no_suspects() -> None:
    with pytest.raises(ValueError, match="suspects compares labels"):
        imu.suspects(cases.task("toy"), cases.original("toy"))
