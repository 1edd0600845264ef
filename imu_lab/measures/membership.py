"""Membership by threshold: what a model says of each sample, and how well that tells members from samples never seen.

A score says how much a model speaks for a sample's having been trained on; of each, higher speaks for a member. The
formulas are those of Song & Mittal 2021 (arXiv 2003.10595); several public copies of the modified entropy take log p in
place of log(1 − p) for the other classes, or the columns of all labels for each sample.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..core.messages import DoesNotApply, listed
from ..tasks.evaluation import outputs
from ..tasks.outputs import answers, check_probabilities, true_classes, two_sided
from ..tasks.protocol import Examples, Task, names_of, offered
from .language import has_pairs

LEAST = -1e300  # a log-probability that is finite: of a class that a model rules out
ROOM = 2**22  # numbers in double precision that are held at once
FALSE_POSITIVES = 0.01  # the share of samples never seen that an attack may call members


class Score(NamedTuple):
    """One number per sample.

    Attributes:
        sign: 1 where a higher value speaks for a member, −1 where a lower one does.
        unit, formula: what it is.
    """

    sign: int
    unit: str
    formula: str


SCORES = {
    "loss": Score(-1, "nats", "the task's loss ℓ = −log p_y"),
    "confidence": Score(1, "probability", "p_y, the probability of the true class"),
    "entropy": Score(-1, "nats", "H = −Σ_k p_k log p_k"),
    "modified_entropy": Score(-1, "nats", "−(1 − p_y) log p_y − Σ_{k≠y} p_k log(1 − p_k)"),
}


def sample_scores(task: Task, model: nn.Module, examples: Examples) -> pd.DataFrame:
    """What a model says of each sample, in double precision; of several predictions the mean by their share of the loss.

    Returns:
        DataFrame with one row per example: ``loss, confidence, entropy, modified_entropy``, ``log_odds`` = log(p_y / (1 −
        p_y)), and ``right``, the share of predictions that are right.

    Raises:
        DoesNotApply: the outputs are no probabilities, or there is no single true class.
    """
    names = [*SCORES, "log_odds", "right"]
    rows = [torch.empty(0, len(names), dtype=torch.float64)]
    for _, batch, made in outputs(task, model, examples):
        truth, shares = true_classes(task, made, batch)
        size = max(1, ROOM // max(1, made[0].numel()))
        for logits, wanted, share in zip(two_sided(made).split(size), truth.split(size), shares.split(size)):
            values = torch.stack(list(prediction_scores(logits, wanted).values()), -1)  # (n, ..., names)
            rows.append((share[..., None] * values).reshape(len(values), -1, len(names)).sum(1).cpu())
    return pd.DataFrame(torch.cat(rows).numpy(), columns=names)


def prediction_scores(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """{score: (n, ...)} float64 of logits (n, ..., K) and true classes (n, ...)."""
    logits, truth = logits.double(), truth[..., None]
    log_p = logits.log_softmax(-1).clamp_min(LEAST)
    p, odds = log_p.exp(), log_odds(logits, truth[..., 0])
    # log p_y, exact where p_y is so near 0 or 1 that rounding would make samples alike.
    own = logsigmoid(odds).clamp_min(LEAST)
    others = (p * _log_others(logits, p)).scatter(-1, truth, 0.0).sum(-1)
    return {
        "loss": -own,
        "confidence": own.exp(),
        "entropy": -(p * log_p).sum(-1),
        "modified_entropy": torch.expm1(own) * own - others,
        "log_odds": odds,
        "right": (answers(logits, truth[..., 0]) == truth[..., 0]).double(),
    }


def _log_others(logits: Tensor, p: Tensor) -> Tensor:
    """(n, ..., K) log(1 − p_k); of the likeliest class from the other logits, where 1 − p_k is lost to rounding."""
    top = logits.argmax(-1, keepdim=True)
    rest = logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True) - logits.logsumexp(-1, keepdim=True)
    return torch.log1p(-p.scatter(-1, top, 0.0)).scatter(-1, top, rest.clamp_min(LEAST))


def log_odds(logits: Tensor, truth: Tensor) -> Tensor:
    """(n, ...) z_y − log Σ_{k≠y} exp z_k = log(p_y / (1 − p_y)), without a difference of large numbers."""
    others = logits.scatter(-1, truth[..., None], -torch.inf).logsumexp(-1)
    return logits.gather(-1, truth[..., None])[..., 0] - others


def auc(members: np.ndarray, others: np.ndarray, axis: int = -1) -> np.ndarray:
    """The area under the ROC curve: the probability that a member scores above a sample never seen, ties counting half.

    The same as ``sklearn.metrics.roc_auc_score``, for many resamplings at once.

    Args:
        members, others: (..., n) and (..., m) scores, higher for members.
    """
    from scipy.stats import rankdata  # half a second to import

    members, others = np.moveaxis(members, axis, -1), np.moveaxis(others, axis, -1)
    count, more = members.shape[-1], others.shape[-1]
    ranks = rankdata(np.concatenate([members, others], -1), axis=-1)[..., :count]
    return (ranks.sum(-1) - count * (count + 1) / 2) / (count * more)


def true_positives(
    members: np.ndarray, others: np.ndarray, axis: int = -1, share: float = FALSE_POSITIVES
) -> np.ndarray:
    """The largest share of members above a threshold above which at most ``share`` of those never seen are.

    Not at the nearest false-positive rate, as some public code takes it, which may lie above.
    """
    members, others = np.moveaxis(members, axis, -1), np.moveaxis(others, axis, -1)
    return (members > threshold(others, share)[..., None]).mean(-1)


def threshold(others: np.ndarray, share: float = FALSE_POSITIVES) -> np.ndarray:
    """(...) the score above which a sample is called a member, so that at most ``share`` of (..., m) others are."""
    allowed = int(np.floor(share * others.shape[-1] + 1e-9))
    return -np.partition(-others, allowed, axis=-1)[..., allowed]


class Attack(NamedTuple):
    """What a threshold on one score tells of members.

    Attributes:
        line: the value of the score beyond which a sample is called a member.
        beyond: the share of members beyond it.
        area: the AUC.
    """

    line: float
    beyond: float
    area: float


def attack(members: np.ndarray, others: np.ndarray, sign: int, share: float = FALSE_POSITIVES) -> Attack | None:
    """The threshold with at most ``share`` of those never seen beyond it; None where either side is empty.

    Args:
        members, others: (n,) and (m,) values of a score.
        sign: 1 where a higher value speaks for a member, −1 where a lower one does.
    """
    if not len(members) or not len(others):
        return None
    members, others = sign * members, sign * others
    beyond, area = true_positives(members, others, share=share), auc(members, others)
    return Attack(sign * float(threshold(others, share)), float(beyond), float(area))


class Sides(NamedTuple):
    """Who is told apart.

    Attributes:
        members: samples to forget.
        others: samples of the same classes that no model was trained on.
        split: the split that the others are of.
        left_out: a sentence on members without anybody to compare with; empty where there are none.
    """

    members: Examples
    others: Examples
    split: str
    left_out: str


def sides(task: Task, model: nn.Module) -> Sides:
    """Samples to forget, and unseen ones of the same classes: for a class its own unseen samples, ``test-forget``.

    Args:
        model: of the task; where the task names no labels, classes are those of its outputs that are true.

    Raises:
        DoesNotApply: the targets are no classes, or there are no unseen samples of these classes.
    """
    check_probabilities(task)
    forget = task.split("forget")
    if has_pairs(task):
        others = task.split("holdout")
        if not len(others):
            raise DoesNotApply(
                "membership compares with pairs that no model was told of, and these data have no holdout"
            )
        return Sides(forget, others, "holdout", "")
    if "test-forget" in offered(task).splits and len(others := task.split("test-forget")):
        known = _labels(task, (forget, others))
        if known is None or not set(known[0]) & set(known[1]):  # a name of each sample's own is no class
            return Sides(forget, others, "test-forget", "")
        return _of_same_classes(forget, others, *known, "test-forget")
    others = task.split("test")
    known = _classes(task, model, (forget, others))
    if known is None:
        return Sides(forget, others, "test", "samples are of no one class each, so the others are all unseen ones")
    found = _of_same_classes(forget, others, *known, "test")
    if "test-forget" in offered(task).splits:  # a part of a class, and these are its other parts
        raise DoesNotApply(
            "membership compares the samples to forget with unseen ones of the same kind, and the 'test-forget' split, which "
            "would hold them, is empty; give the task held-out samples of them"
        )
    return found


def _labels(task: Task, both: tuple[Examples, Examples]) -> list[list[str]] | None:
    """What the task calls each sample of both sides; None where it names none."""
    if None in (offered(task).labels, offered(task).test_labels):
        return None
    return [names_of(task, each) for each in both]


def _classes(task: Task, model: nn.Module, both: tuple[Examples, Examples]) -> list[list[str]] | None:
    """The class of each sample of both sides: the task's labels, else numbers of outputs; None of several predictions each."""
    if (known := _labels(task, both)) is not None:
        return known
    found: list[list[str]] = [[], []]
    for names, examples in zip(found, both):
        for _, batch, made in outputs(task, model, examples):
            truth = true_classes(task, made, batch)[0]
            if truth.ndim > 1:
                return None
            names += [str(number) for number in truth.tolist()]
    return found


def _of_same_classes(forget: Examples, others: Examples, mine: list[str], theirs: list[str], split: str) -> Sides:
    """Both sides without classes that the other lacks."""
    known = sorted(set(mine) & set(theirs))
    if not known:
        raise DoesNotApply(
            f"membership compares the samples to forget with unseen ones of the same classes, and the {split!r} split has "
            f"none of class {listed(sorted(set(mine)))}; give the task held-out samples of them"
        )
    lacking = sorted(set(mine) - set(known))
    words = f"left out, for want of unseen samples: {sum(name in lacking for name in mine)} of class {listed(lacking)}"
    kept = [
        each.take(torch.from_numpy(np.flatnonzero(np.isin(names, known))))
        for each, names in ((forget, mine), (others, theirs))
    ]
    return Sides(*kept, split, words if lacking else "")
