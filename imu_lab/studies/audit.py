"""Is it gone? Every audit of an unlearned model in one table, beside the retrained model and beside doing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..core.knobs import check_count
from ..core.messages import DoesNotApply, kind_of, listed, unknown, warn
from ..core.records import Run
from ..measures import predictions
from ..tasks.protocol import Task
from . import feature_audits, likeness_audits, privacy_audits, relearning, shadows
from .audited import ORIGINAL, RUN, Audited, Row, notes_of
from .statistics import share_interval

COLUMNS = [
    *("audit", "name", "split", "value", "low", "high", "goal", "original"),
    *("unit", "direction", "formula", "note"),
]
FAMILIES: dict[str, Callable[[Audited], Iterable[Row]]] = {
    "membership": privacy_audits.membership_rows,
    "rmia": privacy_audits.rmia_rows,
    "distance": likeness_audits.distance_rows,
    "accuracy": likeness_audits.accuracy_rows,
    "tug-of-war": likeness_audits.tug_of_war_rows,
    "fresh-heads": feature_audits.head_rows,
    "probes": feature_audits.probe_rows,
    "cka": feature_audits.cka_rows,
    "relearning": relearning.relearn_rows,
    "u-lira": shadows.u_lira_rows,
}
SHADOWS = "u-lira"


def audit(
    run: Run,
    only: str | Iterable[str] | None = None,
    *,
    reference: Any = None,
    task: Task | None = None,
    pairs: int = 0,
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
        pairs: of shadow heads for U-LiRA, which takes about half a minute for 64 and is left out by default.
        draws: of the bootstrap behind an interval.
        seed: of the bootstrap.

    Returns:
        DataFrame, a row per number: ``audit, name, split``; ``value`` with ``low`` and ``high``, its 95 % interval over the
        samples; ``goal``, the retrained model's value (the mean of several); ``original``, that of doing nothing; ``unit,
        direction, formula``; and ``note``: what has to be known to read it, and for an audit that does not apply, why.

    Raises:
        TypeError: it is no run, or ``only`` is no row of names.
        UnknownName: no such audit.
        ValueError: the run does not know its task; an audit that was asked for by name does not apply; or a model that is
            put beside it answers other classes, or NaN.

    Warns:
        UserWarning: there is no retrained model, so that the goals are unknown.
    """
    names = _names(only, bool(pairs))
    draws = check_count("draws", draws, 1)
    if pairs:
        shadows.check_pairs(pairs)
        if SHADOWS not in names:
            raise ValueError(f"pairs= is of the audit {SHADOWS!r}, which only= leaves out")
    asked = Audited.of(run, reference, task, draws, seed)
    if not asked.retrained:
        warn('this run has no retrained model beside it: goals are empty; pass reference=imu.train(task, "retain")')
    families, rows = FAMILIES | {SHADOWS: partial(shadows.u_lira_rows, pairs=pairs or shadows.PAIRS)}, []
    for name in names:
        try:
            found = list(families[name](asked))
        except DoesNotApply as error:
            if only is not None:
                raise
            found = [Row(name, "", np.nan, "", "", direction="", note=f"does not apply: {error}")]
        rows += [{"audit": name} | row._asdict() for row in found]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if not asked.retrained:
        known, words = table["value"].notna(), "no retrained model, so no goal"
        table.loc[known, "note"] = [notes_of(note, words) for note in table.loc[known, "note"]]
    return table


def _names(only: Any, shadowed: bool) -> list[str]:
    """The names of the audits to make.

    Raises:
        TypeError, ValueError, UnknownName: ``only`` is no row of names, names none, or one that is not there.
    """
    if only is None:
        return [name for name in FAMILIES if name != SHADOWS or shadowed]
    if not isinstance(only, Iterable):
        raise TypeError(f"only= names one or several of {listed(list(FAMILIES))}; got {kind_of(only)}")
    names = list(dict.fromkeys([only] if isinstance(only, str) else only))
    for name in names:
        if name not in FAMILIES:
            raise unknown("audit", name, FAMILIES)
    if not names:
        raise ValueError(f"only= names no audit; leave it out for all, or name some of {listed(list(FAMILIES))}")
    return names


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
    asked = Audited.of(run, reference, task)
    tables = {who: asked.known_of(who) for who in asked.models}
    return pd.concat(tables, names=["model"]).reset_index("model").reset_index(drop=True)


def class_accuracy(run: Run, *, reference: Any = None, task: Task | None = None) -> pd.DataFrame:
    """Accuracy class by class, on samples that the original model was trained on and on unseen ones.

    Args:
        run: with its task and its models.
        reference: the retrained model, or several; by default those that the run was measured against.
        task: of a loaded run that does not know it.

    Returns:
        DataFrame, two rows per class: ``class, seen, samples, value, low, high`` (Wilson's 95 % interval), ``goal`` and
        ``original``, all shares correct.

    Raises:
        ValueError: the outputs are no logits of classes, or there is no single true class.
    """
    asked = Audited.of(run, reference, task)
    table = likeness_audits.class_table(asked)
    ends = [share_interval(np.arange(count) < right) for count, right in zip(table["samples"], table[RUN])]
    shares = table[list(asked.models)].div(table["samples"], axis=0)
    table = table[["class", "seen", "samples"]].assign(value=shares[RUN], low=np.nan, high=np.nan)
    table[["low", "high"]] = np.array(ends).reshape(len(ends), 2)
    goal = shares[asked.retrained].mean(axis=1) if asked.retrained else np.nan
    return table.assign(goal=goal, original=shares[ORIGINAL])


def prediction_matrix(
    run: Run, split: str = "forget", model: str = RUN, *, reference: Any = None, task: Task | None = None
) -> pd.DataFrame:
    """How often each true class of a split was given each answer.

    Args:
        run: with its task and its models.
        split: whose samples.
        model: whose answers: ``"run"``, ``"original"`` or ``"retrained"``.
        reference: the retrained model, or several; by default those that the run was measured against.
        task: of a loaded run that does not know it.

    Returns:
        DataFrame of counts, a row per true class and a column per answer, by name.

    Raises:
        UnknownName: no such model or split.
        ValueError: the outputs are no logits of classes, or there is no single true class.
    """
    asked = Audited.of(run, reference, task)
    if model not in asked.models:
        raise unknown("model", model, list(asked.models))
    return predictions.prediction_matrix(asked.task, asked.models[model], asked.split(split))
