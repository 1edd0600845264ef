"""joint-ascent: its step from gradients written out, when it solves anew, its control, and what it reaches and refuses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import cases
import numpy as np
import pytest
import torch
from linear_heads import LINEAR, Smoothed
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import kronecker, readout
from imu_lab.features.gradients import explicit, flat, gradients_of
from imu_lab.tasks.evaluation import mean_loss
from imu_lab.tasks.protocol import Task
from imu_lab.unlearning import Request

PLAIN: dict[str, Any] = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def updated(task: Task, model: nn.Module, updates: int = 1, seed: int = 0, **settings: Any) -> tuple[Tensor, list]:
    """(P,) how far the readout went in some updates, and what was said of each."""
    private, how = copy.deepcopy(model).eval(), imu.methods.create("joint-ascent", **PLAIN | settings)
    parts = imu.methods.declared(how, "needs_statistics")
    held = imu.statistics(task, model, parts) if parts else None
    values = readout.parameters(private, readout.resolve(task, private))
    before, forget = flat(values).detach().clone(), task.split("forget")
    even = torch.full((len(forget),), 1 / len(forget), dtype=torch.float64)
    said = list(islice(how(task, private, Request(forget, even, None, seed, held)), updates))
    return flat(values).detach() - before, said


def written_out(task: Task, model: nn.Module, where: str, rho: float, factors: str) -> tuple[Tensor, Tensor]:
    """(n,) shares and (P,) Σ w g, by a backward pass for each sample, a matrix of all pairs and a library's solver."""
    gradients = explicit(task, model, task.split("forget")).double()
    parts, _ = kronecker.moments(gradients_of(task, model), task.split(where))
    across = kronecker.damped(parts["G"], rho) if factors == "both" else torch.eye(len(parts["G"])).double()
    factor = torch.kron(across, kronecker.damped(parts["S"], rho))
    rows = gradients[:, order(model, task)]
    damage = rows @ factor @ rows.T
    damage += 1e-3 * damage.trace() / len(damage) * torch.eye(len(damage))
    lower, gain = cholesky(damage.numpy(), lower=True), (rows @ rows.mean(0)).numpy()
    weights = torch.tensor(nnls(lower.T, solve_triangular(lower, gain, lower=True))[0])
    shares = weights / weights.sum()
    return shares, shares @ gradients


def order(model: nn.Module, task: Task) -> Tensor:
    """Where each entry of a (K, D) matrix, the bias its last column, stands in the flat vector of weight and bias."""
    layer = model.get_submodule(readout.resolve(task, model)[0])
    weight = torch.arange(layer.weight.numel()).view_as(layer.weight)
    if layer.bias is None:
        return weight.flatten()
    return torch.cat([weight, layer.weight.numel() + torch.arange(len(layer.bias))[:, None]], 1).flatten()


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "name", ["toy, double", "digits, double", "no bias, double", "sequences, double", "pixels, double"]
)
@pytest.mark.parametrize("where, factors", [("train", "both"), ("forget", "both"), ("train", "inputs")])
def test_one_update_is_that_of_gradients_written_out(name: str, where: str, factors: str) -> None:
    task, model = LINEAR[name]()
    shares, direction = written_out(task, model, where, 0.3, factors)
    step, (said,) = updated(task, model, curvature=where, rho=0.3, factors=factors)
    assert cases.close(said.shares, shares, within=2e-3) and cases.close(step, 0.1 * direction, within=1e-3)
    assert torch.equal(said.positions, torch.arange(len(shares)))
    losses = task.example_loss(model, task.split("forget").batch()).detach()
    assert said.terms["ascent"] == pytest.approx(-(said.shares.to(losses) * losses).sum().item(), rel=1e-6)
    even = explicit(task, model, task.split("forget")).double().mean(0)
    assert cases.relative(step, 0.1 * even) > 0.01, "uniform weights would have given the same"


def test_weights_are_refreshed_when_it_is_time() -> None:
    task, model = LINEAR["digits, double"]()
    for refresh, changes in ((1, [1, 2, 3, 4]), (2, [2, 4]), (0, [])):
        _, said = updated(task, model, 5, refresh=refresh, step_norm=0.05)
        changed = [k for k in range(1, 5) if not torch.equal(said[k].shares, said[k - 1].shares)]
        assert changed == changes
        assert all(each.shares.sum().item() == pytest.approx(1) for each in said)


def test_the_control_hands_the_same_weights_to_the_wrong_samples() -> None:
    task, model = LINEAR["digits, double"]()
    _, (right,) = updated(task, model)
    _, (wrong,) = updated(task, model, seed=4, shuffled=True)
    assert np.array_equal(wrong.shares.numpy(), np.random.default_rng(4).permutation(right.shares.numpy()))
    assert not torch.equal(right.shares, wrong.shares)
    _, said = updated(task, model, 3, seed=4, shuffled=True, refresh=0)
    assert torch.equal(said[0].shares, said[2].shares), "the same wrong samples throughout"


@pytest.mark.parametrize("name", ["toy", "sequence"])
def test_cached_equals_uncached_and_the_ledger_says_who_got_how_much(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    before = cases.frozen(model)
    settings = dict(method="joint-ascent", steps=3, step_norm=0.05)
    cached, whole = (imu.unlearn(task, model, cache=cache, **settings) for cache in (True, False))
    one, other = cached.model.state_dict(), whole.model.state_dict()
    assert all(cases.close(one[key], other[key], within=1e-4) for key in one)
    assert cases.same(before, model)
    assert cached.samples["pressure"].sum() == pytest.approx(3) and cached.samples["pressure"].std() > 0
    first = imu.unlearn(task, model, **settings | {"steps": 1})
    assert cases.close(first.samples["pressure"], imu.joint_intensity(task, model).values, within=1e-4)


def test_the_intensity_is_a_record_as_any_other() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    joint = imu.joint_intensity(task, model, rho=0.5, curvature="forget")
    assert (
        joint.values.sum() == pytest.approx(1)
        and (joint.values >= 0).all()
        and repr(joint).startswith("Intensity(joint")
    )
    assert joint.frame["example"].tolist() == task.split("forget").ids.tolist()
    dot = imu.influence(task, model, "gradient-dot")
    assert cases.close(joint.frame["influence"], dot.values) and "gradient_norm" in joint.context
    control = imu.joint_intensity(task, model, rho=0.5, curvature="forget", shuffled=True, seed=3)
    assert np.array_equal(control.values, np.random.default_rng(3).permutation(joint.values))
    assert imu.plot_intensity(joint).data
    run = imu.unlearn(task, model, joint, steps=1, lr=0.01, momentum=0.0, weight_decay=0.0)
    assert cases.close(run.samples["pressure"], joint.values) and run.label == "imu · joint"
    held = imu.statistics(task, model)
    assert cases.close(
        imu.joint_intensity(task, model, statistics=held).values, imu.joint_intensity(task, model).values
    )


def test_what_it_cannot_do_is_said_before_anything_moves() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    with pytest.raises(TypeError, match="has no setting 'batch_size'"):
        imu.unlearn(task, model, method="joint-ascent", batch_size=4)
    with pytest.raises(ValueError, match="refresh"):
        imu.unlearn(task, model, method="joint-ascent", refresh=-1)
    deeper = cases.own_data(readout=("narrow", "classifier"))
    with pytest.raises(ValueError, match="joint weights need a readout that is one linear layer.*narrow"):
        imu.unlearn(deeper, imu.train(deeper, "train"), method="joint-ascent", curvature="forget", lr=0.1, steps=1)
    other = imu.statistics(task, cases.retrained("toy"))
    with pytest.raises(ValueError, match="another model"):
        imu.joint_intensity(task, model, statistics=other)


def test_weights_that_are_given_are_left_out_and_that_is_said() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    given = imu.intensity(imu.influence(task, model))
    settings = dict(method="joint-ascent", steps=2, step_norm=0.05)
    alone = imu.unlearn(task, model, **settings)
    for weights in (given, given.values):
        with pytest.warns(UserWarning, match="'joint-ascent' finds its own shares, so the weights given were left out"):
            beside = imu.unlearn(task, model, weights, **settings)
        assert beside.samples.equals(alone.samples)
    imu.unlearn(task, model, np.ones(len(given)), **settings)  # even ones say nothing
    again = imu.again(imu.unlearn(task, model, given, steps=2, step_norm=0.05), method="joint-ascent", step_norm=0.05)
    assert again.samples["pressure"].equals(alone.samples["pressure"])  # and those of another method are not handed on
    with pytest.raises(ValueError, match="method 'joint-ascent' takes no weights, so drop= and reweight= would change"):
        imu.what_if(alone, drop=[int(alone.samples["example"][0])])


def test_where_nobody_gains_all_are_alike() -> None:
    task, model = cases.task("toy"), copy.deepcopy(cases.original("toy"))
    with torch.no_grad():
        for value in model[-1].parameters():
            value.mul_(1e4)  # now certain of every answer, so that right ones have no gradient
    batch = task.split("forget").batch()
    right = (model(batch.inputs).argmax(1) == batch.targets).nonzero().flatten()
    forget, how = task.split("forget").take(right), imu.methods.create("joint-ascent", **PLAIN)
    held = imu.statistics(task, cases.original("toy"))
    (said,) = islice(how(task, model, Request(forget, torch.ones(len(right)), None, 0, held)), 1)
    assert len(right) > 5 and cases.close(said.shares, 1 / len(right)) and said.terms["update_norm"] == 0


def test_a_loss_of_the_users_own_is_served_by_the_inputs_alone() -> None:
    task, model = LINEAR["own loss, double"]()
    assert isinstance(task, Smoothed)
    for settings in ({}, {"factors": "inputs"}):
        step, (said,) = updated(task, model, **settings)
        assert step.norm() > 0 and said.shares.sum().item() == pytest.approx(1)


@pytest.mark.slow
def test_on_digits_it_spares_what_is_kept_where_uniform_weights_and_its_control_do_not() -> None:
    spared = {name: [] for name in ("joint", "shuffled", "uniform")}
    for seed in range(20, 25):
        task = imu.tasks.Classification("digits", forget_fraction=0.1, seed=seed)
        original, retrained = imu.train(task, "train", seed=seed), imu.train(task, "retain", seed=seed)
        goal = ("loss", ">=", mean_loss(task, retrained, task.split("forget")))
        arms = {
            "joint": {"method": "joint-ascent"},
            "shuffled": {"method": "joint-ascent", "shuffled": True},
            "uniform": {"method": "gradient-ascent"},
        }
        for name, arm in arms.items():
            run = imu.unlearn(
                task,
                original,
                steps=100,
                step_norm=0.02,
                stop_at=goal,
                reference=retrained,
                follow=["kl-retrained"],
                **arm,
            )
            assert run.events["stopped_at"] is not None
            spared[name].append(run.value("test", "kl_retrained"))
    joint, shuffled, uniform = (np.array(spared[name]) for name in ("joint", "shuffled", "uniform"))
    assert (joint < uniform).all() and (joint < shuffled).all() and joint.mean() < 0.7 * uniform.mean()
