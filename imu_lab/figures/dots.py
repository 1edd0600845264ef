"""Many dots as one picture: a browser exchanges a picture in a thirtieth of a second, fifty thousand dots in a whole one.

A pixel is one byte, a number of a palette, so that drawing, packing and sending take milliseconds. There are half as many
pixels again as the screen will show, which smooths the edges.
"""

from __future__ import annotations

import io
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 800, 640  # pixels
MARGIN = 13  # pixels around the outermost centres; no dot may be larger
CLEAR = 0  # the number of what is see-through


class Window(NamedTuple):
    """The part of the plane that the picture shows: its left and bottom edge, and its right and top edge."""

    low: np.ndarray
    high: np.ndarray


def window(places: np.ndarray) -> Window:
    """The smallest window in which all dots at (n, 2) places are whole."""
    # Column by column: along the short axis of so slim an array numpy takes ten times as long.
    low, high = (np.array([end(places[:, 0]), end(places[:, 1])], dtype=float) for end in (np.min, np.max))
    span = np.where(high > low, high - low, 1.0)
    margin = MARGIN * span / (np.array([WIDTH, HEIGHT]) - 2 * MARGIN)
    middle = (low + high) / 2
    return Window(middle - span / 2 - margin, middle + span / 2 + margin)


def disc(size: int) -> np.ndarray:
    """(k, 2) pixels across and down of a disc, seen from its centre; ``size`` is its diameter."""
    return _shape(size, lambda x, y: x**2 + y**2 <= (size / 2) ** 2)


def cross(size: int) -> np.ndarray:
    """(k, 2) pixels of a cross as wide as ``size``."""
    return _shape(size, lambda x, y: np.abs(np.abs(x) - np.abs(y)) <= size / 8)


def _shape(size: int, inside) -> np.ndarray:
    x, y = np.meshgrid(*[np.arange(-(size // 2), size // 2 + 1)] * 2)
    return np.column_stack([x[inside(x, y)], y[inside(x, y)]])


class Sheet:
    """A picture in the making: areas first, then dots, each over what is there.

    Args:
        seen: the part of the plane that it shows.
    """

    def __init__(self, seen: Window) -> None:
        self._seen = seen
        self._pixels = np.full((HEIGHT, WIDTH), CLEAR, dtype=np.uint8)

    def fill(self, x: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> None:
        """Give each pixel the number of the nearest of (g,) places across and (h,) up; ``numbers`` is (h, g)."""
        (left, low), (right, high) = self._seen
        across = left + (np.arange(WIDTH) + 0.5) / WIDTH * (right - left)
        up = high - (np.arange(HEIGHT) + 0.5) / HEIGHT * (high - low)
        column, row = (np.searchsorted((at[1:] + at[:-1]) / 2, seen) for at, seen in ((x, across), (y, up)))
        self._pixels[:] = numbers.astype(np.uint8)[row][:, column]

    def outline(self, number: int) -> None:
        """Give this number to all pixels at which one number ends and another begins, on both sides."""
        across, down = (np.diff(self._pixels, axis=axis) != 0 for axis in (1, 0))
        for beside, ends in ((self._pixels[:, :-1], across), (self._pixels[:, 1:], across),
                             (self._pixels[:-1], down), (self._pixels[1:], down)):  # fmt: skip
            beside[ends] = number

    def stamp(self, places: np.ndarray, shape: np.ndarray, numbers: np.ndarray | int) -> None:
        """Draw a shape at each of (n, 2) places, in one number or (n,) numbers."""
        low, high = self._seen
        share = (places - low) / (high - low)
        column = (share[:, 0] * WIDTH).astype(int)
        row = ((1 - share[:, 1]) * HEIGHT).astype(int)
        flat, at = self._pixels.reshape(-1), row * WIDTH + column
        for right, down in shape:
            flat[at + (down * WIDTH + right)] = numbers

    def png(self, palette: np.ndarray) -> bytes:
        """The picture as a PNG; ``palette`` holds up to 256 rows of red, green, blue, opacity (uint8)."""
        picture = Image.fromarray(self._pixels, "P")
        picture.putpalette(np.ascontiguousarray(palette[:, :3]).tobytes())
        buffer = io.BytesIO()
        # Runs of one number are all that repeats here: to look for more takes twice as long and finds less.
        picture.save(buffer, "PNG", compress_type=zlib.Z_RLE, transparency=palette[:, 3].tobytes())
        return buffer.getvalue()
