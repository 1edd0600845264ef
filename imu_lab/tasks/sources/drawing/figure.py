"""One person in one pose, from shapes that stay recognisable when the picture is 64 pixels high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from .cameras import Camera
from .looks import CLOTHES, HAIRS, Colour, Looks


@dataclass(frozen=True)
class Pose:
    """One moment of a person: from where they are seen, where in their stride, and where in the picture."""

    turned: str
    stride: float  # -1 to 1
    bend: float  # how far the arms swing
    size: float
    right: float
    down: float

    @property
    def sideways(self) -> int:
        """1 walking to the right, -1 to the left, 0 towards or away from the camera."""
        return {"right": 1, "left": -1}.get(self.turned, 0)


def pose_of(camera: Camera, rng: np.random.Generator) -> Pose:
    turned = camera.turned if rng.random() < 0.6 else ("front", "back", "left", "right")[rng.integers(4)]
    size, right, down = camera.crop
    return Pose(
        turned,
        rng.uniform(-1, 1),
        rng.uniform(0.3, 1),
        size * rng.uniform(0.93, 1.07),
        right + rng.normal(0, 0.06),
        down + rng.normal(0, 0.03),
    )


class Figure:
    """Draws one person. Body coordinates: x to the right from the middle, y up from the ground, in body heights."""

    def __init__(self, draw: ImageDraw.ImageDraw, looks: Looks, pose: Pose, width: int, height: int) -> None:
        self.draw, self.looks, self.pose = draw, looks, pose
        self.unit = 0.86 * height * pose.size * looks.tall
        self.middle, self.ground = width * (0.5 + pose.right), height * (0.94 + pose.down * 0.5)
        self.broad = looks.broad * (0.74 if pose.sideways else 1.0)
        self.top, self.legs = CLOTHES[looks.top], CLOTHES[looks.legs]
        self.shade = lambda colour, by: tuple(int(value * by) for value in colour)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point of the body."""
        return self.middle + x * self.unit, self.ground - y * self.unit

    def limb(self, points: list[tuple[float, float]], thick: float, colour: Colour) -> None:
        """A rounded line through these points of the body."""
        pixels, wide = [self.at(*point) for point in points], thick * self.unit
        self.draw.line(pixels, colour, round(wide), joint="curve")
        for x, y in pixels:
            self.draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled outline through these points of the body."""
        self.draw.polygon([self.at(*point) for point in points], colour)

    def disc(self, x: float, y: float, wide: float, tall: float, colour: Colour) -> None:
        """An ellipse around a point of the body."""
        (left, upper), (right, lower) = self.at(x - wide, y + tall), self.at(x + wide, y - tall)
        self.draw.ellipse((left, upper, right, lower), colour)

    def everything(self) -> None:
        """The whole figure, from the back to the front."""
        behind = self.pose.turned != "back"
        self.disc(0, 0.0, 0.20 * self.broad, 0.02, (70, 70, 74))  # the shadow on the ground
        if behind:
            self.bag()
        self.arm(-1)
        self.leg(-1)
        self.leg(1)
        self.torso()
        self.head()
        self.arm(1)
        if not behind:
            self.bag()

    def leg(self, side: int) -> None:
        """One leg with its shoe; bare below shorts and skirts."""
        swing, ahead = side * self.pose.stride, self.pose.sideways
        hip = side * 0.055 * self.broad
        foot = (0.16 * swing * ahead, 0.03) if ahead else (side * 0.07 * self.broad, 0.03 + 0.03 * max(0.0, swing))
        knee = ((hip + foot[0]) / 2 + 0.03 * ahead, 0.26)
        colour = self.legs if side > 0 else self.shade(self.legs, 0.82)
        skin = self.looks.skin if side > 0 else self.shade(self.looks.skin, 0.86)
        thick = 0.085 * self.looks.broad**0.5
        covered = self.looks.bottom == "trousers"
        self.limb([(hip, 0.47), knee, foot], thick, colour if covered else skin)
        if self.looks.bottom == "shorts":
            self.limb([(hip, 0.47), knee], thick * 1.25, colour)
        self.limb([foot, (foot[0] + 0.05 * (ahead or side * 0.5), 0.025)], 0.055, (48, 42, 44))

    def torso(self) -> None:
        """Skirt, top and what is on the top."""
        shoulder, waist = 0.125 * self.broad, 0.1 * self.broad
        if self.looks.bottom == "skirt":
            self.shape([(-waist, 0.5), (waist, 0.5), (waist * 1.6, 0.3), (-waist * 1.6, 0.3)], self.legs)
        self.shape([(-waist, 0.44), (waist, 0.44), (shoulder, 0.76), (-shoulder, 0.76)], self.top)
        self.limb([(0.045 - shoulder, 0.765), (shoulder - 0.045, 0.765)], 0.09, self.top)  # rounded shoulders
        second = CLOTHES[self.looks.second]
        if self.looks.pattern == "stripes":
            for y in (0.5, 0.6, 0.7):
                self.shape([(-waist, y), (waist, y), (waist * 1.08, y + 0.045), (-waist * 1.08, y + 0.045)], second)
        if self.pose.turned == "back":
            return
        front = 0.05 * self.broad * self.pose.sideways
        if self.looks.pattern == "jacket":
            shirt = [(front - 0.035, 0.44), (front + 0.035, 0.44), (front + 0.05, 0.81), (front - 0.05, 0.81)]
            self.shape(shirt, second)
        if self.looks.pattern == "badge":
            self.disc(front, 0.66, 0.05 * self.broad, 0.05, second)

    def arm(self, side: int) -> None:
        """One arm with its hand, swinging against the legs."""
        swing, ahead = -side * self.pose.stride * self.pose.bend, self.pose.sideways
        start = side * (0.115 if not ahead else 0.02) * self.broad
        reach = 0.17 * swing * ahead if ahead else side * (0.03 + 0.03 * abs(swing))
        hand = (start + reach, 0.45 + 0.03 * swing)
        elbow = ((start + hand[0]) / 2 - 0.02 * ahead, 0.61)
        colour = self.shade(self.top, 0.9 if side > 0 else 0.76)
        self.disc(*hand, 0.03, 0.03, self.looks.skin)
        self.limb([(start, 0.765), elbow, ((elbow[0] + 3 * hand[0]) / 4, hand[1] + 0.04)], 0.065, colour)

    def head(self) -> None:
        """Head, face and hair."""
        skin, hair, ahead = self.looks.skin, HAIRS[self.looks.hair], self.pose.sideways
        away, style = self.pose.turned == "back", self.looks.hair_style
        if style == "long":
            self.shape([(-0.09, 0.93), (0.09, 0.93), (0.1 - 0.05 * ahead, 0.74), (-0.1 - 0.05 * ahead, 0.74)], hair)
        self.limb([(0, 0.8), (0, 0.86)], 0.06, self.shade(skin, 0.88))
        self.disc(0, 0.91, 0.075, 0.085, skin)
        wide = {"curly": 0.105, "long": 0.09}.get(style, 0.08)
        if style == "curly":
            self.disc(-0.02 * ahead, 0.955, wide, 0.06, hair)
        if style == "bun":
            self.disc(-0.05 * ahead, 1.0 if not ahead else 0.98, 0.04, 0.035, hair)
        self.cap_of_hair(CLOTHES[self.looks.second] if style == "cap" else hair, wide, away)
        if not away:
            for eye in [-0.028, 0.028] if not ahead else [0.04 * ahead]:
                self.disc(eye, 0.905, 0.011, 0.014, (40, 34, 34))
        if style == "cap" and not away:
            self.limb([(0.02 * ahead - 0.03, 0.945), (0.11 * ahead or 0.03, 0.945)], 0.022, CLOTHES[self.looks.second])

    def cap_of_hair(self, colour: Colour, wide: float, away: bool) -> None:
        """What covers the top of the head, and all of it from behind."""
        ahead = self.pose.sideways
        (left, upper), (right, lower) = self.at(-wide - 0.01 * ahead, 1.0), self.at(wide - 0.01 * ahead, 0.83)
        start, end = (0, 360) if away else (180 - 55 * (ahead > 0), 360 + 55 * (ahead < 0))
        low = lower - (lower - upper) * (0.22 if away else 0.0)
        self.draw.chord((left, upper, right, low), start, end, colour)

    def bag(self) -> None:
        """A backpack behind the shoulders or a bag at the hip, with its strap."""
        colour, ahead = CLOTHES[self.looks.bag_colour], self.pose.sideways
        if self.looks.bag == "backpack":
            if ahead:
                self.limb([(-0.13 * ahead, 0.58), (-0.13 * ahead, 0.72)], 0.12, colour)
            elif self.pose.turned == "back":
                self.limb([(-0.03, 0.58), (-0.03, 0.7), (0.03, 0.7), (0.03, 0.58)], 0.14 * self.broad, colour)
            else:
                self.limb([(-0.12 * self.broad, 0.6), (0.12 * self.broad, 0.74)], 0.1, colour)
        if self.looks.bag == "shoulder bag":
            side = -1 if self.pose.turned == "back" else 1
            self.limb([(-0.08 * side, 0.8), (0.15 * side * self.broad, 0.5)], 0.02, colour)
            self.limb([(0.14 * side, 0.42), (0.2 * side, 0.42)], 0.11, colour)
