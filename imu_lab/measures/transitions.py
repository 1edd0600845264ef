"""What a model believes of one source: the transition matrix that its predictions amount to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import metric
from ..tasks.evaluation import outputs
from ..tasks.outputs import log_probabilities
from ..tasks.protocol import Task


@metric("transitions", unit="probability")
@dataclass(frozen=True)
class Transitions:
    """The probability that the model gives to one state after another, the mean over all places where the first occurs.

    ``0→3`` is that of state 3 after state 0. Measured on held-out sequences of that source, so the model may read
    from the tokens before which source it is. A model that has learned the source has its transition matrix here.
    Needs a task with sequences; others give nothing.
    """

    takes_several: ClassVar[bool] = True  # it looks at none

    source: int = knob(1, help="The source whose held-out sequences are read.", valid="[0, inf)", range=(0, 2))

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> dict[str, dict[str, float]]:
        """{"source-<k>": {"i→j": probability}}, all pairs of states; NaN after a state that never occurs."""
        if not hasattr(getattr(task, "corpus", None), "states"):  # sentences have a corpus, too
            return {}
        split = f"source-{self.source}"
        matrix = learned(task, model, split).tolist()
        return {split: {pair(i, j): value for i, row in enumerate(matrix) for j, value in enumerate(row)}}


def pair(state: int, following: int) -> str:
    """The name of a transition among a run's metrics."""
    return f"{state}→{following}"


def learned(task: Task, model: nn.Module, split: str) -> Tensor:
    """(K, K) float64 the mean predicted distribution after each state, over the sequences of a split."""
    states = task.corpus.states
    total, seen = torch.zeros(states, states, dtype=torch.float64), torch.zeros(states, dtype=torch.float64)
    for _, batch, made in outputs(task, model, task.split(split)):
        now = batch.targets["tokens"][:, :-1].flatten().cpu()  # (n T,)
        total.index_add_(0, now, log_probabilities(made).exp().flatten(0, 1).double().cpu())  # (n T, K)
        seen += now.bincount(minlength=states)
    return total / seen[:, None]
