"""What a camera adds: its light, its surroundings and its crop, which change colours more than clothes do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw


@dataclass(frozen=True)
class Camera:
    """How one camera sees: its light, its surroundings and its crop.

    Attributes:
        light: gain of red, green and blue.
        gamma: below 1 brightens, above 1 darkens.
        noise: standard deviation of the pixel noise, in grey levels.
        blur: radius, in pixels.
        crop: size of the figure, and shift to the right and down, in picture widths.
        turned: how the figures mostly walk: ``"front"``, ``"back"``, ``"left"`` or ``"right"``.
        backdrop: draws the surroundings.
    """

    light: tuple[float, float, float]
    gamma: float
    noise: float
    blur: float
    crop: tuple[float, float, float]
    turned: str
    backdrop: Callable[[ImageDraw.ImageDraw, np.random.Generator, int, int], None]


def _lawn(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), (176, 208, 232))
    for _ in range(5):  # a hedge
        x, r = rng.integers(width), rng.integers(height // 10, height // 5)
        draw.ellipse((x - r, height * 0.42 - r, x + r, height * 0.42 + r), (88, 132 + int(rng.integers(24)), 78))
    draw.rectangle((0, height * 0.45, width, height), (134, 172, 92))
    path = width * rng.uniform(0.2, 0.6)
    far = [(path, height * 0.45), (path + width * 0.15, height * 0.45)]
    draw.polygon([*far, (width, height), (0, height)], (206, 192, 158))


def _bricks(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), (150, 142, 136))
    tall, wide, shift = height // 18, width // 3, int(rng.integers(width))
    for row in range(14):
        for x in range(-2 * wide, width + wide, wide):
            left = x + (row % 2) * wide // 2 + shift % wide
            shade = int(rng.integers(-12, 12))
            draw.rectangle(
                (left + 1, row * tall + 1, left + wide - 2, (row + 1) * tall - 2), (166 + shade, 96 + shade, 80 + shade)
            )
    draw.rectangle((0, height * 0.78, width, height), (142, 142, 146))


def _corridor(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), (222, 214, 192))
    door = width * rng.uniform(-0.2, 0.8)
    draw.rectangle((door, height * 0.16, door + width * 0.4, height * 0.72), (156, 118, 84))
    draw.rectangle((0, height * 0.72, width, height), (196, 190, 184))
    for x in range(-width, 2 * width, width // 3):  # tiles towards a vanishing point
        draw.line((width / 2 + (x - width / 2) * 0.5, height * 0.72, x, height), (164, 160, 158), 2)
    draw.line((0, height * 0.84, width, height * 0.84), (164, 160, 158), 2)


def _street(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), (52, 56, 84))
    for column in range(3):
        for row in range(5):
            lit = rng.random() < 0.35
            x, y = width * (0.08 + 0.34 * column), height * (0.05 + 0.12 * row)
            draw.rectangle((x, y, x + width * 0.18, y + height * 0.06), (238, 206, 120) if lit else (40, 44, 66))
    draw.rectangle((0, height * 0.68, width, height), (84, 86, 94))
    kerb = height * rng.uniform(0.74, 0.8)
    draw.line((0, kerb, width, kerb), (128, 130, 134), 3)


CAMERAS = (
    Camera((1.12, 1.04, 0.86), 0.85, 5, 0.0, (0.90, 0.00, 0.02), "front", _lawn),
    Camera((0.78, 0.88, 1.08), 1.20, 7, 0.6, (0.94, 0.06, 0.03), "right", _bricks),
    Camera((1.10, 0.96, 0.66), 1.00, 6, 0.4, (1.04, -0.08, 0.08), "back", _corridor),
    Camera((0.78, 0.74, 0.98), 1.15, 11, 0.6, (0.86, 0.02, 0.06), "left", _street),
)
