"""Ascent by weights that follow what is known, against plain descent on the loss with the weights held fixed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import cases
import pytest
import torch
from descents import EACH, averaged, by_hand, difference, likely, losses, stepped, truths
from torch import Tensor, nn

import imu_lab as imu

WEIGHTS: list[tuple[str, dict, Callable[[Tensor], Tensor]]] = [
    ("wga", {"beta": 1.0}, lambda p: p),
    ("wga", {"beta": 2.5}, lambda p: p**2.5),
    ("satimp", {}, lambda p: p * (1 - p)),
    ("satimp", {"saturation": 5.0}, lambda p: p**5 * (1 - p)),
    ("satimp", {"saturation": 2.0, "importance": 0.1}, lambda p: p**2 * (1 - p) ** 0.1),
]


def chances(task: object, model: nn.Module) -> Tensor:
    """(n, ...) the probability of each true class."""
    return likely(task, model).gather(-1, truths(task)[..., None])[..., 0]


@pytest.mark.few(2)
@EACH
@pytest.mark.parametrize("name, settings, weight", WEIGHTS)
def test_each_prediction_has_its_own_weight_held_fixed(given, name: str, settings: dict, weight: Callable) -> None:
    """Differentiating the weight as well, as is easily done, gives another direction."""
    task, model = given()

    def loss(moved: nn.Module, hold: bool = True) -> Tensor:
        share = chances(task, moved)
        return averaged(task, weight(share.detach() if hold else share) * share.log())

    def held(moved: nn.Module) -> Tensor:
        return loss(moved)

    def through(moved: nn.Module) -> Tensor:
        return loss(moved, hold=False)

    moved, updates = stepped(task, model, name, steps=4, **settings)
    assert difference(moved, by_hand(model, held, steps=4), model) < 1e-9
    assert difference(moved, by_hand(model, through, steps=4), model) > 1e-3
    assert updates[0].terms["ascent"] == pytest.approx(loss(model).item(), rel=1e-10)
    assert losses(task, moved).mean() > losses(task, model).mean()


@pytest.mark.few(2)
@EACH
@pytest.mark.parametrize(
    "name, settings",
    [("wga", {"beta": 0.0}), ("satimp", {"saturation": 0.0, "importance": 0.0}), ("adaptive-ascent", {"power": 0.0})],
)
def test_without_weights_it_is_gradient_ascent(given, name: str, settings: dict) -> None:
    task, model = given()
    ascent, _ = stepped(task, model, "gradient-ascent", steps=3)
    assert difference(stepped(task, model, name, steps=3, **settings)[0], ascent, model) < 1e-9


@EACH
@pytest.mark.parametrize("power", [0.5, 2.0])
def test_adaptive_ascent(given, power: float) -> None:
    task, model = given()

    def loss(moved: nn.Module) -> Tensor:
        each = losses(task, moved)
        weights = each.detach() ** -power
        return -(weights / weights.sum() * each).sum()

    moved, updates = stepped(task, model, "adaptive-ascent", steps=4, power=power)
    assert difference(moved, by_hand(model, loss, steps=4), model) < 1e-9
    weights = losses(task, model).detach()[updates[0].positions] ** -power
    assert cases.close(updates[0].shares, weights / weights.sum(), within=1e-9)


def test_shares_by_hand() -> None:
    """Pressed are the confident by one rule, those in between by another; p is 0.9, 0.8 and 0.1."""
    chance = torch.tensor([0.9, 0.8, 0.1], dtype=torch.float64)
    wga, satimp = imu.methods.create("wga"), imu.methods.create("satimp", saturation=5.0)
    assert cases.close(wga.weight(chance), [0.9, 0.8, 0.1])
    assert cases.close(satimp.weight(chance), [0.059049, 0.065536, 9e-6], within=1e-9)


def test_a_sample_known_for_certain_has_a_weight() -> None:
    """Its loss is 0 in single precision, and 1/ℓ no number."""
    task, model = cases.task("toy"), copy.deepcopy(cases.original("toy"))
    with torch.no_grad():
        for value in model[-1].parameters():
            value *= 100
    assert (losses(task, model) == 0).any()
    _, (update,) = stepped(task, model, "adaptive-ascent", power=2.0)
    assert torch.isfinite(update.shares).all() and update.shares.sum().item() == pytest.approx(1)
    assert (update.shares[losses(task, model)[update.positions] == 0] > 0).all()


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["wga", "satimp"])
def test_the_pressure_ends_by_itself(name: str) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    runs = {each: imu.unlearn(task, model, method=each, steps=300, lr=0.5, weight_decay=0.0) for each in (name, "imu")}
    gradient = runs[name].terms.query("term == 'ascent_gradient'")["value"]
    assert runs[name].value("forget", "accuracy") == 0 and gradient.iloc[-1] < 0.05 * gradient.max()
    assert runs["imu"].value("forget", "loss") > 3 * runs[name].value("forget", "loss")
