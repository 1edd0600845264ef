"""Which layers there are, what they hold, and linear CKA by its formula and its invariances."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import sequences
import torch

import imu_lab as imu
from imu_lab.measures.layers import cka, gram, layer_features, layers


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
