"""Who else is damaged: what became of each author's (each label's) samples, whatever method and optimizer were used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from ..core.messages import unheard
from ..core.records import Run
from ..features import view
from ..lab.again import weights_of
from ..lab.what_if import check, on_task, remaining, requesting, reweighted
from ..measures.reference import Reference
from ..tasks.around import Around
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Task, labels_of, names_of, offered

ALL, RETRAINED = "all together", "retrained"
MEASURES = ("loss", "probability", "right")
SPLITS = {"forget": True, "retain": False}


def leakage(run: Run, reference: Any = None, *, step: int | None = None, alone: bool = False) -> pd.DataFrame:
    """What a run changed for each author, forgotten and kept; of any task with labels, for each label.

    It compares the models before and after, so it holds for every method, optimizer and length of step;
    :func:`imu_lab.damage_by_class` says the same to first order, of plain steps alone.

    >>> imu.plot_leakage(imu.leakage(run, retrained, alone=True))

    Args:
        run: with its task and models.
        reference: the retrained model, or several of them, of which it takes the mean: what would have changed anyway.
        step: after which update; None for the last that was kept.
        alone: also make the run again for each forgotten author alone, until that author's loss is what it is in the run
            (and for as many updates at most), so that one can see who is damaged by whom.

    Returns:
        DataFrame ``pressed, label, forgotten, samples``, and for each of ``loss`` (nats), ``probability`` (exp(−loss), mean)
        and ``right`` (share of samples) its value ``_before``, ``_after`` and the ``_change``. ``pressed`` says whose
        samples were pressed: ``"all together"`` is the run, ``"retrained"`` the goal.

    Raises:
        ValueError: the task has no labels, its pairs tell no author, or the weights after that update were not kept.
    """
    task = run.known_task()
    if offered(task).labels is None:
        raise ValueError(f"{type(task).__name__} has no labels, so that nobody can tell whose samples are damaged")
    if not any(label for split in SPLITS for label in names_of(task, task.split(split))):
        raise ValueError(
            "these pairs tell of nobody whom they are about; give each row an author, and make the run again"
        )
    step = run.kept_steps[-1] if step is None else step
    before = _known(task, run.model_at(0))
    found = {ALL: _known(task, run.model_at(step))}
    if alone:
        with unheard():
            found |= {name: _known(task, other.unlearned) for name, other in _each_alone(run, task, step, found[ALL])}
    if reference is not None:
        each = [_values(member.task, member.model) for member in Reference.of(task, reference).members]
        found[RETRAINED] = before[["label", "forgotten"]].assign(**dict(zip(MEASURES, np.mean(each, axis=0).T)))
    return pd.concat([_changes(before, after).assign(pressed=name) for name, after in found.items()])[
        ["pressed", "label", "forgotten", "samples", *(f"{name}_{when}" for name in MEASURES for when in WHEN)]
    ].reset_index(drop=True)


WHEN = ("before", "after", "change")


class _OnForgetSet(Around):
    """A task whose runs are looked at on the forget set alone: where a model is asked for its answers, looks at all that is kept
    take ten times as long as the run, and of these runs nobody reads them."""

    splits = ("forget",)


def _each_alone(run: Run, task: Task, step: int, whole: pd.DataFrame) -> Iterator[tuple[str, Run]]:
    """The run again for each forgotten label alone, at equal forgetting, and what it is called."""
    check(run, {}, (), {})
    examples, weights = task.split("forget").ids.numpy(), reweighted(weights_of(run), {})
    labels = np.array(labels_of(task, examples), dtype=object)
    losses = whole[whole["forgotten"]].groupby("label", sort=False)["loss"].mean()
    for name, loss in tqdm(losses.items(), desc="runs for one label alone", unit="run", delay=2, leave=False):
        mine = examples[labels == name].tolist()
        settings = dict(steps=step, record_every=max(1, step), stop_at=("loss", ">=", float(loss)), follow=())
        asked = _OnForgetSet(requesting(task, mine))
        yield name, run if len(mine) == len(examples) else on_task(run, asked, remaining(weights, mine), **settings)


def _known(task: Task, model: nn.Module) -> pd.DataFrame:
    """``label, forgotten``, and the measures of each training sample, in the order of the splits."""
    tables = []
    for split, forgotten in SPLITS.items():
        examples = task.split(split)
        tables.append(pd.DataFrame({"label": names_of(task, examples), "forgotten": forgotten}))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(**dict(zip(MEASURES, _values(*view(task, model)).T)))


def _values(task: Task, model: nn.Module) -> np.ndarray:
    """(n, 3) loss, probability and whether it is right, of the forget and the retain set."""
    parts = [outcomes(task, model, task.split(split)).double().numpy() for split in SPLITS]
    found = np.concatenate(parts)  # (n, 2)
    right = np.where(np.isnan(found[:, 1]), np.nan, found[:, 1] > 0)
    return np.column_stack([found[:, 0], np.exp(-found[:, 0]), right])


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The means of each label, forgotten and kept apart, before and after."""
    groups = ["forgotten", "label"]
    first, last = (table.groupby(groups, sort=False)[list(MEASURES)].mean() for table in (before, after))
    columns = {"samples": before.groupby(groups, sort=False).size()}
    for name in MEASURES:
        columns |= {
            f"{name}_before": first[name],
            f"{name}_after": last[name],
            f"{name}_change": last[name] - first[name],
        }
    return pd.DataFrame(columns).reset_index()
