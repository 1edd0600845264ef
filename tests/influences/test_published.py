"""The public code's influence: equal to ours with every switch off, and what each switch does, from explicit gradients."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.features.gradients import explicit


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["own data", "sequence", "person"])
def test_off_it_is_fisher_diagonal(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    for how in ({}, {"damping": 0.1, "relative": True}):
        assert np.array_equal(
            imu.influence(task, model, "published", **how).values, imu.influence(task, model, **how).values
        )


def test_the_first_sample_is_overwritten_by_the_mean_and_always_pressed() -> None:
    """A1: what was the first sample's gradient is the mean gradient when its influence is taken."""
    task, model = cases.in_double("digits fraction")
    rows = explicit(task, model, task.split("forget"))
    fisher = rows.square().mean(0) + 0.01
    rows[0] = rows.mean(0)
    expected = -rows @ (rows[0] / fisher)
    found = imu.influence(task, model, "published", aliased=True).values
    assert cases.close(found, expected) and found[0] < 0
    plain = imu.influence(task, model).values
    assert np.array_equal(found[1:], plain[1:]) and cases.relative(found[:1], plain[:1]) > 1e-3


@pytest.mark.full
def test_damping_as_a_floor() -> None:
    task, model = cases.in_double("digits fraction")
    rows = explicit(task, model, task.split("forget"))
    expected = -rows @ (rows.mean(0) / rows.square().mean(0).clamp_min(1e-4))
    assert cases.close(imu.influence(task, model, "published", floor=True, damping=1e-4).values, expected)


def test_its_damping_outweighs_the_fisher_of_a_fitted_model() -> None:
    """A4: with λ = 0.01 the inverse Fisher does nothing, and a relative damping brings it back."""
    task, model = cases.task("digits class"), cases.original("digits class")
    dot = imu.influence(task, model, "gradient-dot").values
    asked = {"absolute": {}, "relative": {"relative": True, "damping": 1e-2}}
    found = {name: imu.influence(task, model, "published", **how).values for name, how in asked.items()}
    apart = {name: 1 - np.corrcoef(values, dot)[0, 1] for name, values in found.items()}
    assert apart["absolute"] < 5e-3 and apart["relative"] > 5 * apart["absolute"]


def test_one_random_crop_is_another_influence() -> None:
    """A2: each run of the public code draws other crops, and so other influences."""
    task, model = cases.task("own data"), cases.original("own data")
    seen = [imu.tasks.Augmented(task, lambda x: torch.roll(x, int(torch.randint(3, ())), -1), seed) for seed in (0, 1)]
    drawn = [imu.influence(each, model, "published").values for each in seen]
    assert cases.relative(drawn[0], drawn[1]) > 1e-3
    assert np.array_equal(drawn[0], imu.influence(seen[0], model, "published").values)
