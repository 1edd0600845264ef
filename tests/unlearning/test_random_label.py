"""Random labels: who is drawn, when, and the loss towards them."""

from __future__ import annotations

from collections.abc import Callable

import cases
import numpy as np
import pytest
import torch
from descents import EACH, averaged, by_hand, difference, likely, stepped, truths
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.unlearning import random_label
from imu_lab.unlearning.request import Request


def drawn(task: object, model: nn.Module, monkeypatch: pytest.MonkeyPatch, batches: int, **settings: object) -> list:
    """The classes that were drawn, batch by batch, with the positions they were drawn for."""
    seen, real = [], random_label.cross_entropy

    def look(outputs: Tensor, classes: Tensor, parts: Tensor) -> Tensor:
        seen.append(classes)
        return real(outputs, classes, parts)

    monkeypatch.setattr(random_label, "cross_entropy", look)
    forget = task.split("forget")
    how = imu.methods.create("random-label", **settings)
    even = torch.full((len(forget),), 1 / len(forget), dtype=torch.float64)
    made = random_label.relabelled(how, task, model, Request(forget, even))
    return [(next(made).positions, seen[-1]) for _ in range(batches)]


def everyone(task: object, model: nn.Module, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Tensor:
    """The classes drawn in one batch of all, in the order of the forget set."""
    ((positions, classes),) = drawn(task, model, monkeypatch, 1, batch_size=10_000, **settings)
    return classes[positions.argsort()]


@pytest.mark.few(1)
@EACH
@pytest.mark.parametrize("exclude", [True, False])
def test_it_is_descent_on_the_loss_of_the_drawn_classes(given: Callable, exclude: bool, monkeypatch) -> None:
    task, model = given()
    classes = everyone(task, model, monkeypatch, exclude_true=exclude)
    classes = classes[:, :-1] if classes.ndim > 1 else classes

    def loss(moved: nn.Module) -> Tensor:
        return averaged(task, -likely(task, moved).gather(-1, classes[..., None])[..., 0].log())

    moved, updates = stepped(task, model, "random-label", steps=4, exclude_true=exclude)
    assert difference(moved, by_hand(model, loss, steps=4), model) < 1e-9
    assert updates[0].terms["random_label"] == pytest.approx(loss(model).item(), rel=1e-12)


@pytest.mark.few(1)
@EACH
def test_the_true_class_is_drawn_by_one_reading_and_never_by_the_other(given: Callable, monkeypatch) -> None:
    task, model = given()
    truth, classes = truths(task), likely(task, model).shape[-1]
    for exclude in (True, False):
        counts = torch.zeros(classes)  # of draws, by how far they are from the true class
        many = drawn(task, model, monkeypatch, 120, batch_size=10_000, exclude_true=exclude, redraw=True)
        for positions, found in many:
            found = found[:, :-1] if found.ndim > 1 else found
            counts += torch.bincount(((found - truth[positions]) % classes).flatten(), minlength=classes)
        assert (counts[0] == 0) == exclude
        even = counts.sum().item() / (classes - exclude)
        assert cases.close(counts[int(exclude) :], torch.full((classes - exclude,), even), within=0.15)


@pytest.mark.few(1)
@EACH
def test_drawn_once_a_sample_keeps_its_class_and_drawn_anew_it_does_not(given: Callable, monkeypatch) -> None:
    task, model = given()
    for redraw in (False, True):
        kept: dict[int, Tensor] = {}
        again = []
        for positions, classes in drawn(task, model, monkeypatch, 12, batch_size=4, redraw=redraw):
            for at, each in zip(positions.tolist(), classes):
                again += [torch.equal(kept[at], each)] if at in kept else []
                kept[at] = each
        assert again and (not all(again) if redraw else all(again))


def test_by_hand() -> None:
    outputs = torch.tensor(
        [[[0.0, 2.0], [1.0, 1.0]]]
    ).double()  # two predictions, of which the second counts for a quarter
    found = random_label.cross_entropy(outputs, torch.tensor([[0, 1]]), torch.tensor([[0.75, 0.25]]))
    assert found.item() == pytest.approx(0.75 * np.log(1 + np.exp(2)) + 0.25 * np.log(2), rel=1e-12)


@pytest.mark.full
def test_it_comes_to_rest_where_ascent_does_not() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    runs = {
        name: imu.unlearn(task, model, method=name, steps=300, lr=0.5, weight_decay=0.0)
        for name in ("random-label", "imu")
    }
    assert runs["random-label"].value("forget", "accuracy") == 0
    assert runs["imu"].value("forget", "loss") > 5 * runs["random-label"].value("forget", "loss")
