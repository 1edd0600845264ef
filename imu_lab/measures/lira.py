"""Likelihood ratios over shadow models: is a sample's log-odds that of a model that saw it, or of one that did not?

Sources: Carlini et al. 2022 (arXiv 2112.03570); of models that unlearned the sample, Hayes et al. 2024 (arXiv 2403.01218).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FEW = 16  # models on a side, below which all samples share one deviation
FOLDS = 8
LEAST = 1e-3  # a deviation of log-odds below that is not told from rounding


class Normals(NamedTuple):
    """Of each sample the normal distribution of its log-odds under models that saw it, and under models that did not.

    Attributes:
        mean, deviation: (2, n), those that saw it first.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, seen: np.ndarray, never: np.ndarray) -> Normals:
        """Through (t, n) log-odds on each side; of fewer than 16 models samples share a side's deviation."""
        sides = (seen, never)
        variance = np.stack([side.var(0, ddof=1) for side in sides])
        if len(seen) < FEW:
            variance = np.broadcast_to(variance.mean(1, keepdims=True), variance.shape)
        return cls(np.stack([side.mean(0) for side in sides]), np.sqrt(variance).clip(LEAST))

    def ratio(self, log_odds: np.ndarray) -> np.ndarray:
        """(..., n) log N(φ; seen) − log N(φ; never): above 0 the sample was probably seen."""
        one, other = (-0.5 * ((log_odds - mean) / deviation) ** 2 - np.log(deviation) for mean, deviation in zip(*self))
        return one - other

    def overlap(self) -> np.ndarray:
        """(n,) the area that the two densities share: 1 where nothing tells them apart, 0 where everything does."""
        low = (self.mean - 8 * self.deviation).min(0)
        high = (self.mean + 8 * self.deviation).max(0)
        places = low + np.linspace(0, 1, 4001)[:, None] * (high - low)  # (m, n)
        densities = [
            np.exp(-0.5 * ((places - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
            for mean, deviation in zip(*self)
        ]
        return np.trapezoid(np.minimum(*densities), axis=0) * (high - low) / (len(places) - 1)


def held_out(seen: np.ndarray, never: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(t, n) and (t, n) the ratios of models that saw each sample and of those that did not, by normals of other models.

    Whoever scores the models that the normals were fitted to finds leaks where there is noise alone.

    Args:
        seen, never: (t, n) log-odds; row i of both is one pair of models.
    """
    fold = np.arange(len(seen)) % FOLDS
    ratios = np.empty((2, *seen.shape))
    for each in np.unique(fold):
        mine = fold == each
        normals = Normals.of(seen[~mine], never[~mine])
        ratios[:, mine] = normals.ratio(seen[mine]), normals.ratio(never[mine])
    return ratios[0], ratios[1]


def accuracy(seen: np.ndarray, never: np.ndarray, axis: int = -1) -> np.ndarray:
    """The share of right answers of who calls a sample seen where its ratio is above 0, half of each kind."""
    return ((seen > 0).mean(axis) + (never <= 0).mean(axis)) / 2
