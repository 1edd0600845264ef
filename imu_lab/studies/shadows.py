"""U-LiRA on heads: shadow heads on the original's frozen features are trained, made to forget, and told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.messages import DoesNotApply, UnknownName, reason
from ..core.records import Influence, Run
from ..core.registry import estimators, intensity_rules, methods
from ..core.running import copied, one_thread, real_numbers, seeded
from ..features import readout, view
from ..features.cache import as_seen_by, by_content, concatenated
from ..features.statistics import collect
from ..features.targets import target_examples
from ..intensities import intensity
from ..measures import lira
from ..measures.membership import FALSE_POSITIVES, auc, sample_scores, true_positives
from ..tasks.around import Around
from ..tasks.evaluation import mean_loss
from ..tasks.networks.fresh import reset
from ..tasks.protocol import Examples, Task, labels_of
from ..tasks.training import epochs, recipe_of
from ..unlearning.request import Request, even_weights
from .audited import ORIGINAL, RUN, Audited, Row, notes_of

PAIRS, FEWEST = 64, 8
LONGEST = 4  # times the updates of the run
ENDED = object()
SAID = "heads alone are trained again, on features of a backbone that has seen the samples"
# How it is measured, its unit, and what it is by chance for so many samples.
STATISTICS: dict[str, tuple[Callable, str, Callable[[int], float]]] = {
    "AUC": (auc, "probability", lambda count: 0.5),
    # Of few samples the threshold lies at the largest of those allowed, beyond which chance puts more than one in a hundred.
    "TPR at 1 % FPR": (
        true_positives,
        "share of samples",
        lambda count: (int(FALSE_POSITIVES * count + 1e-9) + 1) / (count + 1),
    ),
    "accuracy": (lira.accuracy, "share correct", lambda count: 0.5),
}


class Shadowed(Around):
    """A task seen from its readout with other training samples, those of one shadow: its models are heads."""

    def __init__(self, task: Task, head: nn.Module, parts: dict[str, Examples]) -> None:
        self.task, self._head, self._parts = task, head, parts
        self.recipe = replace(recipe_of(task), augment=False)  # what is trained on are features

    def make_model(self, seed: int) -> nn.Module:
        """A fresh head, for methods that begin with one or look at one."""
        with seeded(seed):
            return reset(self._head)

    def split(self, name: str) -> Examples:
        """The shadow's own train, forget and retain split; the others as they are."""
        return self._parts[name] if name in self._parts else self.task.split(name)


@dataclass(frozen=True, eq=False)
class Shadows:
    """The log-odds of samples under pairs of shadow heads.

    Attributes:
        seen, never: (2, pairs, n) under heads that were trained on a sample and under those that were not; first as
            trained, then after they were made to forget.
        accuracy: of the heads on what they were made to forget, before and after, the mean.
        note: what was done otherwise than in the run; empty where nothing was.
    """

    seen: np.ndarray
    never: np.ndarray
    accuracy: tuple[float, float]
    note: str


def check_pairs(pairs: int) -> None:
    """Raise ValueError for fewer pairs than an interval takes."""
    if pairs < FEWEST:
        raise ValueError(
            f"U-LiRA takes {FEWEST} pairs of shadow models or more: fewer leave too few to fit normals to while others are "
            f"scored, and no interval; got {pairs!r}"
        )


def shadows(asked: Audited, pairs: int) -> Shadows:
    """Train pairs of heads, each on half of the samples in question and the other on the other half, and have both forget.

    A pair shares half of the samples to keep, drawn for it. Heads start from zero, are trained by the task's recipe without
    augmentation, and forget by the run's method and settings until their loss on it is that of the run's model.

    Raises:
        ValueError: fewer than 8 pairs, a readout that is not one linear layer, or no unseen samples.
    """
    check_pairs(pairs)
    task, head = view(asked.task, asked.models[ORIGINAL])
    if task is asked.task:
        names = ", ".join(readout.resolve(asked.task, asked.models[ORIGINAL])) or "the whole model"
        raise DoesNotApply(f"shadow heads need a readout that is one linear layer; this task's is {names}")
    candidates, kept = _pool(asked, task)
    again, note = _again(asked)
    found = [_pair(task, head, candidates, kept, again, asked.seed * 100_003 + number) for number in range(pairs)]
    seen, never = (np.stack([pair[side] for pair in found], 1) for side in (0, 1))
    heads = [each for pair in found for each in pair[2]]
    before, after = np.mean([(each.before, each.after) for each in heads], axis=0)
    moved = "the run moved more than the readout, and shadows move that alone" if asked.run.moves_backbone else ""
    short = _how_many(heads, "capped", f"did not forget as much as the run within {LONGEST} times its updates")
    even = _how_many(heads, "even", "forgot with uniform weights, for the run's rule gave them none")
    return Shadows(seen, never, (float(before), float(after)), notes_of(note, moved, short, even))


class Forgetting(NamedTuple):
    """How a shadow forgot: whether its updates ran out before it had forgotten as much, and whether all weighed the same
    because the run's rule gave no weights."""

    capped: bool
    even: bool


class Head(NamedTuple):
    """What is kept of one shadow head.

    Attributes:
        log_odds: (2, n) of all candidates, as trained and after it was made to forget.
        before, after: the share of right answers on what it was made to forget.
        capped, even: see :class:`Forgetting`.
    """

    log_odds: np.ndarray
    before: float
    after: float
    capped: bool
    even: bool


def _how_many(heads: list[Head], what: str, words: str) -> str:
    """How many of the shadows something is true of; empty where of none."""
    count = sum(getattr(each, what) for each in heads)
    return f"{count} of {len(heads)} shadows {words}" if count else ""


def _pool(asked: Audited, task: Task) -> tuple[Examples, Examples]:
    """The samples in question, and those to keep, as features in an order that their content decides."""
    sides = asked.sides
    parts = [as_seen_by(task, each.take(by_content(each))).batch() for each in (sides.members, sides.others)]
    inputs, targets = (concatenated([part[place] for part in parts]) for place in (0, 1))
    retain = asked.split("retain")
    if not len(retain):
        raise DoesNotApply("shadow heads are trained beside samples to keep, and this task has none")
    return Examples.of(inputs, targets), task.split("retain").take(by_content(retain))


Unlearner = Callable[[Task, nn.Module, int], Forgetting]


def _pair(
    task: Task, head: nn.Module, candidates: Examples, kept: Examples, again: Unlearner, seed: int
) -> tuple[np.ndarray, np.ndarray, list[Head]]:
    """(2, n) log-odds under the head that saw each sample, (2, n) under the other, and the two heads."""
    chance, count = torch.Generator().manual_seed(seed), len(candidates)
    half = torch.zeros(count, dtype=torch.bool)
    half[torch.randperm(count, generator=chance)[: count // 2]] = True
    beside = kept.take(torch.randperm(len(kept), generator=chance)[: max(1, len(kept) // 2)])
    heads = [_scored(task, head, candidates, mine, beside, again, seed) for mine in (half, ~half)]
    mine, (one, other) = half.numpy(), (each.log_odds for each in heads)
    return np.where(mine, one, other), np.where(mine, other, one), heads


def _scored(
    task: Task, head: nn.Module, candidates: Examples, mine: Tensor, beside: Examples, again: Unlearner, seed: int
) -> Head:
    """A head that is trained on one half of the candidates beside others, and then made to forget it."""
    forget = candidates.take(mine.nonzero().flatten())
    batches = [part.batch() for part in (forget, beside)]
    train = Examples.of(*(concatenated([batch[place] for batch in batches]) for place in (0, 1)))
    shadow = Shadowed(task, head, {"forget": forget, "retain": beside, "train": train})
    model = copied(head)
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    with one_thread():
        for _ in epochs(shadow, model, train, shadow.recipe, seed):
            pass
        model.eval()
        before = sample_scores(shadow, model, candidates)
        how = again(shadow, model, seed)
        after = sample_scores(shadow, model.eval(), candidates)
    right = (float(each["right"][mine.numpy()].mean()) for each in (before, after))
    return Head(np.stack([before["log_odds"], after["log_odds"]]), *right, *how)


def _again(asked: Audited) -> tuple[Unlearner, str]:
    """What makes a shadow forget as the run's model did, and what had to be otherwise.

    It forgets as much: until its mean loss is that of the run, or four times as many updates were made.
    """
    run = asked.run
    try:
        how = methods.create(run.settings["method"], **(run.settings.get("settings") or {}))
    except UnknownName as error:
        raise DoesNotApply(f"shadow heads forget by the run's method, and that is not at hand: {error}") from error
    weighed, note = _weighing(run, methods.declared(how, "takes_weights"))
    steps, level = int(run.events.get("steps") or 0), mean_loss(asked.task, asked.models[RUN], asked.split("forget"))

    def forget(task: Shadowed, model: nn.Module, seed: int) -> Forgetting:
        samples = task.split("forget")
        retain = task.split("retain") if methods.declared(how, "needs_retain") else None
        parts = methods.declared(how, "needs_statistics")
        held = collect(task, model, task.split("train"), parts, {}) if parts else None
        shares = weighed(task, model, samples)
        request = Request(samples, even_weights(samples) if shares is None else shares, retain, seed, held)
        enough = mean_loss(task, model, samples) >= level
        updates = islice(_on_a_head(how, run.settings["method"], task, model, request), LONGEST * steps)
        while not enough and next(updates, ENDED) is not ENDED:
            enough = mean_loss(task, model, samples) >= level
        return Forgetting(not enough, shares is None)

    return forget, note


def _on_a_head(how: Any, name: str, task: Task, head: nn.Module, request: Request) -> Iterator[Any]:
    """The updates of a method.

    Raises:
        DoesNotApply: it asks for more than a head, such as several layers.
    """
    try:
        yield from how(task, head, request)
    except Exception as error:  # a method of a user's own says in its own way what it lacks
        raise DoesNotApply(
            f"shadow heads forget by the run's method, and {name!r} failed on a head alone: {reason(error)}"
        ) from error


def _weighing(run: Run, takes_weights: bool) -> tuple[Callable[[Task, nn.Module, Examples], Tensor | None], str]:
    """From a shadow to the weights of its forget set: by the run's estimator and rule, or uniform. None where the rule gives
    none, because no sample is to be pressed or it reads what is not known here."""

    def uniform(task: Task, model: nn.Module, samples: Examples) -> Tensor:
        return even_weights(samples)

    told = run.settings.get("weights") or {}
    scores = told.get("influence") or {}
    rule = told.get("rule", "uniform")
    if not takes_weights or rule == "uniform":
        return uniform, ""
    if rule not in intensity_rules or scores.get("estimator") not in estimators or scores.get("target") != "forget":
        return (
            uniform,
            f"the weights of the run ({rule}) cannot be made again for others: shadows forget with uniform ones",
        )
    estimate = estimators.create(scores["estimator"], **(scores.get("settings") or {}))

    def weighed(task: Task, model: nn.Module, samples: Examples) -> Tensor | None:
        values = real_numbers(estimate(task, model, samples, target_examples(task, "forget", samples)))
        frame = pd.DataFrame({"example": samples.ids.numpy(), "influence": values})
        try:
            made = intensity(Influence(frame, frame[["example"]], {}), rule, **(told.get("settings") or {}))
        except ValueError:
            return None
        return torch.tensor(made.values)

    return weighed, ""


def shadows_of(asked: Audited, pairs: int) -> Shadows:
    """The shadows of a run, trained once."""
    return asked.once(("shadows", pairs), lambda: shadows(asked, pairs))


def u_lira_rows(asked: Audited, pairs: int = PAIRS) -> Iterator[Row]:
    """AUC, true positives and accuracy of the likelihood ratio, on pairs that it was not fitted to."""
    made = shadows_of(asked, pairs)
    trained, forgot = (lira.held_out(made.seen[at], made.never[at]) for at in (0, 1))
    about = f"shadows answered {made.accuracy[0]:.0%} of what they forgot before and {made.accuracy[1]:.0%} after"
    for name, (statistic, unit, goal) in STATISTICS.items():
        each = np.sort(statistic(*forgot))
        low, high = asked.mean_interval(each)
        yield Row(
            f"{name} by U-LiRA",
            f"forget and {asked.sides.split}",
            float(each.mean()),
            unit,
            f"mean over {pairs} held-out pairs; Λ = log N(φ; models that saw and forgot it) − log N(φ; that never saw it, and "
            "forgot others), φ = log(p_y / (1 − p_y)), normals by sample",
            low,
            high,
            goal(made.seen.shape[-1]),
            float(statistic(*trained).mean()),
            "close to the goal: nobody tells who was forgotten from who was never seen",
            notes_of(SAID, about, made.note),
        )


def u_lira(run: Run, pairs: int = PAIRS, *, task: Task | None = None, seed: int = 0) -> pd.DataFrame:
    """Of each sample, how well shadow heads that forgot it can be told from those that never saw it: a head-level U-LiRA.

    >>> table = imu.u_lira(run)
    >>> table.sort_values("overlap").head()

    The samples to forget and unseen ones of their classes are halved ``pairs`` times. One head is trained on the one half,
    one on the other, both beside samples to keep, on the original's frozen features; then each forgets its half as the run
    did. The backbone has seen the samples to forget, so this tells of what the head does and not of what is in the features.

    Args:
        run: with its task and its models; how its method was set is how shadows forget.
        pairs: of shadow heads, 8 or more.
        task: of a loaded run that does not know it.
        seed: of the halves and of the order of batches.

    Returns:
        DataFrame, a row per sample: ``split, example, label, member``; ``mean_seen, deviation_seen, mean_never,
        deviation_never`` of its log-odds under shadows that forgot it and that never saw it; ``overlap`` of the two normals
        (1: nothing tells them apart) and ``overlap_trained`` before forgetting; ``log_odds`` and ``ratio`` Λ under the run's
        own model, which is no shadow. What to know of it stands in ``.attrs["about"]``.

    Raises:
        ValueError: fewer than 8 pairs, a readout that is not one linear layer, or no unseen samples of the classes.
    """
    asked = Audited.of(run, None, task, seed=seed)
    made = shadows_of(asked, pairs)
    trained, forgot = (lira.Normals.of(made.seen[at], made.never[at]) for at in (0, 1))
    parts = []
    for split, examples in zip(("forget", asked.sides.split), asked.sides):
        order = by_content(examples)
        ids = examples.ids[order].numpy()
        labels = labels_of(asked.task, ids, examples.source)
        odds = sample_scores(asked.task, asked.models[RUN], examples)["log_odds"].to_numpy()[order.numpy()]
        about = {"split": split, "example": ids, "label": labels, "member": split == "forget", "log_odds": odds}
        parts.append(pd.DataFrame(about))
    table = pd.concat(parts, ignore_index=True)
    found = {"mean": forgot.mean, "deviation": forgot.deviation}
    columns = {
        f"{name}_{side}": values[at] for name, values in found.items() for at, side in enumerate(("seen", "never"))
    }
    overlaps = {"overlap": forgot.overlap(), "overlap_trained": trained.overlap()}
    table = table.assign(**columns, **overlaps, ratio=forgot.ratio(table["log_odds"].to_numpy()))
    table.attrs["about"] = notes_of(f"{pairs} pairs", SAID, made.note)
    return table
