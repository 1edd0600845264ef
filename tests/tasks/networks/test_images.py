"""Networks by name, ours and torchvision's."""

from __future__ import annotations

import math

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.core.messages import UnknownName
from imu_lab.features import readout
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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vgg-16-bn", "512x1x1"),  # its fifth pooling has nothing left to pool
        pytest.param("vit_b_16", "Wrong image height! Expected 224 but got 8!", marks=pytest.mark.full),
        ("resnet18", "to have 3 channels, but got 1 channels"),
    ],
)
def test_pictures_that_a_network_cannot_take_are_refused_before_training(name: str, said: str) -> None:
    task = imu.tasks.Classification("digits", forget_class=3, architecture=name)
    with pytest.raises(ValueError, match=f"'{name}' cannot take pictures of 8 x 8 pixels in 1 channel.*{said}.*choose"):
        imu.train(task)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("googlenet", 32), ("inception_v3", 75)])
def test_a_network_with_classifiers_beside_it_answers_once_in_training_too(name: str, size: int) -> None:
    model, pictures = images.build(name, 3, 3), torch.randn(2, 3, size, size)
    assert model.training and model(pictures).shape == (2, 3)
    assert not any("aux" in key.lower() for key in model.state_dict())


def test_an_unknown_network_names_the_near_one() -> None:
    with pytest.raises(UnknownName, match="unknown architecture: 'small_cnn'. Did you mean 'small-cnn'.*resnet18"):
        images.build("small_cnn", 10, 1)


def test_a_new_network_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "ARCHITECTURES", dict(images.ARCHITECTURES))

    @images.architecture("flat")
    def flat(classes: int, channels: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 4, classes))

    assert images.build("flat", 3, 2)(torch.zeros(1, 2, 2, 2)).shape == (1, 3)


@pytest.mark.parametrize(("name", "millions"), [("resnet-18", 11.17), ("vgg-16-bn", 14.73), ("small-vit", 0.138)])
def test_those_of_papers_have_the_sizes_they_are_known_for(name: str, millions: float) -> None:
    count = sum(value.numel() for value in images.build(name, 10, 3).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_place_of_a_patch_by_hand() -> None:
    made = images.places(8, 2, 3)  # two rates: 1 and 1e-4
    assert made.shape == (8, 2, 3)
    expected = [
        f(rate * at) for at, fs in ((1, "row"), (2, "column")) for f in (math.sin, math.cos) for rate in (1, 1e-4)
    ]
    assert cases.close(made[:, 1, 2], expected, within=1e-6)
    assert images.places(64, 1, 1).isfinite().all()


def test_a_transformer_sees_where_a_patch_is() -> None:
    torch.manual_seed(0)
    model, picture = images.build("small-vit", 3, 1).eval(), torch.randn(1, 1, 8, 8)
    moved = picture.roll(4, -1)  # the same patches, elsewhere
    with torch.no_grad():
        assert cases.relative(model(picture), model(moved)) > 1e-4


BY_NAME = {"small-cnn": 8, "resnet-20": 8, "resnet-18": 8, "vgg-16-bn": 32, "small-vit": 8, "mobilenet_v3_small": 32}  # fmt: skip


@pytest.mark.few(1)
@pytest.mark.parametrize("name", BY_NAME)
def test_each_trains_and_has_a_readout_an_influence_and_an_unlearning(name: str) -> None:
    size, chance = BY_NAME[name], torch.Generator().manual_seed(0)
    pictures, labels = torch.randn(18, 3, size, size, generator=chance), torch.arange(18) % 3
    torch.manual_seed(0)
    given = images.build(name, 3, 3)
    recipe = imu.tasks.Recipe(epochs=1, lr=0.01, batch_size=6)
    data = (pictures[:12], labels[:12]), (pictures[12:], labels[12:])
    task = imu.tasks.Classification.from_data(given.eval(), *data, forget_indices=[0, 1, 2], recipe=recipe)
    model, fresh = imu.train(task, "retain"), task.make_model(0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert any(not torch.equal(value, fresh.state_dict()[key]) for key, value in before.items() if "weight" in key)
    (last,) = readout.resolve(task, model)
    layer = model.get_submodule(last)
    assert isinstance(layer, torch.nn.Linear) and layer.out_features == 3 and readout.examine(task, model).linear
    scores = imu.influence(task, model)
    with torch.no_grad():
        reached = readout.capture(model, last, pictures[:3])[0]
        slopes = torch.cat([(model(pictures[:3]).softmax(1) - torch.eye(3)[labels[:3]])], 1)
    rows = slopes[:, :, None] * torch.cat([reached, torch.ones(3, 1)], 1)[:, None]
    fisher, mean = rows.square().mean(0) + 0.01, rows.mean(0)
    assert cases.close(scores.values, -(rows * mean / fisher).sum((1, 2)), within=1e-3)
    run = imu.unlearn(task, model, imu.intensity(scores), steps=3, lr=0.01)
    assert run.terms.query("term == 'ascent'")["value"].is_monotonic_decreasing
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    moved = {key for key, value in run.model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {f"{last}.weight", f"{last}.bias"}
