"""Answers to the exercises of ``01_influence_by_hand``, worked out here as the lesson does it."""

from __future__ import annotations

import asked
import numpy as np
import pytest

import imu_lab as imu


def by_hand() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Influences, mean gradient and damped Fisher, from nothing but the model's outputs."""
    task = imu.tasks.Toy(forget_blob=0, per_class=40)
    model = imu.train(task, "train", seed=0)
    inputs, labels = task.split("forget").batch()
    features, logits = model[:2](inputs).detach().numpy(), model(inputs).detach().numpy()
    errors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[labels]
    gradients = errors[:, :, None] * np.c_[features, np.ones(40)][:, None, :]
    mean, fisher = gradients.mean(0), (gradients**2).mean(0) + 0.01
    return -(gradients * (mean / fisher)).sum((1, 2)), mean, fisher


def test_the_share_that_is_dropped() -> None:
    asked.right("01-1", (by_hand()[0] >= 0).mean(), 0)
    asked.wrong("01-1", 0.5, 1.0)
    asked.mistyped("01-1", ["0", 40, True, by_hand()[0]], "share of the 40 samples")


def test_the_mean_without_the_single_ones() -> None:
    _, mean, fisher = by_hand()
    found = -(mean * mean / fisher).sum()
    asked.right("01-2", found, round(float(found), 3))
    asked.wrong("01-2", -found, 0.0)
    assert "sign" in imu.check("01-2", -found).words
    asked.mistyped("01-2", ["minus", mean, float("nan")], "number")


@pytest.mark.slow
def test_the_share_whose_sign_differs() -> None:
    mixed = imu.tasks.Classification("digits", forget_fraction=0.1, seed=0)
    trained = imu.train(mixed, "train", seed=0)
    small, plain = imu.influence(mixed, trained, damping=1e-6), imu.influence(mixed, trained, "gradient-dot")
    share = (np.sign(plain.values) != np.sign(small.values)).mean()
    asked.right("01-3", share, small.opposed, round(float(share), 2))
    asked.wrong("01-3", 0.0, 1 - share)
    asked.mistyped("01-3", [100 * share, "a third", small], "share of the samples")
