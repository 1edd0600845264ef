"""Augmented forget samples: only they change, the same seed gives the same, and the task itself is left alone."""

from __future__ import annotations

from collections.abc import Callable

import cases
import pytest
import torch
from torchvision.transforms import v2

import imu_lab as imu

SHIFT = v2.RandomAffine(0, translate=(1 / 8, 1 / 8))


def augmented(transform: object = SHIFT, seed: int = 0, name: str = "digits class") -> imu.tasks.Augmented:
    """One of the cases, its forget samples transformed."""
    return imu.tasks.Augmented(cases.task(name), transform, seed)


@pytest.mark.parametrize("transform", [SHIFT, v2.GaussianNoise(0, 1.0, clip=False)], ids=["shift", "noise"])
def test_only_the_forget_samples_change(transform: object) -> None:
    clean, task = cases.task("digits class"), augmented(transform)
    before = {name: clean.split(name).batch().inputs.clone() for name in ("train", "forget", "retain", "test")}
    for name, inputs in before.items():
        examples, state = task.split(name), torch.random.get_rng_state()
        batch = examples.batch()
        moved = (batch.inputs != inputs).flatten(1).any(1)
        forgotten = torch.isin(examples.ids, clean.split("forget").ids) & (examples.source == "train")
        assert not moved[~forgotten].any() and (moved[forgotten].float().mean() > 0.5 or not forgotten.any())
        assert torch.equal(batch.targets, clean.split(name).batch().targets)
        assert torch.equal(examples.ids, clean.split(name).ids)
        assert torch.equal(examples.batch(torch.tensor([4, 1])).inputs, batch.inputs[[4, 1]])
        assert torch.equal(state, torch.random.get_rng_state())
        assert torch.equal(clean.split(name).batch().inputs, inputs), "the task itself is left alone"


def test_each_sample_has_a_draw_of_its_own_and_a_seed_gives_the_same_ones() -> None:
    one, same, other = (augmented(seed=seed).split("forget").batch().inputs for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    clean = cases.task("digits class").split("forget").batch().inputs
    kinds = {tuple(shift) for shift in (_shift(a, b) for a, b in zip(clean, one)) if shift is not None}
    assert len(kinds) >= 5, "of the nine shifts by up to a pixel"


def _shift(before: torch.Tensor, after: torch.Tensor) -> tuple[int, int] | None:
    """The whole-pixel shift that makes one picture of the other, zeros coming in."""
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = torch.zeros_like(before)
            moved[..., max(0, down) : 8 + min(0, down), max(0, right) : 8 + min(0, right)] = before[
                ..., max(0, -down) : 8 - max(0, down), max(0, -right) : 8 - max(0, right)
            ]
            if cases.relative(moved, after) <= 1e-5:
                return down, right
    return None


def test_equality_and_key_follow_the_content() -> None:
    assert augmented() == augmented(v2.RandomAffine(0, translate=(1 / 8, 1 / 8)))
    assert len({augmented(seed=seed).data_key for seed in (0, 0, 1)}) == 2
    assert augmented() != augmented(v2.RandomHorizontalFlip()) and "RandomAffine" in augmented().does


class Silent(torch.nn.Module):
    """Noise of some strength, or a fixed factor; it prints alike at every strength."""

    def __init__(self, strength: float, draws: bool) -> None:
        super().__init__()
        self.strength, self.draws = strength, draws

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.strength * torch.randn_like(x) if self.draws else x * self.strength


@pytest.mark.parametrize("make", [
    lambda strength: Silent(strength, True), lambda strength: Silent(strength, False),
    lambda strength: v2.Lambda(lambda x: x * strength),
], ids=["noise", "factor", "Lambda"])  # fmt: skip
def test_transforms_that_print_alike_are_told_apart_by_what_they_do(make: Callable) -> None:
    weak, same, strong = (augmented(make(strength)) for strength in (0.1, 0.1, 3.0))
    assert weak.does == strong.does and weak == same and hash(weak) == hash(same) and weak.data_key == same.data_key
    assert weak != strong and weak.data_key != strong.data_key
    model = cases.original("digits class")
    imu.influence(weak, model)
    found = [imu.influence(strong, model, cache=cache).values for cache in (True, False)]
    assert cases.close(found[0], found[1], within=1e-3)


def test_what_is_drawn_stays_when_the_transform_is_edited() -> None:
    transform = Silent(0.1, False)
    task = augmented(transform)
    transform.strength = 3.0
    assert task == augmented(Silent(0.1, False)) != augmented(transform)
    clean = cases.task("digits class").split("forget").batch().inputs
    assert cases.close(task.split("forget").batch().inputs, 0.1 * clean, within=1e-6)


def test_cached_and_full_influence_are_the_same_and_differ_from_the_clean_one() -> None:
    model = cases.original("digits class")
    found = [imu.influence(augmented(), model, cache=cache).values for cache in (True, False)]
    assert cases.close(found[0], found[1], within=1e-3)
    assert abs(found[0] - imu.influence(cases.task("digits class"), model).values).max() > 1e-3


def test_what_cannot_be_augmented_is_refused() -> None:
    with pytest.raises(TypeError, match="transform must map an input to another.*got 'flip'"):
        augmented("flip")
    with pytest.raises(ValueError, match=r"Resize.* makes \(1, 4, 4\) of \(1, 8, 8\); the shape must stay"):
        augmented(v2.Resize((4, 4))).split("forget").batch()
    with pytest.raises(TypeError, match="real-valued tensor inputs, this task's are Tensor|are Tensor"):
        augmented(torch.nn.Identity(), name="sequence").split("forget").batch()
