"""What makes a picture or a table of samples clickable: transparent buttons over it.

ipywidgets tells of no click on an image or on HTML. Buttons are also reached by keyboard, and have names to be read out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ipywidgets as W

from .closing import close_all


class Overlay(W.GridBox):
    """Transparent buttons in rows, one per sample, to lie over what shows these samples.

    The buttons are kept and named anew, for to make widgets takes longer than to change them.
    """

    def __init__(self, clicked: Callable[[int], Any]) -> None:
        """``clicked`` takes the example whose button is pressed."""
        self._clicked, self._examples, self._marked = clicked, [], None
        self._pool: list[W.Button] = []
        self._look = dict(layout=W.Layout(width="auto", height="auto", margin="0"), style=W.ButtonStyle())  # shared
        super().__init__()
        self.add_class("imu-overlay")

    def show(self, examples: Sequence[int], columns: int = 1) -> None:
        """Lay one button over each of these examples, which stand in so many columns."""
        self._examples = [int(example) for example in examples]
        while len(self._pool) < len(self._examples):
            self._pool.append(self._made(len(self._pool)))
        for button, example in zip(self._pool, self._examples):
            button.tooltip = f"example {example}"  # also what it is called to those who do not see it
        self.layout.grid_template_columns = f"repeat({columns}, minmax(0, 1fr))"
        if len(self.children) != len(self._examples):
            self.children = self._pool[: len(self._examples)]
        self.mark(self._marked)

    def mark(self, example: int | None) -> None:
        """Put a frame around this example where it is shown, and around no other."""
        self._marked = example
        for button, mine in zip(self._pool, self._examples):
            (button.add_class if mine == example else button.remove_class)("imu-marked")

    def close(self) -> None:
        """Close the buttons too, those that are not shown among them."""
        close_all([*self._pool, *self._look.values()])
        super().close()

    def _made(self, position: int) -> W.Button:
        button = W.Button(**self._look)
        button.on_click(partial(self._pressed, position))
        return button

    def _pressed(self, position: int, _: W.Button) -> None:
        if position < len(self._examples):  # a click may be on its way while fewer are shown
            self._clicked(self._examples[position])


def covered(shown: W.Widget, overlay: Overlay) -> W.GridBox:
    """What is shown, with its overlay on top."""
    return W.GridBox([shown, overlay]).add_class("imu-covered")
