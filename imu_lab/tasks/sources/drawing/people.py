"""People drawn by the library: a small re-identification set that needs no download and is the same everywhere.

Each person has a build, hair and clothes; each picture a pose and a direction of walking; each camera its own light,
background and crop. Clothes come from few colours, so some people look alike, and a camera's light changes colours more
than a change of clothes does: good retrieval has to look at several things at once.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ....core.memo import remembered
from ..people import Crowd, People, crowd
from .cameras import CAMERAS, Camera
from .figure import Figure, pose_of
from .looks import Looks, looks_of

HEIGHT, WIDTH = 64, 32
FINE = 4  # drawn this much larger and then reduced, so that edges are smooth
PERSONS, PER_CAMERA = 24, 6


def picture(looks: Looks, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """(64, 32, 3) uint8: one person, as one camera sees them at one moment."""
    width, height = FINE * WIDTH, FINE * HEIGHT
    canvas = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(canvas)
    camera.backdrop(draw, rng, width, height)
    Figure(draw, looks, pose_of(camera, rng), width, height).everything()
    small = canvas.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    if camera.blur:
        small = small.filter(ImageFilter.GaussianBlur(camera.blur))
    light = np.array(camera.light) * rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3)
    seen = 255 * np.clip(np.asarray(small) / 255 * light, 0, 1) ** camera.gamma
    return np.clip(seen + rng.normal(0, camera.noise, seen.shape), 0, 255).round().astype(np.uint8)


@remembered(2)
def figures(seed: int = 0, persons: int = PERSONS, per_camera: int = PER_CAMERA) -> Crowd:
    """The drawn set: each person ``per_camera`` times in each of four cameras; the last third is held out.

    Args:
        seed: another seed draws other people.
        persons: how many, numbered from 0.
        per_camera: pictures of each person in each camera.
    """
    looks = [looks_of(seed, person) for person in range(persons)]
    rows = [(p, c, k) for p in range(persons) for c in range(len(CAMERAS)) for k in range(per_camera)]
    pixels = [picture(looks[p], CAMERAS[c], np.random.default_rng([seed, p, c, k])) for p, c, k in rows]
    person, camera = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
    about = {number: one.words() for number, one in enumerate(looks)}
    return crowd(People(np.stack(pixels), person, camera + 1, about))
