"""Networks for people: what they give, how the cached task asks them, and weights that cannot be downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
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


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_a_users_own_weights_by_path(name: str, prefix: str, tmp_path: Path) -> None:
    source, other = (images.build("person-cnn", 4, 3).backbone for _ in "ab")
    state = {prefix + key: value for key, value in source.state_dict().items()} | {
        f"{prefix}fc.weight": torch.ones(3, 2)
    }
    file = tmp_path / name
    save_file(state, file) if name.endswith("safetensors") else torch.save({"state_dict": state, "epoch": 3}, file)
    found = people.weights_of(file, other)
    assert found.keys() == source.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in source.state_dict().items())


def test_weights_that_do_not_fit_are_refused_in_words(tmp_path: Path) -> None:
    backbone = images.build("person-cnn", 4, 3).backbone
    with pytest.raises(FileNotFoundError, match="no file .*none.pth with pretrained weights"):
        people.weights_of(tmp_path / "none.pth", backbone)
    state = dict(backbone.state_dict())
    torch.save(state, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:-4000])
    with pytest.raises(ValueError, match="cut.pth holds no weights that can be read .*cut off"):
        people.weights_of(tmp_path / "cut.pth", backbone)
    torch.save(backbone, tmp_path / "whole.pth")  # a pickled module, which is never run
    with pytest.raises(ValueError, match="whole.pth holds no weights that can be read"):
        people.weights_of(tmp_path / "whole.pth", backbone)
    first = next(iter(state))
    for change, said in (
        ({first: None}, f"1 are missing, such as {first}"),
        ({"conv9.weight": torch.ones(1)}, "1 are unknown, such as conv9.weight"),
        ({first: torch.ones(2)}, f"1 have another shape, such as {first}"),
    ):
        torch.save(
            {key: value for key, value in {**state, **change}.items() if value is not None}, tmp_path / "odd.pth"
        )
        with pytest.raises(ValueError, match=f"not those of this Sequential.*{said}"):
            people.weights_of(tmp_path / "odd.pth", backbone)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="are missing"):
        people.weights_of(tmp_path / "list.pth", backbone)
