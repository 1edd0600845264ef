"""What a page holds of a run's samples: as many samples and updates as fit, evenly spaced, as arrays of few bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from ...figures.trajectories import order_of_samples
from ...studies.landscape import Landscape

SAMPLES = 5_000  # forget samples in a page
KEPT = 1_500  # kept samples around them
UPDATES = 61  # after which samples are followed
STEPS_OF_A_SHARE = 65_534  # a probability as a whole number of two bytes; the one above means that there is none
STEPS_OF_A_MARGIN = 32_766  # on either side of 0; -32,768 means that there is none
NO_CLASS = 65_535


class Held:
    """The samples of a landscape that go into a page, the forget set first.

    Attributes:
        land: where they lie.
        rows: (n,) their rows in the landscape. examples: (n,) their ids.
        count: forget samples among them.
        steps: (s,) the updates after which they are followed.
    """

    def __init__(self, land: Landscape) -> None:
        self.land = land
        forget = spaced(np.flatnonzero(land.forgotten), SAMPLES)
        kept = spaced(np.flatnonzero(~land.forgotten), KEPT)
        self.count, self.rows = len(forget), np.concatenate([forget, kept])
        self.examples = land.examples[self.rows]
        self.steps = spaced(land.steps, UPDATES)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Everything that is drawn, by name."""
        confidence, margin, predicted = self._followed
        lost = np.stack([self.land.lost(int(step))[self.rows] for step in self.steps], 1)
        names, labels = np.unique(self.land.labels[self.rows].astype(str), return_inverse=True)
        borders = [self.land.logits_of_the_plane(int(step)) for step in self.steps]
        found = {
            "examples": self.examples.astype(np.int32),
            "places": self.land.places[self.rows].astype(np.float32),
            "labels": labels.astype(np.uint16),
            "order": self._order.astype(np.int32),
            "steps": self.steps.astype(np.int32),
            "confidence": shares(confidence[: self.count]),
            "predicted": np.where(predicted < 0, NO_CLASS, predicted).astype(np.uint16),
            "lost": lost[self.count :].astype(np.uint8),
        }
        if self.has_margins:
            found["margin"] = whole_numbers(margin[: self.count], self.largest_margin)
        if all(border is not None for border in borders):
            found["borders"] = np.stack(borders).astype(np.float32)
        return found

    @property
    def label_names(self) -> list[str]:
        """The labels there are, in the order of the numbers that stand for them."""
        return np.unique(self.land.labels[self.rows].astype(str)).tolist()

    @property
    def has_margins(self) -> bool:
        """Whether the run tells margins."""
        return bool(np.isfinite(self._followed[1][: self.count]).any())

    @property
    def largest_margin(self) -> float:
        """The end of the scale of margins: the largest, whichever its sign."""
        margin = np.abs(self._followed[1][: self.count])
        return float(margin[np.isfinite(margin)].max(initial=0.0)) or 1.0

    @cached_property
    def _followed(self) -> tuple[np.ndarray, ...]:
        """(n, s) confidence, margin and predicted class."""
        states = [self.land.state(int(step)) for step in self.steps]
        return tuple(np.stack([part[self.rows] for part in parts], 1) for parts in zip(*states))

    @cached_property
    def _order(self) -> np.ndarray:
        """(count,) the forget samples from the one forgotten first to those never forgotten, as rows of the page."""
        sorted_examples = order_of_samples(self.land.run)
        place = {int(example): at for at, example in enumerate(self.examples[: self.count])}
        return np.array([place[int(each)] for each in sorted_examples if int(each) in place], dtype=int)


def spaced(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, evenly spaced, the first and the last among them."""
    return values if len(values) <= most else values[np.linspace(0, len(values) - 1, most).round().astype(int)]


def shares(values: np.ndarray) -> np.ndarray:
    """Probabilities as whole numbers of two bytes."""
    known = np.isfinite(values)
    scaled = np.clip(np.where(known, values, 0.0), 0, 1) * STEPS_OF_A_SHARE
    return np.where(known, scaled.round(), STEPS_OF_A_SHARE + 1).astype(np.uint16)


def whole_numbers(values: np.ndarray, largest: float) -> np.ndarray:
    """Values from ``-largest`` to ``largest`` as whole numbers of two bytes."""
    known = np.isfinite(values)
    scaled = np.where(known, values, 0.0) / largest * STEPS_OF_A_MARGIN
    return np.where(known, scaled.round(), -32_768).astype(np.int16)
