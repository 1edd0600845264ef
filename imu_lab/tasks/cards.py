"""What cards are made of: a picture with its caption, as a piece of HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

HEIGHT = 128  # pixels, at least
_are_drawn: ContextVar[bool] = ContextVar("pictures are drawn", default=True)


@contextmanager
def words_alone() -> Iterator[None]:
    """Cards made meanwhile leave their pictures out, for whoever wants the words of thousands and has the pictures."""
    before = _are_drawn.set(False)
    try:
        yield
    finally:
        _are_drawn.reset(before)


def words(text: str) -> str:
    """A text as HTML in which it is nothing but a text, in its own direction."""
    return f'<bdi style="white-space:pre-wrap">{html.escape(text)}</bdi>'


NEGATIVE, POSITIVE = "213,94,0", "0,114,178"  # the colours of forgetting and of keeping


def strip(tokens: Sequence[str], values: Sequence[float]) -> str:
    """HTML of a row of tokens, each on the colour of its value: the stronger, the larger; orange below 0, blue above."""
    most = max(map(abs, values), default=0.0) or 1.0
    cells = (
        f'<span title="{value:.4g}" style="background:rgba({NEGATIVE if value < 0 else POSITIVE},'
        f'{0.6 * abs(value) / most:.2f})">{words(token)}</span>'
        for token, value in zip(tokens, values)
    )
    return "".join(cells)


def picture(pixels: np.ndarray, name: str, caption: str) -> str:
    """HTML of a picture and its caption; the words are escaped here.

    Args:
        pixels: uint8 (h, w, 3), enlarged by a whole number so that each stays a sharp square.
        name: read aloud instead of the picture.
        caption: below it.
    """
    if not _are_drawn.get():
        return f"<figure><figcaption>{html.escape(caption)}</figcaption></figure>"
    from PIL import Image

    scale = max(1, HEIGHT // pixels.shape[0])
    buffer = io.BytesIO()
    drawn = Image.fromarray(pixels)
    drawn.resize((drawn.width * scale, drawn.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
    source = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{source}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
