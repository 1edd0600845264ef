"""Small sets of people for tests: a folder laid out like Market-1501, and people whose pictures do not matter."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from imu_lab.tasks.sources.people import People

Row = tuple[int, int]  # person, camera

KNOWN: tuple[Row, ...] = tuple((person, camera) for person in (2, 7, 11) for camera in (1, 2, 3) for _ in range(3))
ASKED: tuple[Row, ...] = ((20, 1), (21, 2))
GALLERY: tuple[Row, ...] = ((20, 1), (20, 2), (21, 1), (0, 1), (0, 2), (-1, 3))


def people(rows: Iterable[Row]) -> People:
    """Grey pictures of these persons by these cameras."""
    persons, cameras = np.array(list(rows), dtype=np.int64).T
    return People(np.full((len(persons), 8, 4, 3), 128, np.uint8), persons, cameras, {})


def folder(
    root: Path,
    train: Iterable[Row] = KNOWN,
    query: Iterable[Row] = ASKED,
    gallery: Iterable[Row] = GALLERY,
    size: tuple[int, int] = (16, 8),
) -> Path:
    """Noise written like Market-1501: names tell person, camera, sequence, frame and box."""
    rng = np.random.default_rng(0)
    for part, rows in (("bounding_box_train", train), ("query", query), ("bounding_box_test", gallery)):
        (root / part).mkdir(parents=True)
        for frame, (person, camera) in enumerate(rows):
            number = "-1" if person < 0 else f"{person:04d}"
            pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / part / f"{number}_c{camera}s1_{frame:06d}_00.jpg")
        (root / part / "Thumbs.db").write_bytes(b"not a picture")  # the published archive holds some
    return root
