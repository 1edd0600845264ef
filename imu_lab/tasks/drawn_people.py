"""People drawn by the library: a small re-identification set that needs no download and is the same everywhere.

Each person has a build, hair and clothes; each picture a pose and a direction of walking; each camera its own light,
background and crop. Clothes come from few colours, so some people look alike, and a camera's light changes colours more
than a change of clothes does: good retrieval has to look at several things at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .people import Crowd, People, crowd

HEIGHT, WIDTH = 64, 32
FINE = 4  # drawn this much larger and then reduced, so that edges are smooth
PERSONS, PER_CAMERA = 24, 6

Colour = tuple[int, int, int]
CLOTHES: dict[str, Colour] = {
    "red": (196, 52, 48),
    "orange": (232, 142, 46),
    "yellow": (236, 204, 84),
    "green": (62, 134, 82),
    "teal": (46, 148, 154),
    "blue": (52, 88, 168),
    "violet": (124, 82, 156),
    "white": (232, 230, 224),
    "grey": (122, 126, 132),
    "black": (44, 44, 52),
}
LEGS = ("blue", "black", "grey", "green", "white", "red")
SKINS: tuple[Colour, ...] = ((250, 214, 186), (228, 180, 142), (190, 134, 96), (138, 90, 62), (92, 60, 44))
HAIRS: dict[str, Colour] = {
    "black": (36, 30, 30),
    "brown": (98, 62, 40),
    "red": (172, 82, 40),
    "blond": (226, 190, 112),
    "grey": (176, 174, 170),
}


@dataclass(frozen=True)
class Looks:
    """What stays the same on every picture of a person."""

    tall: float  # 1 is average
    broad: float
    skin: Colour
    hair: str
    hair_style: str
    top: str
    pattern: str
    second: str  # the colour of stripes, of a shirt under a jacket, of a badge
    bottom: str
    legs: str
    bag: str
    bag_colour: str

    def words(self) -> str:
        """The looks in a few words, for a caption and for readers who hear the page."""
        second, style = self.second, self.hair_style
        patterns = {"plain": "", "stripes": f" with {second} stripes", "badge": f" with {_a(second)} badge"}
        pattern = patterns.get(self.pattern, f" open over {second}")
        heads = {"cap": f"{_a(second)} cap", "bun": f"{self.hair} hair in a bun"}
        bag = "" if self.bag == "none" else f", {_a(self.bag_colour)} {self.bag}"
        return f"{self.top} top{pattern}, {self.legs} {self.bottom}, {heads.get(style, f'{style} {self.hair} hair')}{bag}"


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


@dataclass(frozen=True)
class Camera:
    """How one camera sees: its light, its surroundings and its crop.

    Attributes:
        light: gain of red, green and blue.
        gamma: below 1 brightens, above 1 darkens.
        noise: standard deviation of the pixel noise, in grey levels.
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


def _looks(seed: int, person: int) -> Looks:
    """One person's looks. Every third person shares most of them with the one before, as people do in a crowd."""
    rng = np.random.default_rng([seed, person])
    pick = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    top = pick(*CLOTHES)
    own = Looks(
        tall=rng.uniform(0.88, 1.08),
        broad=rng.uniform(0.85, 1.3),
        skin=SKINS[rng.integers(len(SKINS))],
        hair=pick(*HAIRS),
        hair_style=pick("short", "short", "long", "bun", "curly", "cap"),
        top=top,
        pattern=pick("plain", "plain", "stripes", "jacket", "badge"),
        second=pick(*(name for name in CLOTHES if name != top)),
        bottom=pick("trousers", "trousers", "shorts", "skirt"),
        legs=pick(*(name for name in LEGS if name != top)),
        bag=pick("none", "none", "backpack", "shoulder bag"),
        bag_colour=pick("red", "yellow", "black", "teal"),
    )
    if person % 3 != 2:
        return own
    further = pick(("bottom",), ("bag", "bag_colour"), ("pattern", "second"), ("skin",))
    different = ("tall", "broad", "hair", "hair_style", *further)
    return replace(_looks(seed, person - 1), **{name: getattr(own, name) for name in different})


def _lawn(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), (176, 208, 232))
    for _ in range(5):  # a hedge
        x, r = rng.integers(width), rng.integers(height // 10, height // 5)
        draw.ellipse((x - r, height * 0.42 - r, x + r, height * 0.42 + r), (88, 132 + int(rng.integers(24)), 78))
    draw.rectangle((0, height * 0.45, width, height), (134, 172, 92))
    path = width * rng.uniform(0.2, 0.6)
    draw.polygon([(path, height * 0.45), (path + width * 0.15, height * 0.45), (width, height), (0, height)], (206, 192, 158))


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


def _pose(camera: Camera, rng: np.random.Generator) -> Pose:
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
            self.shape([(front - 0.035, 0.44), (front + 0.035, 0.44), (front + 0.05, 0.81), (front - 0.05, 0.81)], second)
        if self.looks.pattern == "badge":
            self.disc(front, 0.66, 0.05 * self.broad, 0.05, second)

    def arm(self, side: int) -> None:
        """One arm with its hand, swinging against the legs."""
        swing, ahead = -side * self.pose.stride * self.pose.bend, self.pose.sideways
        start = side * (0.115 if not ahead else 0.02) * self.broad
        hand = (start + 0.17 * swing * ahead if ahead else start + side * (0.03 + 0.03 * abs(swing)), 0.45 + 0.03 * swing)
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
            for eye in ([-0.028, 0.028] if not ahead else [0.04 * ahead]):
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


def picture(looks: Looks, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """(64, 32, 3) uint8: one person, as one camera sees them at one moment."""
    width, height = FINE * WIDTH, FINE * HEIGHT
    canvas = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(canvas)
    camera.backdrop(draw, rng, width, height)
    Figure(draw, looks, _pose(camera, rng), width, height).everything()
    small = canvas.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    if camera.blur:
        small = small.filter(ImageFilter.GaussianBlur(camera.blur))
    light = np.array(camera.light) * rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3)
    seen = 255 * np.clip(np.asarray(small) / 255 * light, 0, 1) ** camera.gamma
    return np.clip(seen + rng.normal(0, camera.noise, seen.shape), 0, 255).round().astype(np.uint8)


@lru_cache(maxsize=2)
def figures(seed: int = 0, persons: int = PERSONS, per_camera: int = PER_CAMERA) -> Crowd:
    """The drawn set: each person ``per_camera`` times in each of four cameras; the last third is held out.

    Args:
        seed: another seed draws other people.
        persons: how many, numbered from 0.
        per_camera: pictures of each person in each camera.
    """
    looks = [_looks(seed, person) for person in range(persons)]
    rows = [(p, c, k) for p in range(persons) for c in range(len(CAMERAS)) for k in range(per_camera)]
    pixels = [picture(looks[p], CAMERAS[c], np.random.default_rng([seed, p, c, k])) for p, c, k in rows]
    person, camera = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
    about = {number: one.words() for number, one in enumerate(looks)}
    return crowd(People(np.stack(pixels), person, camera + 1, about))
