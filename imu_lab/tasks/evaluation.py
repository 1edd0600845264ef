"""Metrics that are means over examples: of one model, or of several heads in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..core.running import device_of, evaluating, threads_of
from .protocol import Examples, Task


def averages(task: Any, model: nn.Module, split: str) -> dict[str, float]:
    """The mean of each of ``task.example_metrics`` over a split; none of an empty one.

    A task whose metrics are all such means writes ``evaluate = averages``. A run then knows that it may measure many
    states of a readout at once.
    """
    return {name: values.item() for name, values in mean_metrics(task, model, task.split(split)).items()}


def mean_metrics(task: Task, model: nn.Module, examples: Examples, copies: int = 1) -> dict[str, Tensor]:
    """{name: (copies,)} the mean of each metric over examples, in one forward pass.

    Args:
        copies: how many models ``model`` is: it then gives (copies · n, ...) outputs for n inputs, model by model.
    """
    totals: dict[str, Tensor] = {}
    with (
        threads_of(task),
        torch.no_grad(),
        evaluating(model),
    ):  # not inference_mode: a model may keep a table it makes here
        for _, batch in examples.batches():
            batch = batch.to(device_of(model))
            outputs = model(batch.inputs)
            metrics = task.example_metrics(lambda _, outputs=outputs: outputs, batch.repeated(copies))
            for name, values in metrics.items():
                total = values.view(copies, -1).sum(1, dtype=torch.float64)
                totals[name] = totals[name] + total if name in totals else total
    return {name: total / len(examples) for name, total in totals.items()}


def outcomes(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(n, 2) the loss and the margin of each example, in one forward pass; margins are NaN where a task has none."""
    return outcomes_of(task, model, examples, 1)[0]


def mean_loss(task: Task, model: nn.Module, examples: Examples) -> float:
    """The mean loss of these examples, in nats, added up in double precision."""
    return outcomes(task, model, examples)[:, 0].double().mean().item()


def outcomes_of(task: Task, model: nn.Module, examples: Examples, copies: int) -> Tensor:
    """(copies, n, 2), of a model that is several in one (see :func:`mean_metrics`)."""
    margin = getattr(task, "example_margin", None)
    rows = []
    with torch.no_grad(), evaluating(model):
        for _, batch in examples.batches():
            batch = batch.to(device_of(model))
            outputs, batch = model(batch.inputs), batch.repeated(copies)
            losses = task.example_loss(lambda _, outputs=outputs: outputs, batch)
            margins = (
                margin(lambda _, outputs=outputs: outputs, batch) if margin else torch.full_like(losses, torch.nan)
            )
            rows.append(torch.stack([losses, margins], 1).view(copies, -1, 2))
    return torch.cat(rows, 1).cpu()
