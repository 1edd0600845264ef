"""Every registered thing on every task: shape, finite, seeded, and nothing touched that it was not given.

A new task joins by its line in ``cases.TASKS``; a new estimator, rule or method joins by being registered.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice

import cases
import numpy as np
import pytest
import torch
from guarded import Guarded, nothing_else_changes, request, statistics
from torch import nn

import imu_lab as imu
from imu_lab.features import readout, view
from imu_lab.unlearning import Request


@pytest.fixture(scope="module", params=cases.every_task())
def name(request: pytest.FixtureRequest) -> str:
    """Each task in turn: all contracts on one before the next, so that its features are computed once."""
    return request.param


@pytest.fixture(autouse=True)
def threads(name: str) -> Iterator[None]:
    """Two threads on the blobs, so that a setting that is not restored shows; one elsewhere, which is faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(2 if name == "toy" else 1)
    yield
    torch.set_num_threads(before)


def in_training_mode(name: str) -> nn.Module:
    """The original as a user may hand it over: in training mode, partly, and partly frozen."""
    model = copy.deepcopy(cases.original(name)).train()
    next(model.children()).eval()
    next(model.parameters()).requires_grad_(False)
    return model


@pytest.mark.parametrize("estimator", imu.estimators)
def test_estimators(name: str, estimator: str) -> None:
    task, model = cases.task(name), in_training_mode(name)
    with nothing_else_changes(model):
        first, again = (imu.influence(task, model, estimator) for _ in "ab")
    assert first.values.shape == (len(task.split("forget")),) and np.isfinite(first.values).all()
    assert np.array_equal(first.values, again.values)
    assert first.values.std() > 0
    assert first.frame["example"].tolist() == task.split("forget").ids.tolist()


@pytest.mark.few
@pytest.mark.parametrize("estimator", imu.estimators)
@pytest.mark.parametrize("cached", [True, False])
def test_estimators_see_the_forget_set_alone(name: str, estimator: str, cached: bool) -> None:
    task, model = cases.task(name), in_training_mode(name)
    guarded = Guarded(task)
    if cached:
        guarded, model = view(guarded, model)
    forget = guarded.split("forget")
    forget = forget.take(torch.arange(min(10, len(forget))))  # some estimators take a pass per sample
    with nothing_else_changes(model):
        values = imu.estimators.create(estimator)(guarded, model, forget, forget)
    assert values.shape == (len(forget),) and not torch.as_tensor(values).requires_grad


@pytest.mark.parametrize("rule", imu.intensity_rules)
def test_intensity_rules(name: str, rule: str) -> None:
    scores = imu.influence(cases.task(name), cases.original(name))
    before = scores.frame.copy(), scores.context.copy()
    with nothing_else_changes(cases.original(name)):
        first, again = (imu.intensity(scores, rule) for _ in "ab")
    assert first.values.shape == scores.values.shape and np.isfinite(first.values).all()
    assert (first.values >= 0).all() and first.values.sum() == pytest.approx(1)
    assert np.array_equal(first.values, again.values)
    assert before[0].equals(scores.frame) and before[1].equals(scores.context)


@pytest.mark.parametrize("method", imu.methods)
def test_methods(name: str, method: str) -> None:
    task, model, reference = cases.task(name), in_training_mode(name), cases.retrained(name)
    with nothing_else_changes(model), nothing_else_changes(reference):
        first, again = (imu.unlearn(task, model, method=method, steps=2, reference=reference) for _ in "ab")
    assert first.curve.equals(again.curve) and first.trajectory.equals(again.trajectory)
    assert np.isfinite(first.curve["value"]).all() and np.isfinite(first.terms["value"].astype(float)).all()
    assert len(first.samples) == len(task.split("forget"))
    assert first.events["steps"] == min(2, imu.methods.declared(imu.methods.create(method), "updates") or 2)
    one, other = first.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(one[key], other[key]) and torch.isfinite(one[key]).all() for key in one)
    assert any(not torch.equal(one[key], value) for key, value in model.state_dict().items())


@pytest.mark.few
@pytest.mark.parametrize("method", imu.methods)
def test_only_the_declared_scope_moves(name: str, method: str) -> None:
    task, model = cases.task(name), cases.original(name)
    how = imu.methods.create(method)
    if imu.methods.declared(how, "scope") != "readout":
        pytest.skip("moves the whole model, and says so")
    allowed = readout.parameters(model, readout.resolve(task, model)).keys()
    for cache in (True, False):
        after = imu.unlearn(task, model, method=method, steps=2, cache=cache).model.state_dict()
        assert {key for key, value in model.state_dict().items() if not torch.equal(value, after[key])} <= allowed


@pytest.mark.few
@pytest.mark.parametrize("method", imu.methods)
def test_methods_leave_the_retain_set_alone_unless_they_declare_it(name: str, method: str) -> None:
    task, private = cases.task(name), copy.deepcopy(cases.original(name)).eval()
    how = imu.methods.create(method)
    if imu.methods.declared(how, "needs_retain"):
        with pytest.raises(Exception):  # noqa: B017  it was promised a retain set: without one it cannot work
            next(how(Guarded(task), private, request(task, None)))
        return
    held = statistics(task, cases.original(name), how)
    with nothing_else_changes(cases.original(name)):
        updates = list(islice(how(Guarded(task), private, request(task, None, held)), 3))
    assert len(updates) == (imu.methods.declared(how, "updates") or 3)


@pytest.mark.few
@pytest.mark.parametrize("method", imu.methods)
def test_methods_that_declare_a_statistic_get_its_parts_and_nothing_else(name: str, method: str, monkeypatch) -> None:
    """They work with the parts they declare where every split but the forget set raises, and do not work without."""
    task, how = cases.task(name), imu.methods.create(method)
    declared = imu.methods.declared(how, "needs_statistics")
    if not declared:
        with pytest.raises(ValueError, match="uses no statistic"):
            imu.unlearn(
                task, cases.original(name), method=method, statistics=imu.statistics(task, cases.original(name))
            )
        return
    assert not imu.methods.declared(how, "needs_retain")
    private, held = copy.deepcopy(cases.original(name)).eval(), statistics(task, cases.original(name), how)
    assert next(how(Guarded(task), private, request(task, None, held))) is not None
    with pytest.raises(Exception):  # noqa: B017  it was promised a statistic: without one it cannot work
        next(how(Guarded(task), private, request(task, None)))
    seen, real = [], type(how).__call__

    def looks(self: object, task: object, model: nn.Module, request: Request) -> Iterator:
        seen.append(request)
        return real(self, task, model, request)

    monkeypatch.setattr(type(how), "__call__", looks)
    more = imu.statistics(task, cases.original(name), {*declared, "S", "G"})
    rate = {"lr": 1e-3} if hasattr(how, "lr") else {}
    for given in (None, more):
        imu.unlearn(task, cases.original(name), method=method, steps=1, statistics=given, **rate)
    assert seen and all(each.retain is None and set(each.statistics.parts) == set(declared) for each in seen)


@pytest.mark.few
@pytest.mark.parametrize("method", imu.methods)
def test_methods_that_declare_it_get_the_retain_set_and_others_do_not(name: str, method: str, monkeypatch) -> None:
    task, seen = cases.task(name), []
    item = imu.methods[method]
    real = item.__call__

    def looks(self: object, task: object, model: nn.Module, request: Request) -> Iterator:
        seen.append(request)
        return real(self, task, model, request)

    monkeypatch.setattr(item, "__call__", looks)
    imu.unlearn(task, cases.original(name), method=method, steps=2)
    declared = imu.methods.declared(item, "needs_retain")
    assert seen
    for given in seen:  # the search for a learning rate, where there is one, and the run
        assert (given.statistics is not None) == bool(imu.methods.declared(item(), "needs_statistics"))
        assert (given.retain is not None) == declared
        if declared:
            assert torch.equal(given.retain.ids, task.split("retain").ids)
        assert given.weights.sum().item() == pytest.approx(1)
