"""Networks for people: what they give, how the cached task asks them, and weights that cannot be downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from imu_lab.tasks.networks import images, people


@pytest.mark.parametrize("name, size, width", [("person-cnn", (64, 32), 64), ("person-resnet-50", (64, 32), 512)])
def test_embeddings_and_logits_in_one_pass(name: str, size: tuple[int, int], width: int) -> None:
    model = images.build(name, 5, 3).eval()
    pictures = torch.randn(2, 3, *size)
    with torch.no_grad():
        embeddings, logits = people.embed(model, pictures)
        assert embeddings.shape == (2, width) and logits.shape == (2, 5)
        assert torch.equal(logits, model(pictures))
        cached, same = people.embed(model.classifier, embeddings)
    assert cached is embeddings and torch.equal(same, logits)


@pytest.mark.parametrize("name", ["person-cnn", "person-resnet-50"])
def test_the_last_block_is_there_and_convolutional(name: str) -> None:
    model = images.build(name, 5, 3)
    block = model.get_submodule(model.last_block)
    assert any(isinstance(module, nn.Conv2d) for module in block.modules())


def test_the_small_network_is_small() -> None:
    size = sum(value.numel() for value in images.build("person-cnn", 24, 3).parameters())
    assert size < 100_000


@pytest.fixture
def asked_afresh() -> Iterator[None]:
    """The library has not asked for weights yet, and forgets the answers of this test."""
    people.imagenet_weights.cache_clear()
    yield
    people.imagenet_weights.cache_clear()


@pytest.mark.usefixtures("asked_afresh")
def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet50_Weights

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", offline)
    with pytest.warns(UserWarning, match="no route to host.*random weights.*pretrained=False"):
        assert people.imagenet_weights() is None
    assert people.imagenet_weights() is None  # and the warning comes once


@pytest.mark.usefixtures("asked_afresh")
def test_weights_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet50_Weights, resnet50

    state = resnet50(weights=None).state_dict()
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda *_, **__: state)
    model = images.build("person-resnet-50", 5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.backbone.load_state_dict(people.imagenet_weights())
    assert torch.equal(model.backbone.layer4[0].conv2.weight, state["layer4.0.conv2.weight"])
