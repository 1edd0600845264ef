"""Every method on image requests that the contracts do not hold: a superclass and a subclass of a folder, in three networks."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import cases
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import imu_lab as imu
from imu_lab.tasks import Classification

RECIPE = imu.tasks.Recipe(epochs=2, lr=0.02, batch_size=16)
REQUESTS = {
    "a superclass, small-vit": {"forget_superclass": "pet", "architecture": "small-vit"},
    "a subclass, resnet-20": {"forget_subclass": "dog", "architecture": "resnet-20"},
    "a class of two levels, small-cnn": {"forget_class": "cattle", "level": "superclass", "architecture": "small-cnn"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pictures of four subclasses in two superclasses."""
    root, rng = tmp_path_factory.mktemp("levels"), np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 4)):
        for at, (above, below) in enumerate((("pet", "cat"), ("pet", "dog"), ("cattle", "cow"), ("cattle", "ox"))):
            (root / part / above / below).mkdir(parents=True)
            for k in range(count):
                pixels = (rng.integers(0, 80, (8, 8, 3)) + 50 * at).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / above / below / f"{k}.png")
    return str(root)


@cache
def made(folder: str, name: str) -> tuple[Classification, nn.Module, nn.Module]:
    """The task, its original and its retrained model."""
    task = Classification(folder, recipe=RECIPE, **REQUESTS[name])
    return task, imu.train(task), imu.train(task, "retain")


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("method", imu.methods)
def test_every_method_runs_on_it(folder: str, name: str, method: str) -> None:
    task, model, retrained = made(folder, name)
    before = cases.frozen(model)
    rate = {"lr": 1e-3} if "lr" in {field.name for field in fields(imu.methods[method])} else {}
    run = imu.unlearn(task, model, method=method, steps=2, reference=retrained, **rate)
    assert cases.same(before, model) and run.events["diverged_at"] is None
    assert np.isfinite(run.curve["value"]).all() and len(run.samples) == len(task.split("forget"))
    assert set(run.curve["split"]) == {"forget", "retain", "test", "test-forget"}
    after = run.model.state_dict()
    assert any(not torch.equal(value, after[key]) for key, value in model.state_dict().items())


def test_the_requests_are_what_they_say(folder: str) -> None:
    for name, (forget, classes) in {
        "a superclass, small-vit": (20, ("cat", "cow", "dog", "ox")),
        "a subclass, resnet-20": (10, ("cattle", "pet")),
        "a class of two levels, small-cnn": (20, ("cattle", "pet")),
    }.items():
        task = Classification(folder, recipe=RECIPE, **REQUESTS[name])
        assert (
            task.classes == classes
            and len(task.split("forget")) == forget
            and len(task.split("test-forget")) == forget * 4 // 10
        )
        assert f"to forget: {forget} of 40 training samples" in task.about
