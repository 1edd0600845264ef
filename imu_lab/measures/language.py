"""What can be measured of a language model that answers questions: pair by pair, and as metrics that a run follows.

The metrics are those of TOFU's evaluation as open-unlearning defines them (Dorna et al. 2025, arXiv 2506.12618). They need a
task of pairs; others give nothing. Where the retrained model's value is the goal, as it is for everything measured on the
forget set, that is said: a value beyond it is forgetting too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.memo import Memo
from ..core.messages import kind_of
from ..core.registry import metric
from ..core.running import device_of
from ..tasks.around import innermost
from ..tasks.evaluation import in_order, outputs, threads_of
from ..tasks.pair_scores import DEFINITIONS, EPSILON, folded, truthful
from ..tasks.protocol import Task, offered
from . import memorisation
from .reference import Reference

LIKE_RETRAINED = "on forget: towards the retrained model's value, not beyond it"
SCORES = ("loss", "min_k", "min_k_plus_plus", "zlib")  # high for what is unlikely to have been trained on


def has_pairs(task: Task) -> bool:
    """Whether a task is about questions and answers."""
    return hasattr(innermost(task), "wrong_losses")


def check_pairs(what: str, task: Task, models: Any = MappingProxyType({})) -> None:
    """Raise TypeError unless the task has pairs, and the models names; ``what`` needs them."""
    if not has_pairs(task):
        raise TypeError(f"{what} a task of questions and answers, not {type(innermost(task)).__name__}")
    if not isinstance(models, Mapping):
        raise TypeError(f'models are named, as in {{"now": run.model}}; got {kind_of(models)}')


def pair_table(task: Task, model: nn.Module, split: str = "forget", by: str | None = None) -> pd.DataFrame:
    """Every score of every pair of a split.

    Args:
        task, model: a :class:`~imu_lab.tasks.Language` and a whole model.
        split: whose pairs.
        by: ``"author"`` for the means over the pairs of each author.

    Returns:
        DataFrame ``example, author, loss, probability, exact, exact_memorisation, extraction_strength, min_k,
        min_k_plus_plus, zlib`` and, where there are wrong answers, ``truth_ratio``; NaN where a pair has no such score.

    Raises:
        TypeError: the task has no pairs.
        ValueError: another way to put pairs together was asked for.
    """
    check_pairs("a table of pairs needs", task)
    if by not in (None, "author"):
        raise ValueError(f'by is None or "author", got {by!r}')
    examples = task.split(split)
    some = getattr(task.corpus, examples.source)
    known = [some[at] for at in examples.ids.tolist()]
    with threads_of(task):
        scores = _scores(task, model, split)
    columns = {
        "example": examples.ids.numpy(),
        "author": [task.corpus.name(pair.author) or pair.group for pair in known],
    }
    table = pd.DataFrame(columns | {name: values.numpy() for name, values in scores.items()})
    perturbed = task.split(f"{split}-perturbed").ids
    if len(perturbed):
        ratios = pd.Series(task.truth_ratios(model, split).numpy(), perturbed.numpy())
        table["truth_ratio"] = ratios.reindex(table["example"]).to_numpy()
    return table if by is None else table.drop(columns="example").groupby("author", sort=False).mean().reset_index()


def _scores(task: Task, model: nn.Module, split: str) -> dict[str, Tensor]:
    """{name: (n,)} float64, of each pair of a split; from whole pairs or from what reaches the readout."""
    examples = task.split(split)
    texts = [pair.answer for pair in getattr(task.corpus, examples.source)]
    rows: list[tuple[Any, dict[str, Tensor]]] = []
    for positions, batch, made in outputs(task, model, examples, alike=True):
        truth, logits = batch.targets["tokens"][:, 1:], made
        losses = task.example_loss(lambda _, made=made: made, batch).double()
        packed = [
            memorisation.zlib_ratio(loss, texts[at])
            for loss, at in zip(losses.tolist(), examples.ids[positions].tolist())
        ]
        scores = {
            "loss": losses,
            "probability": torch.exp(-losses),
            "exact": (task.example_margin(lambda _, made=made: made, batch) > 0).double(),
            "exact_memorisation": memorisation.exact_memorisation(logits, truth),
            "extraction_strength": memorisation.extraction_strength(logits, truth).double(),
            "min_k": memorisation.min_k(logits, truth),
            "min_k_plus_plus": memorisation.min_k_plus_plus(logits, truth),
            "zlib": torch.tensor(packed, dtype=torch.float64),
        }
        rows.append((positions, scores))
    names = rows[0][1] if rows else ()
    return {name: in_order(((at, row[name].cpu()) for at, row in rows), len(examples)) for name in names}


@metric(
    "forget-quality",
    unit="−log10 p",
    good="low: 0 is the retrained model, and how little is known is another question",
    title="forget quality",
    goal=0.0,
)
@dataclass(frozen=True)
class ForgetQuality:
    """−log10 p of a two-sided Kolmogorov-Smirnov test between the truth ratios of the model and of the retrained one.

    ``forget_quality`` is 0 where nothing tells them apart; ``ks_distance`` is the largest distance of their two
    distributions, which does not grow with the number of pairs. Of several retrained models, the mean.
    """

    needs_reference: ClassVar[bool] = True
    takes_several: ClassVar[bool] = True

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> Mapping[str, Mapping[str, float]]:
        """{"forget": {"forget_quality": ..., "ks_distance": ...}}; nothing where no pair has wrong answers."""
        if not has_pairs(task) or not len(task.split("forget-perturbed")):
            return {}
        mine = task.truth_ratios(model, "forget", task.split)
        found = [same_distribution(mine, _known_ratios(member)) for member in Reference.of(task, reference).members]
        quality, distance = np.mean(found, axis=0)
        return {"forget": {"forget_quality": float(quality), "ks_distance": float(distance)}}


KNOWN: Memo[Any] = Memo(32)  # of retrained models, by content and device, for a device rounds as it does


def _known_ratios(member: Reference) -> Tensor:
    """(n,) the truth ratios of a retrained model on its task's forget set, computed once."""
    key = ("ratios", innermost(member.task), member.digest, device_of(member.model))
    return KNOWN.once(key, lambda: member.task.truth_ratios(member.model, "forget", member.task.split))


def _known_area(member: Reference) -> float:
    """The area under the curve of min-k for a retrained model, computed once."""
    key = ("area", innermost(member.task), member.digest, device_of(member.model))
    return KNOWN.once(key, lambda: _areas(member.task, member.model)["auc_min_k"])


class Apart(NamedTuple):
    """Two samples as one test sees them: −log10 p, the distance of their distributions, and where it is that large."""

    quality: float
    distance: float
    farthest: float


def apart(first: Tensor, second: Tensor) -> Apart:
    """The two-sided two-sample Kolmogorov-Smirnov test, without what is not known; NaN where one side is empty."""
    from scipy.stats import ks_2samp

    first, second = (values[~values.isnan()].numpy() for values in (first, second))
    if not len(first) or not len(second):
        return Apart(*[float("nan")] * 3)
    found = ks_2samp(first, second)
    quality = -float(np.log10(max(found.pvalue, np.finfo(float).tiny))) + 0.0
    return Apart(quality, float(found.statistic), float(found.statistic_location))


def same_distribution(first: Tensor, second: Tensor) -> tuple[float, float]:
    """−log10 p of the two-sided two-sample Kolmogorov-Smirnov test, and the distance; without what is not known."""
    return apart(first, second)[:2]


@metric(
    "model-utility", unit="harmonic mean of nine shares", good="high; 0 as soon as one of the nine is", title="utility"
)
@dataclass(frozen=True)
class ModelUtility:
    """The harmonic mean of probability, ROUGE and truth ratio on kept authors, well-known and general facts.

    On the latter two a probability is that of the right answer among all: P / (P + Σ P of the wrong ones). Asks the whole
    model for its own answers, so it takes its time.
    """

    takes_several: ClassVar[bool] = True  # it looks at none

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> Mapping[str, Mapping[str, float]]:
        """{"retain": {"model_utility": ...}}; nothing where one of the three groups is missing."""
        groups = ("kept-authors", "well-known", "general")
        if not has_pairs(task) or not all(len(task.split(f"{name}-perturbed")) for name in groups):
            return {}
        nine: list[float] = []
        for name in groups:
            told = task.evaluate(model, name)
            chosen = told["probability"] if name == groups[0] else _among_options(task, model, name)
            nine += [chosen, told["rouge"], told["truth_ratio"]]
        return {"retain": {"model_utility": memorisation.harmonic_mean(nine)}}


def _among_options(task: Task, model: nn.Module, split: str) -> float:
    """The mean probability of the right answer, normalised over the right and the wrong ones."""
    right = torch.exp(-task.losses(model, task.split(f"{split}-perturbed")))
    wrong = torch.exp(-task.wrong_losses(model, split, task.split)).nansum(1)
    return (right / (right + wrong + EPSILON)).mean().item()


@metric("truth-ratio", unit="share", good=LIKE_RETRAINED, title="truth ratio")
@dataclass(frozen=True)
class TruthRatio:
    """The truth ratio R, wrong answers over the right one in other words, by a definition of your choice.

    On what is to be forgotten the mean of min(R, 1/R), elsewhere of max(0, 1 − R). ``"tofu"`` takes the arithmetic mean over
    the wrong answers, as the paper does, ``"open-unlearning"`` the geometric one, as the task's own metric does.
    """

    takes_several: ClassVar[bool] = True  # it looks at none

    definition: str = knob("tofu", help="Whose definition.", choices=DEFINITIONS)

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> Mapping[str, Mapping[str, float]]:
        """{split: {"truth_ratio_tofu": ...}} on every split with wrong answers."""
        found = {}
        for split in offered(task).splits if has_pairs(task) else ():
            if len(task.split(f"{split}-perturbed")):
                ratios = task.truth_ratios(model, split, task.split, self.definition)
                value = (folded if split.endswith("forget") else truthful)(ratios).mean().item()
                found[split] = {f"truth_ratio_{self.definition.replace('-', '_')}": value}
        return found


@metric("pair-memorisation", unit="share of tokens", good=LIKE_RETRAINED, title="memorisation")
@dataclass(frozen=True)
class Memorisation:
    """How much of the answers a model has by heart: the share of right tokens, and from where on all are right.

    ``exact_memorisation`` counts tokens that are the likeliest after the true ones before; ``extraction_strength`` the part
    of an answer that follows from its beginning. Both leave out the token that ends an answer.
    """

    takes_several: ClassVar[bool] = True  # it looks at none

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> Mapping[str, Mapping[str, float]]:
        """{split: {"exact_memorisation": ..., "extraction_strength": ...}} on the forget and the retain set."""
        if not has_pairs(task):
            return {}
        found = {}
        for split in ("forget", "retain"):
            scores = _scores(task, model, split)
            found[split] = {
                name: scores[name].nanmean().item() for name in ("exact_memorisation", "extraction_strength")
            }
        return found


@metric("pair-membership", unit="area under the curve", good=LIKE_RETRAINED, title="membership")
@dataclass(frozen=True)
class PairMembership:
    """Whether the forget set can be told from pairs that no model was told of: the area under the attack's curve.

    By loss, by the least likely tokens (min-k, min-k++) and by the loss over the length of the packed text. 1 is perfectly
    memorised, 0.5 not to be told apart; the goal is the retrained model's value, which need not be 0.5. ``privleak`` is
    100 ((1 − AUC) − (1 − goal)) / (1 − goal) of min-k, with one half as the goal where there is no retrained model.
    """

    takes_several: ClassVar[bool] = True

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> Mapping[str, Mapping[str, float]]:
        """{"forget": {"auc_loss": ..., "auc_min_k": ..., "auc_min_k_plus_plus": ..., "auc_zlib": ..., "privleak": ...}}.

        Raises:
            ValueError: there are no pairs that no model was told of.
        """
        if not has_pairs(task):
            return {}
        if not len(task.split("holdout")):
            raise ValueError(
                "membership compares with pairs that no model was told of, and these data have none: a folder laid out like "
                "TOFU has them as holdout01, holdout05 or holdout10"
            )
        mine = _areas(task, model)
        goal = 0.5
        if reference is not None:
            goal = float(np.mean([_known_area(member) for member in Reference.of(task, reference).members]))
        return {"forget": mine | {"privleak": memorisation.privacy_leakage(mine["auc_min_k"], goal)}}


def _areas(task: Task, model: nn.Module) -> dict[str, float]:
    members, others = (_scores(task, model, split) for split in ("forget", "holdout"))
    return {f"auc_{name}": memorisation.membership_auc(members[name], others[name]) for name in SCORES}
