"""Static pictures of panels, for readers of a notebook without a kernel. Made by ``make notebooks``, never by a user.

A widget cannot be seen without its kernel, so a committed notebook carries a PNG beside it, in the same output: every
viewer that cannot show the widget shows the picture.
"""

from __future__ import annotations

import io
import re
import textwrap
from html import escape, unescape

import plotly.graph_objects as go
from PIL import Image, ImageDraw

from ...figures import live
from . import gallery, headless

WIDTH = 1120  # pixels, about a notebook's text column
MARGIN = 12
TITLE_MARGIN, BESIDE, LINE = 64, 70, 20  # pixels above a figure with two lines of words; beside them; of a further one
LETTER = {False: 8.2, True: 6.6}  # pixels that one takes, of a title and of the small words under it
BACKGROUND, INK = (255, 255, 255), (60, 60, 60)


def composed(title: str, rows: list) -> bytes:
    """One PNG on white of a panel's rows.

    Args:
        title: above them.
        rows: each a list of figures or PNG bytes that share the width, or a string.

    Raises:
        headless.NoPicture: the browser that draws figures gave no answer.
    """
    parts = [_words(title, 18), *[_words(row, 12) if isinstance(row, str) else _side_by_side(row) for row in rows]]
    sheet = Image.new("RGB", (WIDTH, sum(part.height for part in parts) + MARGIN), BACKGROUND)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    buffer = io.BytesIO()
    # A third of the size; the colours that are furthest apart are kept, else a small key would lose the colour of its line.
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
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
    still = go.Figure(figure)  # a copy: in a panel the title stands outside the figure
    lines = fitted(figure.layout.title.text or "", width - BESIDE)
    higher = LINE * max(0, lines.count("<br>") - 1)
    margin = None if not higher else TITLE_MARGIN + higher
    still.update_layout(title_text=lines, margin_t=margin)
    return _loaded(headless.png(still, width, (figure.layout.height or 360) + 40 + higher))


def fitted(title: str, width: float) -> str:
    """A figure's title in lines of at most so many pixels; the words that :func:`live.heading` makes small stay so."""
    head, opening, words = re.fullmatch(
        r"(.*?)(?:<br>(<span[^>]*>)(.*)</span>)?", live.unfolded(title), re.DOTALL
    ).groups()
    small = [f"{opening}{line}</span>" for line in _broken(words, width / LETTER[True])] if words else []
    return "<br>".join([*_broken(head, width / LETTER[False]), *small])


def _broken(words: str, letters: float) -> list[str]:
    lines = [line for part in words.split("<br>") for line in textwrap.wrap(unescape(part), int(letters)) or [""]]
    return [escape(line, quote=False) for line in lines]


def _loaded(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGBA")
