"""A learning rate that is found: the goal is reached in about half the updates, by runs and controls alike."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.messages import unheard
from imu_lab.lab.learning_rate import (
    DIVERGED,
    EARLY,
    HIGHEST,
    LATE,
    LOWEST,
    NEVER,
    Found,
    _bisected,
    find_learning_rate,
)
from imu_lab.unlearning.driver import StopRule


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


@pytest.mark.few(1)
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
        return DIVERGED if lr > 3 * wanted else update if update <= 40 else NEVER

    found = _bisected(reached, 1e-2, 40)
    assert LOWEST <= found.lr <= HIGHEST and EARLY * 40 - 2 <= 20 * wanted / found.lr <= LATE * 40 + 2


@pytest.mark.parametrize("edge", [1e-6, 1e-3, 0.5])
def test_where_no_rate_arrives_the_one_used_does_not_diverge(edge: float) -> None:
    found = _bisected(lambda lr: DIVERGED if lr > edge else NEVER, 1.0, 40)
    assert found.reached is None and LOWEST <= found.lr <= edge
    assert _bisected(lambda lr: NEVER, 1.0, 40) == (1.0, None)
    assert _bisected(lambda lr: DIVERGED, 1.0, 40) == (LOWEST, None)


@dataclass(frozen=True)
class Parabola(imu.Descent):
    """Logits drawn to the next class: its steps grow without limit where the rate is too large."""

    def __call__(self, task: imu.tasks.Task, model: nn.Module, request: imu.Request) -> Iterator[imu.Update]:
        def objectives() -> Iterator[imu.Objective]:
            for positions, batch in imu.forget_batches(self, model, request):
                wanted = 4.0 * nn.functional.one_hot((batch.targets + 1) % 4, 4)
                yield imu.Objective({"distance": (model(batch.inputs) - wanted).square().sum(1).mean()}, positions)

        return imu.descend(self, imu.moving_parameters(task, model), objectives())


@pytest.mark.slow
def test_a_trial_that_diverges_was_too_fast() -> None:
    task, model = imu.features.view(*stranger())
    rule = StopRule("loss", ">=", 4.0)
    calm = find_learning_rate(task, model, Parabola(lr=1e-3), 30, rule, 0)
    wild = find_learning_rate(task, model, Parabola(lr=50.0), 30, rule, 0)
    assert calm.reached and wild.reached and 0.3 * 30 <= wild.reached <= 0.7 * 30
    with pytest.warns(UserWarning, match="no learning rate .* reaches loss <= -1"):
        none = find_learning_rate(task, model, Parabola(lr=50.0), 30, StopRule("loss", "<=", -1.0), 0)
    run = imu.unlearn(*stranger(), method=Parabola(lr=none.lr), steps=30)
    assert run.events["diverged_at"] is None and none.lr < 50


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "rule", [("kl_retrained", "<=", 0.1), ("test accuracy", "<=", 0.5), ("test kl_retrained", ">=", 0.1)]
)
def test_a_goal_that_only_the_run_measures_leaves_a_mild_one_to_the_search(rule: tuple) -> None:
    task, model = stranger()
    retrained = copy.deepcopy(model)
    with torch.no_grad():
        next(retrained.parameters()).mul_(1 + 1e-6)
    how = dict(steps=20, reference=retrained, follow=["kl-retrained"], lr="auto")
    with unheard():  # the original is as near already
        run = imu.unlearn(task, model, stop_at=rule, **how)
    assert run.settings["settings"]["lr"] == imu.unlearn(task, model, **how).settings["settings"]["lr"]


@pytest.mark.parametrize(("how", "reason"), [
    ({"step_norm": 0.1}, "step_norm"),
    ({"method": "fine-tune"}, "retain set"),
    ({"method": "fine-tune", "scope": "all"}, "retain set"),
], ids=["equal steps", "fine-tune", "all layers"])  # fmt: skip
def test_a_search_that_is_asked_for_and_not_made_is_told(how: dict, reason: str) -> None:
    task, model = stranger()
    with pytest.warns(UserWarning, match=f'lr="auto": no learning rate is searched for where .*{reason}.*lr=.*is used'):
        asked = imu.unlearn(task, model, steps=2, lr="auto", **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = imu.unlearn(task, model, steps=2, **how)
    assert asked.settings["settings"]["lr"] == silent.settings["settings"]["lr"]


def test_of_a_readout_that_is_not_linear_none_is_searched_and_whoever_asks_is_told() -> None:
    task, model = stranger()
    task = replace(task, readout=("0", "2"))
    with pytest.warns(UserWarning, match="the readout is not one linear layer.*Give lr="):
        imu.unlearn(task, model, steps=1, lr="auto")


def test_a_rate_that_was_found_is_told_as_found_and_controls_keep_it() -> None:
    task, model = stranger()
    run = imu.unlearn(task, model, steps=20)
    control = imu.again(run, weights=None, seed=3)
    ids = run.samples["example"].tolist()
    assert imu.what_if(run, keep=ids[:1]).settings["found"] == imu.fork(run, 2).settings["found"] == ["lr"]
    assert run.settings["found"] == control.settings["found"] == ["lr"]
    assert control.settings["settings"]["lr"] == run.settings["settings"]["lr"]
    given = imu.again(run, lr=run.settings["settings"]["lr"])
    assert "found" not in given.settings and given.curve.equals(run.curve)
    other = imu.unlearn(task, model, steps=20, seed=1)
    assert len({trace.meta["run"] for trace in imu.plot_curves([run, other]).data if "run" in trace.meta}) == 1


@pytest.mark.few(1)
@pytest.mark.parametrize("method", ["curvature-ascent", "joint-ascent"])
def test_a_rate_that_a_task_declares_is_none_for_steps_that_are_turned(method: str) -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    how = dict(method=method, steps=20, stop_at="forgotten")
    run = imu.unlearn(task, model, **how)
    assert run.settings["found"] == ["lr"] and 0 < run.events["stopped_at"] <= 20
    assert imu.Session(task, model).method(method, {})[1].momentum == 0.9
    assert imu.unlearn(task, model, **how, lr=0.02).settings["settings"]["lr"] == 0.02
    scaled = imu.unlearn(task, model, method=method, steps=2, step_norm=0.1)
    assert scaled.events["steps"] == 2 and imu.Session(task, model).defaults("imu")["lr"] == 1e-3


def test_no_rate_is_searched_for_where_no_update_is_made() -> None:
    """A search in no updates reaches nothing, and would say so of a goal that nobody wanted to reach."""
    task = cases.own_data(forget_indices=range(6))
    run = imu.unlearn(task, task.make_model(0), steps=0, stop_at=("accuracy", "<=", -1.0))
    assert len(run.steps) == 1


def test_it_is_searched_again_once_what_a_method_calls_was_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    factor, searched = {"by": 1.0}, []

    @dataclass(frozen=True)
    class Tried(imu.methods["imu"]):
        """The same with something that a helper decides."""

        def __call__(self, task, model, request):
            assert factor["by"]
            return super().__call__(task, model, request)

    monkeypatch.setattr("imu_lab.lab.session.find_learning_rate", lambda *_, **__: searched.append(1) or Found(0.1, 1))
    with imu.methods.temporarily("tried here", Tried):
        for by, times in ((1.0, 1), (1.0, 1), (2.0, 2)):
            factor["by"] = by
            imu.unlearn(cases.task("toy"), cases.original("toy"), method="tried here", lr="auto", steps=1)
            assert len(searched) == times
