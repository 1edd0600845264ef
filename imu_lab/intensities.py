"""From influences to intensities: who gets how much of the pressure.

A rule maps one number per sample to weights ≥ 0, which are then divided by their sum. It is given the influences, or
the column of their record that its ``reads`` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from .core.knobs import knob, name_of, plain
from .core.messages import listed, shown
from .core.records import Influence, Intensity, aligned
from .core.registry import intensity_rule, intensity_rules
from .core.running import real_numbers


@intensity_rules.contract
class IntensityRule:
    """Who gets how much of the pressure: from one number per sample to weights ≥ 0.

    Register a frozen dataclass whose fields are its settings; inheriting from this class is not needed::

        @imu.intensity_rule("heaviest")
        @dataclass(frozen=True)
        class Heaviest:
            share: float = imu.knob(0.1, help="Press this share of the samples.", valid="(0, 1]")

            def __call__(self, influence):
                return (influence <= np.quantile(influence, self.share)).astype(float)

        weights = imu.intensity(scores, "heaviest", share=0.2)

    Attributes:
        reads: the column of the scores that the rule is given: ``"influence"``, or one of their context, such as
            ``"gradient_norm"``.
    """

    reads: ClassVar[str] = "influence"

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights ≥ 0 of n samples; the caller divides by their sum. A weight of 0 leaves a sample out."""
        raise NotImplementedError


QUANTILE = {"help": "Clip the weights at this quantile of the kept ones.", "valid": "(0, 1]", "range": (0.05, 1.0)}


def _other_rules() -> tuple[str, ...]:
    return tuple(name for name in intensity_rules if name != "shuffled")


@intensity_rule("sqrt-clipped")
@dataclass(frozen=True)
class SqrtClipped:
    """The paper's rule: of the negative influences keep the largest by |I_i|; w_i = √|I_i|, clipped at a quantile.

    The quantile is one of the kept weights. Clipping guards against outliers. Where ``top`` falls among equal influences,
    the samples that come first in the forget set are kept.

    Source: Fan et al. 2025 (arXiv 2508.01620), influence-guided weights.
    """

    quantile: float = knob(0.93, **QUANTILE)
    top: float = knob(
        1.0, help="Keep this share of the negative influences, the largest first.", valid="(0, 1]", range=(0.05, 1.0)
    )

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; 0 for samples that are left out."""
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
    """w_i = |I_i| of the negative influences, without clipping: one outlier can take almost all of the pressure."""

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; 0 for samples that are left out."""
        return np.maximum(-influence, 0.0)


@intensity_rule("softmax")
@dataclass(frozen=True)
class Softmax:
    """w_i = exp(−I_i / (τ s)), s the standard deviation of the influences: every sample takes part."""

    temperature: float = knob(
        1.0,
        help="Temperature τ: low gives all to the strongest, high makes the weights uniform.",
        valid="(0, inf)",
        range=(0.05, 20),
        scale="log",
    )

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) positive weights."""
        # So that the squares behind the spread are numbers, whatever the unit.
        influence = influence / (np.abs(influence).max(initial=0.0) or 1.0)
        spread = influence.std() or 1.0
        return np.exp(-(influence - influence.min()) / (self.temperature * spread))


@intensity_rule("rank")
@dataclass(frozen=True)
class Rank:
    """w_i = rank of −I_i among the negative influences, 1 for the weakest: only their order matters."""

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; equal influences share their mean rank, samples that are left out get 0."""
        weights = np.zeros(len(influence))
        negative = influence < 0
        weights[negative] = pd.Series(-influence[negative]).rank()
        return weights


@intensity_rule("top-fraction")
@dataclass(frozen=True)
class TopFraction:
    """The strongest share of the negative influences, all with one weight: selection without weighting.

    Of equal influences those of the samples that come first in the forget set are kept.
    """

    top: float = knob(0.2, help="Keep this share of the negative influences.", valid="(0, 1]", range=(0.05, 1.0))

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) ones and zeros."""
        return (SqrtClipped(quantile=1.0, top=self.top)(influence) > 0).astype(float)


@intensity_rule("inverse")
@dataclass(frozen=True)
class Inverse:
    """w_i = 1/√|I_i| of the negative influences, clipped at a quantile: the paper's rule turned round.

    The samples that the model fits best have small gradients and small influences; here they get the most pressure.
    """

    quantile: float = knob(0.93, **QUANTILE)

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) weights; 0 for samples that are left out."""
        weights = np.zeros(len(influence))
        negative = influence < 0
        weights[negative] = 1 / np.sqrt(-influence[negative])
        return np.minimum(weights, np.quantile(weights[negative], self.quantile)) if negative.any() else weights


@intensity_rule("uniform")
@dataclass(frozen=True)
class Uniform:
    """Control: every sample has the same weight. IMU is then gradient ascent on the same parameters."""

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) ones."""
        return np.ones(len(influence))


@intensity_rule("shuffled")
@dataclass(frozen=True)
class Shuffled:
    """Control: the weights of another rule, handed to the wrong samples.

    Attributes:
        of: a rule's name, for its default settings, or a rule with settings of its own, such as
            ``imu.intensity_rules.create("sqrt-clipped", quantile=0.5)``.
        seed: of the permutation.
        how: the rule with its settings, where ``of`` was given as one; ``of`` then holds its name.
    """

    of: Any = knob("sqrt-clipped", help="The rule whose weights are shuffled.", choices=_other_rules)
    seed: int = knob(0, help="The seed of the permutation.", valid="[0, inf)", range=(0, 20))
    how: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.how, Mapping):  # the settings of a saved record
            object.__setattr__(self, "how", intensity_rules.create(self.of, **self.how))
        elif is_dataclass(self.of) and name_of(self.of) in _other_rules():  # anything else fails its knob
            object.__setattr__(self, "how", intensity_rules.create(self.of))
            object.__setattr__(self, "of", name_of(self.how))

    @property
    def inner(self) -> Any:
        """The rule whose weights are shuffled, with its settings."""
        return self.how if self.how is not None else intensity_rules.create(self.of)

    @property
    def reads(self) -> str:
        """What the inner rule reads."""
        return intensity_rules.declared(self.inner, "reads")

    def __call__(self, influence: np.ndarray) -> np.ndarray:
        """(n,) the inner rule's weights, permuted."""
        weights = np.asarray(self.inner(influence), dtype=float)
        return np.random.default_rng(self.seed).permutation(weights)


@intensity_rule("gradient-norm")
@dataclass(frozen=True)
class GradientNorm:
    """Control: w_i = ‖g_i‖, no influence at all. It shows how much of a result is due to the size of gradients."""

    reads: ClassVar[str] = "gradient_norm"

    def __call__(self, gradient_norm: np.ndarray) -> np.ndarray:
        """(n,) the gradient norms."""
        return gradient_norm


def intensity(
    scores: Influence, rule: str | Callable[[np.ndarray], np.ndarray] = "sqrt-clipped", **settings: Any
) -> Intensity:
    """Each forget sample's share of the pressure, from its influence.

    Args:
        scores: from :func:`imu_lab.influence`.
        rule: a name in ``imu_lab.intensity_rules``, or an instance; ``settings`` are its fields.

    Raises:
        UnknownName, TypeError, ValueError: an unknown rule or setting, scores without the column that the rule reads,
            or weights that are negative, not finite, or zero for every sample.
    """
    chosen = intensity_rules.create(rule, **settings)
    weights = _weights(chosen, _read(chosen, scores))
    if not (weights > 0).any():
        negative = int((scores.values < 0).sum())
        raise ValueError(
            f"rule {chosen!r} gave every sample the weight zero; {negative} of {len(scores)} influences are negative, "
            "which means ascend. With another target than the forget set there may be none"
        )
    frame = scores.frame.assign(selected=weights > 0, weight=normalised(weights))
    about = {"rule": name_of(chosen), "settings": plain(chosen), "influence": dict(scores.settings)}
    return Intensity(frame, scores.context, about)


def _read(rule: Any, scores: Influence) -> np.ndarray:
    """(n,) a copy of the column that a rule reads, row by row as in the scores' frame."""
    column = intensity_rules.declared(rule, "reads")
    if column in scores.frame:
        return _finite(column, scores.frame["example"], scores.frame[column])
    if column in scores.context:
        # The frame may have been sorted in place since.
        return _finite(column, scores.frame["example"], aligned(scores.context, scores.frame)[column])
    known = listed([*scores.frame, *[name for name in scores.context if name not in scores.frame]])
    raise ValueError(
        f"rule {rule!r} reads {column!r}, which these scores do not carry; they have {known}. The columns of gradients "
        "are known where the readout is one linear layer"
    )


def _finite(column: str, examples: pd.Series, values: pd.Series) -> np.ndarray:
    """(n,) a copy of these values; where one is not finite nobody can say how much pressure is due to its sample."""
    found = values.to_numpy(dtype=np.float64).copy()
    if (wrong := ~np.isfinite(found)).any():
        first = int(wrong.argmax())
        raise ValueError(
            f"{int(wrong.sum())} of {len(found)} values of {column!r} in these scores are not finite, the first is "
            f"{found[first]:g} of example {examples.iloc[first]}; leave such samples out of the request, or estimate them anew"
        )
    return found


def _weights(rule: Any, given: np.ndarray) -> np.ndarray:
    """(n,) the weights that a rule makes of what it reads, once they are finite and not negative."""
    made = rule(given)
    try:
        weights = real_numbers(made)
    except (TypeError, ValueError) as error:
        raise ValueError(f"rule {rule!r} must return an array of numbers; it gave {shown(made)} ({error})") from None
    if weights.shape != given.shape:
        raise ValueError(
            f"rule {rule!r} must return one weight per sample, shape {given.shape}; it gave shape {weights.shape}"
        )
    wrong = ~np.isfinite(weights) | (weights < 0)
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"rule {rule!r} must return finite weights >= 0; {int(wrong.sum())} of {len(weights)} are not, the first is "
            f"{weights[first]:g}, made of {given[first]:g}"
        )
    return weights


def normalised(values: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, also where their own sum is too large for a number."""
    with np.errstate(over="ignore"):
        total = values.sum()
    return values / total if np.isfinite(total) else normalised(values / values.max())
