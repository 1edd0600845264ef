"""Cards: pictures as HTML, sharp and safe."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from imu_lab.tasks import cards


def shown(card: str) -> np.ndarray:
    """The pixels inside a card."""
    source = re.search(r"base64,([^\"]+)", card)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))


def test_a_small_picture_is_enlarged_by_a_whole_number() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 20, 3), dtype=np.uint8)
    assert np.array_equal(shown(cards.picture(pixels, "name", "words")), pixels.repeat(3, 0).repeat(3, 1))


def test_a_large_picture_stays() -> None:
    assert shown(cards.picture(np.zeros((200, 90, 3), np.uint8), "", "")).shape == (200, 90, 3)


def test_words_are_escaped() -> None:
    card = cards.picture(np.zeros((8, 8, 3), np.uint8), '"><script>', "<b>class</b>")
    assert "<script>" not in card and "<b>" not in card and "&lt;b&gt;" in card


def test_the_words_of_a_card_come_alone_where_somebody_has_the_pictures() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    with cards.words_alone():
        alone = cards.picture(pixels, "example 3", "a < b")
    assert alone == "<figure><figcaption>a &lt; b</figcaption></figure>"
    assert "<img" in cards.picture(pixels, "example 3", "a < b")
