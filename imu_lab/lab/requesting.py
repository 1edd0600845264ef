"""Requests made of what is known of samples: those that a filter finds, and those most like one of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import check_count
from ..core.messages import kind_of, listed, reason, shown, unknown
from ..core.records import Influence, Intensity, Run
from ..features.cache import view
from ..features.pooled import features
from ..features.readout import NoReadout
from ..tasks.evaluation import outcomes, threads_of
from ..tasks.protocol import Task, check_unchanged, labels_of, offered, with_request

EXAMPLE = "example"


def forget_where(
    task: Task,
    where: str | Callable[[pd.DataFrame], Any],
    table: pd.DataFrame | Run | Influence | Intensity | None = None,
    *,
    model: nn.Module | None = None,
    at_most: int | None = None,
    seed: int = 0,
) -> Task:
    """The same task with another request: to forget the training samples that a filter finds.

    Every sample has the columns ``example`` and ``label``; where the task knows them ``superclass`` or ``subclass`` and
    ``file``; with ``model=`` its ``loss``, ``confidence`` and ``margin``; and all that stands in ``table``, which has a row for
    each of the samples that it speaks of. ::

        imu.forget_where(task, "label in ['cat', 'dog'] and loss > 2", model=original)
        imu.forget_where(task, "time_to_forget > 20", run)
        imu.forget_where(task, lambda rows: rows["file"].str.startswith("train/cat/000"), at_most=50, seed=3)

    A task needs a request before there is one to ask; any will do, and is replaced. From names of files to a first task::

        task = imu.tasks.Classification("path/to/folder", forget_indices=[0])
        task = imu.forget_where(task, "file in ['cat/003.png', 'dog/001.png']")

    Args:
        task: tells the training set; its own request plays no part.
        where: a condition on columns, as ``DataFrame.query`` takes it, or a function of the table to one truth value a row.
        table: a ledger (``run.samples``, or the run), scores or weights, or any frame with a column ``example``.
        model: what the loss of each training sample is told by; one pass over the training set.
        at_most: if more samples than that are found, so many of them are drawn at random.
        seed: of that draw.

    Raises:
        TypeError, ValueError: a condition that cannot be read, that finds no sample or leaves none, or a table with several
            rows for a sample or none of the training set (each says which).
    """
    rows = _known(task, table, model)
    chosen = _found(rows, where)
    count, words = len(task.split("train")), shown(where) if isinstance(where, str) else "the function"
    if not len(chosen):
        raise ValueError(f"{words} finds none of {len(rows):,} samples; {_ranges(rows, where)}")
    if at_most is not None and len(chosen) > check_count("at_most", at_most, 1):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, at_most, replace=False))
    if len(chosen) == count:
        raise ValueError(f"{words} finds all {count:,} training samples; something must be left to keep")
    return with_request(task, chosen.tolist())


def forget_like(task: Task, model: nn.Module, example: int, count: int = 100) -> Task:
    """The same task with another request: to forget a training sample and those most like it, ``count`` in all.

    Alike is what has the largest cosine of what reaches the model's readout (of sequences the mean over positions; where
    the readout is not one linear layer, of the log-probabilities). Of equal ones the first come first.

    Args:
        task: tells the training set; its own request plays no part.
        model: whose features are compared.
        example: a training sample, by index.
        count: how many samples to forget.

    Raises:
        ValueError: no such sample, as many as there are, or features that are not finite.
    """
    ids = task.split("train").ids.numpy()
    if example not in ids:
        raise ValueError(f"example {example} is not in the training set, which has {ids.min()} to {ids.max()}")
    if check_count("count", count, 1) >= len(ids):
        raise ValueError(
            f"count={count} leaves none of the {len(ids):,} training samples; something must be left to keep"
        )
    points = torch.nn.functional.normalize(torch.from_numpy(features(task, model)).double(), dim=1)
    if strange := int((~points.isfinite().all(1)).sum()):
        raise ValueError(
            f"what the model makes of {strange:,} of {len(ids):,} samples is not finite, so nobody knows what is like them; "
            "its training diverged, or its data hold NaN"
        )
    likeness = points @ points[int(np.flatnonzero(ids == example)[0])]
    likeness[ids == example] = torch.inf  # also of a sample whose features are all zero
    nearest = torch.argsort(likeness, descending=True, stable=True)[:count]
    return with_request(task, ids[nearest.numpy()].tolist())


def _known(task: Task, table: Any, model: nn.Module | None) -> pd.DataFrame:
    """What is known of each sample, a row for each."""
    check_unchanged(task)
    train, has = task.split("train"), offered(task)
    ids = train.ids.numpy()
    rows = pd.DataFrame({EXAMPLE: ids, "label": labels_of(task, ids)})
    rows = rows.assign(**(has.columns(ids) if has.columns is not None else {}))
    if has.files is not None and any(files := has.files(ids)):
        rows = rows.assign(file=files)
    if model is not None:
        with threads_of(task):
            seen = _outcomes(task, model).double().numpy()
        rows = rows.assign(loss=seen[:, 0], confidence=np.exp(-seen[:, 0]), margin=seen[:, 1])
    if table is None:
        return rows
    mine = _table(table)
    _check(mine, ids)
    if model is not None and (both := sorted({"loss", "confidence", "margin"} & set(mine))):
        raise ValueError(f"both the table and model= tell {listed(both)} of each sample; leave one of them out")
    return rows.drop(columns=[name for name in mine if name in rows and name != EXAMPLE]).merge(mine, on=EXAMPLE)


def _outcomes(task: Task, model: nn.Module) -> Tensor:
    """(n, 2) loss and margin of each training sample, from the readout where the model has one."""
    with suppress(NoReadout):  # without one it is asked as a whole
        task, model = view(task, model)
    return outcomes(task, model, task.split("train"))


def _table(given: Any) -> pd.DataFrame:
    if isinstance(given, Run):
        return given.samples
    if isinstance(given, (Influence, Intensity)):
        known = given.context.drop(columns=[name for name in given.frame if name in given.context])
        return pd.concat([given.frame, known], axis=1)
    if not isinstance(given, pd.DataFrame):
        raise TypeError(
            f"table is a run, scores, weights or a DataFrame with a column {EXAMPLE!r}; got {kind_of(given)}"
        )
    return given


def _check(table: pd.DataFrame, ids: np.ndarray) -> None:
    """Make sure that a table has one row for each of some training samples.

    Raises:
        ValueError: it has no column of samples, several rows for one, or rows for others.
    """
    if EXAMPLE not in table:
        raise unknown("column that tells the sample", EXAMPLE, list(table))
    repeated = table[EXAMPLE][table[EXAMPLE].duplicated()]
    if len(repeated):
        raise ValueError(
            f"the table has several rows for sample {repeated.iloc[0]}, so a condition could hold and not hold; choose one for "
            "each, such as run.trajectory[run.trajectory.step == 50]"
        )
    strange = table[EXAMPLE][~table[EXAMPLE].isin(ids)]
    if len(strange):
        raise ValueError(
            f"the table speaks of sample {strange.iloc[0]}, which is not in the training set ({ids.min()} to {ids.max()}); it "
            "belongs to other data"
        )


def _found(rows: pd.DataFrame, where: Any) -> np.ndarray:
    """The samples for which a condition holds, in rising order."""
    try:
        kept = rows.eval(where) if isinstance(where, str) else where(rows)
    except Exception as error:  # whatever a condition or a user's function raises
        raise ValueError(f"the condition {shown(where)} cannot be read ({reason(error)}); {_columns(rows)}") from None
    if isinstance(kept, pd.Series) and kept.index.sort_values().equals(rows.index.sort_values()):
        kept = kept.reindex(rows.index)  # the truth values belong to rows by their index, in whatever order they come
    if isinstance(kept, pd.Series) and isinstance(kept.dtype, pd.BooleanDtype):
        kept = kept.fillna(False)  # of a missing value no condition holds, as of NaN
        kept = kept.astype(bool)
    kept = np.asarray(kept)
    if kept.shape != (len(rows),) or kept.dtype != bool:
        raise ValueError(
            f"the condition {shown(where)} must be true or false for each of {len(rows):,} samples; it gave {kept.dtype} of "
            f"shape {kept.shape}; {_columns(rows)}"
        )
    return np.sort(rows[EXAMPLE].to_numpy()[kept])


def _columns(rows: pd.DataFrame) -> str:
    return f"the columns are {', '.join(map(str, rows))}"


def _ranges(rows: pd.DataFrame, where: Any) -> str:
    """What the columns that a condition names hold, in words."""
    named = [name for name in rows if isinstance(where, str) and str(name) in where] or list(rows)
    return "; ".join(_range(rows[name]) for name in named[:4])


def _range(values: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(values):
        return f"{values.name} goes from {values.min():g} to {values.max():g}"
    known = sorted(map(str, values.unique()))
    return f"{values.name} is {', '.join(map(repr, known[:8]))}{' ...' if len(known) > 8 else ''}"
