"""How much of a text a model has by heart, and whether it was trained on it: pure functions of logits.

Definitions are those of open-unlearning (Dorna et al. 2025, arXiv 2506.12618). These scores leave out the last token, which
ends the answer: they live on n' = n − 1 tokens where a probability lives on n. Rows of an answer without any token left are
NaN, and means leave them out.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

SHARE = 0.4  # of the tokens that count in min-k, as in TOFU's evaluation
LEAST_VARIANCE = 1e-6


def inner(truth: Tensor, pad: int = -1) -> Tensor:
    """(n, A) whether a place holds a token that is not the last one of its row."""
    there = truth != pad
    return there & (there.long().cumsum(1) < there.sum(1, keepdim=True))


def exact_memorisation(logits: Tensor, truth: Tensor) -> Tensor:
    """(n,) the share of tokens that are the likeliest one after all that is true before them.

    Args:
        logits: (n, A, K).
        truth: (n, A) the tokens of the answers with those that end them, padded with −1.
    """
    counted = inner(truth)
    right = (logits.argmax(2) == truth) & counted
    return right.sum(1) / _count(counted)


def extraction_strength(logits: Tensor, truth: Tensor) -> Tensor:
    """(n,) 1 − k/n', k the least number of true tokens from which greedy decoding gives all the rest (Carlini et al. 2021).

    Where not even the last token is right it is 1/n' and not 0, and 0 for an answer without tokens, as in open-unlearning.
    """
    counted = inner(truth)
    wrong = ((logits.argmax(2) != truth) & counted).long()
    following = wrong.flip(1).cumsum(1).flip(1)  # wrong tokens from here on
    right_to_the_end = ((following == 0) & counted).sum(1)
    count = counted.sum(1)
    return torch.where(count > 0, right_to_the_end.clamp_min(1) / count.clamp_min(1), 0.0)


def min_k(logits: Tensor, truth: Tensor, share: float = SHARE) -> Tensor:
    """(n,) minus the mean of the ⌊k n'⌋ lowest log-probabilities, at least one (Shi et al. 2024, arXiv 2310.16789)."""
    return _lowest(_chosen(logits.log_softmax(2), truth), inner(truth), share)


def min_k_plus_plus(logits: Tensor, truth: Tensor, share: float = SHARE) -> Tensor:
    """(n,) as :func:`min_k` of (log p(y) − μ)/σ, mean and deviation of log p under p (Zhang et al. 2025, arXiv 2404.02936)."""
    logs = logits.log_softmax(2)
    chance = logs.exp()
    mean = (chance * logs).sum(2)
    variance = (chance * logs.square()).sum(2) - mean.square()
    return _lowest((_chosen(logs, truth) - mean) / variance.clamp_min(LEAST_VARIANCE).sqrt(), inner(truth), share)


def zlib_ratio(loss: float, text: str) -> float:
    """The loss over the bytes that the text takes when zlib has packed it (Carlini et al. 2021, arXiv 2012.07805)."""
    return loss / len(zlib.compress(text.encode("utf-8")))


def membership_auc(members: Tensor, others: Tensor) -> float:
    """The chance that a score, high for what is unlikely, is higher for one of ``others`` than for one of ``members``.

    1 where members look perfectly memorised, one half where nothing tells them apart.
    """
    from sklearn.metrics import roc_auc_score

    members, others = members[~members.isnan()], others[~others.isnan()]
    if not len(members) or not len(others):
        return float("nan")
    labels = [0] * len(members) + [1] * len(others)
    return float(roc_auc_score(labels, torch.cat([members, others]).numpy()))


def privacy_leakage(auc: float, goal: float = 0.5) -> float:
    """100 ((1 − AUC) − (1 − goal)) / (1 − goal): 0 at the goal, negative for what is remembered, positive beyond it."""
    return 100 * ((1 - auc) - (1 - goal)) / ((1 - goal) + 1e-10)


def harmonic_mean(values: list[float]) -> float:
    """0 as soon as one of them is; NaN as soon as one is unknown."""
    if any(value == 0 for value in values):
        return 0.0
    return len(values) / sum(1 / value for value in values)


def _count(counted: Tensor) -> Tensor:
    """(n,) how many, NaN for none."""
    count = counted.sum(1).double()
    return count.masked_fill(count == 0, torch.nan)


def _chosen(logs: Tensor, truth: Tensor) -> Tensor:
    """(n, A) of the true tokens."""
    return logs.gather(2, truth.clamp_min(0)[..., None]).squeeze(2)


def _lowest(values: Tensor, counted: Tensor, share: float) -> Tensor:
    """(n,) minus the mean of the lowest ⌊share n'⌋ values of each row, at least one of them; NaN for a row without any."""
    ordered = values.double().masked_fill(~counted, torch.inf).sort(1).values
    many = (share * counted.sum(1).double() + 1e-9).long().clamp_min(1)  # 0.4 · 5 is 2, whatever rounding makes of it
    taken = torch.arange(values.shape[1], device=values.device) < many[:, None]
    found = -ordered.masked_fill(~taken, 0.0).sum(1) / many
    return found.masked_fill(~counted.any(1), torch.nan)
