"""The networks that tasks can make by name: a small one for teaching, a residual one for 32x32 images, torchvision's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...core.messages import unknown

ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {}


def architecture(name: str) -> Callable:
    """Make ``function(classes, channels) -> nn.Module`` known to tasks under ``name``."""

    def keep(function: Callable[[int, int], nn.Module]) -> Callable[[int, int], nn.Module]:
        ARCHITECTURES[name] = function
        return function

    return keep


def check(name: str) -> None:
    """Make sure that a network of this name can be made.

    Raises:
        UnknownName: neither we nor torchvision know it.
    """
    if name not in ARCHITECTURES and name not in (known := _of_torchvision()):
        raise unknown("architecture", name, [*ARCHITECTURES, *known])


def _of_torchvision() -> list[str]:
    import torchvision  # half a second to import, and digits never need it

    return torchvision.models.list_models(module=torchvision.models)


def build(name: str, classes: int, channels: int) -> nn.Module:
    """A fresh network with ``classes`` outputs: one of ours, or any classifier of torchvision by its name there.

    Raises:
        UnknownName: neither we nor torchvision know it.
    """
    check(name)
    if name in ARCHITECTURES:
        return ARCHITECTURES[name](classes, channels)
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=classes)


@architecture("small-cnn")
def small_cnn(classes: int, channels: int) -> nn.Module:
    """Two convolutions and a hidden layer of 64: learns 8x8 digits in seconds. Readout: the last layer, 64 inputs."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 16, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, the CIFAR variant with a 1x1 projection)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        same = stride == 1 and width_in == width
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, width_in, h, w) to (n, width, h/stride, w/stride)."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


@architecture("resnet-20")
def resnet_20(classes: int, channels: int) -> nn.Module:
    """ResNet-20 for 32x32 images (He et al. 2016): 0.27 M parameters, readout with 64 inputs."""
    widths = [
        (16, 16, 1),
        (16, 16, 1),
        (16, 16, 1),
        (16, 32, 2),
        (32, 32, 1),
        (32, 32, 1),
        (32, 64, 2),
        (64, 64, 1),
        (64, 64, 1),
    ]
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *(Residual(*shape) for shape in widths),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )
