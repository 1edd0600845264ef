"""Picture files as pixels: any mode that has one meaning becomes 8-bit RGB, anything else is refused by name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...core import storage
from ...core.running import digest
from ..protocol import Batch, Examples, Positions

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
BACKGROUND = (255, 255, 255)  # behind what is transparent
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners write into pictures of 16
READING = 2  # part of the cache's key: raise it when the same files would give other pixels

log = logging.getLogger(__name__)

Size = int | tuple[int, int] | None


def facts(root: Path, files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file.

    Raises:
        ValueError: one is not there, such as the target of a link (named).
    """
    found = []
    for file in files:
        try:
            about = file.stat()
        except OSError as error:
            raise unreadable(file, error.strerror or error) from error
        found.append((str(file.relative_to(root)), about.st_size, about.st_mtime_ns))
    return found


def decoded(root: Path, files: Sequence[Path], image_size: Size) -> tuple[np.ndarray, int]:
    """(n, h, w, 3) uint8 pictures below ``root``, and the bits of the deepest (see :func:`depth_of`).

    They come from the cache when nothing on disk has changed since. Orientation is applied, what is transparent lies on
    white, the first frame stands for all of a moving picture.

    Args:
        root: the folder; the names below it are part of the cache's key.
        files: the pictures, in order.
        image_size: resize to this many pixels square, or to (height, width); None takes them as they are.

    Raises:
        ValueError: mixed sizes, or a picture that cannot be read (named).
    """
    key = digest(str(root.resolve()), facts(root, files), image_size, READING)
    kept = storage.data_folder() / "decoded"
    for file in kept.glob(f"{key}-*.npy"):
        try:
            return np.load(file, mmap_mode="r", allow_pickle=False), int(file.stem.rpartition("-")[2])
        except (ValueError, EOFError):
            file.unlink()  # damaged: decode again
    depth = depth_of(files)
    pixels = _decoded(files, image_size, depth)
    try:
        storage.write_array(kept / f"{key}-{depth}.npy", pixels)
    except OSError as error:
        log.warning("decoded pictures are not kept, for %s cannot be written: %s", kept, error)
    return pixels, depth


def _decoded(files: Sequence[Path], image_size: Size, depth: int) -> np.ndarray:
    pixels: np.ndarray | None = None
    for row, file in enumerate(tqdm(files, desc="decoding pictures", unit="picture", delay=2, leave=False)):
        picture = read(file, image_size, depth)
        if pixels is None:
            pixels, first = np.empty((len(files), *picture.shape), np.uint8), file
        if picture.shape != pixels.shape[1:]:
            raise ValueError(
                f"pictures of mixed size: {first} is {size_of(pixels)}, {file} is {size_of(picture[None])}; "
                "pass image_size= to resize them all"
            )
        pixels[row] = picture
    return pixels


def depth_of(files: Sequence[Path]) -> int:
    """The bits that the deepest of these pictures uses, 8 where all are of 8: all are then scaled alike."""
    largest = 0
    for file in files:
        with opened(file) as picture:
            if picture.mode == "I" or picture.mode.startswith("I;16"):
                largest = max(largest, int(whole_numbers(picture, file).max()))
    return next(bits for bits in DEPTHS if largest < 2**bits)


def opened(file: Path) -> Any:
    """The picture, not yet decoded.

    Raises:
        ValueError: it cannot be read.
    """
    from PIL import Image

    try:
        return Image.open(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception | str) -> ValueError:
    """The refusal of a picture, with its name."""
    return ValueError(f"cannot read the picture {file}: {error}; remove or replace it")


def read(file: Path, image_size: Size = None, depth: int = 16) -> np.ndarray:
    """(h, w, 3) uint8 of one picture.

    Raises:
        ValueError: it cannot be read, or has values that no rule here scales.
    """
    from PIL import Image, ImageOps

    with opened(file) as picture:
        try:
            picture = in_colour(ImageOps.exif_transpose(picture), file, depth)
            height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
            return np.asarray(picture if image_size is None else picture.resize((width, height)))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise (error if str(file) in str(error) else unreadable(file, error)) from None


def in_colour(picture: Any, file: Path, depth: int) -> Any:
    """The picture in 8-bit RGB: deep ones scaled, transparent ones on :data:`BACKGROUND`."""
    from PIL import Image

    if picture.mode == "F":
        values = np.asarray(picture)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise unreadable(
                file,
                f"its values go from {values.min():g} to {values.max():g}, and only floats in [0, 1] have one meaning",
            )
        return Image.fromarray(np.round(255 * values).astype(np.uint8)).convert("RGB")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        scaled = whole_numbers(picture, file).astype(np.float64) * (255 / (2**depth - 1))
        return Image.fromarray(np.round(scaled).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("La", "RGBa"):  # colours multiplied by their alpha
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (*BACKGROUND, 255)), picture).convert("RGB")
    return picture.convert("RGB")


def whole_numbers(picture: Any, file: Path) -> np.ndarray:
    """(h, w) int64 values of a grey picture of 16 bits.

    Raises:
        ValueError: values that no picture of 16 bits has.
    """
    try:
        values = np.asarray(picture).astype(np.int64)
    except (OSError, SyntaxError, ValueError) as error:
        raise unreadable(file, error) from error
    if values.min() < 0 or values.max() >= 2**16:
        raise unreadable(
            file, f"its values go from {values.min()} to {values.max()}, and only 0 to 65535 have one meaning"
        )
    return values


def size_of(pixels: np.ndarray) -> str:
    """Width and height of (n, h, w, c) pictures, in words."""
    return f"{pixels.shape[2]}x{pixels.shape[1]}"


def statistics(pixels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of pixels in [0, 1], each (c, 1, 1)."""
    channels = pixels.shape[-1]
    count = pixels.size // channels
    total, squares = np.zeros(channels), np.zeros(channels)
    for start in range(0, len(pixels), 4096):
        part = pixels[start : start + 4096].reshape(-1, channels).astype(np.float64) / 255
        total, squares = total + part.sum(0), squares + np.square(part).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return torch.tensor(mean).float()[:, None, None], torch.tensor(deviation).float()[:, None, None]


@dataclass(frozen=True, eq=False)
class Standardised:
    """Fetches pictures as (n, c, h, w), scaled to [0, 1] and standardised per channel.

    Attributes:
        pixels: (n, h, w, c) uint8.
        labels: (n,).
        mean, deviation: (c, 1, 1).
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
class Stretched:
    """Pictures of examples that are images: each from its darkest to its brightest value."""

    examples: Examples

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        images = self.examples.batch(torch.as_tensor(np.asarray(positions), dtype=torch.int64)).inputs
        images = (next(iter(images.values())) if isinstance(images, dict) else images).float()  # (n, c, h, w)
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        grey = (images - low) / (high - low).clamp_min(1e-12)
        return (255 * grey.expand(-1, 3, -1, -1)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@dataclass(frozen=True, eq=False)
class Rows:
    """The pictures (m, h, w, 3) at some positions, as an array of their own; grey ones in three channels."""

    pixels: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        chosen = np.array(self.pixels[np.asarray(positions)])
        return chosen if chosen.shape[-1] == 3 else chosen.repeat(3, -1)
