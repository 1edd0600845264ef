"""Inside a sequence: how much each predicted token adds to its sequence's loss and to its influence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.registry import estimators
from ..core.taken import several_examples
from ..features.gradients import Gradient, LinearGradients, gradients_of
from ..features.linear import along_tokens
from ..tasks.around import innermost
from ..tasks.evaluation import in_order, outputs
from ..tasks.protocol import Examples, Task, offered


def token_scores(
    task: Task,
    model: nn.Module,
    examples: Iterable[int] | None = None,
    *,
    damping: float = 1e-2,
    relative: bool = False,
) -> pd.DataFrame:
    """Each predicted token's share of its sequence's loss and influence.

    A sequence's gradient is the sum over its tokens, so −g_iᵀF⁻¹ḡ splits without remainder: the token at place t adds
    −(δ_it ⊗ a_it)ᵀ F⁻¹ ḡ / T. Summed over a sequence, ``influence`` is that of ``imu.influence`` with
    ``"fisher-diagonal"``; averaged, ``loss`` is the sequence's loss.

    Args:
        task, model: a task of sequences, and a model with a linear readout.
        examples: some forget sequences, by id; None for all.
        damping, relative: see the estimator.

    Returns:
        DataFrame ``example, place, token, loss, influence``: place 1 is the first predicted token; loss in nats. Where the
        task spells its tokens, ``text`` after ``token``.

    Raises:
        TypeError: the task has no tokens, or the readout is not one linear layer.
        ValueError: an example that is not to be forgotten.
    """
    gradients = gradients_of(task, model)
    if offered(task).token_losses is None or not isinstance(gradients, LinearGradients):
        raise TypeError("token scores need a task of sequences (with token_losses) whose readout is one linear layer")
    if not isinstance(targets := task.split("forget").batch(slice(0, 1)).targets, Mapping) or "tokens" not in targets:
        raise TypeError(
            'token scores need to know the tokens, as batch.targets["tokens"] (n, 1 + T) beside what else the loss needs; '
            f"{type(innermost(task)).__name__} gives none"
        )
    settled = estimators.create("fisher-diagonal", damping=damping, relative=relative)
    forget = task.split("forget")
    direction = settled.solved(*gradients.moments(forget))
    chosen = _chosen(forget, examples)
    influence = -_along(gradients, chosen, direction)
    return _table(task, chosen, _losses(task, model, chosen), influence)


def _table(task: Task, examples: Examples, loss: Tensor, influence: Tensor) -> pd.DataFrame:
    """One row per predicted token, from (n, T) values; none for padding."""
    tokens = examples.batch().targets["tokens"][:, 1:]  # (n, T)
    places = tokens.shape[1]
    table = pd.DataFrame(
        {
            "example": np.repeat(examples.ids.numpy(), places),
            "place": np.tile(np.arange(1, places + 1), len(examples)),
            "token": tokens.flatten().numpy(),
            "loss": loss.flatten().numpy(),
            "influence": influence.flatten().numpy(),
        }
    )
    table = table[table["token"] >= 0].reset_index(drop=True)
    if (spelled := offered(task).spelled) is not None:
        table.insert(3, "text", spelled(table["token"].tolist()))
    return table


def _chosen(forget: Examples, examples: Iterable[int] | None) -> Examples:
    if examples is None:
        return forget
    wanted = torch.tensor(several_examples(examples, "examples="), dtype=torch.int64)
    outside = wanted[~torch.isin(wanted, forget.ids)]
    if len(outside):
        raise ValueError(f"sequences {outside[:5].tolist()} are not among the {len(forget)} to be forgotten")
    return forget.take(torch.stack([(forget.ids == each).nonzero()[0, 0] for each in wanted]))


def _along(gradients: LinearGradients, examples: Examples, direction: Gradient) -> Tensor:
    """(n, T) float64 each token's part of g_i · v."""
    parts = ((at, along_tokens(delta, inputs, direction)) for at, delta, inputs in gradients.factors(examples))
    return in_order(parts, len(examples)).cpu().double()


def _losses(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(n, T) float64."""
    parts = (
        (at, task.token_losses(lambda _, made=made: made, batch))
        for at, batch, made in outputs(task, model, examples, alike=True)
    )
    return in_order(parts, len(examples)).cpu().double()
