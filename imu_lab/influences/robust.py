"""Influences that a few strange samples cannot bend: four guards on the diagonal-Fisher estimate, each at a price.

A planted outlier has a huge gradient: it enters the mean linearly, the Fisher squared, and its own score again.
Trimming forgets the largest gradients altogether; the median of means lets no block of samples decide; normalising and
capping take the size out of a sample's own score. All lose some of what honest, badly fitted samples have to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features.gradients import Gradient, gradients_of
from ..tasks.protocol import Examples, Task
from .fisher import Damped


@estimator("fisher-trimmed")
@dataclass(frozen=True)
class Trimmed(Damped):
    """−g_iᵀF⁻¹ḡ with Fisher and mean over all but the samples with the largest ‖g_i‖; these still get a score.

    Source: the trimmed mean (Tukey 1960), by gradient norm, so that nothing per coordinate is kept.
    """

    trim: float = knob(
        0.1, help="Share of samples, the largest gradients first, left out.", valid="[0, 1)", range=(0, 0.5)
    )

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        mean, fisher = gradients.moments(self._kept(mine.norms(), forget))
        if target is not forget:
            mean = gradients.mean(self._kept(gradients.norms(target), target))
        return -mine.along(self.solved(mean, fisher))

    def _kept(self, norms: Tensor, examples: Examples) -> Examples:
        count = max(1, round((1 - self.trim) * len(examples)))
        return examples.take(norms.cpu().argsort(stable=True)[:count].sort().values)


@estimator("fisher-median-of-means")
@dataclass(frozen=True)
class MedianOfMeans(Damped):
    """−g_iᵀF⁻¹ḡ, each entry of Fisher and mean the median of its means over random blocks of samples.

    Holds while fewer than half of the blocks are contaminated; the median of few blocks is noisier than the mean. The blocks
    are drawn by place: the same samples in another order fall into others, as under another ``seed``.

    Source: Nemirovsky & Yudin 1983; Lugosi & Mendelson 2019 (arXiv 1906.04280).
    """

    blocks: int = knob(7, help="Blocks; 1 is the plain mean.", valid="[1, inf)", range=(1, 25))
    seed: int = knob(0, help="Of the blocks.", valid="[0, inf)", range=(0, 20))

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        pairs = [gradients.moments(block) for block in self._blocks(forget)]
        means, fisher = [mean for mean, _ in pairs], _median([square for _, square in pairs])
        if target is not forget:
            means = [gradients.mean(block) for block in self._blocks(target)]
        return -gradients.along(forget, self.solved(_median(means), fisher))

    def _blocks(self, examples: Examples) -> list[Examples]:
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(self.seed))
        return [examples.take(part) for part in order.tensor_split(min(self.blocks, len(examples)))]


def _median(parts: list[Gradient]) -> Gradient:
    """Entry by entry; between the middle two where they are even in number."""
    return {name: torch.stack([part[name] for part in parts]).quantile(0.5, dim=0) for name in parts[0]}


@estimator("fisher-self-normalised")
@dataclass(frozen=True)
class SelfNormalised(Damped):
    """−g_iᵀF⁻¹ḡ / √(g_iᵀF⁻¹g_i): the target's loss changed per unit of change to the model. 0 where g_i vanishes.

    Source: RelatIF (Barshan et al. 2020, arXiv 2003.11630), under the diagonal Fisher.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) relative influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        mean, fisher = mine.moments()
        if target is not forget:
            mean = gradients.mean(target)
        size = mine.quadratic(self.inverse(fisher)).sqrt()
        return -mine.along(self.solved(mean, fisher)) / size.clamp_min(1e-30)


@estimator("fisher-leverage-capped")
@dataclass(frozen=True)
class LeverageCapped(Damped):
    """−c_i g_iᵀF⁻¹ Σ_j c_j g_j / n: no preconditioned gradient is longer than a multiple of the median.

    c_i = min(1, √(cap · median(q) / q_i)) with q_i = g_iᵀF⁻¹g_i. Another target than the forget set is capped alike.

    Source: bounded-influence estimation (Hampel et al. 1986), Huber's weights on the leverage.
    """

    cap: float = knob(4.0, help="Leverage allowed, in medians.", valid="(0, inf)", range=(0.5, 50.0), scale="log")

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        whose = mine if target is forget else gradients.on(target)
        _, fisher = mine.moments()
        inverse = self.inverse(fisher)
        leverage = mine.quadratic(inverse)
        most = self.cap * leverage.median()
        shrunk = _shrunk(leverage, most)
        others = shrunk if target is forget else _shrunk(whose.quadratic(inverse), most)
        return -shrunk * mine.along(self.solved(whose.mean(others), fisher))


def _shrunk(leverage: Tensor, most: Tensor) -> Tensor:
    return (most / leverage.clamp_min(1e-30)).sqrt().clamp_max(1.0)
