"""What a method is asked, and what it says after each update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..tasks.protocol import Examples


@dataclass(frozen=True, eq=False)
class Request:
    """What to forget, and with what.

    Attributes:
        forget: the forget set.
        weights: (n,) intensity of each forget example, summing to 1.
        retain: the retain set, or None unless the method declares ``needs_retain``.
        seed: of everything random in the method.
    """

    forget: Examples
    weights: Tensor
    retain: Examples | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Update:
    """What happened in one update. A method may yield None instead: then no terms and no pressure are recorded.

    Attributes:
        terms: named values of the objective and its gradients, before the step.
        positions: (b,) which forget examples the batch held.
        shares: (b,) the pressure each received in it.
    """

    terms: Mapping[str, float] = field(default_factory=dict)
    positions: Tensor | None = None
    shares: Tensor | None = None
