"""The gate that a user's data pass: what is a sample, which part of it is the label, and is it the same twice?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.messages import listed, unknown, warn, with_article
from ...core.running import digest, evenly
from ..protocol import Examples
from . import labels as naming
from .held import Array, Fetch, Frame, Kept, Members, read
from .labelled import Labelled, counted, warn_of_shared
from .members import Side, checked, chosen, index_of, label_of, numbers
from .pictures import Stretched
from .samples import of_samples

ALIKE = 20  # times as large are values of another scale
FEW = 16  # samples whose size is looked at


def side(data: Any, where: str, label: Any = None, accepts: Sequence[str] = ()) -> Side:
    """Understand one part of a user's data.

    Args:
        data: ``(x, y)``, a map-style dataset, a list of samples, a frame or a dict of columns.
        where: ``"train"`` or ``"test"``, for messages.
        label: which member of a sample is its label, by position or name; None where there are two.
        accepts: the names of what the model's ``forward`` takes.

    Raises:
        ValueError: what came, what is taken and what to write.
    """
    _refuse_others(data, where)
    if isinstance(data, Mapping):
        return _of_columns(dict(data), where, label, accepts)
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return _of_frame(data, where, label)
    if isinstance(data, torch.utils.data.TensorDataset):
        return _of_parts(list(data.tensors), where, label, accepts)
    if isinstance(data, tuple) or isinstance(data, list) and len(data) == 2 and not _are_samples(data):
        return _of_parts(list(data), where, label, accepts)
    return of_samples(data, where, label, accepts)


def _refuse_others(data: Any, where: str) -> None:
    """What is no data set that can be asked for its i-th sample."""
    taken = f"{where}= takes (x, y), or a dataset whose i-th sample is (input, label)"
    if isinstance(data, torch.utils.data.DataLoader):
        raise ValueError(
            f"{where}= is a DataLoader, which batches and shuffles; hand over its dataset: {where}=loader.dataset"
        )
    if isinstance(data, (str, os.PathLike)):
        raise ValueError(
            f"{where}= is a path; a folder of pictures is Classification({os.fspath(data)!r}, ...), and {taken}"
        )
    if isinstance(data, torch.utils.data.IterableDataset) or not (
        hasattr(data, "__getitem__") and hasattr(data, "__len__")
    ):
        raise ValueError(
            f"{where}= is {with_article(type(data).__name__)}, whose samples have no index; {taken}, such as list({where})"
        )
    if isinstance(data, (Tensor, np.ndarray)):
        raise ValueError(f"{where}= is one {type(data).__name__} of shape {tuple(data.shape)} without labels; {taken}")


def _are_samples(data: list) -> bool:
    """Whether a list of two is two samples rather than inputs and labels."""
    return all(isinstance(each, (tuple, Mapping)) for each in data)


def _of_parts(parts: list, where: str, label: Any, accepts: Sequence[str]) -> Side:
    """Inputs and labels side by side, as (x, y)."""
    at = label_of(range(len(parts)), label, where) if len(parts) != 1 else label_of([0], None, where)
    inputs, given = parts[0 if at else 1], parts[at]
    rest = len(parts) - 2
    said = f"label: member {at}" + (f" ({rest} other member(s) left out)" if rest else "")
    in_one_order(inputs, given, where)
    rows = _rows(inputs, where, accepts)
    return checked(rows, given, where, said, index=index_of(inputs, given))


def in_one_order(inputs: Any, given: Any, where: str) -> None:
    """Refuse a frame and its labels whose rows carry other names, or the same in another order: positions and names then
    disagree. Names that are but positions, as of what was numbered anew, say nothing."""
    first, second = index_of(inputs), index_of(given)
    if first is None or second is None or len(first) != len(second):
        return
    if first.equals(second):
        return
    if len(first.symmetric_difference(second)) == 0:
        words, remedy = "the same index in another order", "Give y.loc[x.index]"
    elif any(np.array_equal(each, np.arange(len(each))) for each in (first, second)):
        return
    else:
        words, remedy = (
            f"different indexes, such as {list(first.symmetric_difference(second)[:3])} in one alone",
            "Drop the same rows of both",
        )
    raise ValueError(
        f"{where} inputs and labels carry {words}, so which label belongs to which row? {remedy}, or reset_index(drop=True) on both"
    )


def _of_columns(columns: dict, where: str, label: Any, accepts: Sequence[str]) -> Side:
    """A dict of columns, as image processors and tokenizers make them."""
    name = label_of(list(columns), label, where)
    given = columns.pop(name)
    rows = _rows(columns, where, accepts)
    return checked(rows, given, where, f"label: {name!r}", index=index_of(*columns.values(), given))


def _of_frame(frame: Any, where: str, label: Any) -> Side:
    """A frame one column of which is the label."""
    if label is None:
        raise ValueError(
            f"{where}= is a frame; name the column that is the label with label=, "
            f"one of {listed([str(name) for name in frame.columns][:20])}"
        )
    if label not in frame.columns:
        raise unknown("column for label=", label, list(frame.columns))
    return checked(_frame(frame.drop(columns=[label]), where), frame[label], where, f"label: column {label!r}")


def _rows(inputs: Any, where: str, accepts: Sequence[str]) -> Any:
    """A user's inputs as rows that are kept by reference."""
    if isinstance(inputs, Mapping):
        members = {name: _rows(each, where, ()) for name, each in chosen(dict(inputs), where, accepts).items()}
        return Members(members) if set(members) & set(accepts) else next(iter(members.values()))
    if hasattr(inputs, "columns") and hasattr(inputs, "iloc"):
        return _frame(inputs, where)
    if isinstance(inputs, Tensor):
        if inputs.layout != torch.strided or inputs.is_quantized:
            raise ValueError(f"{where} inputs are a sparse or quantised tensor; give x.to_dense() or x.dequantize()")
        return Array(_at_least_one_axis(inputs, where))
    if hasattr(inputs, "toarray"):
        raise ValueError(f"{where} inputs are sparse ({type(inputs).__name__}); give x.toarray()")
    if isinstance(inputs, np.ma.MaskedArray) and np.ma.is_masked(inputs):
        raise ValueError(f"{where} inputs have masked values; fill them, as in x.filled(0)")
    values = numbers(inputs, where)
    return Array(_at_least_one_axis(values, where))


def _at_least_one_axis(values: Any, where: str) -> Any:
    if values.ndim == 0:
        raise ValueError(f"{where} inputs are one number; the first axis counts samples")
    return values


def _frame(frame: Any, where: str) -> Any:
    """A frame of numbers, without a copy where its columns lie in one block."""
    bad = [str(name) for name, kind in frame.dtypes.items() if getattr(kind, "kind", "O") not in "biuf"]
    if bad:
        raise ValueError(
            f"{where} columns {listed(bad[:5])} hold no numbers; encode them first, such as with pandas.get_dummies"
        )
    return Frame(frame)


# Both parts together.


def assembled(train: Any, test: Any, classes: Sequence[str] | int, label: Any = None) -> Labelled:
    """A labelled data set for a model that tells ``classes`` apart, inputs in the type in which they came.

    Raises:
        ValueError: see :func:`side` and :func:`imu_lab.tasks.sources.labels.numbered`.
    """
    parts = {"train": side(train, "train", label), "test": side(test, "test", label)}
    count, names = (classes, None) if isinstance(classes, int) else (len(classes), classes)
    numbered, names = naming.numbered(
        {where: part.labels for where, part in parts.items()}, count, known=names or parts["train"].classes
    )
    return together(parts, numbered, names, Fetch)


def together(
    parts: dict[str, Side], targets: dict[str, Tensor], classes: Sequence[str], fetch: Callable[[Any, Tensor], Fetch]
) -> Labelled:
    """Both parts as one data set, once their content is known.

    Args:
        parts: the two sides as understood.
        targets: what the loss takes, by side.
        classes: their names; empty where targets are no classes.
        fetch: from rows and targets to what fetches a batch of both.

    Raises:
        ValueError: values that are not finite.

    Warns:
        UserWarning: train and test share inputs.
    """
    _of_one_kind(parts["train"].rows, parts["test"].rows)
    started = time.perf_counter()
    hashes = {where: read(part.rows, where) if part.hashes is None else part.hashes for where, part in parts.items()}
    took = (time.perf_counter() - started) / 2
    warn_of_shared(**hashes)
    kept = [each for part in parts.values() for each in part.kept]
    for where, part in parts.items():
        if part.hashes is None:
            kept.append(Kept.of(part.rows, f"{where} inputs", hashes[where], took))
    examples = {
        where: Examples(torch.arange(len(part)), fetch(part.rows, targets[where]), where)
        for where, part in parts.items()
    }
    seen = [part.seen for part in parts.values() if part.seen]
    first = examples["train"].batch(slice(0, 1)).inputs
    single = next(iter(first.values())) if isinstance(first, dict) and len(first) == 1 else first
    image = isinstance(single, Tensor) and single.ndim == 4 and single.shape[1] in (1, 3)
    return Labelled(
        examples["train"], examples["test"], targets["train"], targets["test"], tuple(classes),
        digest(*hashes.values(), *targets.values(), tuple(classes), _inputs(parts["train"]), *seen),
        Stretched(examples["train"]) if image else None,
        single.shape[1] if image else 0,
        _about(parts, targets, classes),
        parts["train"].files,
        held=tuple(kept),
        index=parts["train"].index,
        hashes=hashes["train"],
        test_pictures=Stretched(examples["test"]) if image else None,
    )  # fmt: skip


def _of_one_kind(train: Any, test: Any) -> None:
    """Make sure that training and test inputs are the same kind of thing.

    Raises:
        ValueError: columns in another order, other shapes, or real numbers beside whole ones.

    Warns:
        UserWarning: real numbers of another size, as where one part was scaled and the other was not.
    """
    columns = [list(map(str, rows.frame.columns)) for rows in (train, test) if isinstance(rows, Frame)]
    if len(columns) == 2 and columns[0] != columns[1]:
        raise ValueError(
            f"the columns of train and test differ or are in another order: {listed(columns[0][:8])} and "
            f"{listed(columns[1][:8])}; give test[train.columns]"
        )
    first = [rows.get(slice(0, 1)) for rows in (train, test)]
    each = [part if isinstance(part, dict) else {"": part} for part in first]
    for name, mine in each[0].items():
        other = each[1].get(name)
        if other is None or mine.shape != other.shape or mine.is_floating_point() != other.is_floating_point():
            words = [
                f"{_kind(part)} {tuple(part.shape[1:])}" if part is not None else "missing" for part in (mine, other)
            ]
            raise ValueError(
                f"train and test inputs{f' {name!r}' if name else ''} are no things of one kind: {words[0]} and {words[1]}; "
                "prepare both parts alike"
            )
    sizes = [_size(rows) for rows in (train, test)]
    if min(sizes) > 0 and max(sizes) > ALIKE * min(sizes):
        warn(f"train inputs are of the size {sizes[0]:.3g} and test inputs of {sizes[1]:.3g}; were both scaled alike?")


def _size(rows: Any) -> float:
    """Of a few evenly spread rows, the median of their mean absolute values of real numbers; 0 where there are none."""
    made = rows.get(evenly(FEW, len(rows)))
    real = [each for each in (made.values() if isinstance(made, dict) else [made]) if each.is_floating_point()]
    return float(torch.cat([each.double().abs().flatten(1) for each in real], 1).mean(1).median()) if real else 0.0


def _kind(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _about(parts: dict[str, Side], targets: dict[str, Tensor], classes: Sequence[str]) -> str:
    train, test = parts["train"], parts["test"]
    what = (
        counted(classes, targets["train"])
        if classes
        else f"targets {targets['train'].dtype} of shape {tuple(targets['train'].shape[1:])}".replace("torch.", "")
    )
    files = "; file names known" if train.files is not None else ""
    return f"{len(train):,} train and {len(test):,} test samples, {_inputs(train)}; {train.said}; {what}{files}"


def _inputs(part: Side) -> str:
    """Type and shape of one sample's input, member by member."""
    first = part.rows.get(slice(0, 1))
    named = first.items() if isinstance(first, dict) else [("", first)]
    words = (f"{name} {_kind(each)} {tuple(each.shape[1:])}" for name, each in named)
    return ", ".join(word.strip() for word in words)
