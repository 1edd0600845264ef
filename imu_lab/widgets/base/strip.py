"""Samples under a line of words: as pictures, or by their names where a task has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as W

from .gallery import Gallery
from .ledger import Pictures


class Strip(W.VBox):
    """A line of words and, under it, the samples that it speaks of; ``clicked`` and ``how`` go to :class:`Gallery`."""

    def __init__(self, pictures: Pictures, clicked: Callable[[int], Any] | None = None, **how: int) -> None:
        self._pictures = pictures
        self.words = W.HTML().add_class("imu-about")
        self.gallery = Gallery(clicked, **how)
        super().__init__([self.words, self.gallery])

    def show(self, words: str, examples: Sequence[int], names: Sequence[str]) -> None:
        """Show these examples under their names; both may be empty."""
        pictures = self._pictures.of(list(examples))
        listed = "" if pictures is not None and names else f" {', '.join(names) or 'None'}."
        self.words.value = f"<p>{words}.{listed}</p>"
        self.gallery.show(pictures, names, examples)
