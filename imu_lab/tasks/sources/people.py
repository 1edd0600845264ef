"""Pictures of people by several cameras: the record, what is held out of training, and Market-1501's folder.

Forgetting a person can only be seen on pictures of that person that no model was trained on. Market-1501's own test
part holds other people, so some pictures of every training person are held out, from at least two cameras each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core.memo import remembered
from ...core.messages import listed, warn
from ...core.running import digest
from . import pictures

JUNK, DISTRACTOR = -1, 0  # Market-1501: a bad detection, which nobody ranks; a passer-by, who is never right
PARTS = ("bounding_box_train", "query", "bounding_box_test")
HELD_OUT = 1 / 3  # of each person's pictures in each camera
NAME = re.compile(r"^(-?\d+)_c(\d+)")


@dataclass(frozen=True, eq=False)
class People:
    """Some pictures of people.

    Attributes:
        pixels: (n, h, w, 3) uint8.
        persons: (n,) int64, the number of the person on each picture.
        cameras: (n,) int64, the number of the camera that took it.
        about: from a person's number to a few words on their looks; empty where nothing is known.
    """

    pixels: np.ndarray
    persons: np.ndarray
    cameras: np.ndarray
    about: dict[int, str]

    def __len__(self) -> int:
        return len(self.persons)

    def take(self, positions: np.ndarray) -> People:
        """The pictures at these positions."""
        return People(self.pixels[positions], self.persons[positions], self.cameras[positions], self.about)


@dataclass(frozen=True, eq=False)
class Crowd:
    """People to train on, pictures of the same people held out, and strangers to compare with.

    Attributes:
        train, held_out: the same people, other pictures.
        key: a digest of the content of both.
        strangers: gives queries and a gallery of people whom no model is trained on; None where there are none.
    """

    train: People
    held_out: People
    key: str
    strangers: Callable[[], tuple[People, People]] | None = None


def crowd(known: People, strangers: Callable[[], tuple[People, People]] | None = None) -> Crowd:
    """Hold out a third of each person's pictures in each camera, the last ones, and keep the rest for training.

    The last ones, not random ones: pictures from one camera are often neighbouring video frames, and a random share
    would hold out near copies of training pictures.

    Raises:
        ValueError: a person without a second picture or a second camera, named.
    """
    _check_cameras(known)
    held = np.zeros(len(known), dtype=bool)
    for person in np.unique(known.persons):
        held[_held_out(np.flatnonzero(known.persons == person), known.cameras)] = True
    key = digest(known.pixels, known.persons, known.cameras, held)
    return Crowd(known.take(np.flatnonzero(~held)), known.take(np.flatnonzero(held)), key, strangers)


def _held_out(mine: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """The positions to hold out of one person's pictures ``mine``: from two cameras or more, or none at all.

    A camera with a single picture gives it only when no other way leads to two cameras and training keeps a picture.
    """
    groups = [mine[cameras[mine] == camera] for camera in np.unique(cameras[mine])]
    chosen = [group[-max(1, round(HELD_OUT * len(group))) :] for group in groups if len(group) > 1]
    single = [group for group in groups if len(group) == 1]
    while len(chosen) < 2 and single and sum(map(len, chosen)) + 1 < len(mine):
        chosen.append(single.pop())
    return np.concatenate(chosen) if len(chosen) > 1 else np.empty(0, dtype=np.int64)


def _check_cameras(known: People) -> None:
    persons, counts = np.unique(known.persons, return_counts=True)
    if len(persons) < 2:
        raise ValueError(f"the training part shows {len(persons)} person(s); at least two are needed")
    lonely = persons[counts < 2].tolist()
    if lonely:
        raise ValueError(
            f"{_named(lonely)} without a second picture: one to train on and one to look for are needed; "
            "add pictures or remove theirs"
        )
    seen = {person: np.unique(known.cameras[known.persons == person]) for person in persons.tolist()}
    fixed = [person for person, cameras in seen.items() if len(cameras) < 2]
    if fixed:
        raise ValueError(
            f"{_named(fixed)} without a second camera (only {seen[fixed[0]][0]}): a person is looked for among the "
            "pictures of other cameras; add pictures or remove theirs"
        )


def _named(persons: list[int]) -> str:
    more = f" and {len(persons) - 5} more are" if len(persons) > 5 else " is" if len(persons) == 1 else " are"
    return f"person {', '.join(map(str, persons[:5]))}{more}"


def market(path: str, size: tuple[int, int] | None = None) -> Crowd:
    """Market-1501 from its folder, or any set laid out the same way, decoded once and kept as uint8.

    Names begin with the person and the camera, as in ``0002_c1s1_000451_03.jpg``. Junk (-1) is left out everywhere, as
    nobody ranks it; passers-by (0000) stay in the standard gallery, where they are never right.

    Args:
        path: the folder with ``bounding_box_train``, ``query`` and ``bounding_box_test``.
        size: resize every picture to (height, width); None takes them as they are.

    Raises:
        FileNotFoundError: no such folder, or a part missing.
        ValueError: no pictures, a name that cannot be read, mixed sizes, a person without a second picture or camera.

    Warns:
        UserWarning: somebody to train on is among the queries or in the standard gallery, too.
    """
    root = Path(path)
    parts = tuple(tuple(_listing(root / part)) for part in PARTS)
    train, *unseen = ({row.person for row in rows if row.person} for rows in parts)
    if both := sorted(train & set().union(*unseen)):
        warn(
            f"{_named(both)} in {PARTS[0]} and in {' or '.join(PARTS[1:])}: what the standard split measures is then not of people "
            "whom no model was trained on"
        )
    facts = tuple(pictures.facts(root, [row.file for rows in parts for row in rows]))
    return _market(root, size, parts, facts)


@remembered(2)
def _market(root: Path, size: tuple[int, int] | None, parts: tuple[tuple[Row, ...], ...], facts: tuple) -> Crowd:
    """See :func:`market`; ``facts`` about the files are there to notice a changed one."""
    train, query, gallery = parts
    known, asked = (_without_passers_by(rows) for rows in (train, query))
    return crowd(_people(root, known, size), _Strangers(root, asked, gallery, size))


@dataclass(frozen=True)
class _Strangers:
    """Decodes the queries and the gallery when they are asked for, once."""

    root: Path
    asked: Sequence[Row]
    gallery: Sequence[Row]
    size: tuple[int, int] | None

    @cached_property
    def parts(self) -> tuple[People, People]:
        return _people(self.root, self.asked, self.size), _people(self.root, self.gallery, self.size)

    def __call__(self) -> tuple[People, People]:
        return self.parts


class Row(NamedTuple):
    """One picture's file, and what its name says."""

    file: Path
    person: int
    camera: int


def _listing(folder: Path) -> list[Row]:
    """The pictures of one part, by name, without junk and hidden files."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}; a set like Market-1501 holds {', '.join(PARTS)}. "
            'People that need no download: ReID("figures", ...)'
        )
    shown = (file for file in sorted(folder.iterdir()) if not file.name.startswith("."))
    files = [file for file in shown if file.suffix.lower() in pictures.SUFFIXES]
    strange = [file.name for file in files if NAME.match(file.name) is None]
    if strange:
        raise ValueError(
            f"{folder} holds {listed(strange[:3])}, whose name tells no person and camera; "
            "names look like 0002_c1s1_000451_03.jpg"
        )
    rows = [Row(file, *map(int, NAME.match(file.name).groups())) for file in files]
    kept = [row for row in rows if row.person != JUNK]
    if not kept:
        raise ValueError(f"no pictures of people in {folder}; names look like 0002_c1s1_000451_03.jpg")
    return kept


def _without_passers_by(rows: Sequence[Row]) -> Sequence[Row]:
    kept = [row for row in rows if row.person != DISTRACTOR]
    if not kept:
        raise ValueError(f"{rows[0].file.parent} holds passers-by (0000) and junk (-1) alone; nobody to look for")
    return kept


def _people(root: Path, rows: Sequence[Row], size: tuple[int, int] | None) -> People:
    persons, cameras = (np.array([row[k] for row in rows], dtype=np.int64) for k in (1, 2))
    return People(pictures.decoded(root, [row.file for row in rows], size)[0], persons, cameras, {})


def numbered(given: int | str | Iterable[int | str]) -> tuple[int, ...]:
    """Persons as numbers: ``7``, ``"0007"`` and ``(7,)`` all name person 7.

    Raises:
        ValueError: something that is no number.
    """
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    try:
        numbers = tuple(int(person) for person in several)
    except (TypeError, ValueError):
        numbers = ()
    same = (isinstance(person, str) or person == number for person, number in zip(several, numbers))
    if len(numbers) < len(several) or not all(same) or any(isinstance(person, bool) for person in several):
        raise ValueError(f"persons are numbers, such as 7 or '0007'; got {given!r}")
    return numbers
