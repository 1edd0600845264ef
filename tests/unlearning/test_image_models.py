"""Every method on every kind of network that papers use on pictures, its readout or the whole of it moving.

What a run says of its models is what these say themselves; what it must not touch, it does not.
"""

from __future__ import annotations

import copy
from dataclasses import fields
from functools import cache
from itertools import islice
from pathlib import Path

import cases
import networks
import numpy as np
import pytest
import torch
from guarded import Guarded, nothing_else_changes, request, statistics
from torch import nn

import imu_lab as imu
from imu_lab.features import readout
from imu_lab.tasks.protocol import Task

KINDS = pytest.mark.parametrize("name", networks.KINDS)
METHODS = pytest.mark.parametrize("method", imu.methods)
SPLITS = ("forget", "retain", "test", "test-forget")
ANEW = ("retrain", "eu-k")  # running means begin anew with the weights


def settings(method: str, **asked: object) -> dict[str, object]:
    """Those of the asked ones, and of a learning rate, that a method has."""
    known = {field.name for field in fields(imu.methods[method])}
    return {key: value for key, value in {"lr": 0.01, **asked}.items() if key in known}


def itself(task: Task, model: nn.Module) -> dict[str, tuple[float, float]]:
    """Mean loss and accuracy of each split, by a plain copy of the model in eval mode."""
    model, found = copy.deepcopy(model).eval(), {}
    for split in SPLITS:
        batch = task.split(split).batch()
        with torch.no_grad():
            made = networks.logits(model, batch.inputs)
        right = (made.argmax(1) == batch.targets).double().mean()
        found[split] = nn.functional.cross_entropy(made, batch.targets).item(), right.item()
    return found


of_given = cache(itself)  # for models that many runs begin with or are put beside


def told_as_it_is(run: imu.Run, step: int, said: dict[str, tuple[float, float]]) -> None:
    """What a run says of an update is what the model after it says."""
    for split, (loss, accuracy) in said.items():
        assert run.value(split, "accuracy", step) == pytest.approx(accuracy)
        if split == "forget":
            assert run.value(split, "loss", step) == pytest.approx(loss, rel=1e-4, abs=1e-5)


def moved(before: nn.Module, after: nn.Module) -> set[str]:
    """The names of the tensors that are not what they were."""
    old = before.state_dict()
    return {key for key, value in after.state_dict().items() if not torch.equal(value, old[key])}


@pytest.mark.few(4)
@KINDS
@METHODS
def test_a_run_is_told_of_as_it_is(name: str, method: str, tmp_path: Path) -> None:
    """All of the network moves, where a method can do that."""
    check(*networks.given(name), method, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "size"), [("resnet-18", 8), ("vgg-16-bn", 32)])
@pytest.mark.parametrize("method", ["imu", "fine-tune", "ssd", "eu-k"])
def test_in_its_own_width(architecture: str, size: int, method: str, tmp_path: Path) -> None:
    task = cases.pictures(architecture, size)
    check(task, imu.train(task), imu.train(task, "retain"), method, tmp_path)


def check(task: Task, model: nn.Module, retrained: nn.Module, method: str, path: Path) -> None:
    """What a run leaves alone, that all it tells before and after is what the models say, and that it is kept."""
    with nothing_else_changes(model), nothing_else_changes(retrained):
        run = imu.unlearn(
            task, model, method=method, steps=2, reference=retrained, **settings(method, scope="all", step_norm=0.1)
        )
    after, last = run.model, run.events["steps"]
    assert last == min(2, imu.methods.declared(imu.methods.create(method), "updates") or 2)
    assert not any(module.training for module in after.modules()) and np.isfinite(run.curve["value"]).all()
    changed = moved(model, after)
    assert changed and (method in ANEW or not changed & {key for key, _ in model.named_buffers()}), (
        "in eval mode no running mean moves"
    )
    told_as_it_is(run, 0, of_given(task, model))
    told_as_it_is(run, last, itself(task, after))
    told = of_given(task, retrained)
    assert all(run.retrained_values[split]["accuracy"] == pytest.approx(told[split][1]) for split in SPLITS)
    assert not moved(model, run.model_at(0)) and not moved(after, run.model_at(last))
    assert not moved(after, imu.load_run(run.save(path / "run.imu"), task=task).model)


@pytest.mark.few(8)
@KINDS
@METHODS
def test_from_the_readout_it_is_the_same_run(name: str, method: str) -> None:
    """Seen from the readout or through the whole network; nothing outside the scope moves, and without an update nothing."""
    task, model, _ = networks.given(name)
    if imu.methods.declared(imu.methods.create(method), "scope") != "readout":
        pytest.skip("moves the whole model, and says so")
    with nothing_else_changes(model):
        seen, whole = (
            imu.unlearn(task, model, method=method, steps=2, cache=cache, **settings(method)) for cache in (True, False)
        )
    allowed = readout.parameters(model, readout.resolve(task, model)).keys()
    one, other = seen.model, whole.model
    assert moved(model, one) and moved(model, one) | moved(model, other) <= allowed
    one, other = one.state_dict(), other.state_dict()
    assert all(cases.close(one[key], other[key], 1e-3) for key in allowed)
    assert cases.close(seen.trajectory["margin"], whole.trajectory["margin"], 1e-3)
    assert not moved(model, imu.unlearn(task, model, method=method, steps=0, **settings(method)).model)


@pytest.mark.few(8)
@KINDS
@METHODS
def test_it_gets_the_forget_set_alone_unless_it_says_otherwise(name: str, method: str) -> None:
    task, model, _ = networks.given(name)
    how, private = imu.methods.create(method, **settings(method, scope="all")), copy.deepcopy(model).eval()
    held = statistics(task, model, how)
    if imu.methods.declared(how, "needs_retain"):
        with pytest.raises(Exception):  # noqa: B017  it was promised a retain set: without one it cannot work
            next(how(Guarded(task), private, request(task, None)))
        return
    with nothing_else_changes(model):
        assert list(islice(how(Guarded(task), private, request(task, None, held)), 1))
