"""From influences to intensities: who gets how much of the pressure.

A rule maps one number per sample to weights ≥ 0; the caller normalises them to sum to 1. A rule is given the
influences, or another column of their record if its ``reads`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from .core.knobs import knob, plain
from .core.records import Influence, Intensity
from .core.registry import intensity_rule, intensity_rules


def _other_rules() -> tuple[str, ...]:
    return tuple(name for name in intensity_rules if name != "shuffled")


@intensity_rule("sqrt-clipped")
@dataclass(frozen=True)
class SqrtClipped:
    """The paper's rule: keep I_i < 0, of these the top fraction by |I_i|; w_i = √|I_i|, clipped at a quantile.

    Source: Fan et al. 2025 (arXiv 2508.01620), influence-guided weights. Clipping guards against outliers.
    """

    quantile: float = knob(
        0.93, help="Clip the weights at this quantile of the kept ones.", valid="(0, 1]", range=(0.05, 1.0)
    )
    top: float = knob(
        1.0, help="Keep this share of the negative influences, the largest first.", valid="(0, 1]", range=(0.05, 1.0)
    )

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; 0 for dropped samples."""
        strength = np.where(influence < 0, -influence, 0.0)
        negative = np.flatnonzero(strength)
        count = int(np.ceil(round(self.top * len(negative), 9)))  # 0.07 of 100 is 7, not 7.000000000000001
        kept = negative[np.argsort(-strength[negative], kind="stable")[:count]]
        weights = np.zeros(len(influence))
        weights[kept] = np.sqrt(strength[kept])
        if len(kept):
            weights = np.minimum(weights, np.quantile(weights[kept], self.quantile))
        return weights


@intensity_rule("linear")
@dataclass(frozen=True)
class Linear:
    """w_i = |I_i| of the negative influences: outliers take all they can."""

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; 0 for dropped samples."""
        return np.maximum(-influence, 0.0)


@intensity_rule("softmax")
@dataclass(frozen=True)
class Softmax:
    """w_i = exp(−I_i / (τ s)), s the standard deviation of the influences: nobody is dropped."""

    temperature: float = knob(
        1.0, help="τ: small: all to the strongest; large: uniform.", valid="(0, inf)", range=(0.05, 20), scale="log"
    )

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) positive weights."""
        spread = influence.std() or 1.0
        return np.exp(-(influence - influence.min()) / (self.temperature * spread))


@intensity_rule("rank")
@dataclass(frozen=True)
class Rank:
    """w_i = rank of −I_i among the negative influences, 1 for the weakest: only the order counts."""

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; equal influences share their mean rank, dropped samples get 0."""
        weights = np.zeros(len(influence))
        negative = influence < 0
        weights[negative] = pd.Series(-influence[negative]).rank()
        return weights


@intensity_rule("top-fraction")
@dataclass(frozen=True)
class TopFraction:
    """The strongest share of the negative influences, all alike: selection without weighting."""

    top: float = knob(0.2, help="Keep this share of the negative influences.", valid="(0, 1]", range=(0.05, 1.0))

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) ones and zeros."""
        return (SqrtClipped(quantile=1.0, top=self.top)(influence) > 0).astype(float)


@intensity_rule("inverse")
@dataclass(frozen=True)
class Inverse:
    """w_i = 1/√|I_i| of the negative influences, clipped at a quantile: pressure to the best-memorised samples."""

    quantile: float = knob(0.93, help="Clip at this quantile.", valid="(0, 1]", range=(0.05, 1.0))

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; 0 for dropped samples."""
        weights = np.zeros(len(influence))
        negative = influence < 0
        weights[negative] = 1 / np.sqrt(-influence[negative])
        return np.minimum(weights, np.quantile(weights[negative], self.quantile)) if negative.any() else weights


@intensity_rule("uniform")
@dataclass(frozen=True)
class Uniform:
    """Control: every sample the same. Equals gradient ascent on the same parameters."""

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) ones."""
        return np.ones(len(influence))


@intensity_rule("shuffled")
@dataclass(frozen=True)
class Shuffled:
    """Control: another rule's weights, handed to the wrong samples.

    ``of`` is a rule's name, for its default settings, or a rule with settings of its own, such as
    ``imu.intensity_rules.create("sqrt-clipped", quantile=0.5)``; ``how`` then holds it.
    """

    of: Any = knob("sqrt-clipped", help="The rule whose weights are shuffled.", choices=_other_rules)
    seed: int = knob(0, help="Of the permutation.", valid="[0, inf)", range=(0, 20))
    how: Any = None

    def __post_init__(self) -> None:
        if hasattr(type(self.of), "name"):  # a registered rule; anything else fails its knob
            object.__setattr__(self, "how", intensity_rules.create(self.of))
            object.__setattr__(self, "of", type(self.how).name)

    @property
    def inner(self) -> Any:
        """The rule whose weights are shuffled, with its settings."""
        return self.how if self.how is not None else intensity_rules.create(self.of)

    @property
    def reads(self) -> str:
        """What the inner rule reads."""
        return getattr(self.inner, "reads", "influence")

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) the inner rule's weights, permuted."""
        weights = np.asarray(self.inner(influence), dtype=float)
        return np.random.default_rng(self.seed).permutation(weights)


@intensity_rule("gradient-norm")
@dataclass(frozen=True)
class GradientNorm:
    """Control: w_i = ‖g_i‖, no influence at all. Shows how much of a result is gradient size."""

    reads: ClassVar[str] = "gradient_norm"

    def __call__(self, gradient_norm: np.ndarray) -> np.ndarray:
        """(n,) the gradient norms."""
        return gradient_norm


def intensity(scores: Influence, rule: Any = "sqrt-clipped", **settings: Any) -> Intensity:
    """Each forget sample's share of the pressure, from its influence.

    Args:
        scores: from :func:`influence`.
        rule: a name in ``imu_lab.intensity_rules``, or an instance; ``settings`` are its fields.

    Raises:
        ValueError: the rule gave every sample zero, or weights that are negative or not finite.
    """
    chosen = intensity_rules.create(rule, **settings)
    column = getattr(chosen, "reads", "influence")
    table = scores.frame if column in scores.frame else scores.context
    if column not in table:
        raise ValueError(
            f"rule {chosen!r} reads {column!r}, which these scores do not carry (the readout is not one linear "
            f"layer); they have: {', '.join([*scores.frame, *scores.context])}"
        )
    given = table[column].to_numpy().copy()
    weights = np.asarray(chosen(given), dtype=np.float64)
    if weights.shape != given.shape or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            f"rule {chosen!r} must give one finite weight >= 0 per sample; for {len(given)} samples it gave "
            f"shape {weights.shape}, smallest {weights.min() if weights.size else None}"
        )
    if not weights.sum() > 0:
        negative = int((scores.values < 0).sum())
        raise ValueError(
            f"rule {chosen!r} left no sample any weight: {negative} of {len(scores)} influences are negative "
            "(negative means ascend); with another target than the forget set there may be none"
        )
    frame = scores.frame.assign(selected=weights > 0, weight=weights / weights.sum())
    about = {
        "rule": getattr(type(chosen), "name", type(chosen).__name__),
        "settings": plain(chosen),
        "influence": dict(scores.settings),
    }
    return Intensity(frame, scores.context, about)
