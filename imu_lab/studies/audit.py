"""Is it gone? Every audit of an unlearned model in one table, beside the retrained model and beside doing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from ..core.messages import unknown, warn
from ..core.records import Run
from ..core.running import full_precision
from ..core.taken import a_run
from ..measures.ensemble import References
from ..measures.membership import FALSE_POSITIVES, SCORES, Sides, auc, sample_scores, sides, true_positives
from ..measures.reference import Reference, refuse_original
from ..tasks.protocol import Examples, Task, labels_of, prepared
from ..tasks.training import is_known, train
from .statistics import two_sample_interval

RUN, ORIGINAL, RETRAINED = "run", "original", "retrained"
CLOSER = "close to the goal, the retrained model's value"
COLUMNS = [
    *("audit", "name", "split", "value", "low", "high", "goal", "original"),
    *("unit", "direction", "formula", "note"),
]


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
            ValueError: it does not know its task, kept no weights, or the reference is the original.
        """
        if task is None:
            task = run.known_task()
        found = _references(run, task, reference)
        models = {RUN: run.model, ORIGINAL: run.model_at(0)}
        members = () if found is None else found.members
        refuse_original(members, models[ORIGINAL])
        for number, member in enumerate(members, 1):
            models[RETRAINED if number == 1 else f"{RETRAINED} {number}"] = member.model
        return cls(task, run, models, found, draws, seed, {})

    @property
    def retrained(self) -> list[str]:
        """The names of the retrained models."""
        return [name for name in self.models if name.startswith(RETRAINED)]

    def needs_reference(self, what: str) -> None:
        """Raise ValueError where there is no retrained model."""
        if not self.retrained:
            raise ValueError(f'{what} compares with a retrained model; pass reference=imu.train(task, "retain")')

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What several audits ask for, computed once."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    @property
    def sides(self) -> Sides:
        """Members and samples never seen."""
        return self.once("sides", lambda: sides(self.task))

    def split(self, name: str) -> Examples:
        """The examples of a split.

        Raises:
            ValueError: there are none.
        """
        examples = self.once(("split", name), lambda: self.task.split(name))
        if not len(examples):
            raise ValueError(f"the {name!r} split has no samples, so that nothing can be said of it")
        return examples

    def scores(self, who: str, split: str) -> pd.DataFrame:
        """What a model says of each sample of a split, computed once."""
        return self.once((who, split), lambda: sample_scores(self.task, self.models[who], self.split(split)))

    def of_each(self, ask: Callable[[str], float]) -> dict[str, float]:
        """``{"value", "original", "goal"}`` of a number that is asked of one model by name; of retrained ones the mean."""
        goals = [ask(name) for name in self.retrained]
        return {
            "value": ask(RUN),
            "original": ask(ORIGINAL),
            "goal": float(np.mean(goals)) if goals else np.nan,
        }


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


def membership_rows(asked: Audited) -> Iterator[Row]:
    """AUC and true positives by each score."""
    split, size = asked.sides.split, len(asked.sides.others)
    resolves = f"1 of {size} samples never seen is {1 / size:.1%}" if size * FALSE_POSITIVES < 1 else ""
    for statistic, name, unit, what in (
        (auc, "AUC", "probability", "P(score of a member > score of a sample never seen) + ½ P(equal)"),
        (
            true_positives,
            "TPR at 1 % FPR",
            "share of members",
            "share of members above the score that ≤ 1 % of others exceed",
        ),
    ):
        for column, about in SCORES.items():
            found = asked.of_each(lambda who, column=column: float(statistic(*_scored(asked, who, column))))
            low, high = two_sample_interval(statistic, *_scored(asked, RUN, column), draws=asked.draws, seed=asked.seed)
            notes = [asked.sides.left_out, resolves if statistic is true_positives else ""]
            yield Row(
                f"{name} by {column.replace('_', ' ')}",
                f"forget against {split}",
                low=low,
                high=high,
                unit=unit,
                formula=f"{what}; score {'−' if about.sign < 0 else ''}({about.formula})",
                note="; ".join(note for note in notes if note),
                **found,
            )


def _scored(asked: Audited, who: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Members' scores and those of others, higher for members, in rising order: no result depends on their order."""
    sign = SCORES[column].sign
    return tuple(np.sort(sign * side[column].to_numpy()) for side in sides_scored(asked, who))


def sides_scored(asked: Audited, who: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a model says of members and of others."""
    parts = (asked.sides.members, asked.sides.others)
    return asked.once(
        (who, "sides"), lambda: tuple(sample_scores(asked.task, asked.models[who], part) for part in parts)
    )


FAMILIES: dict[str, Callable[[Audited], Iterable[Row]]] = {
    "membership": membership_rows,
}


@full_precision()
def audit(
    run: Run,
    only: str | Iterable[str] | None = None,
    *,
    reference: Any = None,
    task: Task | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Is it gone? Every audit of a run in one table, each beside the retrained model and beside doing nothing.

    >>> imu.audit(imu.unlearn(task, original, reference=retrained))

    The goal is the retrained model's value and not perfect privacy: it, too, tells the samples that it never saw from
    others, and knows most single samples.

    Args:
        run: with its task and its models.
        only: the names of some audits, which are then refused where they do not apply; None takes all that apply.
        reference: the retrained model, or several; by default those that the run was measured against.
        task: of a loaded run that does not know it.
        draws: of the bootstrap behind an interval.
        seed: of the bootstrap.

    Returns:
        DataFrame, a row per number: ``audit, name, split``; ``value`` with ``low`` and ``high``, its 95 % interval over the
        samples; ``goal``, the retrained model's value (the mean of several); ``original``, that of doing nothing; ``unit,
        direction, formula``; and ``note``: what has to be known to read it, and for an audit that does not apply, why.

    Raises:
        TypeError: it is no run.
        UnknownName: no such audit.
        ValueError: the run does not know its task; or an audit that was asked for by name does not apply.

    Warns:
        UserWarning: there is no retrained model, so that the goals are unknown.
    """
    names = list(FAMILIES) if only is None else [only] if isinstance(only, str) else list(only)
    for name in names:
        if name not in FAMILIES:
            raise unknown("audit", name, FAMILIES)
    asked = Audited.of(a_run(run, "audit"), reference, task, draws, seed)
    if not asked.retrained:
        warn('this run has no retrained model beside it: goals are empty; pass reference=imu.train(task, "retain")')
    rows = []
    for name in names:
        try:
            found = list(FAMILIES[name](asked))
        except ValueError as error:
            if only is not None:
                raise
            found = [Row(name, "", np.nan, "", "", direction="", note=f"does not apply: {error}")]
        rows += [{"audit": name} | row._asdict() for row in found]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if not asked.retrained:
        known = table["value"].notna()
        table.loc[known, "note"] = [_and(note, "no retrained model, so no goal") for note in table.loc[known, "note"]]
    return table


def _and(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


@full_precision()
def membership(run: Run, *, reference: Any = None, task: Task | None = None) -> pd.DataFrame:
    """What the unlearned, the original and each retrained model say of each member and of each sample never seen.

    >>> imu.plot_membership(imu.membership(run))

    Args:
        run: with its task and its models.
        reference: the retrained model, or several; by default those that the run was measured against.
        task: of a loaded run that does not know it.

    Returns:
        DataFrame, a row per model and sample: ``model`` (``"run"``, ``"original"``, ``"retrained"``, ``"retrained 2"``, ...),
        ``split, example, label, member``, and the scores ``loss, confidence, entropy, modified_entropy, log_odds``.

    Raises:
        ValueError: there are no unseen samples of the classes in question, or the outputs are no probabilities.
    """
    asked = Audited.of(a_run(run, "membership"), reference, task)
    splits = ("forget", asked.sides.split)
    parts = []
    for who in asked.models:
        for split, examples, scored in zip(splits, asked.sides, sides_scored(asked, who)):
            ids = examples.ids.numpy()
            about = {"model": who, "split": split, "example": ids, "label": labels_of(asked.task, ids, examples.source)}
            parts.append(pd.DataFrame(about | {"member": split == "forget"}).join(scored.drop(columns="right")))
    return pd.concat(parts, ignore_index=True)
