"""The forgetting at which runs of several arms are read: what a goal may be, and whether the task knows what it names."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..core import registry
from ..core.messages import unknown
from ..measures.reference import Reference
from ..tasks.checkpoints import is_known, train
from ..tasks.protocol import Task, offered
from ..unlearning.driver import StopRule, stop_rule

RETRAINED, NEAREST = "retrained", "nearest"
DISTANCE, METRIC = "kl_retrained", "kl-retrained"


def rule_of(task: Task, goal: Any, own: Any) -> tuple[str, str, float] | None:
    """A goal as ``(metric, comparison, value)``; None for the nearest point, which nobody knows before the end.

    Args:
        own: the retrained model to compare with; None where there is none.

    Raises:
        ValueError: it is no goal, or speaks of the retrained model where there is none.
    """
    if _is(goal, NEAREST):
        _check_nearest(task, own is not None)
        return None
    rule = _settled(task, goal, None if own is None else own.measured(()))
    return None if rule is None else (f"{rule.split} {rule.metric}", rule.operator, rule.value)


def check_goal(task: Task, goal: Any, references: bool) -> None:
    """Make sure, before models are trained, that a goal is one and names what the task measures.

    A metric that is neither the task's headline nor a loss nor the distance to the retrained model is looked up in what is
    measured of a model, which takes one look at a fresh one.

    Args:
        references: whether there will be retrained models.

    Raises:
        UnknownName: a metric that is not measured, or not on that split; the message lists those that are.
        ValueError: see :func:`rule_of`.
    """
    if _is(goal, NEAREST):
        return _check_nearest(task, references)
    if references and _is(goal, RETRAINED):
        return None
    if references and isinstance(goal, (tuple, list)) and len(goal) == 3 and _is(goal[2], RETRAINED):
        goal = (*goal[:2], 0.0)  # what it has to say, nobody knows yet
    rule = _settled(task, goal, None)
    if rule is None or _at_hand(task, rule, references):
        return None
    measured = _measured(task, references)
    if rule.metric not in measured.get(rule.split, {}):
        known = [f"{split} {metric}" for split, values in measured.items() for metric in values]
        raise unknown("metric for at_forget=", f"{rule.split} {rule.metric}", known)


def _is(goal: Any, word: str) -> bool:
    return isinstance(goal, str) and goal == word


def _check_nearest(task: Task, references: bool) -> None:
    if not references or not offered(task).probabilities:
        raise ValueError(
            'at_forget="nearest" is the update nearest to the retrained model, by KL: it needs references=True and a task '
            "whose outputs are probabilities"
        )


def _settled(task: Task, goal: Any, known: Any) -> StopRule | None:
    has = offered(task)
    return stop_rule(goal, known, has.forgotten_when, has.goal, "at_forget")


def _at_hand(task: Task, rule: StopRule, references: bool) -> bool:
    """Whether every run of the task measures this, which nobody has to look up."""
    own = {("forget", "loss"), ("forget", offered(task).forgotten_when[0])}
    own |= {("forget", DISTANCE)} if references and offered(task).probabilities else set()
    return (rule.split, rule.metric) in own


def _measured(task: Task, references: bool) -> dict[str, dict[str, float]]:
    """{split: {metric: value}} of one model, beside itself where there will be retrained ones."""
    model: nn.Module = train(task, progress=lambda *_: None) if is_known(task) else task.make_model(0)
    names = [*offered(task).follows, *([METRIC] if references and offered(task).probabilities else [])]
    metrics = [registry.metrics.create(name) for name in dict.fromkeys(names)]
    if not references:
        metrics = [each for each in metrics if not registry.metrics.declared(each, "needs_reference")]
    return Reference(task, model).measured(tuple(metrics))
