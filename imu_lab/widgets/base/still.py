"""Static pictures of panels, for readers of a notebook without a kernel. Made by ``make notebooks``, never by a user.

A widget cannot be seen without its kernel, so a committed notebook carries a PNG beside it, in the same output: every
viewer that cannot show the widget shows the picture.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from functools import lru_cache

import plotly.graph_objects as go
from PIL import Image, ImageDraw

from . import gallery

WIDTH = 1120  # pixels, about a notebook's text column
MARGIN = 12
BACKGROUND, INK = (255, 255, 255), (60, 60, 60)


def composed(title: str, rows: list) -> bytes:
    """One PNG on white of a panel's rows.

    Args:
        title: above them.
        rows: each a list of figures or PNG bytes that share the width, or a string.
    """
    parts = [_words(title, 18), *[_words(row, 12) if isinstance(row, str) else _side_by_side(row) for row in rows]]
    sheet = Image.new("RGB", (WIDTH, sum(part.height for part in parts) + MARGIN), BACKGROUND)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    buffer = io.BytesIO()
    # 128 colours are enough for lines and words, and a third of the size
    sheet.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _words(text: str, size: int) -> Image.Image:
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, int(1.9 * WIDTH / size)) or [""]]
    strip = Image.new("RGB", (WIDTH, round(1.5 * size * len(lines)) + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for row, line in enumerate(lines):
        draw.text((MARGIN, MARGIN // 2 + round(1.5 * size * row)), line, INK, gallery.font(size))
    return strip


def _side_by_side(row: list) -> Image.Image:
    width = WIDTH // len(row)
    pictures = [
        _figure(item, width) if isinstance(item, go.Figure | go.FigureWidget) else _loaded(item) for item in row
    ]
    strip = Image.new("RGB", (WIDTH, max(picture.height for picture in pictures)), BACKGROUND)
    for position, picture in enumerate(pictures):
        picture.thumbnail((width, picture.height))
        strip.paste(picture, (position * width, 0), picture)
    return strip


def _figure(figure: go.Figure, width: int) -> Image.Image:
    _start_browser()
    still = go.Figure(figure).update_layout(margin_t=None)  # a copy: in a panel the title stands outside the figure
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The kopts argument is ignored"
        )  # plotly's, whenever kaleido keeps its browser
        return _loaded(still.to_image("png", width=width, height=(figure.layout.height or 360) + 40))


def _loaded(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGBA")


@lru_cache(maxsize=1)
def _start_browser() -> None:
    """One browser for all pictures: 0.3 s each instead of 3 s."""
    import kaleido

    kaleido.start_sync_server()
