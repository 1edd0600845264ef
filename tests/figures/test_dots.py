"""Dots and areas in a picture of palette numbers: each where it belongs, whole, and in its colour."""

import io

import numpy as np
import pytest
from PIL import Image

from imu_lab.figures import dots

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 4)).astype(np.uint8)
PLACES = np.array([[0.0, -1.0], [2.0, -1.0], [0.0, 3.0], [2.0, 3.0], [1.0, 1.0]])


def drawn(sheet: dots.Sheet) -> np.ndarray:
    """(h, w, 4) what a browser would show."""
    return np.asarray(Image.open(io.BytesIO(sheet.png(PALETTE))).convert("RGBA"))


def test_each_dot_is_whole_and_in_its_colour():
    sheet, shape = dots.Sheet(dots.window(PLACES)), dots.disc(11)
    sheet.stamp(PLACES, shape, np.array([1, 2, 3, 4, 5]))
    picture = drawn(sheet)
    assert picture.shape == (dots.HEIGHT, dots.WIDTH, 4)
    edge, right, down = dots.MARGIN, dots.WIDTH - dots.MARGIN, dots.HEIGHT - dots.MARGIN
    for number, (row, column) in enumerate([(down, edge), (down, right), (edge, edge), (edge, right),
                                            (dots.HEIGHT // 2, dots.WIDTH // 2)], 1):  # fmt: skip
        assert np.array_equal(picture[row, column], PALETTE[number])
        assert (picture == PALETTE[number]).all(-1).sum() == len(shape), "nothing is cut off"


def test_later_dots_lie_over_earlier_ones_and_over_areas():
    sheet = dots.Sheet(dots.window(PLACES))
    sheet.fill(np.array([0.0, 2.0]), np.array([-1.0, 3.0]), np.array([[1, 2], [3, 4]]))
    assert [drawn(sheet)[row, column].tolist() for row, column in ((-1, 0), (-1, -1), (0, 0), (0, -1))] == [
        PALETTE[k].tolist() for k in (1, 2, 3, 4)
    ], "the first row of numbers is the lowest"
    for number in (7, 8):
        sheet.stamp(PLACES[4:], dots.disc(5), number)
    assert np.array_equal(drawn(sheet)[dots.HEIGHT // 2, dots.WIDTH // 2], PALETTE[8])


@pytest.mark.parametrize("places", [np.zeros((1, 2)), np.array([[1.0, 5.0], [2.0, 5.0]])])
def test_a_window_without_height_or_width_still_shows_its_dots(places):
    sheet = dots.Sheet(dots.window(places))
    sheet.stamp(places, dots.cross(11), 9)
    assert (drawn(sheet) == PALETTE[9]).all(-1).sum() == len(places) * len(dots.cross(11))


def test_no_dot_is_larger_than_the_margin():
    from imu_lab.figures import explorer

    assert max(explorer.LARGE, explorer.SMALL) // 2 < dots.MARGIN


def test_nothing_is_drawn_of_nothing():
    sheet = dots.Sheet(dots.window(PLACES))
    sheet.stamp(PLACES[:0], dots.disc(5), 1)
    assert not np.any(np.asarray(sheet._pixels))
