"""RMIA offline: is a sample likelier under the model than samples never seen are, each beside models that never saw it?

Source: Zarifzadeh, Liu & Shokri 2024 (arXiv 2312.03262).
"""

from __future__ import annotations

import numpy as np

from ..core.messages import DoesNotApply
from .membership import auc

STEPS = np.linspace(0, 1, 11)  # of a
GAMMA = 1.0  # as in the authors' code; their paper takes 2


def ratios(own: np.ndarray, out: np.ndarray, a: float) -> np.ndarray:
    """(n,) r(x) = p(x) / p̄(x), with p̄(x) = ½ ((1 + a) p_out(x) + 1 − a), for no reference model has seen x.

    Args:
        own: (n,) the probability of the true answer under the model.
        out: (n,) its mean under reference models that never saw the sample.
        a: how much of what they know stands for what a model that saw the sample would; 1 takes p_out alone.
    """
    return own / np.maximum(0.5 * ((1 + a) * out + 1 - a), 1e-300)


def shares_beaten(mine: np.ndarray, population: np.ndarray, gamma: float = GAMMA, among: bool = False) -> np.ndarray:
    """(n,) the share of the population z with r(x) / r(z) > γ.

    Args:
        mine: (n,) r(x).
        population: (m,) r(z) of samples that no model has seen.
        gamma: 1 or more.
        among: whether ``mine`` is the population, of which each sample is then compared with the others.

    Raises:
        ValueError: γ is below 1, or, as :class:`DoesNotApply`, there is nobody to compare with.
    """
    if not gamma >= 1:
        raise ValueError(f"gamma is how many times likelier a sample must be, from 1, got {gamma!r}")
    others = len(population) - among  # at γ ≥ 1 nobody beats itself
    if others < 1:
        raise DoesNotApply(
            "RMIA compares with a population of samples never seen, and there are too few: it takes 2 or more"
        )
    return np.searchsorted(np.sort(population), mine / gamma, side="left") / others


def scores(
    members: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray], a: float, gamma: float = GAMMA
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) and (m,) the scores of members and of samples never seen, which are the population.

    Args:
        members, others: of each, the probability under the model and the mean of it under the reference models.
    """
    mine, population = ratios(*members, a), ratios(*others, a)
    return shares_beaten(mine, population, gamma), shares_beaten(population, population, gamma, among=True)


def tuned(members: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray], gamma: float = GAMMA) -> float:
    """The a of 0, 0.1, ... 1 with the largest area under the curve of a model whose members are known; the smallest of several."""
    areas = [auc(*scores(members, others, a, gamma)) for a in STEPS]
    return float(STEPS[int(np.argmax(np.round(areas, 12)))])
