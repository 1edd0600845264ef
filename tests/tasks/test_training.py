"""A training draws from its own seed, reads ahead and lays pictures out without changing what it makes."""

from __future__ import annotations

import cases
import pytest
import torch
from torch import nn

from imu_lab.core.running import drawing_from, seeded_states
from imu_lab.tasks import Classification, Recipe, training


@pytest.mark.parametrize("field", [{"epochs": 0}, {"epochs": 1.5}, {"lr": 0}, {"lr": float("nan")}, {"momentum": 1}])
def test_a_recipe_outside_its_ranges_is_refused(field: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        Recipe(**field)


def test_shifting_keeps_shape_and_moves_whole_rows() -> None:
    torch.manual_seed(0)
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(50, 1, 8, 8) + 1
    moved = training.shifted(images)
    assert moved.shape == images.shape
    for picture in moved[:, 0]:
        inside = picture[picture.any(1)][:, picture.any(0)]
        steps = inside.diff(dim=1)
        assert (inside.diff(dim=0) == 8).all() and ((steps == 1).all() or (steps == -1).all())
        assert min(inside.shape) >= 4
    assert len({tuple(picture.flatten().tolist()) for picture in moved}) > 20


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_drawn_in_training_is_decided_by_the_seed_alone(order: tuple[int, int]) -> None:
    """Two trainings in turn draw what each draws alone, and not the same in each of their updates."""
    states = {seed: seeded_states(seed) for seed in order}
    drawn: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    before = torch.get_rng_state()
    for _ in range(2):
        for seed in order:
            with drawing_from(states[seed]) as states[seed]:
                drawn[seed].append(torch.rand(4))
    assert torch.equal(torch.get_rng_state(), before)
    for seed, parts in drawn.items():
        assert torch.equal(torch.cat(parts), torch.rand(8, generator=torch.Generator().manual_seed(seed)))


class Laid(nn.Module):
    """A convolution that notes how its training inputs lie in memory, and what they are."""

    def __init__(self, views: bool = False) -> None:
        super().__init__()
        self.body, self.head, self.views = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, 3), views
        self.noted: list[tuple[bool, float]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.noted.append((x.is_contiguous(memory_format=torch.channels_last), x.double().sum().item()))
        made = torch.relu(self.body(x))
        return self.head(made.view(len(x), -1) if self.views else made.flatten(1))


@pytest.mark.few(1)
@pytest.mark.parametrize("augment", [False, True])
def test_large_networks_are_trained_with_channels_last_and_read_ahead_and_nothing_else_changes(augment: bool) -> None:
    chance = torch.Generator().manual_seed(0)
    pictures, labels = torch.randn(41, 3, 8, 8, generator=chance), torch.arange(41) % 3
    made = {}
    for name, one_thread, views in (("small", True, False), ("large", False, False), ("views", False, True)):
        recipe = Recipe(epochs=2, batch_size=8, lr=0.02, augment=augment, one_thread=one_thread)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Laid(views)
        task = Classification.from_data(model, (pictures, labels), (pictures + 1, labels), forget_indices=[0, 1])
        list(training.Training(task, model, task.split("train"), recipe, 3))
        made[name] = model
    noted = {name: list(zip(*model.noted)) for name, model in made.items()}
    assert set(noted["large"][0]) == {True} and set(noted["views"][0]) == {False}
    assert len(noted["small"][0]) == 2 * 5, "the last picture of an epoch would be alone"
    for name in ("large", "views"):
        assert cases.close(noted[name][1], noted["small"][1], within=1e-12)
        for key, value in made["small"].state_dict().items():
            assert cases.close(made[name].state_dict()[key], value, within=1e-4)


def test_what_goes_wrong_while_reading_ahead_is_told_by_the_training() -> None:
    class Broken(torch.utils.data.Dataset):
        broken = False

        def __len__(self) -> int:
            return 40

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            if self.broken and i == 33:
                raise OSError("the disk is gone")
            return torch.full((3, 8, 8), float(i)), i % 3

    data, model = Broken(), Laid()
    task = Classification.from_data(model, data, (torch.zeros(3, 3, 8, 8) - 1, [0, 1, 2]), forget_indices=[0, 1])
    examples, data.broken = task.split("train"), True
    made = []
    with pytest.raises(OSError, match="the disk is gone"):
        made.extend(training.Training(task, model, examples, Recipe(epochs=3, batch_size=8, one_thread=False), 0))


def test_augmentation_of_what_is_no_picture_is_refused_in_one_sentence() -> None:
    task = cases.task("toy")
    training_ = training.Training(task, task.make_model(0), task.split("train"), Recipe(epochs=1, augment=True), 0)
    with pytest.raises(ValueError, match="augment=True shifts and mirrors pictures.*not one tensor of pictures"):
        next(iter(training_))
