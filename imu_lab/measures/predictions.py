"""Which answers a model gives: the prediction matrix, and accuracy class by class on samples seen and never seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..tasks.evaluation import outputs
from ..tasks.outputs import answers, true_classes, two_sided
from ..tasks.protocol import Examples, Task, offered


def answered(task: Task, model: nn.Module, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """The true class and the answer to every prediction that counts, (N,) and (N,), by number of the output.

    An answer is the likeliest class; in a tie with the true one it is the other, as in an accuracy.

    Raises:
        ValueError: the outputs are no logits of classes, or there is no single true class.
    """
    truth, given = [torch.empty(0, dtype=torch.long)], [torch.empty(0, dtype=torch.long)]
    for _, batch, made in outputs(task, model, examples):
        wanted, shares = true_classes(task, made, batch)
        counted = shares > 0
        truth.append(wanted[counted].cpu())
        given.append(answers(two_sided(made), wanted)[counted].cpu())
    return torch.cat(truth).numpy(), torch.cat(given).numpy()


def matrix(truth: np.ndarray, given: np.ndarray, count: int) -> np.ndarray:
    """(K, K) how often each true class (row) was given each answer (column)."""
    return np.bincount(truth * count + given, minlength=count * count).reshape(count, count)


def named(task: Task, truth: np.ndarray, given: np.ndarray) -> tuple[list[str], int]:
    """The names of the answers, and how many there are: the task's own, else numbers."""
    names = list(offered(task).answers) or list(offered(task).classes)
    count = max(int(max(truth.max(initial=-1), given.max(initial=-1))) + 1, len(names))
    return (names if len(names) == count else [str(number) for number in range(count)]), count


def prediction_matrix(task: Task, model: nn.Module, examples: Examples) -> pd.DataFrame:
    """How often each true class (a row) was given each answer (a column), by name.

    Raises:
        ValueError: the outputs are no logits of classes, or there is no single true class.
    """
    truth, given = answered(task, model, examples)
    names, count = named(task, truth, given)
    index = pd.Index(names, name="true class")
    return pd.DataFrame(matrix(truth, given, count), index, pd.Index(names, name="answer"))


def answer_distance(first: np.ndarray, second: np.ndarray) -> float:
    """½ Σ |share of answers − share of answers| of two prediction matrices (K, K), the mean over the classes of their samples.

    0 where both give the same shares of answers to each class, 1 where they never agree.
    """
    counts = first.sum(1)
    seen = counts > 0
    shares = [each[seen] / np.maximum(each[seen].sum(1, keepdims=True), 1) for each in (first, second)]
    return float(np.average(0.5 * np.abs(shares[0] - shares[1]).sum(1), weights=counts[seen])) if seen.any() else np.nan
