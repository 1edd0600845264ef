"""The kinds of networks that papers use on pictures, so small that every method and every audit runs on each in a moment.

A ResNet-18 and a VGG-16-BN are those of the library, and torchvision's has dropout and three linear layers, with a sixteenth
of their channels: layers, their names and ``forward`` stay. Add a network to ``KINDS``, and every method has to hold the
contract on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import cases
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import seeded
from imu_lab.tasks.networks.images import build
from imu_lab.tasks.protocol import Task

KINDS: dict[str, Callable[[], Task]] = {
    "small-cnn": lambda: cases.pictures("small-cnn"),
    "resnet-20": lambda: cases.pictures("resnet-20"),
    "resnet-18": lambda: own(thinned("resnet-18")),
    "vgg-16-bn": lambda: own(thinned("vgg-16-bn"), 32),
    "small-vit": lambda: cases.pictures("small-vit"),
    "torchvision": lambda: own(thinned("vgg11_bn"), 32),
    "transformer of Hugging Face": lambda: own(of_hugging_face("ViT")),
    "ResNet of Hugging Face": lambda: own(of_hugging_face("ResNet")),
}


@cache
def given(name: str) -> tuple[Task, nn.Module, nn.Module]:
    """The task, its original and its retrained model."""
    task = KINDS[name]()
    return task, imu.train(task), imu.train(task, "retain")


def thinned(name: str, by: int = 16, classes: int = 3, channels: int = 3) -> nn.Module:
    """A network by its name with a part of its channels."""

    def fewer(count: int) -> int:
        return count if count in (classes, channels) else count // by

    with seeded(0):
        model = build(name, classes, channels)
        for path, each in list(model.named_modules()):
            parent, _, child = path.rpartition(".")
            if isinstance(each, nn.Conv2d):
                shape = (each.kernel_size, each.stride, each.padding)
                thin = nn.Conv2d(fewer(each.in_channels), fewer(each.out_channels), *shape, bias=each.bias is not None)
            elif isinstance(each, nn.BatchNorm2d):
                thin = nn.BatchNorm2d(fewer(each.num_features))
            elif isinstance(each, nn.Linear):
                thin = nn.Linear(fewer(each.in_features), fewer(each.out_features))
            else:
                continue
            setattr(model.get_submodule(parent), child, thin)
    return model


def of_hugging_face(kind: str) -> nn.Module:
    """A classifier of transformers made of a small configuration; it answers with an object that holds logits."""
    import transformers

    settings: dict[str, Any] = {
        "ViT": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        | {"image_size": 8, "patch_size": 4, "hidden_dropout_prob": 0.1},
        "ResNet": {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(**settings, num_labels=3)
    with seeded(0):
        return getattr(transformers, f"{kind}ForImageClassification")(config)


def own(model: nn.Module, size: int = 8, **request: Any) -> Task:
    """A task around a model and pictures of three classes; running means are those of the pictures."""
    folder = cases.pictures("small-vit", size).labelled
    train, test = (side.batch()[:2] for side in (folder.train, folder.test))
    with torch.no_grad(), seeded(0):
        for _ in range(5):
            model.train()(train[0])
    asked = {"forget_class": "dog", "recipe": imu.tasks.Recipe(epochs=2, lr=0.01, batch_size=6)} | request
    return imu.tasks.Classification.from_data(model.eval(), train, test, classes=folder.classes, **asked)


def logits(model: nn.Module, inputs: Any) -> Tensor:
    """(n, K), whatever the model puts around them."""
    found = model(inputs)
    return getattr(found, "logits", found)
