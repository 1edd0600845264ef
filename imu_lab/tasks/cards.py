"""What cards are made of: a picture with its caption, as a piece of HTML."""

from __future__ import annotations

import base64
import html
import io

import numpy as np

HEIGHT = 128  # pixels, at least


def picture(pixels: np.ndarray, name: str, caption: str) -> str:
    """HTML of a picture and its caption; the words are escaped here.

    Args:
        pixels: uint8 (h, w, 3), enlarged by a whole number so that each stays a sharp square.
        name: read aloud instead of the picture.
        caption: below it.
    """
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
