"""A learning rate for a stranger's model: the one at which the forget set is forgotten in about half the updates asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from ..core.messages import warn
from ..core.registry import methods
from ..core.running import copied
from ..features.cache import ReadoutTask
from ..features.statistics import Statistics
from ..tasks.protocol import Task, offered
from ..unlearning import driver
from ..unlearning.driver import StopRule
from ..unlearning.recorder import Recorder
from ..unlearning.request import Request, even_weights

LOWEST, HIGHEST = 1e-7, 1e2
TRIALS = 14  # runs of the search, at most
EARLY, LATE = 0.35, 0.65  # of the updates asked: a goal that is reached in between is reached in about half
NEVER, DIVERGED = math.inf, -math.inf  # outcomes of a trial: its rate was too small, or too large
# Without a goal of the task's own: accuracy falls to this share, or the loss rises by so many nats.
FALL, RISE = 0.9, 0.5


class Found(NamedTuple):
    """A learning rate, and the update at which the goal was reached with it; None where it never was."""

    lr: float
    reached: int | None


def find_learning_rate(
    task: Task,
    model: nn.Module,
    method: Any,
    steps: int,
    stop: StopRule | None,
    seed: int,
    statistics: Statistics | None = None,
) -> Found:
    """Search for the learning rate with which ``method`` reaches its goal in about half of ``steps`` updates.

    Only the forget set is asked, every sample under the same pressure, so that a run and its controls get the same rate.

    Args:
        task, model: as the method works on them; the model is copied for each trial.
        method: an instance whose ``lr`` is where the search begins.
        stop: the goal, where it speaks of a metric that the task itself measures on the forget split; else, and for None,
            the task's own goal, or a mild one: accuracy falls by a tenth, or the loss rises by half a nat.
        statistics: what the method is handed of the training set, where it declares that.

    Warns:
        UserWarning: no rate reaches the goal within ``steps`` updates.
    """
    forget = task.split("forget")
    request = Request(forget, even_weights(forget), seed=seed, statistics=statistics)
    start = Recorder(task, forget, splits=("forget",)).record(0, model)
    known = stop is not None and stop.split == "forget" and stop.metric in start["forget"]
    goal = stop if known else mild_goal(task, start)

    def reached(lr: float) -> float:
        recorder = Recorder(task, forget, splits=("forget",))
        states = driver.drive(recorder, copied(model), replace(method, lr=lr), request, steps, goal)
        *_, state = states
        if state.diverged_at is not None:
            return DIVERGED
        return NEVER if state.stopped_at is None else state.stopped_at

    if goal(start):
        return Found(method.lr, 0)
    best = _bisected(reached, method.lr, steps)
    if best.reached is None:
        warn(
            f'lr="auto": no learning rate from {LOWEST:g} to {HIGHEST:g} reaches {goal.metric} {goal.operator} {goal.value:.3g} on '
            f"the forget set in {steps} updates; {best.lr:.2g} is used. Ask for more updates, or give lr="
        )
    return best


def _bisected(reached: Callable[[float], float], start: float, steps: int) -> Found:
    """Halve the range of rates (by their logarithms) until the goal is reached neither early nor late.

    Args:
        reached: the update at which a run with this rate reaches the goal, ``NEVER`` or ``DIVERGED``.

    Returns:
        Found: the rate that came nearest to half the updates. Where none got there: ``start``, or if that diverged, the
            largest rate tried that did not.
    """
    low, high, lr = LOWEST, HIGHEST, start
    tried: dict[float, float] = {}
    for _ in range(TRIALS):
        tried[lr] = update = reached(lr)
        if EARLY * steps <= update <= LATE * steps or high / low < 1.05:
            break
        low, high = (lr, high) if update > LATE * steps else (low, lr)
        near = lr * 10 if update > LATE * steps else lr / 10  # the first guess is within a few powers of ten
        lr = near if low < near < high and (low == LOWEST or high == HIGHEST) else math.sqrt(low * high)
    arrived = [lr for lr, update in tried.items() if 0 < update <= steps]
    if arrived:
        best = min(arrived, key=lambda lr: abs(tried[lr] - steps / 2))
        return Found(float(f"{best:.2g}"), int(tried[best]))
    calm = [lr for lr, update in tried.items() if update == NEVER]
    return Found(start if start in calm else float(f"{max(calm, default=LOWEST):.2g}"), None)


def mild_goal(task: Task, start: driver.SplitMetrics) -> StopRule:
    """The task's own goal where it has one; else a little more forgotten than at the start."""
    own = offered(task).goal
    if own is not None:
        return StopRule(*own)
    metric, operator = offered(task).forgotten_when
    before = start["forget"].get(metric)
    if before is None:
        return StopRule("loss", ">=", start["forget"]["loss"] + RISE)
    if operator in ("<=", "<"):
        return StopRule(metric, operator, before * FALL)
    return StopRule(metric, operator, before + RISE)


def why_no_search(task: Task, method: Any) -> str | None:
    """Why no learning rate is searched for a method on a view of a task; None where one is."""
    if getattr(method, "step_norm", None) is not None:
        return "every update has the length that step_norm= gives: there the rate decides nothing"
    if methods.declared(method, "needs_retain"):
        return "the method works on the retain set too: each trial would take as long as the run"
    if methods.declared(method, "scope") != "readout":
        return "the whole network moves: each trial would take as long as the run"
    if not isinstance(task, ReadoutTask):
        return "the readout is not one linear layer: each trial would take as long as the run"
    return None
