"""Networks by name, ours and torchvision's."""

from __future__ import annotations

import pytest
import torch

from imu_lab.core.messages import UnknownName
from imu_lab.tasks.networks import images


@pytest.mark.parametrize(
    ("name", "channels", "size", "width"), [("small-cnn", 1, 8, 64), ("small-cnn", 3, 20, 64), ("resnet-20", 3, 32, 64)]
)
def test_our_networks_map_images_to_classes(name: str, channels: int, size: int, width: int) -> None:
    model = images.build(name, 5, channels).eval()
    assert model(torch.randn(2, channels, size, size)).shape == (2, 5)
    assert model[-1].in_features == width


def test_resnet_20_has_the_size_it_is_known_for() -> None:
    count = sum(value.numel() for value in images.build("resnet-20", 10, 3).parameters())
    assert 0.26e6 < count < 0.29e6


def test_a_torchvision_classifier_by_its_name() -> None:
    model = images.build("squeezenet1_1", 7, 3).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 7)


def test_an_unknown_network_names_the_near_one() -> None:
    with pytest.raises(UnknownName, match="unknown architecture: 'small_cnn'. Did you mean 'small-cnn'.*resnet18"):
        images.build("small_cnn", 10, 1)


def test_a_new_network_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "ARCHITECTURES", dict(images.ARCHITECTURES))

    @images.architecture("flat")
    def flat(classes: int, channels: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 4, classes))

    assert images.build("flat", 3, 2)(torch.zeros(1, 2, 2, 2)).shape == (1, 3)
