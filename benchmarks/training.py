"""How many pictures a second a network is trained on, beside the loop that everybody writes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks.networks.images import resnet_20
from imu_lab.tasks.presets import preset
from imu_lab.tasks.protocol import Examples
from imu_lab.tasks.sources.pictures import Standardised
from imu_lab.tasks.training import Training

from .measure import Row, seconds

COUNT, UPDATES = 4_096, 4
MEAN, DEVIATION = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
RECIPE = preset("cifar10").recipe


def rows() -> Iterator[Row]:
    """The table's rows on training."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), np.uint8)
    labels = torch.arange(COUNT) % 10
    ours, plain, bare = (
        of_the_library(pixels, labels),
        plain_loop(pixels, labels),
        plain_loop(pixels, labels, bare=True),
    )
    mine, theirs, least = seconds(*(lambda each=each: made(each) for each in (ours, plain, bare)), rounds=5)
    what = "pictures a second, ResNet-20 on augmented 32x32 pictures, ours / "
    yield Row(f"{what}a data loader with the usual transforms, default layout", theirs / mine, 1.4, least=True)
    yield Row(f"{what}the same arithmetic in default layout, its data for nothing", least / mine, 1.2, least=True)


def made(updates: Iterator[object]) -> None:
    """Make a few updates more."""
    for _ in range(UPDATES):
        next(updates)


def of_the_library(pixels: np.ndarray, labels: torch.Tensor) -> Iterator[int]:
    """The updates of a training by the recipe of CIFAR-10."""
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    examples = Examples(torch.arange(COUNT), Standardised(pixels, labels, mean, deviation))
    task = imu.tasks.Classification("digits", forget_class=3)  # whose loss is the cross-entropy; nothing else is asked
    torch.manual_seed(0)
    return iter(Training(task, resnet_20(10, 3), examples, RECIPE, 0))


def plain_loop(pixels: np.ndarray, labels: torch.Tensor, bare: bool = False) -> Iterator[None]:
    """The updates of a loop over torchvision's transforms; ``bare`` uses one batch again and again."""
    from PIL import Image
    from torchvision import transforms

    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    ready = transforms.Compose([*steps, transforms.Normalize(MEAN, DEVIATION)])
    pairs = [(Image.fromarray(each), label) for each, label in zip(pixels, labels.tolist())]
    loader = torch.utils.data.DataLoader(
        pairs, RECIPE.batch_size, shuffle=True, collate_fn=lambda few: (torch.stack([ready(x) for x, _ in few]),
                                                                        torch.tensor([y for _, y in few]))
    )  # fmt: skip
    torch.manual_seed(0)
    model = resnet_20(10, 3).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, RECIPE.momentum, weight_decay=5e-4, nesterov=True)
    kept = [next(iter(loader))]
    while True:
        for images, truth in kept if bare else loader:
            loss = nn.functional.cross_entropy(model(images), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield
