"""The drawn people: the same everywhere, all different, each camera its own, described in words."""

from __future__ import annotations

import numpy as np
import pytest

from imu_lab.tasks.sources.drawing import people
from imu_lab.tasks.sources.drawing.cameras import CAMERAS
from imu_lab.tasks.sources.drawing.looks import looks_of
from imu_lab.tasks.sources.drawing.people import figures


def test_sizes() -> None:
    made = figures(0, persons=4, per_camera=3)
    assert made.train.pixels.shape == (4 * 4 * 2, 64, 32, 3) and made.train.pixels.dtype == np.uint8
    assert len(made.held_out) == 4 * 4 * 1
    assert np.unique(made.train.cameras).tolist() == [1, 2, 3, 4]
    assert np.unique(made.train.persons).tolist() == [0, 1, 2, 3]
    assert made.strangers is None


def test_the_same_seed_draws_the_same_people() -> None:
    first = figures(0, persons=3, per_camera=3)
    people.figures.cache_clear()
    again, other = figures(0, persons=3, per_camera=3), figures(1, persons=3, per_camera=3)
    assert first is not again and first.key == again.key and np.array_equal(first.train.pixels, again.train.pixels)
    assert first.key != other.key and first.train.about != other.train.about


def test_a_person_stays_when_others_join() -> None:
    few, many = figures(0, persons=3, per_camera=3), figures(0, persons=5, per_camera=3)
    assert np.array_equal(few.train.pixels, many.train.pixels[: len(few.train)])


def test_every_picture_is_its_own() -> None:
    pixels = figures(0, persons=4, per_camera=3).train.pixels
    assert len({picture.tobytes() for picture in pixels}) == len(pixels)


def test_cameras_differ_more_than_people() -> None:
    train = figures(0).train
    means = train.pixels.mean((1, 2))  # (n, 3)
    between_cameras = np.std([means[train.cameras == camera].mean(0) for camera in (1, 2, 3, 4)], axis=0).mean()
    between_people = np.std([means[train.persons == person].mean(0) for person in range(24)], axis=0).mean()
    assert between_cameras > 4 * between_people


def test_every_way_of_walking_and_dressing_can_be_drawn() -> None:
    looks = [looks_of(0, person) for person in range(60)]
    for name, count in (("hair_style", 5), ("pattern", 4), ("bottom", 3), ("bag", 3)):
        assert len({getattr(one, name) for one in looks}) == count
    for one in looks:
        for camera in CAMERAS:
            picture = people.picture(one, camera, np.random.default_rng(0))
            assert picture.std() > 5, "nothing was drawn"


def test_every_third_person_looks_like_the_one_before() -> None:
    about = figures(0).train.about
    shared = [len(set(about[person].split()) & set(about[person - 1].split())) for person in range(2, 24, 3)]
    strangers = [len(set(about[person].split()) & set(about[person - 1].split())) for person in range(1, 24, 3)]
    assert np.mean(shared) > np.mean(strangers) + 1


@pytest.mark.parametrize("person, words", [(7, "white top with a grey badge, red skirt, long red hair")])
def test_looks_in_words(person: int, words: str) -> None:
    assert figures(0).train.about[person] == words
    assert "a orange" not in " ".join(figures(0).train.about.values())
