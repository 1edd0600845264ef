"""What an influence of −0.3 means: a small step on one sample alone, and how it changes the target's loss.

A step of rate η up sample i's loss along the preconditioned gradient, θ + η F⁻¹g_i, changes the target's mean loss by
η ḡᵀF⁻¹g_i = −η I_i to first order: with η = 0.01 an influence of −0.3 is a rise of 0.003 nats. The plain step,
θ + η g_i, changes it by η ḡᵀg_i, whose sign can differ.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..core import registry
from ..core.records import Influence
from ..core.running import one_thread
from ..features import view
from ..features.gradients import Gradient, gradients_of
from ..features.targets import Target, target_examples
from ..tasks.around import InDoublePrecision
from ..tasks.evaluation import mean_loss
from ..tasks.protocol import Examples, Task

SAMPLES = 200  # each needs a pass over the target


@dataclass(frozen=True, eq=False)
class OneStepCheck:
    """What a small step on each sample alone was predicted to do to the target's mean loss, and what it did.

    Attributes:
        table: ``example, influence, predicted, measured, plain_predicted, plain_measured``, changes in nats:
            ``predicted`` is −η I_i, ``measured`` after θ + η F⁻¹g_i (θ + η g_i for any other estimator);
            ``plain_*`` after θ + η g_i.
    """

    table: pd.DataFrame

    @property
    def correlation(self) -> float:
        """Pearson's, of predicted with measured changes; NaN where either is the same for all."""
        return float(self.table["predicted"].corr(self.table["measured"], min_periods=2))

    @property
    def plain_correlation(self) -> float:
        """Of predicted changes with those of the plain step."""
        return float(self.table["predicted"].corr(self.table["plain_measured"], min_periods=2))

    @property
    def opposed(self) -> float:
        """The share of samples whose plain step moves the loss the other way than the influence says."""
        return float((np.sign(self.table["plain_measured"]) != np.sign(self.table["predicted"])).mean())

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"OneStepCheck({len(self)} samples, correlation {self.correlation:.4f}, {self.opposed:.0%} opposed)"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def one_step_check(
    task: Task,
    model: nn.Module,
    scores: Influence,
    *,
    size: float = 1e-6,
    target: Target = "forget",
    samples: int | None = SAMPLES,
    seed: int = 0,
) -> OneStepCheck:
    """Predicted against measured change of the target's mean loss after one small step on one sample alone.

    >>> check = imu.one_step_check(task, model, imu.influence(task, model), samples=60)
    >>> imu.plot_one_step(check)

    Args:
        scores: influences on this task and model; if they are preconditioned by a diagonal Fisher, so is the step.
        size: η, the rate of the step.
        target: the target of these scores.
        samples: how many to check at most, drawn by ``seed``; None for all.
    """
    if not size > 0:
        raise ValueError(f"size must be above 0, got {size}")
    cached, part = view(task, model)
    precise = InDoublePrecision(cached)
    forget = precise.split("forget")
    if not np.array_equal(scores.frame["example"], forget.ids.numpy()):
        raise ValueError(
            f"these {len(scores)} scores were computed for another forget set than this task's, of {len(forget)} samples; "
            "compute them with this task"
        )
    targets = target_examples(cached, target, cached.split("forget")).in_precision(torch.float64)
    moved = copy.deepcopy(part).double()
    chosen = _chosen(len(forget), samples, seed)
    with one_thread():
        inverse, mean = _inverse(precise, moved, forget, scores), gradients_of(precise, moved).mean(targets)
        rows = [_row(precise, moved, targets, forget.take([k]), inverse, mean, size) for k in chosen]
    frame = pd.DataFrame(rows, columns=["measured", "plain_predicted", "plain_measured"])
    frame.insert(0, "predicted", -size * scores.values[chosen])
    frame.insert(0, "influence", scores.values[chosen])
    frame.insert(0, "example", scores.frame["example"].to_numpy()[chosen])
    return OneStepCheck(frame)


def _chosen(count: int, samples: int | None, seed: int) -> np.ndarray:
    if samples is None or samples >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, samples, replace=False))


def _inverse(task: Task, model: nn.Module, forget: Examples, scores: Influence) -> Gradient | None:
    """The diagonal of F⁻¹ of the scores' estimator; None where its preconditioner is not diagonal."""
    if scores.settings.get("estimator") != "fisher-diagonal":
        return None
    estimator = registry.estimators.create("fisher-diagonal", **scores.settings["settings"])
    fisher = gradients_of(task, model).moments(forget)[1]
    return estimator.inverse(fisher)


def _row(
    task: Task,
    model: nn.Module,
    targets: Examples,
    one: Examples,
    inverse: Gradient | None,
    mean: Gradient,
    size: float,
) -> tuple[float, float, float]:
    """The target's change by a step on one sample: measured with the preconditioner, predicted and measured without."""
    gradient = gradients_of(task, model).mean(one)
    before = mean_loss(task, model, targets)
    plain = _change(task, model, targets, gradient, size, before)
    predicted = size * sum((gradient[name] * mean[name]).sum().item() for name in gradient)
    if inverse is None:
        return plain, predicted, plain
    shaped = {name: part * inverse[name] for name, part in gradient.items()}
    return _change(task, model, targets, shaped, size, before), predicted, plain


def _change(task: Task, model: nn.Module, targets: Examples, step: Gradient, size: float, before: float) -> float:
    """The change of the target's mean loss under θ + η · step; the model is put back bit for bit."""
    values = {name: value for name, value in model.named_parameters() if name in step}
    start = {name: value.detach().clone() for name, value in values.items()}
    with torch.no_grad():
        for name, value in values.items():
            value.add_(step[name], alpha=size)
        try:
            return mean_loss(task, model, targets) - before
        finally:
            for name, value in values.items():
                value.copy_(start[name])
