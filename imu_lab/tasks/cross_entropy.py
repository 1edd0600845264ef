"""Loss, margin and accuracy of samples that belong to one class each; members that a task about classes can take over.

A sample is right where its margin is above 0, and forgotten where it is below. At 0 it is neither: a tie is no knowledge,
which an accuracy could count, and no other answer either, which a time to forget could claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .outputs import cross_entropy_derivative, derived, log_probabilities, two_sided
from .protocol import Batch


def with_derivative(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """(n,) what :func:`example_loss` tells, and (n, K) its derivative at the logits, from the same log-probabilities."""
    logs = log_probabilities(logits)
    return _losses(logs, batch.targets), cross_entropy_derivative(logits, batch, logs)


@derived(cross_entropy_derivative, both=with_derivative)
def example_loss(self: Any, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    """(n,) cross-entropy in nats.

    Raises:
        ValueError: the model has no output for one of the targets.
    """
    return _losses(log_probabilities(forward(batch.inputs)), batch.targets)


def _losses(logs: Tensor, targets: Tensor) -> Tensor:
    with _reaching(logs, targets):
        return nn.functional.nll_loss(logs, targets, reduction="none")


@contextmanager
def _reaching(outputs: Tensor, targets: Tensor) -> Iterator[None]:
    """Say of a model with fewer outputs than classes what torch says of an index."""
    try:
        yield
    except (IndexError, RuntimeError) as error:
        count = outputs.shape[-1]
        if count > int(targets.max()):
            raise
        raise ValueError(
            f"this model has {count} outputs, and a sample is of class {int(targets.max())}, numbered from 0; it was made for "
            "another task, or needs as many outputs as there are classes"
        ) from error


def example_margin(self: Any, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    """(n,) true logit minus the largest other: negative means misclassified. One logit z stands beside a 0."""
    logits, truth = two_sided(forward(batch.inputs)), batch.targets[:, None]
    with _reaching(logits, batch.targets):
        return (logits.gather(1, truth) - logits.scatter(1, truth, -torch.inf).amax(1, keepdim=True)).squeeze(1)


def example_metrics(self: Any, forward: Callable[[Any], Tensor], batch: Batch) -> dict[str, Tensor]:
    """``accuracy``: whether all other logits are below the true one. A tie is no knowledge, nor is NaN, and counts as wrong."""
    logits = two_sided(forward(batch.inputs))
    with _reaching(logits, batch.targets):
        truth = logits.gather(1, batch.targets[:, None])
    # Numbers, not booleans, for torch counts those one by one: ten times faster than argmax over few classes.
    below = torch.lt(logits, truth, out=torch.empty_like(logits, dtype=torch.float32))
    return {"accuracy": below.sum(1) == logits.shape[1] - 1}
