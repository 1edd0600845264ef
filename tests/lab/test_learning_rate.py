"""A learning rate that is found: the goal is reached in about half the updates, by runs and controls alike."""

from __future__ import annotations

import copy
import math

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.lab.learning_rate import EARLY, HIGHEST, LATE, LOWEST, _bisected


def stranger(scale: float = 1.0) -> tuple[imu.tasks.Task, nn.Module]:
    """A model whose features, and with them the fitting learning rate, are ``scale`` times those of another."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 4
    points = torch.eye(4)[labels] * 3 + torch.randn(300, 4, generator=generator)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for layer in (model[0], model[2]):
            layer.reset_parameters()
    task = imu.tasks.Classification.from_data(model, (points, labels), (points + 0.1, labels), forget_class=2)
    trained = imu.train(task, "train", recipe=imu.tasks.Recipe(epochs=15, lr=0.1))
    wide = copy.deepcopy(trained)
    wide[1] = nn.Sequential(nn.Tanh(), Times(scale))
    with torch.no_grad():
        wide[2].weight /= scale
    return imu.tasks.Classification.from_data(wide, (points, labels), (points + 0.1, labels), forget_class=2), wide


class Times(nn.Module):
    """Features in another unit."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("steps", [20, 60])
def test_the_goal_is_reached_in_about_half_the_updates_whatever_the_unit_of_the_features(
    scale: float, steps: int
) -> None:
    task, model = stranger(scale)
    run = imu.unlearn(task, model, steps=steps, stop_at="forgotten")
    assert 0.25 * steps <= run.events["stopped_at"] <= 0.75 * steps
    assert run.value("forget", "accuracy") == 0.0
    again = imu.unlearn(task, model, steps=steps, stop_at="forgotten", lr=run.settings["settings"]["lr"])
    assert again.events["stopped_at"] == run.events["stopped_at"], "the rate in the settings reproduces the run"


def test_controls_get_the_rate_of_the_main_run() -> None:
    task, model = stranger()
    scores = imu.influence(task, model)
    rates = {
        imu.unlearn(task, model, weights, steps=30).settings["settings"]["lr"]
        for weights in (
            None,
            imu.intensity(scores),
            imu.intensity(scores, "shuffled"),
            imu.intensity(scores, "uniform"),
        )
    }
    assert len(rates) == 1 and rates.pop() != imu.methods["imu"]().lr


def test_a_rate_that_is_given_or_declared_is_kept() -> None:
    task, model = stranger()
    assert imu.unlearn(task, model, steps=2, lr=0.5).settings["settings"]["lr"] == 0.5
    digits, original = cases.task("digits class"), cases.original("digits class")
    assert imu.unlearn(digits, original, steps=2).settings["settings"]["lr"] == digits.unlearning["lr"]
    assert imu.unlearn(digits, original, steps=40, lr="auto").settings["settings"]["lr"] != digits.unlearning["lr"]


def test_random_requests_have_no_goal_of_their_own_and_get_a_mild_one() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    with pytest.raises(ValueError, match='"forgotten" needs a request whose goal is known.*reference=imu.train'):
        imu.unlearn(task, model, stop_at="forgotten")
    run = imu.unlearn(task, model, steps=40, lr="auto")
    fallen = run.series("forget", "accuracy")
    assert 0.2 * 40 <= fallen.index[fallen <= 0.9 * fallen[0]][0] <= 0.8 * 40


def test_a_goal_that_no_rate_reaches_is_told() -> None:
    task, model = stranger()
    said = r'lr="auto": no learning rate from 1e-07 to 100 reaches accuracy <= -1 on the forget set in 5'
    with pytest.warns(UserWarning, match=said):
        imu.unlearn(task, model, steps=5, stop_at=-1.0)


def test_the_search_asks_the_forget_set_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from imu_lab.lab import learning_rate, session

    task, model = stranger()
    asked: list[str] = []
    real = session.find_learning_rate

    def watched(seen: imu.tasks.Task, *rest: object, **more: object) -> object:
        split = seen.split
        monkeypatch.setattr(seen, "split", lambda name: asked.append(name) or split(name), raising=False)
        found = real(seen, *rest, **more)
        monkeypatch.delattr(seen, "split")
        return found

    monkeypatch.setattr(session, "find_learning_rate", watched)
    imu.unlearn(task, model, steps=10)
    assert set(asked) == {"forget"} and learning_rate.TRIALS >= 8


@pytest.mark.parametrize("power", np.linspace(-6, 1, 15).tolist())
def test_the_bisection_finds_any_rate_in_its_range(power: float) -> None:
    """A run of 40 updates whose goal is reached after c / lr of them, and in which a rate too large diverges."""
    wanted = 10.0**power

    def reached(lr: float) -> float:
        update = math.ceil(20 * wanted / lr)
        return update if update <= 40 else math.inf

    found = _bisected(reached, 1e-2, 40)
    assert LOWEST <= found.lr <= HIGHEST and EARLY * 40 - 2 <= 20 * wanted / found.lr <= LATE * 40 + 2
