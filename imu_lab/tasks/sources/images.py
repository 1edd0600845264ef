"""Labelled images from where they are: scikit-learn's digits, a folder of pictures, or a user's own arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...core import storage
from ...core.messages import listed
from ...core.running import digest
from ..protocol import Batch, Examples, Positions


@dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled data set with a training and a test part.

    Attributes:
        train, test: the examples; ids are positions in each part.
        train_labels, test_labels: (n,) int64 class numbers.
        classes: the name of each class.
        key: a digest of the content: equal data, equal key.
        pictures: from positions in the training part to uint8 pictures (n, h, w, 3), or None where there are none.
        channels: of an image; 0 for inputs that are not images.
    """

    train: Examples
    test: Examples
    train_labels: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    key: str
    pictures: Callable[[np.ndarray], np.ndarray] | None = None
    channels: int = 0


@lru_cache(maxsize=1)
def digits() -> Labelled:
    """The UCI handwritten digits inside scikit-learn: 1,437 training and 360 test images of 8x8 grey pixels in [0, 1].

    The split is fixed and stratified by class, so a new request never moves an image from one side to the other.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    sides = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, test = (torch.as_tensor(np.sort(side)) for side in sides)
    labels = torch.as_tensor(labels, dtype=torch.int64)
    return arrays((pixels[train], labels[train]), (pixels[test], labels[test]), tuple("0123456789"))


def arrays(train: tuple | Any, test: tuple | Any, classes: tuple[str, ...] | int) -> Labelled:
    """A labelled data set from ``(x, y)`` tensors or arrays, or from map-style datasets of ``(x_i, y_i)``.

    Args:
        train, test: ``x`` (n, ...) keeps its dtype; ``y`` (n,) integers.
        classes: their names, or how many there are.

    Raises:
        ValueError: NaN or infinite inputs, labels that are not 0..K-1, or inputs and labels of different length.
    """
    names = tuple(str(k) for k in range(classes)) if isinstance(classes, int) else classes
    train_examples, train_labels, train_rows = _part(train, "train", len(names))
    test_examples, test_labels, test_rows = _part(test, "test", len(names))
    shared = len(set(train_rows) & set(test_rows))
    if shared:
        warnings.warn(f"train and test share {shared} identical inputs: test figures will look too good", stacklevel=3)
    key = digest(train_rows, test_rows, train_labels, test_labels, names)
    first = train_examples.batch(slice(0, 1)).inputs
    image = isinstance(first, Tensor) and first.ndim == 4 and first.shape[1] in (1, 3)
    return Labelled(
        train_examples,
        test_examples,
        train_labels,
        test_labels,
        names,
        key,
        _Stretched(train_examples) if image else None,
        first.shape[1] if image else 0,
    )


def _part(data: Any, source: str, classes: int) -> tuple[Examples, Tensor, list[str]]:
    """Examples, labels and a digest of each input of one side of a data set."""
    if isinstance(data, (tuple, list)):
        inputs, labels = (value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value)) for value in data)
        inputs, labels = inputs.detach().clone(), labels.detach().clone()  # the user may edit theirs afterwards
        if len(inputs) != len(labels):
            raise ValueError(
                f"the {source} part has {len(inputs)} inputs and {len(labels)} labels; give one label each"
            )
        labels = checked_labels(labels, classes, source)
        examples = Examples.of(inputs, labels, source=source)
    else:
        labels = checked_labels(torch.as_tensor([int(data[i][1]) for i in range(len(data))]), classes, source)
        examples = Examples(torch.arange(len(labels)), _Streamed(data, labels), source)
    rows = []
    for positions, batch in examples.batches():
        if batch.inputs.is_floating_point() and not torch.isfinite(batch.inputs).all():
            bad = positions.start + int((~torch.isfinite(batch.inputs)).flatten(1).any(1).nonzero()[0])
            raise ValueError(f"{source} input {bad} holds NaN or infinite values; clean the data first")
        rows += [digest(row) for row in batch.inputs]
    return examples, labels, rows


@dataclass(frozen=True, eq=False)
class _Streamed:
    """Fetches from a map-style dataset of pairs, one sample at a time."""

    data: Any
    labels: Tensor

    def __call__(self, at: Positions) -> Batch:
        chosen = torch.arange(len(self.labels))[at]
        return Batch(torch.stack([torch.as_tensor(self.data[int(i)][0]) for i in chosen]), self.labels[chosen])


def checked_labels(labels: Tensor, classes: int, where: str) -> Tensor:
    """Labels as int64, once each is one of 0..classes-1.

    Raises:
        ValueError: a label outside, or labels that are not one integer per example.
    """
    if labels.ndim != 1 or labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise ValueError(
            f"{where} labels must be one integer per example, got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    labels = labels.to(torch.int64)
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ValueError(
            f"{where} labels go from {int(labels.min())} to {int(labels.max())}, but there are {classes} "
            f"classes, 0 to {classes - 1}; number the classes from 0"
        )
    return labels


@dataclass(frozen=True, eq=False)
class _Stretched:
    """Pictures of examples that are images: each from its darkest to its brightest value."""

    examples: Examples

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        at = torch.as_tensor(np.asarray(positions), dtype=torch.int64)
        images = self.examples.batch(at).inputs.float()  # (n, c, h, w)
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        grey = (images - low) / (high - low).clamp_min(1e-12)
        return (255 * grey.expand(-1, 3, -1, -1)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def folder(path: str, image_size: int | None = None) -> Labelled:
    """A folder of pictures, ``train/<class>/*`` and ``test/<class>/*``, decoded once and kept as uint8.

    Pixels are scaled to [0, 1] and standardised by the training part's mean and deviation per channel.

    Args:
        path: the folder.
        image_size: resize every picture to this many pixels square; None takes them as they are.

    Raises:
        FileNotFoundError: no such folder, or no ``train`` or ``test`` in it.
        ValueError: no pictures, a single class, mixed sizes, or a picture that cannot be read (named).
    """
    root = Path(path)
    files = [file for side in ("train", "test") for _, file in _listing(root, side)]
    return _folder(root, image_size, tuple(_facts(root, files)))


@lru_cache(maxsize=2)
def _folder(root: Path, image_size: int | None, facts: tuple) -> Labelled:
    """See :func:`folder`; ``facts`` about the files are there to notice a changed one."""
    lists = {side: _listing(root, side) for side in ("train", "test")}
    classes = tuple(sorted({name for name, _ in lists["train"]}))
    if len(classes) < 2:
        raise ValueError(
            f"{root / 'train'} holds pictures of {listed(list(classes))} only; at least two classes are needed"
        )
    strange = sorted({name for name, _ in lists["test"]} - set(classes))
    if strange:
        raise ValueError(f"{root / 'test'} has {listed(strange)}, not in train; known classes: {', '.join(classes)}")
    pixels = {side: decoded(root, [file for _, file in lists[side]], image_size) for side in lists}
    if pixels["train"].shape[1:] != pixels["test"].shape[1:]:
        raise ValueError(
            f"train pictures are {_size(pixels['train'])}, test pictures {_size(pixels['test'])}; "
            "pass image_size= to resize them all"
        )
    labels = {side: torch.tensor([classes.index(name) for name, _ in lists[side]]) for side in lists}
    mean, deviation = _statistics(pixels["train"])
    examples = {
        side: Examples(torch.arange(len(labels[side])), Standardised(pixels[side], labels[side], mean, deviation), side)
        for side in lists
    }
    key = digest(classes, *pixels.values(), *labels.values())
    return Labelled(
        examples["train"],
        examples["test"],
        labels["train"],
        labels["test"],
        classes,
        key,
        _Rows(pixels["train"]),
        3,
    )


PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")


def _listing(root: Path, side: str) -> list[tuple[str, Path]]:
    """(class, file) of every picture, in a fixed order."""
    if not (root / side).is_dir():
        raise FileNotFoundError(f"no folder {root / side}; an image folder holds train/<class>/* and test/<class>/*")
    found = [(file.parent.name, file) for file in sorted((root / side).glob("*/*")) if file.suffix.lower() in PICTURES]
    if not found:
        raise ValueError(f"no pictures in {root / side}; expected {side}/<class>/* with one of {', '.join(PICTURES)}")
    return found


def _facts(root: Path, files: list[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file."""
    return [(str(file.relative_to(root)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


Size = int | tuple[int, int] | None


def decoded(root: Path, files: list[Path], image_size: Size) -> np.ndarray:
    """(n, h, w, 3) uint8 pictures below ``root``, from the cache when nothing on disk has changed since.

    Args:
        root: the folder; the names below it are part of the cache's key.
        files: the pictures, in order.
        image_size: resize to this many pixels square, or to (height, width); None takes them as they are.

    Raises:
        ValueError: mixed sizes, or a picture that cannot be read (named).
    """
    facts = _facts(root, files)
    kept = storage.data_folder() / "decoded" / f"{digest(str(root.resolve()), facts, image_size)}.npy"
    if kept.exists():
        try:
            return np.load(kept, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError):
            kept.unlink()  # damaged: decode again
    pixels: np.ndarray | None = None
    for row, file in enumerate(tqdm(files, desc="decoding pictures", unit="picture", delay=2, leave=False)):
        picture = _read(file, image_size)
        if pixels is None:
            pixels, first = np.empty((len(files), *picture.shape), np.uint8), file
        if picture.shape != pixels.shape[1:]:
            raise ValueError(
                f"pictures of mixed size: {first} is {_size(pixels)}, {file} is {_size(picture[None])}; "
                "pass image_size= to resize them all"
            )
        pixels[row] = picture
    storage.write_array(kept, pixels)
    return pixels


def _read(file: Path, image_size: Size) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            picture = picture.convert("RGB")
            height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
            return np.asarray(picture if image_size is None else picture.resize((width, height)))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"cannot read the picture {file}: {error}; remove or replace it") from error


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"


def _statistics(pixels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of pixels in [0, 1], each (3, 1, 1)."""
    count = pixels.shape[0] * pixels.shape[1] * pixels.shape[2]
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(pixels), 4096):
        part = pixels[start : start + 4096].reshape(-1, 3).astype(np.float64) / 255
        total, squares = total + part.sum(0), squares + np.square(part).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return torch.tensor(mean).float()[:, None, None], torch.tensor(deviation).float()[:, None, None]


@dataclass(frozen=True, eq=False)
class Standardised:
    """Fetches pictures as (n, 3, h, w), scaled to [0, 1] and standardised per channel.

    Attributes:
        pixels: (n, h, w, 3) uint8.
        labels: (n,).
        mean, deviation: (3, 1, 1).
    """

    pixels: np.ndarray
    labels: Tensor
    mean: Tensor
    deviation: Tensor

    def __call__(self, at: Positions) -> Batch:
        chosen = np.array(self.pixels[at.numpy() if isinstance(at, Tensor) else at])  # a copy: files are read-only
        images = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
        return Batch((images - self.mean) / self.deviation, self.labels[at])


@dataclass(frozen=True, eq=False)
class _Rows:
    """The pictures at some positions, as an array of their own."""

    pixels: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return np.array(self.pixels[np.asarray(positions)])
