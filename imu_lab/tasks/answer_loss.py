"""Loss and margin of question-answer pairs, token by token of the answer; members that a task about pairs takes over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .networks.language import PAD
from .outputs import derived, kl, less_truth, log_probabilities
from .protocol import Batch


def answer_derivative(logits: Tensor, batch: Batch) -> Tensor:
    """(n, A, K) (p − e_y) / n_i at each of a pair's n_i predicted tokens, 0 at padding."""
    truth = batch.targets["tokens"][:, 1:, None]
    share = (truth != PAD) / (truth != PAD).sum(1, keepdim=True).to(logits.dtype)
    return less_truth(logits.softmax(-1), truth.clamp_min(0)).mul_(share)


def token_losses(self: Any, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    """(n, A) −log p of each predicted token, in nats; 0 at padding."""
    logits, truth = forward(batch.inputs), batch.targets["tokens"][:, 1:]  # (n, A, K), (n, A)
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    mine = logits.gather(2, truth.clamp_min(0)[..., None]).squeeze(2)
    return (logits.logsumexp(2) - mine).masked_fill(truth == PAD, 0.0)


def _loses_as_given(task: Any) -> bool:
    """Whether the parts of a task's loss are those written here, and not a subclass's own."""
    return type(task).token_losses is token_losses and type(task).example_length is example_length


@derived(answer_derivative, when=_loses_as_given)
def example_loss(self: Any, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    """(n,) the mean over the tokens of each answer and the one that ends it, in nats."""
    return self.token_losses(forward, batch).sum(1) / self.example_length(batch)


class _TokenLosses(torch.autograd.Function):
    """:func:`token_losses` of true tokens, with its very gradient (p − e_y) made in one tensor of the logits' size: of a large
    vocabulary the six of torch's own way are a seventh of an update."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, truth: Tensor) -> Tensor:
        """(n, A) of logits (n, A, K) and the true tokens (n, A, 1)."""
        whole = logits.logsumexp(2)
        ctx.save_for_backward(logits, truth, whole)
        return whole - logits.gather(2, truth).squeeze(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None]:
        """(n, A, K)."""
        logits, truth, whole = ctx.saved_tensors
        given = given[..., None]
        return (logits - whole[..., None]).exp_().mul_(given).scatter_add_(2, truth, -given), None


def _training_loss(self: Any, model: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    truth, logits = batch.targets["tokens"][:, 1:], model(batch.inputs)
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    losses = _TokenLosses.apply(logits, truth.clamp_min(0)[..., None]).masked_fill(truth == PAD, 0.0)
    return (losses.sum(1) / self.example_length(batch)).mean()


@property
def training_loss(self: Any) -> Callable[[Any, Batch], Tensor] | None:
    """The mean of ``example_loss``, to the bit, for a gradient that is taken once; None where a subclass has a loss of its own."""
    return partial(_training_loss, self) if _loses_as_given(self) and type(self).example_loss is example_loss else None


def example_margin(self: Any, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    """(n,) true logit minus the largest other, the least over an answer's tokens: negative where it is not given."""
    logits, truth = forward(batch.inputs), batch.targets["tokens"][:, 1:, None]
    others = logits.scatter(2, truth.clamp_min(0), -torch.inf).amax(2)
    ahead = logits.gather(2, truth.clamp_min(0)).squeeze(2) - others  # (n, A)
    return ahead.masked_fill(truth.squeeze(2) == PAD, torch.inf).amin(1)


def example_length(self: Any, batch: Batch) -> Tensor:
    """(n,) how many tokens ``example_loss`` is the mean of."""
    return (batch.targets["tokens"][:, 1:] != PAD).sum(1)


def example_divergence(self: Any, outputs: Tensor, reference: Tensor, batch: Batch) -> Tensor:
    """(n,) KL(reference ‖ model) in nats, the mean over an answer's tokens."""
    each = kl(log_probabilities(reference), log_probabilities(outputs))  # (n, A)
    return each.masked_fill(batch.targets["tokens"][:, 1:] == PAD, 0.0).sum(1) / self.example_length(batch)
