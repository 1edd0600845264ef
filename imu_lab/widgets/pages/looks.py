"""How pages show samples: their pictures, the words of their cards, and what a column of the ledger means."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import numpy as np

from ...core.quantities import describe
from ...tasks.cards import words_alone
from ...tasks.protocol import offered
from ..base import tables
from .sprites import Sprites, sprites

PICTURES = 2_600_000  # bytes: a page of 5,000 samples stays under 8 MB
CARDS = 1_000_000  # letters of all cards together
PICTURE = re.compile(r"<img\b[^>]*>")


def sprites_of(task: Any, examples: np.ndarray, most: int = PICTURES) -> Sprites | None:
    """The task's pictures of these examples, in so many bytes; None where it has none."""
    return sprites(offered(task).pictures, examples, most)


def column_of(name: str) -> dict[str, str]:
    """A column's name, and what is shown of it."""
    about = describe(name)
    return {"name": name, "title": tables.title(name), "unit": about.unit, "meaning": about.meaning}


def cards_of(task: Any, examples: np.ndarray) -> dict[int, str]:
    """The cards of as many samples as fit, the first ones first; without their pictures, which a page has once."""
    cards: dict[int, str] = {}
    if task is None:
        return cards
    has_pictures, left = offered(task).pictures is not None, CARDS
    with words_alone() if has_pictures else nullcontext():
        for example in examples.tolist():
            card = task.card(example)
            card = PICTURE.sub("", card) if has_pictures else card
            left -= len(card)
            if left < 0:
                break
            cards[example] = card
    return cards
