"""Pictures inside figures: small PNGs as data addresses, at places counted in tiles."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..tasks.protocol import pictures_of

COLOURS = 64  # in a stored picture: a third of the size of all colours, and hardly to be seen


def pictures_to_draw(task: Any, examples: Any, source: str, purpose: str = "draw here") -> np.ndarray:
    """uint8 (n, h, w, 3) of these samples of a source.

    Raises:
        ValueError: the task shows none of it, so that there is nothing to ``purpose``.
    """
    if (found := pictures_of(task, examples, source)) is None:
        raise ValueError(
            f"{type(task).__name__} gives no pictures of its {source} samples, so that there is nothing to {purpose}"
        )
    return found


def address(pixels: np.ndarray, frame: str | None = None, height: int = 128) -> str:
    """A ``data:`` address of a picture.

    Args:
        pixels: uint8 (h, w, 3).
        frame: the colour of a frame around it, or None.
        height: enlarge small pictures to about this many pixels, by a whole number, so that pixels stay sharp.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels)).quantize(COLOURS).convert("RGB")
    scale = max(1, round(height / picture.height))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    if frame is not None:
        picture = ImageOps.expand(picture, border=5, fill=frame)
    buffer = io.BytesIO()
    picture.quantize(COLOURS + 1).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def tile(source: str, x: float, y: float, wide: float = 0.94, tall: float = 0.94, axis: str = "") -> dict[str, Any]:
    """A layout image around the point (x, y) of the axes ``x<axis>``, ``y<axis>``; its proportions are kept."""
    size = dict(sizex=wide, sizey=tall, sizing="contain", xanchor="center", yanchor="middle", layer="above")
    return dict(source=source, x=x, y=y, xref=f"x{axis}", yref=f"y{axis}") | size
