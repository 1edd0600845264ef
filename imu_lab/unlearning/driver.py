"""Drives a method on a private model: counts updates, records, stops. The method only knows how to make one update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..registry import listed, unknown
from ..tasks.protocol import FORGOTTEN_WHEN, Task, forgotten_when
from ..tasks.training import DivergedTraining
from .recorder import Followed, Measured, Recorder
from .request import Request

UTILITY_LOSS = 0.05  # a run marks the update at which kept accuracy has fallen by 5 points


@dataclass(frozen=True)
class StopRule:
    """Stop when a metric on a split has reached a value. ``None`` for a rule means: run all the steps."""

    metric: str
    operator: str
    value: float
    split: str = "forget"

    def __call__(self, measured: Measured) -> bool:
        """Whether these measurements meet the rule."""
        if self.metric not in measured.get(self.split, {}):
            raise unknown(f"metric on {self.split!r} to stop at", self.metric, measured.get(self.split, {}))
        return COMPARISONS[self.operator](measured[self.split][self.metric], self.value)


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}


def stop_rule(given: Any, reference: Measured | None, when: tuple[str, str] = FORGOTTEN_WHEN) -> StopRule | None:
    """A rule from what a user writes: a number, ``"retrained"``, or ``(metric, "<=", value)``.

    Args:
        given: a forget accuracy (or the task's own metric) to reach, ``"retrained"`` for the reference's, or a triple,
            whose metric may be ``"split metric"`` (``"test accuracy"``).
        reference: the retrained model's metrics, {split: {metric: value}}.
        when: the task's own metric and comparison, which a number and ``"retrained"`` speak of.

    Raises:
        ValueError: ``"retrained"`` without a reference, or something that is no rule.
    """
    if given is None:
        return None
    if given == "retrained":
        if not reference:
            raise ValueError('stop_at="retrained" needs the retrained model; pass reference=imu.train(task, "retain")')
        return StopRule(*when, reference["forget"][when[0]])
    if isinstance(given, (tuple, list)) and len(given) == 3 and given[1] in COMPARISONS:
        *split, metric = str(given[0]).split(" ")
        return StopRule(metric, given[1], float(given[2]), split[0] if split else "forget")
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return StopRule(*when, float(given))
    raise ValueError(
        f'stop_at must be a forget accuracy, "retrained", or (metric, one of {listed(list(COMPARISONS))}, '
        f"value); got {given!r}"
    )


@dataclass
class Driven:
    """The state of a run after an update: what a view needs to follow it live."""

    step: int
    measured: Measured
    recorder: Recorder
    stopped_at: int | None = None
    diverged_at: int | None = None


def drive(
    task: Task,
    model: nn.Module,
    method: Any,
    request: Request,
    steps: int,
    stop: StopRule | None = None,
    record_every: int = 1,
    follow: Iterable[Followed] = (),
) -> Iterator[Driven]:
    """Run ``method`` on ``model`` (which it changes), yielding after each recorded update; the first is the original.

    Stops after ``steps`` updates, when ``stop`` is met, or at divergence: then the last finite model is restored.
    ``follow`` is measured beside the task's own metrics.
    """
    recorder = Recorder(task, request.forget, follow)
    state = Driven(0, recorder.record(0, model, keep=True), recorder)
    state.stopped_at = 0 if stop and stop(state.measured) else None
    yield state
    updates = iter(method(task, model, request))
    moving = [value for value in model.parameters() if value.requires_grad]
    held = [*moving, *model.buffers()]
    recorded: list[torch.Tensor] = []
    for step in range(1, steps + 1):
        if state.stopped_at is not None:
            return
        before = [value.detach().clone() for value in held]
        recorded = before if recorder.steps[-1] == step - 1 else recorded
        try:
            update = _next(updates, moving)
            if update in (DIVERGED, ENDED):
                _restore(held, before)
                state.diverged_at = step if update == DIVERGED else None
                if recorder.steps[-1] < step - 1:
                    state.step, state.measured = step - 1, recorder.record(step - 1, model, keep=True)
                yield state
                return
            due = step % record_every == 0 or step == steps
            if due:
                state.step, state.measured = step, recorder.record(step, model, keep=True)
            recorder.note(update)
        except KeyboardInterrupt:
            _restore(held, recorded)
            raise
        if due:
            state.stopped_at = step if stop and stop(state.measured) else None
            yield state


DIVERGED, ENDED = "diverged", "ended"


def _next(updates: Iterator[Any], moving: list[nn.Parameter]) -> Any:
    """The method's next update, or that it diverged, or that it has ended."""
    try:
        update = next(updates, ENDED)
    except DivergedTraining:
        return DIVERGED
    terms = update.terms.values() if hasattr(update, "terms") else ()
    finite = all(torch.isfinite(value).all() for value in moving) and all(value - value == 0 for value in terms)
    return update if finite else DIVERGED


def _restore(values: list[torch.Tensor], good: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for value, old in zip(values, good):
            value.copy_(old)


def utility_limit(recorder: Recorder, splits: tuple[str, ...] = ("retain", "test")) -> int | None:
    """The first recorded update at which accuracy on a kept split has fallen 5 points; None if it never did."""
    start, (metric, _) = recorder.metrics[0], forgotten_when(recorder.task)
    for step, measured in zip(recorder.steps, recorder.metrics):
        for split in splits:
            before, now = (values.get(split, {}).get(metric) for values in (start, measured))
            if before is not None and now is not None and before - now >= UTILITY_LOSS - 1e-12:
                return step
    return None
