"""What is said of an answer: a card for notebooks, a sentence everywhere else."""

from __future__ import annotations

import html
from dataclasses import dataclass

HEADS = {
    "right": ("Right.", "✓", "#1a7f37"),
    "wrong": ("Not yet.", "✗", "#c62828"),
    "mistyped": ("This cannot be read as an answer.", "✗", "#c62828"),
    "open": ("No answer yet.", "·", "#808080"),
}


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer to an exercise.

    Attributes:
        name: of the exercise.
        state: ``"right"``, ``"wrong"``, ``"mistyped"``, or ``"open"`` where there is no answer yet.
        words: the reason where it is right; else what is missing, or what can be given.
        hints: from the first push to nearly the answer; none where it is right.
    """

    name: str
    state: str
    words: str
    hints: tuple[str, ...] = ()

    @property
    def right(self) -> bool | None:
        """True or False; None where there is no answer yet."""
        return None if self.state == "open" else self.state == "right"

    def __bool__(self) -> bool:
        return self.state == "right"

    def hint(self, number: int = 1) -> str:
        """The hint of this number, from 1 on."""
        if not 1 <= number <= len(self.hints):
            raise ValueError(f"there is no hint {number} to {self.name} here; there are {len(self.hints)}")
        return self.hints[number - 1]

    def __repr__(self) -> str:
        return f"{self.name}: {HEADS[self.state][0]} {self.words}"

    def _repr_html_(self) -> str:
        head, mark, colour = HEADS[self.state]
        return (
            f'<div role="status" style="border-left:6px solid {colour};background:{colour}1a;padding:6px 12px;'
            f'max-width:760px;overflow-wrap:anywhere"><b style="color:{colour}">{mark}</b> '
            f"<b>{html.escape(self.name)}: {head}</b> {html.escape(self.words)}{self._unfolding()}</div>"
        )

    def _unfolding(self) -> str:
        """The hints, each inside the one before it: one reads the second only after the first."""
        folded = ""
        for number in range(len(self.hints), 0, -1):
            words = html.escape(self.hints[number - 1])
            folded = f"<details><summary>Hint {number} of {len(self.hints)}</summary>{words}{folded}</details>"
        return folded
