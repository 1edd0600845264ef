"""Whether a model that was retrained in place of a user's own learned what that one had learned: a gold standard must."""

from __future__ import annotations

from torch import nn

from ..core.messages import warn
from .evaluation import evaluate, mean_loss
from .protocol import Task, offered

# Of a share, and more than two standard errors of few examples; of a loss, this part of it and of the way
# from a fresh model's to the original's.
CLEARLY = 0.1


def beware_of_poorer(task: Task, split: str, made: nn.Module, seed: int, how: str) -> None:
    """Warn where a retrained model is clearly worse, on what it was trained on, than the model that a user brought along.

    Only a user knows how the model they brought was trained; a retrained one that learned less is no gold standard.

    Args:
        how: what trained it, in words.
    """
    own = offered(task).trained
    original = None if own is None else own("train", seed)
    if original is None or not len(task.split(split)):
        return
    metric, operator = offered(task).forgotten_when
    falls = operator in ("<=", "<")
    theirs, value = (_headline(task, model, split, metric) for model in (original, made))
    gap = theirs - value if falls else value - theirs
    if metric == "loss":
        limit = CLEARLY * max(abs(theirs), abs(_headline(task, task.make_model(seed).eval(), split, metric) - theirs))
    else:
        limit = max(CLEARLY, 2 * (sum(max(0.0, p * (1 - p)) for p in (theirs, value)) / len(task.split(split))) ** 0.5)
    if gap <= limit or gap != gap:
        return
    warn(
        f"the model trained on {split!r} is no gold standard: its {metric} there is {value:.3g}, that of the original "
        f"{theirs:.3g}. It was trained by {how}; give from_data train_fn= (the original's own training) or "
        "recipe=imu.tasks.Recipe(...), or pass reference= a model that you retrained yourself"
    )


def _headline(task: Task, model: nn.Module, split: str, metric: str) -> float:
    return mean_loss(task, model, task.split(split)) if metric == "loss" else evaluate(task, model, split)[metric]
