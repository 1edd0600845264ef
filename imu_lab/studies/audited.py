"""A run as it is audited: the models it is put beside, what they say of each sample, and the row that an audit gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..core.messages import DoesNotApply, reason
from ..core.quantities import SPLITS
from ..core.records import Run
from ..lab.provenance import asked_of
from ..measures.ensemble import References
from ..measures.membership import SCORES, Sides, sample_scores, sides
from ..measures.reference import Reference, check_answers, refuse_original
from ..tasks.checkpoints import is_known, train
from ..tasks.evaluation import outcomes, outputs
from ..tasks.protocol import Examples, Task, labels_of, offered, prepared
from .statistics import confidence_interval, share_interval

RUN, ORIGINAL, RETRAINED = "run", "original", "retrained"
CLOSER = "close to the goal, the retrained model's value"


class Row(NamedTuple):
    """One audited number.

    Attributes:
        name, split: what it is, and of which samples.
        value: of the unlearned model.
        unit, formula: what it is the number of.
        low, high: the 95 % interval of the value.
        goal: the retrained model's value, the mean of several.
        original: the value of doing nothing.
        direction: which value is good.
        note: what has to be known to read it.
    """

    name: str
    split: str
    value: float
    unit: str
    formula: str
    low: float = np.nan
    high: float = np.nan
    goal: float = np.nan
    original: float = np.nan
    direction: str = CLOSER
    note: str = ""


@dataclass(frozen=True, eq=False)
class Audited:
    """A run with the models it is audited beside.

    Attributes:
        task: of the run.
        run: the run itself.
        models: ``{"run": model, "original": model}`` and ``"retrained"``, ``"retrained 2"``, ... where there are some.
        references: the retrained models; None without one.
        draws: of a bootstrap.
        seed: of everything random.
    """

    task: Task
    run: Run
    models: dict[str, nn.Module]
    references: Reference | References | None
    draws: int
    seed: int
    _known: dict[Any, Any]

    @classmethod
    def of(cls, run: Run, reference: Any, task: Task | None = None, draws: int = 1000, seed: int = 0) -> Audited:
        """A run with its task, its original and its retrained models.

        Raises:
            ValueError: it does not know its task, kept no weights, the reference is the original, or a model answers other
                classes, or NaN.
        """
        task = asked_of(run, task)
        found = _references(run, task, reference)
        models = {RUN: run.unlearned, ORIGINAL: run.model_at(0)}
        members = () if found is None else found.members
        refuse_original(members, models[ORIGINAL])
        for number, member in enumerate(members, 1):
            models[RETRAINED if number == 1 else f"{RETRAINED} {number}"] = member.model
        for who, model in models.items():
            _check_model(task, model, who)
        return cls(task, run, models, found, draws, seed, {})

    @property
    def retrained(self) -> list[str]:
        """The names of the retrained models."""
        return [name for name in self.models if name.startswith(RETRAINED)]

    def needs_reference(self, what: str) -> None:
        """Raise DoesNotApply where there is no retrained model."""
        if not self.retrained:
            raise DoesNotApply(f'{what} compares with a retrained model; pass reference=imu.train(task, "retain")')

    @property
    def of_a_group(self) -> bool:
        """Whether a class, a person or a source is to be forgotten, of which there are unseen samples."""
        return "test-forget" in offered(self.task).splits and self.has("test-forget")

    @property
    def splits(self) -> list[str]:
        """The splits that a run of the task follows and that hold samples, without further ones of its own."""
        return [name for name in SPLITS if name in offered(self.task).splits and self.has(name)]

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What several audits ask for, computed once."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def split(self, name: str) -> Examples:
        """The examples of a split.

        Raises:
            DoesNotApply: the task does not give them, as where kept data are gone.
        """
        try:
            return self.once(("split", name), lambda: self.task.split(name))
        except Exception as error:  # a task of a user's own says in its own way what it does not have
            raise DoesNotApply(f"it looks at the {name!r} split, which this task does not give: {error}") from error

    def has(self, name: str) -> bool:
        """Whether the task gives samples of a split."""
        try:
            return len(self.split(name)) > 0
        except DoesNotApply:
            return False

    @property
    def sides(self) -> Sides:
        """Members and samples never seen."""
        return self.once("sides", lambda: sides(self.task, self.models[ORIGINAL]))

    def sides_of(self, who: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What a model says of members and of others."""
        parts = (self.sides.members, self.sides.others)
        return self.once(
            (who, "sides"), lambda: tuple(sample_scores(self.task, self.models[who], each) for each in parts)
        )

    def known_of(self, who: str) -> pd.DataFrame:
        """``split, example, label, member`` of members and then of samples never seen, and a model's scores of each."""
        parts = []
        for split, examples, scored in zip(("forget", self.sides.split), self.sides, self.sides_of(who)):
            ids = examples.ids.numpy()
            about = {"split": split, "example": ids, "label": labels_of(self.task, ids, examples.source)}
            parts.append(pd.DataFrame(about | {"member": split == "forget"}).join(scored.drop(columns="right")))
        return pd.concat(parts, ignore_index=True)

    def attacked(self, who: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Members' scores and those of others, higher for members, in rising order: no result depends on their order."""
        sign = SCORES[column].sign
        return tuple(np.sort(sign * side[column].to_numpy()) for side in self.sides_of(who))

    def scores(self, who: str, split: str) -> pd.DataFrame:
        """What a model says of each sample of a split.

        Raises:
            DoesNotApply: there are no samples.
        """
        if not len(self.split(split)):
            raise DoesNotApply(f"the {split!r} split of this task has no samples, so that nothing can be said of it")
        return self.once((who, split), lambda: sample_scores(self.task, self.models[who], self.split(split)))

    def mean_interval(self, values: np.ndarray) -> tuple[float, float]:
        """The 95 % interval of the mean of values in rising order."""
        low, high = confidence_interval(lambda drawn, axis: drawn.mean(axis), values, draws=self.draws, seed=self.seed)
        return float(low), float(high)

    def of_each(self, ask: Callable[[str], float]) -> dict[str, float]:
        """``{"value", "original", "goal"}`` of a number that is asked of one model by name; of retrained ones the mean."""
        goals = [ask(name) for name in self.retrained]
        return {"value": ask(RUN), "original": ask(ORIGINAL), "goal": float(np.mean(goals)) if goals else np.nan}

    def among_retrained(self, ask: Callable[[str, list[str]], float], alone: float) -> tuple[float, str]:
        """The goal of a number that compares with retrained models, and what to know of it: each of them beside the others.

        Args:
            ask: from a model's name and the names of those it is put beside to a number.
            alone: of a single one beside itself.
        """
        names = self.retrained
        if len(names) < 2:
            return alone, "one retrained model, so the goal is it beside itself: imu.references(task) tells of noise"
        return float(np.mean([ask(name, [other for other in names if other != name]) for name in names])), ""


def share_row(
    asked: Audited,
    name: str,
    split: str,
    right_of: Callable[[str], np.ndarray],
    formula: str,
    direction: str = CLOSER,
    note: str = "",
) -> Row:
    """The row of a share of right answers, which are asked of a model by its name, with Wilson's interval."""
    found = asked.of_each(lambda who: float(np.mean(right_of(who))))
    low, high = share_interval(right_of(RUN))
    return Row(
        name, split, **found, unit="share correct", formula=formula, low=low, high=high, direction=direction, note=note
    )


def _check_model(task: Task, model: nn.Module, who: str) -> None:
    """Make sure that a model answers what the task asks, and that its answers are numbers.

    Raises:
        ValueError: it has another number of outputs than the task has answers, or its loss is NaN.
    """
    forget = task.split("forget")
    if len(forget):
        try:
            few = next(iter(outputs(task, model, forget.take(torch.arange(1)))))[2]
        except RuntimeError as error:  # what torch says of shapes that do not fit each other
            raise ValueError(
                f"the {who} model cannot answer the task's examples: {reason(error)}; pass one that was made for them"
            ) from error
        check_answers(task, few, f"the {who} model")
    strange = int(outcomes(task, model, forget)[:, 0].isnan().sum())
    if strange:
        raise ValueError(
            f"the loss of the {who} model is NaN for {strange:,} of {len(forget):,} samples to forget, so nothing can be told by "
            "it; its training diverged"
        )


def _references(run: Run, task: Task, given: Any) -> Reference | References | None:
    """The retrained models: those given, those the run was measured against, or those of the same content on disk."""
    given = run.beside if given is None else given
    if given is not None:
        if isinstance(given, References):
            given.check(task)
        return Reference.of(task, prepared(task, given) if isinstance(given, nn.Module) else given)
    told = run.settings.get("compared_with") or {}
    wanted = list(told.get("digests", ()))
    found = {}
    for seed in dict.fromkeys([*told.get("seeds", ()), 0, run.settings.get("seed", 0)]) if wanted else ():
        if is_known(task, "retain", seed):
            member = Reference(task, prepared(task, train(task, "retain", seed=seed)))
            found |= {member.digest: (seed, member)}
    kept = [found[digest] for digest in wanted if digest in found]
    if not kept or len(kept) < len(wanted):
        return None
    return kept[0][1] if len(kept) == 1 else References(task, tuple(m for _, m in kept), tuple(s for s, _ in kept))


def notes_of(*notes: str) -> str:
    """Notes one after the other."""
    return "; ".join(note for note in notes if note)
