"""Which layers there are, what they hold, and linear CKA by its formula and its invariances."""

from __future__ import annotations

from collections.abc import Callable

import cases
import networks
import numpy as np
import pytest
import sequences
import torch
from torch import Tensor, nn
from torchvision import models

import imu_lab as imu
from imu_lab.measures.layers import channel_axis, cka, gram, layer_features, layers
from imu_lab.tasks.protocol import Task


def by_formula(x: np.ndarray, y: np.ndarray) -> float:
    """‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of centred features."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features that are somewhat alike."""
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 6)) + 3
    return x, x[:, :4] @ random.normal(size=(4, 5)) + random.normal(size=(40, 5))


def test_cka_is_its_formula(features: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = features
    assert cka(gram(x), gram(y)) == pytest.approx(by_formula(x, y), abs=1e-12) and 0.1 < by_formula(x, y) < 0.95
    assert cka(gram(x), gram(x)) == pytest.approx(1, abs=1e-12)
    assert np.isnan(cka(gram(x), gram(np.ones((40, 3)))))


def test_no_rotation_scale_shift_or_order_changes_cka(features: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = features
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    order = np.random.default_rng(2).permutation(40)
    known = cka(gram(x), gram(y))
    for other in (x @ turn, 7 * x, x + 100):
        assert cka(gram(other), gram(y)) == pytest.approx(known, abs=1e-9)
    assert cka(gram(x[order]), gram(y[order])) == pytest.approx(known, abs=1e-12)
    assert abs(cka(gram(x[order]), gram(y)) - known) > 0.05, "other samples side by side are another number"
    assert abs(cka(gram(x * [9, 1, 1, 1, 1, 1]), gram(y)) - known) > 0.01, "a scale of one feature is no scale of all"


def test_counts_are_samples_that_stand_there_several_times(features: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = features
    counts = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40))
    again = np.repeat(np.arange(40), counts)
    assert cka(gram(x), gram(y), counts) == pytest.approx(by_formula(x[again], y[again]), abs=1e-12)


@pytest.mark.full
def test_layers_go_from_weights_to_weights() -> None:
    digit = cases.task("digits class")
    assert layers(digit, cases.original("digits class")) == {"0": "2", "3": "7", "8": "9", "10": "10"}
    person = layers(cases.task("person"), cases.original("person"))
    assert list(person) == [
        "backbone.block1",
        "backbone.block2",
        "backbone.block3",
        "backbone.block4",
        "embedding",
        "classifier",
    ]
    words = layers(sequences.tiny(), sequences.models()[0])
    assert list(words)[-1] == "head" and "tokens" in words and "places" not in words


def test_what_layers_hold() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    examples = task.split("test-forget")
    found = layer_features(task, model, examples, layers(task, model))
    inputs = examples.batch().inputs
    with torch.no_grad():
        assert cases.close(found["10"], model(inputs), 1e-5)
        assert cases.close(found["8"], model[:10](inputs), 1e-5)
        assert cases.close(found["0"], model[:3](inputs).mean((2, 3)), 1e-5)
    assert {name: values.shape for name, values in found.items()} == {
        "0": (37, 16), "3": (37, 512), "8": (37, 64), "10": (37, 10),
    }  # fmt: skip


def test_deep_networks_show_eight_layers_with_the_last() -> None:
    model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()) for _ in range(20)))
    model.append(torch.nn.Linear(4, 2))
    inputs, targets = torch.randn(12, 4), torch.arange(12) % 2
    task = imu.tasks.Classification.from_data(model, (inputs, targets), (inputs + 1, targets), forget_indices=[0])
    found = layers(task, model)
    assert len(found) == 8 and list(found)[0] == "0" and list(found)[-1] == "20"


class Shared(torch.nn.Module):
    """Layers that all go through one activation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (torch.nn.Linear(4, 4) for _ in range(4))
        self.act, self.e = torch.nn.ReLU(), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in (self.a, self.b, self.c, self.d):
            x = self.act(layer(x))
        return self.e(x)


def test_an_activation_that_all_share_ends_the_layer_that_it_ended_first() -> None:
    torch.manual_seed(0)
    model, inputs, targets = Shared(), torch.randn(12, 4), torch.arange(12) % 2
    task = imu.tasks.Classification.from_data(model, (inputs, targets), (inputs + 1, targets), forget_indices=[0])
    found = layer_features(task, model, task.split("train"), layers(task, model))
    with torch.no_grad():
        assert cases.close(found["a"], model.act(model.a(inputs)), 1e-5)


def test_layers_of_padded_examples_are_refused() -> None:
    task, model = cases.task("language"), cases.original("language")
    with pytest.raises(ValueError, match="padded, and a mean over positions would tell their lengths"):
        layer_features(task, model, task.split("forget"), layers(task, model))


def pictures_through(model: nn.Module, size: int) -> tuple[Task, nn.Module, dict[str, Tensor]]:
    """A task, its model, and what each module of the model makes of the forget set the last time that it is called."""
    task = networks.own(model, size)
    model, seen = imu.train(task), {}

    def note(name: str) -> Callable[..., None]:
        return lambda _, __, made: seen.update({name: made}) if isinstance(made, Tensor) else None

    hooks = [each.register_forward_hook(note(name)) for name, each in model.named_modules()]
    with torch.no_grad():
        inputs = task.split("forget").batch().inputs
        model(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    for hook in hooks:
        hook.remove()
    return task, model, seen


@pytest.mark.full
def test_the_mean_is_over_places_and_not_over_features_wherever_they_stand() -> None:
    """In the second axis of convolutions and in the last of attention, whether that looks at tokens or at pictures."""
    swin = models.SwinTransformer([2, 2], 6, [1, 1], [1, 2], [2, 2], num_classes=3)
    task, model, seen = pictures_through(swin, 16)
    found = layer_features(task, model, task.split("forget"), layers(task, model))
    assert seen["features.1"].shape == (6, 8, 8, 6) and seen["features.2"].shape == (6, 4, 4, 12)
    assert cases.close(found["features.1"], seen["features.1"].mean((1, 2)), 1e-5)
    assert cases.close(found["features.2"], seen["features.2"].mean((1, 2)), 1e-5)
    blocks = [models.convnext.CNBlockConfig(8, 12, 1), models.convnext.CNBlockConfig(12, None, 1)]
    task, model, seen = pictures_through(models.ConvNeXt(blocks, num_classes=3), 16)
    found = layer_features(task, model, task.split("forget"), layers(task, model))
    assert seen["features.1"].shape == (6, 8, 4, 4)
    assert cases.close(found["features.1"], seen["features.1"].mean((2, 3)), 1e-5)


@pytest.mark.full
def test_a_layer_that_is_called_on_windows_first_ends_where_it_gives_rows_of_examples() -> None:
    from transformers import SwinConfig, SwinForImageClassification

    sizes = {"image_size": 16, "patch_size": 2, "embed_dim": 6, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2}
    task, model, seen = pictures_through(SwinForImageClassification(SwinConfig(**sizes, num_labels=3)), 16)
    wanted = layers(task, model)
    found = layer_features(task, model, task.split("forget"), wanted)
    assert seen["swin.pooler"].shape == (6, 12, 1) and "swin.pooler" in wanted.values()
    for name, end in wanted.items():
        if end == "swin.pooler":
            assert cases.close(found[name], seen[end][..., 0], 1e-5)
        elif seen[end].ndim == 3:
            assert found[name].shape[1] == seen[end].shape[2] in (6, 12), (name, end)


def test_which_axis_holds_the_features() -> None:
    conv, wide, linear, norm = nn.Conv2d(3, 8, 3), nn.Conv1d(3, 8, 3), nn.Linear(4, 8), nn.LayerNorm(8)
    assert channel_axis((5, 8, 6, 6)) == 1 and channel_axis((5, 9, 8)) == 2 and channel_axis((5, 8)) == 1
    assert channel_axis((5, 8, 6, 6), (conv, 4)) == 1 and channel_axis((5, 16, 8, 8), (conv, 4)) == 1, "joined blocks"
    assert channel_axis((5, 8, 7), (wide, 3)) == 1 and channel_axis((5, 36, 8), (conv, 4)) == 2, "pictures to tokens"
    assert channel_axis((5, 6, 6, 8), (linear, 4)) == 3 and channel_axis((5, 8, 6, 6), (linear, 4)) == 1
    assert channel_axis((5, 8, 1), (norm, 3)) == 1 and channel_axis((5, 9, 8), (norm, 3)) == 2
    assert channel_axis((5, 9, 8), (nn.Embedding(7, 8), 3)) == 2
