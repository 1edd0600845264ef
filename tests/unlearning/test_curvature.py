"""Ascent turned by curvature: one update against an explicit matrix, its limit, what it refuses, and what it reaches."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cases
import numpy as np
import pytest
import torch
from linear_heads import LINEAR, gauss_newton
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import kronecker, readout
from imu_lab.features.gauss_newton import curvature_of, trace_of
from imu_lab.features.gradients import explicit, flat
from imu_lab.features.statistics import linear_gradients
from imu_lab.influences import curvature as preconditioning
from imu_lab.studies.collateral import step_length
from imu_lab.tasks.protocol import Task
from imu_lab.unlearning import Request

PLAIN = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 10_000}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def uneven(count: int) -> Tensor:
    """Weights that sum to 1."""
    values = torch.rand(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    return values / values.sum()


def moved(task: Task, model: nn.Module, method: str, updates: int = 1, **settings: Any) -> Tensor:
    """(P,) how far the readout went in some updates, with uneven weights and the statistic that the method declares."""
    private, how = copy.deepcopy(model).eval(), imu.methods.create(method, **PLAIN | settings)
    parts = imu.methods.declared(how, "needs_statistics")
    held = imu.statistics(task, model, parts) if parts else None
    values = readout.parameters(private, readout.resolve(task, private))
    before, forget = flat(values).detach().clone(), task.split("forget")
    list(islice(how(task, private, Request(forget, uneven(len(forget)), None, 0, held)), updates))
    return flat(values).detach() - before


def mean_gradient(task: Task, model: nn.Module) -> Tensor:
    """(P,) Σ w_i g_i, by one backward pass for each example."""
    return uneven(len(task.split("forget"))) @ explicit(task, model, task.split("forget")).double()


def order(model: nn.Module, task: Task) -> Tensor:
    """Where each entry of a (K, D) matrix, the bias its last column, stands in the flat vector of weight and bias."""
    layer = model.get_submodule(readout.resolve(task, model)[0])
    weight = torch.arange(layer.weight.numel()).view_as(layer.weight)
    if layer.bias is None:
        return weight.flatten()
    return torch.cat([weight, layer.weight.numel() + torch.arange(len(layer.bias))[:, None]], 1).flatten()


def relative_to_mean(factor: Tensor, rho: float) -> Tensor:
    """(F / f̄ + ρ I) / (1 + ρ), written out again."""
    return (factor / factor.diagonal().mean() + rho * torch.eye(len(factor)).double()) / (1 + rho)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "name", ["toy, double", "digits, double", "no bias, double", "sequences, double", "pixels, double"]
)
@pytest.mark.parametrize("where", ["train", "forget"])
@pytest.mark.parametrize("rho", [0.1, 2.0])
def test_one_update_is_the_dense_kronecker_solve(name: str, where: str, rho: float) -> None:
    task, model = LINEAR[name]()
    parts, _ = kronecker.moments(linear_gradients(task, model), task.split(where))
    matrix = torch.kron(relative_to_mean(parts["G"], rho), relative_to_mean(parts["S"], rho))
    at, expected = order(model, task), torch.empty(len(matrix), dtype=torch.float64)
    expected[at] = torch.linalg.solve(matrix, mean_gradient(task, model)[at])
    found = moved(task, model, "curvature-ascent", rho=rho, curvature=where)
    assert cases.close(found, 0.1 * expected, within=1e-6)
    plain = moved(task, model, "imu")
    assert cases.relative(found, plain) > 0.1


@pytest.mark.parametrize("where", ["train", "forget"])
def test_one_exact_update_is_the_dense_gauss_newton_solve(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = LINEAR["toy, double"]()
    matrix = relative_to_mean(gauss_newton(task, model, task.split(where)), 0.1)
    expected = 0.1 * torch.linalg.solve(matrix, mean_gradient(task, model))
    assert cases.close(moved(task, model, "curvature-ascent", curvature=where, factors="exact"), expected, within=1e-6)


def test_a_curvature_too_large_to_be_formed_is_solved_by_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = LINEAR["BatchNorm, double"]()
    curvature = curvature_of(task, model, task.split("forget"))
    matrix, scale = curvature.matrix(), trace_of(curvature) / curvature.size
    assert scale == pytest.approx(matrix.trace().item() / len(matrix), rel=0.5)
    matrix = (matrix / scale + 0.1 * torch.eye(len(matrix)).double()) / 1.1
    expected = 0.1 * torch.linalg.solve(matrix, mean_gradient(task, model))
    monkeypatch.setattr(preconditioning, "DENSE_LIMIT", 1)
    found = moved(task, model, "curvature-ascent", curvature="forget", factors="exact")
    assert cases.close(found, expected, within=1e-6)
    with pytest.raises(ValueError, match="rho > 0"):
        moved(task, model, "curvature-ascent", curvature="forget", factors="exact", rho=0.0)


@pytest.mark.parametrize("factors", ["both", "inputs", "diagonal", "exact"])
def test_much_damping_is_gradient_ascent(factors: str) -> None:
    task, model = LINEAR["digits, double"]()
    settings = {"momentum": 0.9, "weight_decay": 5e-4}
    found = moved(task, model, "curvature-ascent", updates=5, factors=factors, rho=1e6, **settings)
    allowed = 1e-3 if factors == "exact" else 1e-4  # λ/ρ, λ the largest eigenvalue in units of the mean one
    assert cases.close(found, moved(task, model, "imu", updates=5, **settings), within=allowed)


def test_factors_differ_and_each_raises_the_loss() -> None:
    task, model = LINEAR["digits, double"]()
    gradient = mean_gradient(task, model)
    found = {
        each: moved(task, model, "curvature-ascent", factors=each) for each in ("both", "inputs", "diagonal", "exact")
    }
    assert all(gradient.dot(way) > 0 for way in found.values())
    ways = torch.stack([way / way.norm() for way in found.values()])
    assert (ways @ ways.T - torch.eye(4).double()).max() < 0.999


def test_the_gradient_is_refreshed_and_the_factors_are_not() -> None:
    task, model = LINEAR["toy, double"]()
    first, second = (moved(task, model, "curvature-ascent", updates=count) for count in (1, 2))
    after = copy.deepcopy(model)
    values = list(readout.parameters(after, readout.resolve(task, after)).values())
    with torch.no_grad():
        for value, step in zip(values, first.split([value.numel() for value in values])):
            value += step.view_as(value)
    parts = imu.statistics(task, model)
    made = kronecker.FACTORS["both"][1](dict(parts.parts), 0.1)
    gradient = mean_gradient(task, after)
    weight, bias = values[0], values[1]
    way = made({"weight": gradient[: weight.numel()].view_as(weight), "bias": gradient[weight.numel() :].view_as(bias)})
    assert cases.close(second - first, 0.1 * flat(way), within=1e-6)


def test_every_update_has_the_length_asked_and_the_goal_stops_it() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    before = cases.frozen(model)
    run = imu.unlearn(task, model, method="curvature-ascent", step_norm=0.02, steps=400, stop_at=0.01)
    lengths = run.terms.loc[run.terms["term"] == "update_norm", "value"]
    assert cases.close(lengths, 0.02, within=1e-4) and run.value("forget", "accuracy") <= 0.01
    assert 0 < run.events["stopped_at"] < 400 and cases.same(before, model)


def test_weights_are_welcome() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    weights = np.zeros(len(task.split("forget")))
    weights[:5] = 1.0
    run = imu.unlearn(task, model, weights, method="curvature-ascent", lr=0.01, steps=3)
    pressed = run.samples["pressure"].to_numpy()
    assert (pressed[:5] > 0).all() and (pressed[5:] == 0).all()


def test_without_damping_a_singular_factor_is_said_before_anything_moves() -> None:
    task, model = cases.task("digits class"), copy.deepcopy(cases.original("digits class"))
    with torch.no_grad():
        model[8].weight[3], model[8].bias[3] = 0.0, -1.0  # a unit that is silent for every picture
    with pytest.raises(ValueError, match="S is singular, [0-9]+ of its 65 eigenvalues.*rho > 0"):
        imu.unlearn(task, model, method="curvature-ascent", rho=0.0, lr=0.01, steps=1)
    toy = cases.task("toy"), cases.original("toy")
    assert imu.unlearn(*toy, method="curvature-ascent", rho=0.0, lr=1e-3, steps=1).events["steps"] == 1
    with pytest.raises(ValueError, match=r"singular.*give a larger rho"):
        imu.unlearn(*toy, method="curvature-ascent", rho=0.0, factors="exact", lr=1e-3, steps=1)
    with pytest.raises(ValueError, match="rho"):
        imu.unlearn(*toy, method="curvature-ascent", rho=-1.0, steps=1)


def test_first_order_damage_is_not_predicted_from_turned_steps() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, method="curvature-ascent", lr=1e-3, momentum=0.0, weight_decay=0.0, steps=1)
    with pytest.raises(imu.NoFirstOrder, match="curvature-ascent"):
        step_length(run, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "goal"), [({"forget_fraction": 0.1}, 0.45), ({"forget_class": 3}, 0.4)])
def test_at_equal_steps_it_stays_nearer_to_the_retrained_model_than_uniform_ascent(request_: dict, goal: float) -> None:
    task = imu.tasks.Classification("digits", seed=5, **request_)
    original, retrained = (imu.train(task, split, seed=5) for split in ("train", "retain"))
    loss = imu.unlearn(task, original, steps=0, reference=retrained).reference.set_index(["split", "metric"])["value"]
    stop = 0.01 if "forget_class" in request_ else ("loss", ">=", loss["forget", "loss"])
    how = dict(steps=600, step_norm=0.02, momentum=0.0, weight_decay=0.0, stop_at=stop)
    how |= dict(reference=retrained, follow=["kl-retrained"])
    runs = [imu.unlearn(task, original, method=method, **how) for method in ("curvature-ascent", "imu")]
    assert all(run.events["stopped_at"] for run in runs)
    curved, uniform = (run.value("test", "kl_retrained") for run in runs)
    assert curved <= goal * uniform


@dataclass(frozen=True)
class Updates:
    """A method's updates on a head whose features are at hand; each call makes some more."""

    method: str
    count: int = 10

    def made(self) -> Callable[[], None]:
        """The call."""
        task, head = narrow()
        how = imu.methods.create(self.method, lr=1e-4)
        parts = imu.methods.declared(how, "needs_statistics")
        held = imu.statistics(task, head, parts) if parts else None
        forget = task.split("forget")
        updates = how(task, copy.deepcopy(head), Request(forget, uneven(len(forget)), None, 0, held))

        def some() -> None:
            for _ in islice(updates, self.count):
                pass

        return some


def narrow() -> tuple[Task, nn.Module]:
    """A head like that of the digits or of a ResNet-20, with 500 samples to forget."""
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(2000, 64, generator=generator).relu(), torch.arange(2000) % 10
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(64, 10)
    return imu.tasks.Classification.from_data(
        head, (rows, labels), (rows[:50] + 1, labels[:50]), forget_indices=range(500)
    ), head


def test_an_update_costs_little_more_than_one_of_imu() -> None:
    calls = {name: Updates(name).made() for name in ("imu", "curvature-ascent")}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(60):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            times[name].append(time.thread_time() - start)
    assert np.median(times["curvature-ascent"]) <= 1.3 * np.median(times["imu"])


def of_loss(loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[Task, nn.Module]:
    """A small head under a loss of a user's own."""
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(30, 4, generator=generator), torch.arange(30) % 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(4, 3)
    test = rows[:9] + 1, labels[:9]
    return imu.tasks.Classification.from_data(head, (rows, labels), test, forget_indices=range(9), loss=loss), head


def test_a_loss_that_forward_mode_does_not_know_is_bent_backward_or_refused_in_words() -> None:
    def cubed(made: Tensor, truth: Tensor) -> Tensor:
        return Cubes.apply(nn.functional.cross_entropy(made, truth, reduction="none"))

    def hinge(made: Tensor, truth: Tensor) -> Tensor:
        return nn.functional.multi_margin_loss(made, truth, reduction="none")

    def same(made: Tensor, truth: Tensor) -> Tensor:
        return nn.functional.cross_entropy(made, truth, reduction="none") ** 3

    one, other = (curvature_of(*of_loss(each), of_loss(each)[0].split("forget")).matrix() for each in (cubed, same))
    assert cases.close(one, other, within=1e-5)
    with pytest.raises(
        ValueError, match='second derivatives at the outputs, and torch knows none .*factors="inputs"'
    ) as said:
        imu.unlearn(*of_loss(hinge), method="curvature-ascent", factors="exact", lr=0.1, steps=1)
    assert "\n" not in str(said.value)


class Cubes(torch.autograd.Function):
    """x³, without a forward mode."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        context.save_for_backward(values)
        return values**3

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Tensor:
        return 3 * context.saved_tensors[0] ** 2 * slope


def test_a_loss_that_bends_downwards_is_told_of() -> None:
    def turned(made: Tensor, truth: Tensor) -> Tensor:
        return -nn.functional.cross_entropy(made, truth, reduction="none")

    with pytest.raises(ValueError, match="negative on the whole: .* bends downwards"):
        imu.unlearn(*of_loss(turned), method="curvature-ascent", factors="exact", lr=0.1, steps=1)
