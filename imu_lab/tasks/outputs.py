"""What a model says about examples, and how far that is from what another model says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..core.messages import DoesNotApply
from .around import innermost
from .protocol import Batch, Task, offered


def lengths(task: Task, batch: Batch) -> Tensor | float:
    """(n,) how many predictions each example's loss is the mean of: tokens for sequences, 1 for anything else."""
    own = offered(task).example_length
    return own(batch) if own else 1.0


def divergences(task: Task, outputs: Any, reference: Any, batch: Batch) -> Tensor:
    """(n,) KL(reference ‖ model) of each example in nats, the mean over its predictions that enter its loss.

    A task whose outputs are no logits declares ``example_divergence(outputs, reference, batch)`` itself.

    Args:
        outputs, reference: logits (n, ..., K) of the two models on the same inputs.
    """
    check_probabilities(task, outputs, batch)
    own = offered(task).example_divergence
    if own:
        return own(outputs, reference, batch)
    return per_counting(task, kl(log_probabilities(reference), log_probabilities(outputs)), outputs, batch)


def check_probabilities(task: Task, outputs: Any = None, batch: Batch | None = None) -> None:
    """Raise DoesNotApply unless a task's outputs are logits of probabilities.

    Args:
        outputs, batch: what a model makes of some examples, where that is known. A single output for each prediction may be
            the logit of two classes or a number that is to be met, which the task's own loss tells.
    """
    if not offered(task).probabilities:
        raise DoesNotApply(
            "the targets are no classes, or the loss draws each output to a number, so the outputs are no probabilities and have "
            "no divergence; compare the loss instead"
        )
    if isinstance(outputs, Tensor) and outputs.ndim > 1 and outputs.shape[-1] == 1:
        check_loss_of_logits(task, outputs, batch)


def check_loss_of_logits(task: Task, outputs: Any, batch: Batch) -> None:
    """Raise DoesNotApply unless a task's own loss treats its outputs as logits: one that draws them to numbers does not,
    whatever the task declares."""
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        return
    if meets_numbers(lambda made: _losses(task, made, batch), outputs, batch.targets):
        raise DoesNotApply(
            f"the loss of {type(innermost(task)).__name__} draws each output to a number, so they are no logits of classes, and "
            "there are no probabilities; compare the loss instead, and write probabilities = False in the task"
        )


def _losses(task: Task, made: Tensor, batch: Batch) -> Tensor:
    """(n,) the examples' losses where a model makes this of them."""
    return task.example_loss(lambda _: made, batch)


def meets_numbers(loss: Callable[[Tensor], Tensor], outputs: Tensor, targets: Any) -> bool:
    """Whether a loss draws outputs (n, ..., K) to numbers, as a squared error does.

    Far on both sides of its targets such a loss pulls back: about as strongly, or ever more strongly. That of a logit pulls to
    its class from one side, and on the other hardly (smoothed labels) or not at all; several logits that move together change
    nothing.

    Args:
        loss: (n,) of outputs, whose shape alone is looked at.
    """
    reach = max((each.double().abs().max().item() for each in tensors_in(targets) if each.numel()), default=0.0)
    try:
        low, middle, high = (_slope(loss, torch.full_like(outputs, at)) for at in (-20 - 2 * reach, 0, 20 + 2 * reach))
    except (RuntimeError, ValueError):  # it takes no such outputs, as one of probabilities does not
        return False
    back = torch.minimum(-low, high)
    return bool(((back > 0) & ((back > torch.maximum(-low, high) / 4) | (high - low > 20 * middle.abs()))).any())


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of inputs or targets, which are one or a dict of them."""
    if isinstance(value, Mapping):
        return [each for item in value.values() for each in tensors_in(item)]
    return [value] if isinstance(value, Tensor) else []


def _slope(loss: Callable[[Tensor], Tensor], outputs: Tensor) -> Tensor:
    """The derivative of the examples' losses at these outputs."""
    with torch.enable_grad():
        level = outputs.detach().requires_grad_()
        return torch.autograd.grad(loss(level).sum(), level)[0]


def log_probabilities(logits: Tensor) -> Tensor:
    """(..., K) log-softmax over the last dimension, 15 times faster than torch's own where K is small.

    One logit z tells two classes apart: (..., 1) gives (..., 2), as the logits 0 and z would.
    """
    logits = two_sided(logits)
    if logits.shape[-1] > 64:
        return logits.log_softmax(-1)
    return logits.movedim(-1, 0).log_softmax(0).movedim(0, -1)


def two_sided(logits: Tensor) -> Tensor:
    """(..., K) logits of at least two classes; (..., 1) becomes (..., 2), the first of them 0."""
    return torch.cat([torch.zeros_like(logits), logits], -1) if logits.shape[-1] == 1 else logits


def cross_entropy_derivative(logits: Tensor, batch: Batch, logs: Tensor | None = None) -> Tensor:
    """(n, K) p − e_y, the derivative of each example's cross-entropy at its logits; σ(z) − y of one logit.

    Args:
        logs: the logits' log-probabilities, where they are known.
    """
    truth = batch.targets[:, None].long()
    if logits.shape[-1] == 1:
        sign = (1 - 2 * truth).to(logits.dtype)
        return sign * (sign * logits).sigmoid()
    return less_truth((log_probabilities(logits) if logs is None else logs).exp(), truth)


def less_truth(p: Tensor, truth: Tensor) -> Tensor:
    """(..., K) p − e_y, for truth (..., 1).

    Its entry of the true class is minus the sum of the others: p_y − 1 itself is lost to rounding where an example is fitted
    well, and with it the direction of the gradient.
    """
    others = p.scatter(-1, truth, 0.0)
    return others.scatter(-1, truth, -others.sum(-1, keepdim=True))


def derived(
    derivative: Callable[[Tensor, Batch], Tensor],
    when: Callable[[Any], bool] | None = None,
    both: Callable[[Tensor, Batch], tuple[Tensor, Tensor]] | None = None,
) -> Callable[[Callable], Callable]:
    """Marks an ``example_loss`` whose derivative at the model's outputs is known in closed form.

    The mark is on the function: a task that writes a loss of its own has none, and autograd differentiates it.

    Args:
        derivative: (n, ...) of outputs (n, ...) and a batch.
        when: asks the task whether its loss is the one whose derivative this is; None for always.
        both: the losses and their derivative, where much of the work is the same.
    """

    def marked(loss: Callable) -> Callable:
        loss.derived = loss, derivative, when, both
        return loss

    return marked


def derivative_of(loss: Callable) -> Callable[[Tensor, Batch], Tensor] | None:
    """What this loss was marked with, or None; a function that wraps a marked one took over its attributes, not its mark."""
    return _mark_of(loss)[0]


def with_derivative(loss: Callable) -> Callable[[Tensor, Batch], tuple[Tensor, Tensor]] | None:
    """From outputs and a batch to (n,) losses and their derivative, where :func:`derivative_of` knows that; else None."""
    derivative, both = _mark_of(loss)
    if derivative is None or both is not None:
        return both
    return lambda made, batch: (loss(lambda _: made, batch), derivative(made, batch))


def _mark_of(loss: Callable) -> tuple[Callable | None, Callable | None]:
    """The derivative of a loss that is marked, and what gives both at once; None for what there is not."""
    function = getattr(loss, "__func__", loss)
    marked, derivative, when, both = getattr(function, "derived", (None,) * 4)
    holds = marked is function and (when is None or when(getattr(loss, "__self__", None)))
    return (derivative, both) if holds else (None, None)


def true_classes(task: Task, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Which class each prediction should have been, and each prediction's share of its example's loss.

    The task's own loss tells both, whatever its targets look like: where all logits are 0, its derivative at a prediction
    is c (1/K − e_y), of which only the entry of the true class y is negative. Masked and padded predictions have c = 0.

    Args:
        outputs: logits (n, ..., K) of at least two classes, or (n, ..., 1) for two; only their shape is looked at.

    Returns:
        y (n, ...), the class, and c (n, ...), which sums to 1 over the predictions of an example that has any.

    Raises:
        DoesNotApply: the outputs are no logits of classes, or a prediction has no single true class.
    """
    check_probabilities(task, outputs, batch)
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        raise DoesNotApply(
            f"outputs must be logits (n, ..., classes) to have a true class; {type(innermost(task)).__name__} has others"
        )
    slope = _slope(lambda made: _losses(task, made, batch), torch.zeros_like(outputs))
    slope = torch.cat([-slope, slope], -1) if slope.shape[-1] == 1 else slope
    classes, truth = slope.shape[-1], slope.argmin(-1)
    parts = -slope.gather(-1, truth[..., None]) / (1 - 1 / classes)  # c, (n, ..., 1)
    expected = parts / classes - torch.zeros_like(slope).scatter(-1, truth[..., None], parts)
    if (slope - expected).abs().max() > 1e-3 * parts.max():
        raise DoesNotApply(
            f"the loss of {type(innermost(task)).__name__} names no single true class for each prediction, as cross-entropy "
            "with one label does: soft labels and several labels at once have none to take out"
        )
    each = parts.reshape(len(parts), -1)
    return truth, (each / each.sum(1, keepdim=True).clamp_min(1e-30)).view(truth.shape)


def counting(task: Task, outputs: Tensor, batch: Batch) -> Tensor:
    """(n, ...) whether each prediction enters its example's loss, which padding and what is masked do not.

    The task's own loss tells, where all logits are 0; of an example in which none enters, all count, as they do for a loss that
    takes no such outputs.

    Args:
        outputs: logits (n, ..., K), of which only the shape is looked at.
    """
    try:
        slope = _slope(lambda made: _losses(task, made, batch), torch.zeros_like(outputs))
    except (RuntimeError, ValueError):
        return torch.ones(outputs.shape[:-1], dtype=torch.bool, device=outputs.device)
    found = (slope != 0).any(-1)
    return found | ~found.flatten(1).any(1).view(-1, *[1] * (found.ndim - 1))


def per_counting(task: Task, values: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
    """(c · n,) the mean of (c · n, ...) over the predictions of each example that enter its loss, for c models.

    Args:
        outputs: logits (n, ..., K) of one of them, of which only the shape is looked at.
    """
    if values.ndim < 2:
        return values
    counts = counting(task, outputs, batch).flatten(1)
    counts = counts.repeat(len(values) // max(1, len(counts)), 1)
    return values.flatten(1).masked_fill(~counts, 0.0).sum(1) / counts.sum(1)


def answers(logits: Tensor, truth: Tensor) -> Tensor:
    """(...) the class with the largest of (..., K) logits; where the true one is but one of several largest, another.

    A tie is no knowledge: whoever counts right answers by these finds as many as an accuracy does.
    """
    own = logits.gather(-1, truth[..., None])[..., 0]
    largest, other = logits.scatter(-1, truth[..., None], -torch.inf).max(-1)
    return torch.where(own > largest, truth, other)


def kl(first: Tensor, second: Tensor) -> Tensor:
    """(...) KL(first ‖ second) in nats, from log-probabilities (..., K); what the first calls impossible adds 0.

    Where either is NaN, so is the divergence: a broken model is at no distance from anything.
    """
    shares = first.exp()
    apart = _possible(shares, first - second)
    return apart.mul_(shares).sum(-1)  # in place: of several states of a readout they are many numbers


def expected(shares: Tensor, values: Tensor) -> Tensor:
    """(...) Σ_k of shares times values, both (..., K); what has no share adds 0, though its value were infinite."""
    return (shares * _possible(shares, values)).sum(-1)


def _possible(shares: Tensor, values: Tensor) -> Tensor:
    """The values, with 0 in the place of those that have no share; where all have one, which is usual, no copy of them."""
    never = shares == 0
    return torch.where(never, 0.0, values) if never.any() else values
