"""A folder of pictures: which files are samples, what they are called, and what is held out for testing."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...core.knobs import check_count
from ...core.memo import remembered
from ...core.messages import listed
from ...core.running import digest, row_hashes
from ..protocol import Examples
from . import pictures
from .labelled import Labelled, Level, counted, warn_of_shared
from .labels import one_form

EXPECTED = "an image folder holds train/<class>/* and test/<class>/*, or <class>/*"
TESTS = ("test", "val", "valid", "validation")
LABELS = ("class", "superclass", "subclass")


@dataclass(frozen=True)
class File:
    """One picture and what the folders above it are called, the outermost first."""

    path: Path
    above: tuple[str, ...]


def folder(path: str, image_size: int | None = None, labels: str = "class", test_fraction: float = 0.2) -> Labelled:
    """A folder of pictures, decoded once and kept as uint8.

    ``train/<class>/*`` and ``test/<class>/*`` (or ``val``), or ``<class>/*`` with a share of each class held out. Pixels
    are scaled to [0, 1] and standardised by the training part's mean and deviation per channel. Hidden files and folders
    are skipped, deeper files belong to the class above them.

    Args:
        path: the folder.
        image_size: resize every picture to this many pixels square; None takes them as they are.
        labels: ``"class"`` names the outermost folders; ``"superclass"`` the same, with the second level as subclasses;
            ``"subclass"`` the second level, with the outermost as superclasses.
        test_fraction: the share of each class that is held out where there is no test part, or of each subclass where every
            picture has one; drawn under a fixed seed.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no pictures, a single class, mixed sizes, a second level that is missing, or a picture that cannot
            be read (named).
    """
    root = Path(path)
    image_size = image_size if image_size is None else check_count("image_size", image_size, 1)
    parts, words = _parts(root, test_fraction, labels)
    facts = tuple(pictures.facts(root, [file.path for side in ("train", "test") for file in parts[side]]))
    return _folder(root, image_size, labels, test_fraction, words, facts)


@remembered(2)
def _folder(root: Path, image_size: int | None, level: str, fraction: float, words: str, facts: tuple) -> Labelled:
    """See :func:`folder`; ``facts`` about the files are there to notice a changed one."""
    parts, _ = _parts(root, fraction, level)
    named = {side: [_names(file, level) for file in files] for side, files in parts.items()}
    classes, numbers = _numbered({side: [name for name, _ in rows] for side, rows in named.items()}, root)
    other = None
    if level != "class":
        names, groups = _numbered({side: [name for _, name in rows] for side, rows in named.items()}, root)
        other = Level("subclass" if level == "superclass" else "superclass", names, groups["train"], groups["test"])
    paths = {side: [file.path for file in files] for side, files in parts.items()}
    whole, depth = pictures.decoded(root, paths["train"] + paths["test"], image_size)
    pixels = {"train": whole[: len(paths["train"])], "test": whole[len(paths["train"]) :]}
    _all_different(pixels, root)
    files = [str(path.relative_to(root)) for path in paths["train"]]
    return labelled(pixels, numbers, classes, words=_about(words, depth), files=files, level=other)


def labelled(
    pixels: dict[str, np.ndarray],
    numbers: dict[str, torch.Tensor],
    classes: tuple[str, ...],
    words: str,
    files: list[str] | None = None,
    level: Level | None = None,
) -> Labelled:
    """A labelled data set of uint8 pictures (n, h, w, c), standardised by the training part."""
    mean, deviation = pictures.statistics(pixels["train"])
    examples = {
        side: Examples(
            torch.arange(len(numbers[side])), pictures.Standardised(each, numbers[side], mean, deviation), side
        )
        for side, each in pixels.items()
    }
    channels = pixels["train"].shape[-1]
    about = (
        f"{len(numbers['train']):,} train and {len(numbers['test']):,} test pictures of {pictures.size_of(pixels['train'])} "
        f"pixels in {channels} channel(s), scaled to [0, 1] and standardised; {counted(classes, numbers['train'])}; {words}"
    )
    rows = {side: row_hashes(each) for side, each in pixels.items()}
    return Labelled(
        examples["train"], examples["test"], numbers["train"], numbers["test"], classes,
        digest(classes, *rows.values(), *numbers.values()), pictures.Rows(pixels["train"]), channels, about, files, level,
        hashes=rows["train"], test_pictures=pictures.Rows(pixels["test"]),
    )  # fmt: skip


def _parts(root: Path, fraction: float, level: str) -> tuple[dict[str, list[File]], str]:
    """The pictures to train and to test on, and a few words on where they are."""
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; {EXPECTED}")
    inside = {one_form(each.name).lower(): each for each in sorted(root.iterdir()) if each.is_dir()}
    test = next((name for name in TESTS if name in inside), None)
    if "train" in inside and test is not None:
        return {"train": _listing(inside["train"]), "test": _listing(inside[test])}, (
            f"pictures from {root}{'' if test == 'test' else f', tested on its {inside[test].name!r} part'}"
        )
    if test is not None and len(inside) == 1:
        raise FileNotFoundError(f"no folder {root / 'train'}; {EXPECTED}")
    if "train" in inside and len(inside) > 1:
        raise ValueError(
            f"{root} holds the folders {listed(sorted(inside))}: which one is for testing? Call it 'test', or leave "
            "'train' alone to hold a share of it out (test_fraction=)"
        )
    whole = _listing(inside["train"] if set(inside) == {"train"} else root)
    return _split(whole, fraction, root, _depth(whole, level)), (
        f"pictures from {root}, {fraction:g} of each class held out for testing under a fixed seed (test_fraction=)"
    )


def _listing(top: Path) -> list[File]:
    """Every picture below the folders in ``top``, in a fixed order.

    Raises:
        ValueError: there is none, or a class folder holds other files alone.
    """
    found: list[File] = []
    for name, inner in sorted((one_form(each.name), each) for each in top.iterdir() if _shown(each) and each.is_dir()):
        others, before = 0, len(found)
        _no_circle(inner)
        for where, folders, files in os.walk(inner, onerror=_raise, followlinks=True):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for each in folders:
                _no_circle(Path(where) / each)
            above = (name, *(one_form(part) for part in Path(where).relative_to(inner).parts))
            for file in sorted(each for each in files if not each.startswith(".")):
                if file.lower().endswith(pictures.SUFFIXES):
                    found.append(File(Path(where) / file, above))
                else:
                    others += 1
        if others and len(found) == before:
            raise ValueError(
                f"no pictures in {inner}, which holds {others} other file(s); known are {', '.join(pictures.SUFFIXES)}: "
                "convert them, or move the folder away"
            )
    if not found:
        raise ValueError(f"no pictures in {top}; {EXPECTED}, with one of {', '.join(pictures.SUFFIXES)}")
    return found


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _raise(error: OSError) -> None:
    raise error  # a folder that may not be read is not an empty one


def _no_circle(folder: Path) -> None:
    """Raise ValueError where a folder is a link to one that it lies in: its pictures would be found again and again."""
    if folder.is_symlink() and folder.absolute().is_relative_to(to := folder.resolve()):
        raise ValueError(f"{folder} is a link to {to}, which it lies in, so its pictures have no end; remove the link")


def _depth(files: list[File], level: str) -> int:
    """How many folders make what a share is held out of: 2 where each picture has a subclass, and each subclass two pictures.

    So none goes to one side alone, and the data of a folder are the same whichever level the model names.
    """
    each = Counter(file.above[:2] for file in files)
    return 2 if level != "class" or all(len(above) == 2 and count > 1 for above, count in each.items()) else 1


def _split(files: list[File], fraction: float, root: Path, depth: int) -> dict[str, list[File]]:
    """A share of each class, or subclass, for testing, at least one picture, drawn under a fixed seed."""
    if not 0 < fraction < 1:
        raise ValueError(f"test_fraction must lie strictly between 0 and 1, got {fraction}")
    draw, held = np.random.default_rng(0), set()
    for above, count in Counter(file.above[:depth] for file in files).items():
        if count < 2:
            raise ValueError(
                f"{root.joinpath(*above)} holds one picture; two are needed, one to train and one to test on"
            )
        mine = [k for k, file in enumerate(files) if file.above[:depth] == above]
        share = min(count - 1, max(1, round(fraction * count)))
        held.update(draw.choice(mine, size=share, replace=False).tolist())
    return {
        "train": [file for k, file in enumerate(files) if k not in held],
        "test": [file for k, file in enumerate(files) if k in held],
    }


def _names(file: File, level: str) -> tuple[str, str]:
    """What a picture's class is called, and its group on the other level."""
    if level == "class":
        return file.above[0], ""
    if len(file.above) < 2:
        raise ValueError(
            f"{file.path} lies directly in {file.above[0]!r}, so it has no subclass; "
            f"with labels={level!r} pictures lie in <superclass>/<subclass>/*"
        )
    fine = f"{file.above[0]}/{file.above[1]}"
    return (file.above[0], fine) if level == "superclass" else (fine, file.above[0])


def _numbered(names: dict[str, list[str]], root: Path) -> tuple[tuple[str, ...], dict[str, torch.Tensor]]:
    """The names in order, and each side's numbers. A subclass is called by its own name where no other is called so."""
    known = sorted(set(names["train"]))
    if len(known) < 2:
        raise ValueError(f"{root} holds training pictures of {listed(known)} only; at least two classes are needed")
    strange = sorted(set(names["test"]) - set(known))
    if strange:
        raise ValueError(
            f"{root} has test pictures of {listed(strange)}, not in train; known classes: {', '.join(known)}"
        )
    own = Counter(name.rpartition("/")[2] for name in known)
    short = [name.rpartition("/")[2] if own[name.rpartition("/")[2]] == 1 else name for name in known]
    known = [full for _, full in sorted(zip(short, known))]
    place = {name: k for k, name in enumerate(known)}
    numbers = {side: torch.tensor([place[name] for name in rows]) for side, rows in names.items()}
    return tuple(sorted(short)), numbers


def _all_different(pixels: dict[str, np.ndarray], root: Path) -> None:
    hashes = {side: row_hashes(each) for side, each in pixels.items()}
    count = len(hashes["train"])
    if count > 1 and len(np.unique(hashes["train"])) == 1:
        raise ValueError(f"all {count} training pictures of {root} came out alike; look at one of the files")
    warn_of_shared(**hashes)


def _about(words: str, depth: int) -> str:
    return words if depth == 8 else f"{words}; grey values 0 to {2**depth - 1} scaled to 0 to 255"
