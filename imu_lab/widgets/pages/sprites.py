"""Pictures of many samples as a few large ones, in so many bytes: a page cuts each sample's picture out of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..base.gallery import enlarged
from .held import spaced

LARGEST = 64  # pixels of height
ACROSS = 32  # pictures in a row of a sheet, and rows in it
TRIED = 256  # pictures by which the size of all is estimated
QUALITY = 80  # of pictures that are squeezed


class Sprites(NamedTuple):
    """Sheets of pictures.

    Attributes:
        sheets: files, as uint8 arrays. kind: their media type.
        width, height: of one picture, in pixels. across: pictures in a row.
        examples: whose pictures they are, in order.
        squeezed: whether they were made smaller at the cost of exactness.
    """

    sheets: list[np.ndarray]
    kind: str
    width: int
    height: int
    across: int
    examples: list[int]
    squeezed: bool

    def words(self) -> dict[str, Any]:
        """What a page must know to cut a picture out."""
        return {name: getattr(self, name) for name in ("kind", "width", "height", "across")}

    def arrays(self) -> dict[str, np.ndarray]:
        """The sheets, and whose pictures are on them."""
        sheets = {f"sheet {at}": sheet for at, sheet in enumerate(self.sheets)}
        return {"pictured": np.array(self.examples, np.int32), **sheets}


def sprites(look: Callable[[list[int]], Any] | None, examples: Sequence[int], most: int) -> Sprites | None:
    """The pictures of these examples, in at most about ``most`` bytes; None where there are none.

    Exact pictures where they fit; else squeezed ones; and of those as many as fit, evenly spaced.

    Args:
        look: from examples to uint8 (n, h, w, 3), or to None, as a task's ``pictures``.
    """
    examples = [int(example) for example in examples]
    tried = spaced(np.array(examples), TRIED).tolist()
    pictures = look(tried) if look is not None and examples else None
    if pictures is None or not len(pictures):
        return None
    shape = _small(pictures[0]).size
    sample = _sheet(pictures, shape)
    for kind, how in (("png", {"optimize": True}), ("webp", {"quality": QUALITY})):
        fit = int(most / (len(_encoded(sample, kind, how)) / len(tried)))
        if fit >= len(examples):
            break
    kept = spaced(np.array(examples), max(fit, 1)).tolist()
    groups = [kept[at : at + ACROSS**2] for at in range(0, len(kept), ACROSS**2)]
    sheets = [np.frombuffer(_encoded(_sheet(look(group), shape), kind, how), np.uint8) for group in groups]
    return Sprites(sheets, f"image/{kind}", *shape, ACROSS, kept, kind != "png")


def _small(pixels: np.ndarray) -> Image.Image:
    """A picture of at most so many pixels; small ones stay as they are."""
    return Image.fromarray(np.ascontiguousarray(pixels)) if len(pixels) <= LARGEST else enlarged(pixels, LARGEST)


def _sheet(pictures: np.ndarray, shape: tuple[int, int]) -> Image.Image:
    """Pictures in rows, each brought to this width and height."""
    sheet = Image.new("RGB", (ACROSS * shape[0], -(-len(pictures) // ACROSS) * shape[1]))
    for at, pixels in enumerate(pictures):
        picture = _small(pixels)
        picture = picture if picture.size == shape else picture.resize(shape)
        sheet.paste(picture, (at % ACROSS * shape[0], at // ACROSS * shape[1]))
    return sheet


def _encoded(sheet: Image.Image, kind: str, how: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, kind, **how)
    return buffer.getvalue()
