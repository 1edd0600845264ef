"""The networks that tasks can make by name: small ones for teaching, those that papers use on 32x32 images, torchvision's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...core.messages import reason, unknown
from ...core.running import evaluating

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
        raise unknown("architecture", name, list(dict.fromkeys([*ARCHITECTURES, *known])))


def check_takes(model: nn.Module, name: str, picture: Tensor) -> None:
    """Make sure that a network takes pictures like this one, before anything is trained.

    Args:
        model: the network of this ``name``.
        picture: (1, channels, h, w).

    Raises:
        ValueError: it does not, which torch tells in the middle of a training and in words of its own.
    """
    try:
        with torch.no_grad(), evaluating(model):
            model(picture)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        channels, height, width = picture.shape[1:]
        raise ValueError(
            f"the architecture {name!r} cannot take pictures of {width} x {height} pixels in {channels} channel(s): "
            f"{reason(error)}; choose another architecture=, or for a folder another image_size="
        ) from error


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


@architecture("resnet-18")
def resnet_18(classes: int, channels: int) -> nn.Module:
    """ResNet-18 for 32x32 images: 11 M parameters, readout with 512 inputs.

    torchvision's, whose first convolution is 3x3 at stride 1 without the pooling after it, as papers on CIFAR have it;
    ``"resnet18"`` is torchvision's own, for larger pictures.
    """
    from torchvision.models import resnet18

    model = resnet18(num_classes=classes)
    model.conv1, model.maxpool = nn.Conv2d(channels, 64, 3, 1, 1, bias=False), nn.Identity()
    _initialised(model.conv1)
    return model


@architecture("vgg-16-bn")
def vgg_16_bn(classes: int, channels: int) -> nn.Module:
    """VGG-16 with BatchNorm for 32x32 images (Simonyan & Zisserman 2015): 15 M parameters, readout with 512 inputs.

    One linear layer reads the pooled features, as papers on CIFAR have it; ``"vgg16_bn"`` is torchvision's own, with three.
    """
    from torchvision.models import vgg

    features = vgg.make_layers(vgg.cfgs["D"], batch_norm=True)
    features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    _initialised(features)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


@architecture("googlenet")
def googlenet(classes: int, channels: int) -> nn.Module:
    """torchvision's, without the two classifiers beside it: in training it would answer three times."""
    return _answering_once("googlenet", classes)


@architecture("inception_v3")
def inception_v3(classes: int, channels: int) -> nn.Module:
    """torchvision's, without the classifier beside it, for pictures of 75x75 or more."""
    return _answering_once("inception_v3", classes)


def _answering_once(name: str, classes: int) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=classes, aux_logits=False, init_weights=True)


def _initialised(model: nn.Module) -> None:
    """He initialisation of every convolution, as torchvision has it."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class VisionTransformer(nn.Module):
    """Patches, their places as sines and cosines, a few layers of attention, and the mean of what they end as.

    Source: Beyer et al. 2022, "Better plain ViT baselines" (arXiv 2205.01580).
    """

    def __init__(self, classes: int, channels: int, width: int = 64, layers: int = 4, patch: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        each = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(each, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to (n, classes)."""
        seen = self.patches(x)  # (n, width, h / patch, w / patch)
        seen = (seen + places(*seen.shape[1:]).to(seen)).flatten(2).mT
        return self.head(self.layers(seen).mean(1))


def places(width: int, height: int, across: int) -> Tensor:
    """(width, height, across) a quarter of the channels each for the sines and cosines of a patch's row and column."""
    rates = 1e4 ** (-torch.arange(width // 4) / (width // 4 - 1))
    rows, columns = (torch.outer(rates, torch.arange(count)) for count in (height, across))  # (width / 4, count)
    rows, columns = rows[:, :, None].expand(-1, -1, across), columns[:, None, :].expand(-1, height, -1)
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()])


@architecture("small-vit")
def small_vit(classes: int, channels: int) -> nn.Module:
    """A vision transformer for pictures of any size from 4x4: 0.14 M parameters, readout with 64 inputs."""
    return VisionTransformer(classes, channels)
