"""The influence step and the Newton step against dense solves, and that a method which ends is a run of one update."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import cases
import pytest
import torch
from linear_heads import LINEAR, gauss_newton
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import kronecker, readout
from imu_lab.features.gradients import explicit, flat, gradients_of
from imu_lab.features.layered import layer_moments
from imu_lab.features.statistics import linear_gradients
from imu_lab.tasks.protocol import Examples, Task
from imu_lab.unlearning import Request

BOTH = ("influence-step", "newton-step")


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def moved(task: Task, model: nn.Module, method: str, **settings: object) -> Tensor:
    """(P,) how far the readout went, once it is known that one update was all."""
    private, how = copy.deepcopy(model).eval(), imu.methods.create(method, **settings)
    values = readout.parameters(private, readout.resolve(task, private))
    before, forget = flat(values).detach().clone(), task.split("forget")
    held = imu.statistics(task, model, how.needs_statistics)
    even = torch.full((len(forget),), 1 / len(forget), dtype=torch.float64)
    assert how.updates == 1
    assert len(list(how(task, private, Request(forget, even, None, 0, held)))) == 1
    return flat(values).detach() - before


def mean_gradient(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(P,) by one backward pass for each example."""
    return explicit(task, model, examples).mean(0).double()


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["toy, double", "BatchNorm, double", "no bias, double", "sequences, double"])
@pytest.mark.parametrize("rho", [0.1, 3.0])
def test_each_is_its_dense_solve(name: str, rho: float) -> None:
    task, model = LINEAR[name]()
    forget, train = task.split("forget"), task.split("train")
    share, gradient = len(forget) / len(train), mean_gradient(task, model, forget)
    whole = gauss_newton(task, model, train)
    ridge = rho * whole.trace() / len(whole) * torch.eye(len(whole)).double()
    expected = share * torch.linalg.solve(whole + ridge, gradient)
    assert cases.close(moved(task, model, "influence-step", rho=rho, factors="exact"), expected, within=1e-6)
    kept = len(task.split("retain")) / len(train) * gauss_newton(task, model, task.split("retain"))
    expected = share * torch.linalg.solve(kept + ridge, gradient)
    assert cases.close(moved(task, model, "newton-step", rho=rho, factors="exact"), expected, within=1e-6)


@pytest.mark.parametrize("method", BOTH)
def test_by_factors_it_is_the_solve_with_their_kronecker_product(method: str) -> None:
    task, model = LINEAR["toy, double"]()
    forget, train, retain = (task.split(name) for name in ("forget", "train", "retain"))
    gradients, gradient = linear_gradients(task, model), mean_gradient(task, model, forget)
    whole, _ = kronecker.moments(gradients, train)
    held, _ = (whole, 0) if method == "influence-step" else kronecker.moments(gradients, retain)
    share = 1.0 if method == "influence-step" else len(retain) / len(train)
    matrix = share * torch.kron(held["G"], held["S"])
    matrix += 0.5 * torch.kron(whole["G"], whole["S"]).trace() / len(matrix) * torch.eye(len(matrix)).double()
    layer = model.get_submodule(readout.resolve(task, model)[0])
    at = torch.cat(
        [
            torch.arange(layer.weight.numel()).view_as(layer.weight),
            layer.weight.numel() + torch.arange(len(layer.bias))[:, None],
        ],
        1,
    )
    expected = torch.empty_like(gradient)
    expected[at.flatten()] = len(forget) / len(train) * torch.linalg.solve(matrix, gradient[at.flatten()])
    assert cases.close(moved(task, model, method, rho=0.5, factors="both"), expected, within=1e-6)


@pytest.mark.parametrize("method", BOTH)
def test_of_several_layers_each_has_its_own_block_and_what_has_none_stays(method: str) -> None:
    model = cases.conv_net().double()
    task = cases.own_data(model, torch.float64, readout=("body.1", "narrow", "classifier"))
    forget, train, retain = (task.split(name) for name in ("forget", "train", "retain"))
    gradients = gradients_of(task, model)
    gradient, (whole, _) = gradients.mean(forget), layer_moments(gradients, train)
    held, share = (
        (whole, 1.0) if method == "influence-step" else (layer_moments(gradients, retain)[0], len(retain) / len(train))
    )
    after = imu.unlearn(task, model, method=method, rho=0.5, steps=1).model.state_dict()
    for layer in ("narrow", "classifier"):
        block = share * torch.kron(held[f"G of {layer}"], held[f"S of {layer}"])
        block += (
            0.5
            * torch.kron(whole[f"G of {layer}"], whole[f"S of {layer}"]).trace()
            / len(block)
            * torch.eye(len(block)).double()
        )
        joined = torch.cat([gradient[f"{layer}.weight"], gradient[f"{layer}.bias"][:, None]], 1)
        step = len(forget) / len(train) * torch.linalg.solve(block, joined.flatten()).view_as(joined)
        before = model.state_dict()
        found = torch.cat(
            [
                after[f"{layer}.{key}"].view(len(step), -1) - before[f"{layer}.{key}"].view(len(step), -1)
                for key in ("weight", "bias")
            ],
            1,
        )
        assert cases.close(found, step, within=1e-6)
    assert torch.equal(after["body.1.weight"], model.state_dict()["body.1.weight"])


@pytest.mark.parametrize("method", BOTH)
def test_a_method_that_ends_is_a_run_of_its_own_length(method: str) -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    run = imu.unlearn(task, model, method=method, steps=30, stop_at=("loss", ">=", 1e9))
    assert run.events["steps"] == 1 and run.steps.tolist() == [0, 1] and run.events["stopped_at"] is None
    assert run.settings["needs"] == "statistic" and run.events["diverged_at"] is None
    assert run.value("forget", "loss") > run.value("forget", "loss", 0)
    assert run.samples["pressure"].sum() == pytest.approx(1)
    rare = imu.unlearn(task, model, method=method, steps=30, record_every=10)
    assert rare.steps.tolist() == [0, 1] and rare.curve.equals(run.curve)


@pytest.mark.parametrize("method", BOTH)
def test_in_pieces_it_is_the_same_step_and_can_stop_on_its_way(method: str) -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    whole, parts = (imu.unlearn(task, model, method=method, pieces=pieces, steps=30) for pieces in (1, 8))
    assert parts.events["steps"] == 8 and parts.steps.tolist() == list(range(9))
    for one, other in zip(parts.model.parameters(), whole.model.parameters()):
        assert cases.close(one.detach(), other.detach(), within=1e-5)
    middle = float(parts.series("forget", "loss")[4])
    stopped = imu.unlearn(task, model, method=method, pieces=8, steps=30, stop_at=("loss", ">=", middle))
    assert stopped.events["stopped_at"] == 4
    first, last = (parts.terms.set_index(["step", "term"])["value"][step, "update_norm"] for step in (1, 8))
    assert first == pytest.approx(last)


def test_the_newton_step_goes_farther_on_what_only_the_forget_set_holds_still() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    lengths = [
        imu.unlearn(task, model, method=name, steps=1).terms.set_index("term")["value"]["update_norm"] for name in BOTH
    ]
    assert lengths[1] > lengths[0] > 0


def test_a_head_too_large_for_a_matrix_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from imu_lab.features import statistics

    monkeypatch.setattr(statistics, "DENSE_LIMIT", 100)
    task, model = cases.task("digits indices"), cases.original("digits indices")
    imu.clear_caches()
    with pytest.raises(ValueError, match='650 parameters.*factors="both"$'):
        imu.unlearn(task, model, method="newton-step", factors="exact", steps=1)
    with pytest.raises(ValueError, match='650 parameters.*factors="both" or curvature="forget"$'):
        imu.unlearn(task, model, method="curvature-ascent", factors="exact", steps=1)
    assert imu.unlearn(task, model, method="newton-step", factors="both", steps=1).events["steps"] == 1


@pytest.mark.parametrize("method", BOTH)
def test_a_loss_times_three_makes_the_same_step(method: str) -> None:
    def times(scale: float) -> Tensor:
        model = cases.conv_net().double()

        def loss(made: Tensor, truth: Tensor) -> Tensor:
            return scale * nn.functional.cross_entropy(made, truth, reduction="none")

        return moved(cases.own_data(model, torch.float64, loss=loss), model, method)

    assert cases.close(times(3.0), times(1.0), within=1e-9)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("loss", ["focal", "squared"])
def test_what_is_advised_is_a_choice_of_the_method(method: str, loss: str) -> None:
    task, model = other_loss(loss)
    with pytest.raises(ValueError, match='no cross-entropy.*; use factors="exact"$'):
        imu.unlearn(task, model, method=method, steps=1)


def test_the_other_methods_advise_their_own_choices() -> None:
    task, model = other_loss("focal")
    for method, advised in (("joint-ascent", '"inputs"'), ("curvature-ascent", '"inputs" or factors="exact"')):
        for curvature in ("train", "forget"):
            with pytest.raises(ValueError, match=f"no cross-entropy.*; use factors={advised}$"):
                imu.unlearn(task, model, method=method, curvature=curvature, lr=0.1, steps=1)
    with pytest.raises(ValueError, match='; use factors="inputs" or factors="exact"$'):
        imu.influence(task, model, "curvature", curvature="train")


def other_loss(name: str) -> tuple[Task, nn.Module]:
    """A user's network under a loss that is no cross-entropy."""

    def focal(made: Tensor, truth: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(made, truth, reduction="none")
        return (1 - (-loss).exp()).square() * loss

    def squared(made: Tensor, truth: Tensor) -> Tensor:
        return (made - nn.functional.one_hot(truth, made.shape[1])).square().sum(1)

    model = cases.conv_net().double()
    return cases.own_data(model, torch.float64, loss={"focal": focal, "squared": squared}[name]), model
