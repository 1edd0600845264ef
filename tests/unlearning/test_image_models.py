"""The networks that papers use on pictures, and what a run says of them: it is what the model itself says, one by one.

The contracts hold every method on a ResNet-20; here every method that may move the whole of it does, and a few methods of
each kind go through the others.
"""

from __future__ import annotations

import copy
from dataclasses import fields
from functools import cache
from pathlib import Path

import cases
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.tasks.protocol import Task

RESNET = "resnet-20"
WHOLE = [name for name, kind in imu.methods.items() if "scope" in {field.name for field in fields(kind)}]
OTHERS = {
    "resnet-18": ("imu",),
    "small-vit": ("imu", "eu-k", "bad-teacher", "rmu", "boundary-shrink"),
    "vgg-16-bn": ("fine-tune",),
    "hugging-face": ("imu", "delete", "eu-k"),
}


def hugging_face() -> Task:
    """A vision transformer made of a small configuration, with dropout; it answers with an object that holds logits."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    told = ViTConfig(**sizes, image_size=8, patch_size=4, num_labels=3, hidden_dropout_prob=0.1)
    folder = cases.pictures("small-vit").labelled
    (train, test), names = (side.batch()[:2] for side in (folder.train, folder.test)), folder.classes
    torch.manual_seed(0)
    model = ViTForImageClassification(told).eval()
    return imu.tasks.Classification.from_data(model, train, test, classes=names, forget_class="dog")


@cache
def given(name: str) -> tuple[Task, nn.Module, nn.Module]:
    """The task, its original and its retrained model."""
    made = {"hugging-face": hugging_face, "vgg-16-bn": lambda: cases.pictures("vgg-16-bn", 32)}
    task = made[name]() if name in made else cases.pictures(name)
    return task, imu.train(task), imu.train(task, "retain")


def logits(model: nn.Module, inputs: object) -> Tensor:
    """(n, K), whatever the model puts around them."""
    found = model(inputs)
    return getattr(found, "logits", found)


def one_by_one(task: Task, model: nn.Module, split: str) -> tuple[float, float]:
    """Mean loss and accuracy of a split, each picture put through a copy of the model by itself."""
    examples, model = task.split(split), copy.deepcopy(model).eval()
    with torch.no_grad():
        each = [examples.batch(slice(k, k + 1)) for k in range(len(examples))]
        made = torch.cat([logits(model, batch.inputs) for batch in each])
    truth = torch.cat([batch.targets for batch in each])
    return nn.functional.cross_entropy(made, truth).item(), (made.argmax(1) == truth).double().mean().item()


def check(name: str, method: str, path: Path, **settings: object) -> None:
    """What a run leaves alone, and that all it tells before and after is what the models say."""
    task, model, retrained = given(name)
    before = cases.frozen(model)
    rate = {"lr": 0.01} if "lr" in {field.name for field in fields(imu.methods[method])} else {}
    run = imu.unlearn(task, model, method=method, steps=2, reference=retrained, **rate, **settings)
    assert cases.same(before, model)
    after, last = run.model, run.events["steps"]
    assert not any(module.training for module in after.modules())
    moved = {key for key, value in after.state_dict().items() if not torch.equal(value, before["state"][key])}
    buffers = {key for key, _ in model.named_buffers()}
    assert moved and not moved & buffers, "in eval mode no running mean moves"
    for step, each in ((0, model), (last, after)):
        for split in ("forget", "retain", "test", "test-forget"):
            loss, accuracy = one_by_one(task, each, split)
            assert run.value(split, "accuracy", step) == pytest.approx(accuracy)
            if split == "forget":
                assert run.value(split, "loss", step) == pytest.approx(loss, rel=1e-4, abs=1e-5)
    assert run.retrained_values["retain"]["accuracy"] == pytest.approx(one_by_one(task, retrained, "retain")[1])
    first, end = run.model_at(0).state_dict(), imu.load_run(run.save(path / "run.imu"), task=task).model.state_dict()
    assert all(torch.equal(value, before["state"][key]) for key, value in first.items())
    assert all(torch.equal(value, end[key]) for key, value in after.state_dict().items())


@pytest.mark.full
@pytest.mark.parametrize("method", WHOLE)
def test_the_whole_of_a_resnet_moves_and_is_told_of(method: str, tmp_path: Path) -> None:
    check(RESNET, method, tmp_path, scope="all")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), [(name, method) for name, methods in OTHERS.items() for method in methods])
def test_other_networks_are_told_of_as_they_are(name: str, method: str, tmp_path: Path) -> None:
    check(name, method, tmp_path, **({"scope": "all"} if method in WHOLE else {}))
