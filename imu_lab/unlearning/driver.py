"""Drives a method on a private model: counts updates, records, stops. The method only knows how to make one update."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..core.messages import listed, unknown
from ..core.quantities import KEPT, describe
from ..core.running import evenly
from ..tasks.protocol import Abilities, Task, names_of, offered
from ..tasks.training import DivergedTraining
from .recorder import Measurement, Recorder, SplitMetrics
from .request import Request, updates_of
from .snapshots import State, moving_state

AHEAD = 16  # updates made before a look whether to stop, where states are measured together
RETRAINED = "retrained"  # stands for what the retrained model reaches
AT_CHANCE = 0.25  # of what accuracy was above chance: who has no more left knows next to nothing
UTILITY_LOSS = 0.05  # a run marks the update at which kept accuracy has fallen by 5 points


@dataclass(frozen=True)
class StopRule:
    """Stop when a metric on a split has reached a value. ``None`` for a rule means: run all the steps."""

    metric: str
    operator: str
    value: float
    split: str = "forget"

    def __call__(self, measured: SplitMetrics) -> bool:
        """Whether these measurements meet the rule."""
        if self.metric not in measured.get(self.split, {}):
            raise unknown(f"metric on {self.split!r} to stop at", self.metric, measured.get(self.split, {}))
        return COMPARISONS[self.operator](measured[self.split][self.metric], self.value)


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}


def stop_rule(
    given: Any,
    reference: SplitMetrics | None,
    when: tuple[str, str] = Abilities.forgotten_when,
    goal: tuple[str, str, float] | None = None,
    asked: str = "stop_at",
) -> StopRule | None:
    """A rule from what a user writes: a number, ``"retrained"``, ``"forgotten"``, or ``(metric, "<=", value)``.

    Args:
        given: a forget accuracy (or the task's own metric) to reach, ``"retrained"`` for the reference's, or a triple,
            whose metric may be ``"split metric"`` (``"test accuracy"``) and whose value may be ``"retrained"``, as in
            ``("loss", ">=", "retrained")``.
        reference: the retrained model's metrics, {split: {metric: value}}.
        when: the task's own metric and comparison, which a number and ``"retrained"`` speak of.
        goal: the task's own goal, which ``"forgotten"`` speaks of.
        asked: the argument's name.

    Raises:
        ValueError: ``"retrained"`` without a reference, or something that is no rule.
    """
    if given is None:
        return None
    if isinstance(given, str) and given == "forgotten":
        if goal is None:
            raise ValueError(
                f'{asked}="forgotten" needs a request whose goal is known without a retrained model, such as a class, a person or '
                f'a source; for this one pass reference=imu.train(task, "retain") and {asked}="retrained"'
            )
        return StopRule(*goal)
    if isinstance(given, str) and given == RETRAINED:
        return StopRule(*when, _retrained(reference, "forget", when[0], asked))
    if isinstance(given, (tuple, list)) and len(given) == 3 and given[1] in COMPARISONS:
        *split, metric = str(given[0]).split(" ", 1)
        split, value = split[0] if split else "forget", given[2]
        if isinstance(value, str) and value == RETRAINED:
            return StopRule(metric, given[1], _retrained(reference, split, metric, asked), split)
        if _is_number(value):
            return StopRule(metric, given[1], _reachable(value, metric, asked), split)
    if _is_number(given):
        return StopRule(*when, _reachable(given, when[0], asked))
    raise ValueError(
        f'{asked} must be a forget accuracy, "retrained", or (metric, one of {listed(list(COMPARISONS))}, a number or '
        f'"retrained"), or "forgotten" where the task has a goal of its own; got {given!r}'
    )


def _is_number(given: Any) -> bool:
    """Whether it is one that something can be compared with, which NaN is not."""
    return isinstance(given, (int, float, np.number)) and not isinstance(given, bool) and given == given


def _reachable(value: float, metric: str, asked: str) -> float:
    """A value of a metric. Of a share none lies above 1: a comparison there would be one of models that forgot nothing; a run
    says itself that such a goal was met before its first update.

    Raises:
        ValueError: a comparison is asked for at such a value.
    """
    about = describe(metric)
    if asked == "at_forget" and about.unit.startswith("share") and value > 1:
        raise ValueError(f"at_forget={value:g}: {about.title} is a share, of which 0.05 is 5 %; give one from 0 to 1")
    return float(value)


def _retrained(reference: SplitMetrics | None, split: str, metric: str, asked: str) -> float:
    """What the retrained model reaches."""
    if not reference:
        how = "pass reference=" if asked == "stop_at" else "of runs that were made beside one, with reference="
        raise ValueError(f'{asked}="retrained" needs the retrained model; {how}imu.train(task, "retain")')
    if metric not in reference.get(split, {}):
        raise unknown(f"metric of the retrained model on {split!r}", metric, reference.get(split, {}))
    return reference[split][metric]


@dataclass
class RunState:
    """The state of a run after an update: what a view needs to follow it live."""

    step: int
    measured: SplitMetrics
    recorder: Recorder
    stopped_at: int | None = None
    diverged_at: int | None = None


class MadeUpdate(NamedTuple):
    """An update that was made, and the state it led to: None where that is not to be recorded."""

    step: int
    update: Any
    state: State | None


class UpdateBlock(NamedTuple):
    """Updates that are measured together; the last block of a method that ends by itself says so."""

    made: list[MadeUpdate]
    ended: bool = False
    diverged_at: int | None = None


class MovingState:
    """What a method can change in a model: the parameters that move, and the buffers."""

    def __init__(self, model: nn.Module) -> None:
        self.moving = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._all = {**self.moving, **dict(model.named_buffers())}

    def copy(self) -> State:
        """As it is now."""
        return {name: value.detach().clone() for name, value in self._all.items()}

    def restore(self, state: State) -> None:
        """Put a copy back."""
        with torch.no_grad():
            for name, value in self._all.items():
                value.copy_(state[name])


def drive(
    recorder: Recorder,
    model: nn.Module,
    method: Any,
    request: Request,
    steps: int,
    stop: StopRule | None = None,
    record_every: int = 1,
    original: Measurement | None = None,
) -> Iterator[RunState]:
    """Run ``method`` on ``model`` (which it changes), yielding after each recorded update; the first is the original.

    Stops after ``steps`` updates, when ``stop`` is met, or at divergence: then the last finite model is restored.
    Of a linear layer a few states are made and then measured together. Nobody sees it: at each yield, and after an
    interrupt, the model is in the state yielded last.

    Args:
        original: what :meth:`Recorder.look` tells of ``model`` as it is given, where somebody has looked; None looks.
    """
    measured, outcome = recorder.look(model) if original is None else original
    recorder.add(0, measured, outcome, moving_state(model))
    state = RunState(0, measured, recorder)
    state.stopped_at = 0 if stop and stop(state.measured) else None
    yield state
    if state.stopped_at is not None:
        return
    moving, together, kept = MovingState(model), recorder.at_once(model), tuple(moving_state(model))
    yielded, updates = moving.copy(), updates_of(method, recorder.task, model, request)
    try:
        ahead, reached = min(AHEAD, together) if stop else together, _reached(stop, recorder, model)
        for block in _blocks(updates, moving, steps, record_every, ahead, reached):
            states = [made.state for made in block.made if made.state is not None]
            seen = iter(recorder.look_at_heads(states) if len(states) > 1 else [recorder.look(model) for _ in states])
            for made in block.made:
                if made.state is None:
                    recorder.note(made.update)
                    continue
                if len(states) > 1:  # else the model is in this state already
                    moving.restore(made.state)
                yielded, (measured, outcome) = made.state, next(seen)
                recorder.add(made.step, measured, outcome, {name: yielded[name] for name in kept})
                recorder.note(made.update)
                state.step, state.measured = made.step, measured
                state.stopped_at = made.step if stop and stop(measured) else None
                yield state
                if state.stopped_at is not None:
                    return
            if block.ended:
                state.diverged_at = block.diverged_at
                yield state
    except KeyboardInterrupt:
        moving.restore(yielded)
        raise


def _reached(stop: StopRule | None, recorder: Recorder, model: nn.Module) -> Callable[[], bool]:
    """Whether the model has met the rule, where one pass over the forget set tells: of its loss. Of other rules, no.

    So a run that looks seldom, because a look is dear, still ends at its goal and not up to ``record_every`` updates later.
    """
    if stop is None or (stop.split, stop.metric) != ("forget", "loss"):
        return lambda: False
    return lambda: stop({"forget": {"loss": recorder.forget_loss(model)}})


def _blocks(
    updates: Iterator[Any],
    moving: MovingState,
    steps: int,
    record_every: int,
    size: int,
    reached: Callable[[], bool],
) -> Iterator[UpdateBlock]:
    """Make updates, and hand them on when ``size`` of them are to be recorded, or the goal is reached between two such."""
    last, waiting, recorded = moving.copy(), [], 0
    for step in range(1, steps + 1):
        try:
            update = _next(updates, moving.moving.values())
        except KeyboardInterrupt:
            measured = [at for at, made in enumerate(waiting, 1) if made.state is not None]
            yield UpdateBlock(waiting[: max(measured, default=0)])  # what was made is not lost
            raise
        if update in (DIVERGED, ENDED):
            moving.restore(last)
            waiting[-1:] = [made._replace(state=last) for made in waiting[-1:]]  # the end is recorded in any case
            yield UpdateBlock(waiting, True, step if update == DIVERGED else None)
            return
        last, due = moving.copy(), step % record_every == 0 or step == steps
        met = not due and reached()
        waiting.append(MadeUpdate(step, update, last if due or met else None))
        recorded += due
        if met or step == steps or recorded == size:
            yield UpdateBlock(waiting)
            waiting, recorded = [], 0


DIVERGED, ENDED = "diverged", "ended"


def _next(updates: Iterator[Any], moving: Iterable[nn.Parameter]) -> Any:
    """The method's next update, or that it diverged, or that it has ended."""
    try:
        update = next(updates, ENDED)
    except DivergedTraining:
        return DIVERGED
    terms = update.terms if hasattr(update, "terms") else {}
    # A step of finite length from finite weights leads to finite weights; only who tells no length is looked at.
    finite = "update_norm" in terms or all(torch.isfinite(value).all() for value in moving)
    return update if finite and all(value - value == 0 for value in terms.values()) else DIVERGED


def utility_limit(recorder: Recorder) -> int | None:
    """The first recorded update at which accuracy on a kept split has fallen 5 points; None if it never did.

    None, too, where forgetting is told by something that rises, such as a loss: points say nothing of it.
    """
    if not _falls(recorder):
        return None
    return _first(recorder, lambda split, before, now: before - now >= UTILITY_LOSS - 1e-12)


def collapsed_at(recorder: Recorder) -> int | None:
    """The first recorded update at which a kept split is not known any more; None if that never happened.

    Accuracy is then near what always giving one answer would reach, with at most a quarter left of what it was above
    that; something that rises, such as a loss, is ten times what it was, and at least one more than it was.
    """
    if not _falls(recorder):
        return _first(recorder, lambda split, before, now: now > max(10 * before, before + 1))
    if utility_limit(recorder) is None:
        return None
    chance = {split: _chance(recorder.task, split) for split in KEPT}

    def lost(split: str, before: float, now: float) -> bool:
        return before - now >= UTILITY_LOSS and now <= chance[split] + AT_CHANCE * (before - chance[split])

    return _first(recorder, lost)


def _falls(recorder: Recorder) -> bool:
    """Whether what tells of forgetting is high where samples are known, as an accuracy is."""
    return offered(recorder.task).forgotten_when[1] in ("<=", "<")


def _chance(task: Task, split: str) -> float:
    """The accuracy of giving the commonest label of a split for every sample; 0 where samples have no labels.

    Of a task that names no labels the targets tell, of a few hundred samples from all over the split.
    """
    examples = task.split(split)
    labels: list = names_of(task, examples)
    if len(examples) and not any(labels):
        targets = examples.batch(evenly(examples.chunk, len(examples))).targets
        single = isinstance(targets, torch.Tensor) and targets.ndim == 1 and not targets.is_floating_point()
        labels = targets.tolist() if single else []
    return max(Counter(labels).values()) / len(labels) if len(set(labels)) > 1 else 0.0


def _first(recorder: Recorder, happened: Callable[[str, float, float], bool]) -> int | None:
    """The first recorded update at which something happened to the headline of a kept split, given what it was and is."""
    start, metric = recorder.metrics[0], offered(recorder.task).forgotten_when[0]
    for step, measured in zip(recorder.steps, recorder.metrics):
        for split in KEPT:
            before, now = (values.get(split, {}).get(metric) for values in (start, measured))
            if before is not None and now is not None and happened(split, before, now):
                return step
    return None


def forgotten(recorder: Recorder) -> int | None:
    """How many forget samples were right before the first update and are wrong after the last; None without margins."""
    first, last = recorder.outcomes[0][:, 1], recorder.outcomes[-1][:, 1]
    known = torch.isfinite(first) & torch.isfinite(last)
    return int(((first > 0) & (last < 0) & known).sum()) if known.any() else None


def follow(
    states: Iterable[RunState], steps: int, progress: Callable | None, stop: Event | None, watch: Callable | None
) -> RunState:
    """Consume a run to its end, a stop or an interrupt; the last state is what there is."""
    bar = tqdm(total=steps, desc="unlearning", unit="update", delay=2, leave=False) if progress is None else None
    state = None
    try:
        for state in states:
            if bar is not None:
                bar.update(state.step - bar.n)
            elif progress is not None:
                progress(state.step, steps)
            if watch is not None:
                watch(state)
            if stop is not None and stop.is_set():
                break
    except KeyboardInterrupt:
        if state is None:
            raise
    finally:
        if bar is not None:
            bar.total = bar.n  # a notebook keeps a bar that is not full, and in red: also where a run reached its goal
            bar.close()
    return state


def events(state: RunState, seconds: float, goals: Mapping[str, StopRule]) -> dict[str, Any]:
    """What happened in a run, by name; ``None`` for what did not.

    Args:
        goals: when the request counts as forgotten, by the words of ``stop_at``; the first is told of.
    """
    recorder = state.recorder
    goal, rule = next(iter(goals.items()), (None, None))
    met = [step for step, measured in zip(recorder.steps, recorder.metrics) if rule is not None and rule(measured)]
    return {
        "steps": state.step,
        "stopped_at": state.stopped_at,
        "diverged_at": state.diverged_at,
        "utility_limit": utility_limit(recorder),
        "collapsed_at": collapsed_at(recorder),
        "goal": goal,
        "goal_at": met[0] if met else None,
        "forgotten": forgotten(recorder),
        "seconds": round(seconds, 4),
    }
