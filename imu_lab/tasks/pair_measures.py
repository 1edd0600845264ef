"""What is measured of a model on question-answer pairs; members that a task about pairs takes over."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .evaluation import in_order, outcomes, outputs, threads_of
from .pair_scores import folded, rouge_recall, truthful
from .pair_scores import truth_ratios as ratios_of
from .pair_tokens import PARTS, tokens
from .protocol import Examples, ExamplesOf


def on_own_threads(measure: Callable[..., Any]) -> Callable[..., Any]:
    """A member of a task that runs on the task's own number of threads.

    A second thread costs a small network more than it gives: beside a busy core a token of an answer takes ten times as long.
    """

    @wraps(measure)
    def measured(self: Any, *given: Any, **named: Any) -> Any:
        with threads_of(self):
            return measure(self, *given, **named)

    return measured


@on_own_threads
def evaluate(
    self: Any,
    model: nn.Module,
    split: str,
    examples_of: ExamplesOf | None = None,
    whole: Callable[[], nn.Module] | None = None,
) -> dict[str, float]:
    """``loss``, ``probability``, ``exact``, ``rouge`` and, where there are wrong answers, ``truth_ratio``.

    Means over the pairs of a split that have wrong answers, over all where none has, as in open-unlearning.
    ``exact`` is the share of answers given word for word; ``truth_ratio`` is the mean of min(R, 1/R) of what is to be
    forgotten and of max(0, 1 − R) elsewhere. What a model says itself is asked only where it is not the answer.

    Args:
        whole: gives the whole model where ``model`` is the readout alone.
    """
    examples_of, perturbed = examples_of or self.split, f"{split}-perturbed"
    compared = len(self.split(perturbed)) > 0
    examples = examples_of(perturbed if compared else split)
    if not len(examples):
        return {}
    found = outcomes(self, model, examples).double()  # (n, 2)
    right = found[:, 1] > 0
    rouge = _rouge(self, whole or (lambda: model), examples, right)
    metrics = {
        "loss": found[:, 0].mean().item(),
        "probability": torch.exp(-found[:, 0]).mean().item(),
        "exact": right.double().mean().item(),
        "rouge": float(np.nanmean(rouge)) if np.isfinite(rouge).any() else float("nan"),
    }
    if compared:
        ratios = self.truth_ratios(model, split, examples_of)
        metrics["truth_ratio"] = (folded if split.endswith("forget") else truthful)(ratios).mean().item()
    return metrics


@on_own_threads
def truth_ratios(
    self: Any,
    model: nn.Module,
    split: str,
    examples_of: ExamplesOf | None = None,
    definition: str = "open-unlearning",
) -> Tensor:
    """(n,) R of each pair of a split that has wrong answers (see :func:`imu_lab.tasks.pair_scores.truth_ratios`)."""
    right = self.losses(model, (examples_of or self.split)(f"{split}-paraphrased"))
    return ratios_of(right, self.wrong_losses(model, split, examples_of), definition)


@on_own_threads
def wrong_losses(self: Any, model: nn.Module, split: str, examples_of: ExamplesOf | None = None) -> Tensor:
    """(n, m) float64 the loss of each wrong answer to the pairs of a split that have such; NaN where one has fewer."""
    pairs_with, examples = self.split(f"{split}-perturbed").ids, (examples_of or self.split)(f"{split}-wrong")
    each = tokens(self.corpus, self.codec, PARTS.get(split, "train"), "wrong").each
    found = torch.full((len(pairs_with), each), torch.nan, dtype=torch.float64)
    found[torch.searchsorted(pairs_with, examples.ids // each), examples.ids % each] = self.losses(model, examples)
    return found


@on_own_threads
def losses(self: Any, model: nn.Module, examples: Examples) -> Tensor:
    """(n,) float64 the loss of each example, in nats."""
    parts = (
        (at, self.example_loss(lambda _, made=made: made, batch))
        for at, batch, made in outputs(self, model, examples, alike=True)
    )
    return in_order(parts, len(examples)).double().cpu()


def _rouge(task: Any, whole: Callable[[], nn.Module], examples: Examples, right: Tensor) -> np.ndarray:
    """(n,) ROUGE-L recall of the model's own answers; those that are ``right`` are known without asking for them."""
    some = [getattr(task.corpus, examples.source)[at] for at in examples.ids.tolist()]
    said = [pair.answer for pair in some]
    wrong = (~right).nonzero().flatten()
    if len(wrong):
        answers = task.answers_of(whole(), examples.ids[wrong].numpy(), examples.source, _silent)
        for at, answer in zip(wrong.tolist(), answers):
            said[at] = answer
    return np.array([rouge_recall(pair.answer, answer) for pair, answer in zip(some, said)])


def _silent(done: int, of: int) -> None:
    """No bar within another's."""
