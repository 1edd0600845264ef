"""Which forgotten facts come back: asked in other words, and after other facts of the same author were learned again."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import check_count
from ..core.records import Run
from ..core.running import one_thread
from ..features import view
from ..measures.language import has_pairs
from ..measures.reference import Reference
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Examples, Task, names_of, offered
from ..unlearning.objectives import Descent
from .rebound import learner
from .statistics import confidence_interval

NOTHING, ASKED = "nothing", "asked in other words"
SAME, FORGOTTEN, KEPT = LESSONS = ("same author", "other forgotten authors", "kept authors")
SUMMARY = ["lesson", "facts", "mean", "low", "high", "right", "retrained", "beyond", "beyond_low", "beyond_high"]


@dataclass(frozen=True, eq=False)
class Comeback:
    """What became of the forgotten facts under each lesson.

    Attributes:
        facts: ``example, label, lesson, taught, probability, right, retrained``, a row for each forgotten fact and lesson.
            ``probability`` is exp(−loss) of the answer then, ``right`` whether it is given word for word, ``retrained`` the
            probability that the retrained model gives it after the same lesson (NaN without one), ``taught`` how many other
            facts the lesson had.
        summary: a row for each lesson: the mean of the probability with its 95 % bootstrap interval over facts, the share
            ``right``, the retrained model's mean, and ``beyond``: the mean gain over ``"nothing"`` minus that of the control,
            the lesson about kept authors, with its interval. Where that holds 0, learning anything would have done the same.
        updates: of each lesson.
    """

    facts: pd.DataFrame
    summary: pd.DataFrame
    updates: int

    def __repr__(self) -> str:
        each = ", ".join(f"{row.lesson} {row.mean:.2f}" for row in self.summary.itertuples())
        return f"Comeback({self.facts['example'].nunique()} facts, {self.updates} updates; mean probability: {each})"

    def _repr_html_(self) -> str:
        table = self.summary.to_html(index=False, border=0, float_format="{:.3g}".format, na_rep="")
        return f"<div><p>{html.escape(repr(self))}</p>{table}</div>"


class Lesson(NamedTuple):
    """What is learned, and the positions in the forget set of what is watched meanwhile."""

    name: str
    pool: Examples
    watched: Tensor


def comeback(
    run: Run,
    reference: Any = None,
    *,
    updates: int = 20,
    step: int | None = None,
    lr: float | None = None,
    seed: int = 0,
) -> Comeback:
    """Ask for the forgotten facts in other words, and after the readout has learned other facts.

    The facts of each author (each label) are halved; one half is learned while the other is watched, and the other way
    round, so no fact is learned that is asked for. Two controls learn as many facts for as many updates: of other forgotten
    authors, and of authors who were kept. ``"nothing"`` is the model as it is. The retrained model gets the same lessons:
    what it can say after them was guessed from other facts, and was not remembered.

    >>> imu.plot_comeback(imu.comeback(run, retrained))

    Args:
        run: with its task and models.
        reference: the retrained model.
        updates: of each lesson.
        step: after which update of the run; None for the last that was kept.
        lr: learning rate; None for the run's own. Steps have the run's length, where that was fixed.
        seed: of the halves, of what the controls learn, and of the order of batches.

    Raises:
        ValueError: fewer than one update, a task without labels, forgotten pairs without an author, or weights that were not kept.
    """
    check_count("updates", updates, 1)
    task = run.known_task()
    if offered(task).labels is None:
        raise ValueError(f"{type(task).__name__} has no labels, so that nobody can tell which facts belong together")
    forget = task.split("forget")
    if "" in names_of(task, forget):
        raise ValueError(
            "some of the forgotten pairs tell of nobody whom they are about, so that nobody can tell which facts belong "
            "together; give each row an author, and make the run again"
        )
    how = _descent(run, lr)
    step = run.kept_steps[-1] if step is None else step
    facts = _after(task, run.model_at(step), how, updates, seed)
    facts["retrained"] = np.nan
    if reference is not None:
        (member, *_) = Reference.of(task, reference).members
        facts["retrained"] = _after(task, member.model, how, updates, seed)["probability"]
    return Comeback(facts, summary_of(facts), updates)


def _descent(run: Run, lr: float | None) -> Descent:
    """Plain descent, in steps like the run's."""
    own = run.settings.get("settings") or {}
    same = {name: own[name] for name in ("step_norm", "relative_steps") if name in own}
    return Descent(lr=(own.get("lr") or 1e-2) if lr is None else lr, momentum=0.0, weight_decay=0.0, **same)


def _after(task: Task, whole: nn.Module, how: Descent, updates: int, seed: int) -> pd.DataFrame:
    """The forgotten facts under every lesson, by one model."""
    seen, model = view(task, whole)
    forget = seen.split("forget")
    about = pd.DataFrame({"example": forget.ids.numpy(), "label": names_of(task, forget)})
    tables = [about.assign(lesson=NOTHING, taught=0, **_measured(seen, model, forget))]
    if (again := _asked_again(task)) is not None:
        found = pd.DataFrame(_measured(seen, model, seen.split("test-forget")))
        tables.append(
            about.assign(lesson=ASKED, taught=0, **found.iloc[again].reset_index(drop=True).to_dict("series"))
        )
    with one_thread():
        for each in _lessons(seen, task, seed):
            watched = forget.take(each.watched)
            taught, learning = learner(seen, model, how, each.pool, seed)
            for _ in range(updates):
                next(learning)
            mine = about.iloc[each.watched.numpy()]
            tables.append(mine.assign(lesson=each.name, taught=len(each.pool), **_measured(seen, taught, watched)))
    order = {name: place for place, name in enumerate((NOTHING, ASKED, *LESSONS))}
    whole = pd.concat(tables, ignore_index=True)
    return whole.sort_values(["lesson", "example"], key=lambda column: column.map(order) if column.name == "lesson" else column,
                             kind="stable", ignore_index=True)  # fmt: skip


def _measured(task: Task, model: nn.Module, examples: Examples) -> dict[str, np.ndarray]:
    found = outcomes(task, model, examples).double()
    return {"probability": torch.exp(-found[:, 0]).numpy(), "right": (found[:, 1] > 0).numpy()}


def _asked_again(task: Task) -> np.ndarray | None:
    """(n,) for each forgotten fact its place in ``test-forget``; None where not every one is asked in other words there."""
    if not has_pairs(task):
        return None
    forget, again = task.split("forget").ids.tolist(), task.split("test-forget").ids.tolist()
    places = {task.corpus.test[at]._replace(question=""): place for place, at in enumerate(again)}
    facts = [task.corpus.train[at]._replace(question="") for at in forget]
    return np.array([places[fact] for fact in facts]) if all(fact in places for fact in facts) else None


def _lessons(seen: Task, task: Task, seed: int) -> Iterator[Lesson]:
    """For either half of each label's facts: what is learned while the other half is watched."""
    forget, retain = seen.split("forget"), seen.split("retain")
    mine, kept = (np.array(names_of(task, each), dtype=object) for each in (forget, retain))
    chance = torch.Generator().manual_seed(seed)
    for label in dict.fromkeys(mine.tolist()):
        own = torch.as_tensor(np.flatnonzero(mine == label))
        own = own[torch.randperm(len(own), generator=chance)]
        others = torch.as_tensor(np.flatnonzero(mine != label))
        elsewhere = torch.as_tensor(np.flatnonzero(kept != label))
        for half, watched in ((own[0::2], own[1::2]), (own[1::2], own[0::2])):
            if not len(half) or not len(watched):
                continue
            drawn = [each[torch.randperm(len(each), generator=chance)] for each in (others, elsewhere)]
            count = min(len(each) for each in (half, *drawn) if len(each))  # every lesson has as many facts
            pools = zip(LESSONS, (forget, forget, retain), (half, *drawn))
            yield from (Lesson(name, part.take(rows[:count]), watched) for name, part, rows in pools if len(rows))


def summary_of(facts: pd.DataFrame) -> pd.DataFrame:
    """A row for each lesson (see :class:`Comeback`)."""
    wide = facts.pivot(index="example", columns="lesson", values="probability")
    rows = []
    for name, mine in facts.groupby("lesson", sort=False):
        low, high = confidence_interval(np.mean, mine["probability"].to_numpy())
        beyond = [np.nan] * 3
        if name in LESSONS and name != KEPT and KEPT in wide:
            more = (wide[name] - wide[KEPT]).dropna().to_numpy()
            beyond = [more.mean(), *confidence_interval(np.mean, more)]
        means = (mine["right"].mean(), mine["retrained"].mean())
        rows.append((name, len(mine), mine["probability"].mean(), float(low), float(high), *means, *map(float, beyond)))
    return pd.DataFrame(rows, columns=SUMMARY)
