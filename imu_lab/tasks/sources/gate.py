"""The gate that a user's data pass: what is a sample, which part of it is the label, and is it the same twice?"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...core.messages import listed, unknown
from ...core.running import digest, row_hashes
from ..protocol import Examples
from . import labels as naming
from .held import Array, Fetch, Frame, Kept, Members, Stream, finite, hashes_of, read, stacked
from .labelled import Labelled, counted
from .pictures import Stretched

LABELS = ("label", "labels", "target", "targets", "y")  # names under which a member is the label without being asked
TWICE = 16  # samples of a dataset that are read twice
RANDOM = ("random", "jitter", "augment", "erasing", "mix")  # in the names of transforms that draw
TOGETHER = 64  # samples hashed together
LOOKED_AT = 64  # samples read twice where a transform's name says that it draws


@dataclass(frozen=True, eq=False)
class Side:
    """One part of a data set as it was understood.

    Attributes:
        rows: the inputs, see :mod:`imu_lab.tasks.sources.held`.
        labels: (n, ...) as given.
        said: which member is the label, in words.
        classes: names that the data bring along for numbers, or None.
        files: where each sample came from, or None.
        kept: what can be asked whether the user's data are as they were.
        hashes: (n,) of the content of each row; None until the rows are read.
    """

    rows: Any
    labels: np.ndarray
    said: str
    classes: Sequence[str] | None = None
    files: Sequence[str] | None = None
    kept: tuple[Kept, ...] = ()
    hashes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


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
    return _of_samples(data, where, label, accepts)


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
            f"{where}= is a {type(data).__name__}, whose samples have no index; {taken}, such as list({where})"
        )
    if isinstance(data, (Tensor, np.ndarray)):
        raise ValueError(f"{where}= is one {type(data).__name__} of shape {tuple(data.shape)} without labels; {taken}")


def _are_samples(data: list) -> bool:
    """Whether a list of two is two samples rather than inputs and labels."""
    return all(isinstance(each, (tuple, Mapping)) for each in data)


def _label_of(members: Sequence[Any], given: Any, where: str) -> Any:
    """The position or the name of the member that is the label."""
    named = isinstance(members[0], str)
    if given is not None:
        if not named and isinstance(given, (int, np.integer)) and -len(members) <= given < len(members):
            return int(given) % len(members)
        if named and given in members:
            return given
        raise unknown(f"member of a {where} sample for label=", given, list(members))
    if not named and len(members) == 2:
        return 1
    known = [name for name in members if named and name in LABELS]
    if len(known) == 1:
        return known[0]
    raise ValueError(
        f"a {where} sample has {len(members)} member(s): {', '.join(map(str, members))}; "
        f"say which one is the label with label=, such as label={members[-1]!r}"
    )


def _of_parts(parts: list, where: str, label: Any, accepts: Sequence[str]) -> Side:
    """Inputs and labels side by side, as (x, y)."""
    at = _label_of(range(len(parts)), label, where) if len(parts) != 1 else _label_of([0], None, where)
    inputs, given = parts[0 if at else 1], parts[at]
    rest = len(parts) - 2
    said = f"label: member {at}" + (f" ({rest} other member(s) left out)" if rest else "")
    rows = _rows(inputs, where, accepts)
    return _checked(rows, given, where, said)


def _of_columns(columns: dict, where: str, label: Any, accepts: Sequence[str]) -> Side:
    """A dict of columns, as image processors and tokenizers make them."""
    name = _label_of(list(columns), label, where)
    given = columns.pop(name)
    rows = _rows(columns, where, accepts)
    return _checked(rows, given, where, f"label: {name!r}")


def _of_frame(frame: Any, where: str, label: Any) -> Side:
    """A frame one column of which is the label."""
    if label is None:
        raise ValueError(
            f"{where}= is a frame; name the column that is the label with label=, "
            f"one of {listed([str(name) for name in frame.columns][:20])}"
        )
    if label not in frame.columns:
        raise unknown("column for label=", label, list(frame.columns))
    return _checked(_frame(frame.drop(columns=[label]), where), frame[label], where, f"label: column {label!r}")


def _rows(inputs: Any, where: str, accepts: Sequence[str]) -> Any:
    """A user's inputs as rows that are kept by reference."""
    if isinstance(inputs, Mapping):
        chosen = _chosen(dict(inputs), where, accepts)
        members = {name: _rows(each, where, ()) for name, each in chosen.items()}
        return Members(members) if set(chosen) & set(accepts) else next(iter(members.values()))
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
    values = _numbers(inputs, where)
    return Array(_at_least_one_axis(values, where))


def _numbers(inputs: Any, where: str) -> Any:
    """Anything like an array, as one of numbers."""
    try:
        if isinstance(inputs, (list, tuple)) and inputs and all(isinstance(each, Tensor) for each in inputs):
            return torch.stack(list(inputs))
        values = np.asarray(inputs)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{where} inputs are rows of different shapes; give each sample the same shape") from None
    if values.dtype.kind not in "biufc":
        raise ValueError(
            f"{where} inputs must be numbers, got a {type(inputs).__name__} of {values.dtype.name}; "
            "encode words as numbers first"
        )
    return values.astype(np.float64) if values.dtype.itemsize > 8 and values.dtype.kind == "f" else values


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


def _chosen(members: dict, where: str, accepts: Sequence[str]) -> dict:
    """Those members that the model takes by name, or the only one that can be an input."""
    taken = {name: value for name, value in members.items() if name in accepts}
    if taken:
        return taken
    if len(members) == 1:
        return members
    raise ValueError(
        f"a {where} sample has the members {listed(list(map(str, members)))} beside its label, and the model takes "
        f"{listed(list(accepts)[:8])}; hand over pairs (input, label)"
    )


def _checked(rows: Any, given: Any, where: str, said: str, **also: Any) -> Side:
    """One side, once inputs and labels are of one length."""
    found, categories = naming.raw(given, where)
    if isinstance(rows, Members) and len({len(each) for each in rows.members.values()}) > 1:
        counts = {name: len(each) for name, each in rows.members.items()}
        raise ValueError(f"the members of the {where} part differ in length: {counts}")
    if len(rows) != len(found):
        raise ValueError(f"the {where} part has {len(rows)} inputs and {len(found)} labels; give one label each")
    if not len(rows):
        raise ValueError(f"the {where} part is empty")
    watched = isinstance(given, Tensor) or isinstance(given, np.ndarray) and given.dtype.kind != "O"
    labels = (Kept.of(Array(given), f"{where} labels"),) if watched else ()
    return Side(rows, np.array(found), said, classes=categories, kept=labels, **also)


# Datasets, which are asked sample by sample.


@dataclass(frozen=True)
class Member:
    """From a sample of a dataset to its input: one member, or several by name."""

    at: Any
    where: str

    def __call__(self, sample: Any, i: int) -> Any:
        if isinstance(self.at, tuple):
            return {name: tensor(sample[name], i, self.where) for name in self.at}
        found = sample[self.at]
        if isinstance(found, Mapping):
            return {name: tensor(each, i, self.where) for name, each in found.items()}
        return tensor(found, i, self.where)


def tensor(value: Any, i: int, where: str) -> Tensor:
    """A sample's input as a tensor.

    Raises:
        ValueError: it is none, such as a picture that no transform has turned into numbers.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "getbands"):
        raise ValueError(
            f"the input of {where} sample {i} is a picture of {value.size[0]}x{value.size[1]} pixels in mode {value.mode}; "
            "give the dataset a transform that makes tensors, such as torchvision.transforms.ToTensor()"
        )
    if not np.isscalar(value) and not hasattr(value, "__len__") and not hasattr(value, "__array__"):
        raise ValueError(
            f"the input of {where} sample {i} is a {type(value).__name__}; give tensors or arrays of numbers"
        )
    found = _numbers(value, f"sample {i} of the {where} part:")
    return found if isinstance(found, Tensor) else torch.from_numpy(np.array(found))


def _of_samples(data: Any, where: str, label: Any, accepts: Sequence[str]) -> Side:
    """A map-style dataset or a list of samples."""
    if not len(data):
        raise ValueError(f"the {where} part is empty")
    first = _sample(data, 0, where)
    if isinstance(first, Mapping):
        at = _label_of(list(first), label, where)
        names = tuple(_chosen({name: each for name, each in first.items() if name != at}, where, accepts))
        wanted, said = (names if set(names) & set(accepts) else names[0]), f"label: {at!r}"
    elif isinstance(first, (tuple, list)):
        at = _label_of(range(len(first)), label, where) if len(first) != 1 else _label_of([0], None, where)
        wanted, said = 0 if at else 1, f"label: member {at}"
        said += f" ({len(first) - 2} other member(s) left out)" if len(first) > 2 else ""
    else:
        raise ValueError(
            f"a {where} sample is a {type(first).__name__}; a sample is a pair (input, label), or a dict with label= its name"
        )
    rows = Stream(data, Member(wanted, where))
    rows.few = _the_same_twice(rows, data, where)
    classes, files = _brought(data, at)
    found, hashes = _known(data, at, files) or _read(rows, data, at, where)
    made = _checked(rows, found, where, said, files=files, hashes=hashes)
    return replace(made, classes=made.classes or classes, kept=(Kept.of(rows, f"samples of the {where} part"),))


def _sample(data: Any, i: int, where: str) -> Any:
    try:
        return data[i]
    except Exception as error:  # a dataset of the user's may raise anything
        raise ValueError(f"{where} sample {i} cannot be read: {type(error).__name__}: {_line(error)}") from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def _the_same_twice(rows: Stream, data: Any, where: str) -> tuple[int, ...]:
    """Positions of a few samples, once each was found to be the same twice.

    Raises:
        ValueError: one was not.
    """
    draws = _drawing(data)
    wanted = LOOKED_AT if draws else TWICE
    few = sorted({round(k) for k in np.linspace(0, len(rows) - 1, wanted)})
    for i in few:
        once, again = (rows.member(_sample(data, i, where), i) for _ in range(2))
        if not _same(once, again):
            raise ValueError(
                f"{where} sample {i} is another each time it is read{f' ({draws})' if draws else ''}, so no influence is "
                "the sample's own; hand over the data set with its transform for testing, without augmentation, and leave "
                "augmentation to training (recipe=)"
            )
    return tuple(few[:: max(1, len(few) // 4)])


def _same(once: Any, again: Any) -> bool:
    if isinstance(once, dict):
        return all(_same(once[name], again[name]) for name in once)
    return once.shape == again.shape and bool(
        torch.equal(once, again) or torch.equal(once.isnan(), again.isnan()) and once.isnan().any()
    )


def _drawing(data: Any) -> str:
    """The name of the first transform of a dataset that draws, going by names; empty where there is none."""
    while hasattr(data, "dataset"):
        data = data.dataset
    waiting = [getattr(data, name, None) for name in ("transform", "transforms")]
    while waiting:
        step = waiting.pop(0)
        inner = getattr(step, "transforms", None)
        if isinstance(inner, (list, tuple)):
            waiting += list(inner)
        elif getattr(step, "transform", None) is not None:
            waiting.append(step.transform)
        elif step is not None and any(word in type(step).__name__.lower() for word in RANDOM):
            return type(step).__name__
    return ""


def _brought(data: Any, label: Any) -> tuple[Sequence[str] | None, list[str] | None]:
    """The class names and the file names that a dataset brings along, through subsets of it."""
    positions = None
    while hasattr(data, "dataset") and hasattr(data, "indices"):
        mine = list(data.indices)
        positions = mine if positions is None else [mine[i] for i in positions]
        data = data.dataset
    names = getattr(data, "classes", None)
    feature = getattr(data, "features", None)
    if names is None and isinstance(feature, Mapping) and hasattr(feature.get(label), "names"):
        names = feature[label].names
    listing = getattr(data, "samples", None) or getattr(data, "imgs", None)
    files = None
    if (
        isinstance(listing, list)
        and listing
        and isinstance(listing[0], tuple)
        and isinstance(listing[0][0], (str, Path))
    ):
        paths = [str(each[0]) for each in (listing if positions is None else [listing[i] for i in positions])]
        root = getattr(data, "root", None)
        files = [os.path.relpath(path, root) if root else path for path in paths]
    usable = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return (names if usable else None), files


def _read(rows: Stream, data: Any, label: Any, where: str) -> tuple[list, np.ndarray]:
    """Each sample's label and a hash of its input, reading every sample once and keeping none.

    Raises:
        ValueError: a sample that cannot be read, of another shape, or not finite.
    """
    labels, hashes, first = [], [], None
    steps = range(0, len(rows), TOGETHER)
    for start in tqdm(steps, desc=f"reading the {where} part once", unit="batch", delay=2, leave=False):
        inputs = []
        for i in range(start, min(start + TOGETHER, len(rows))):
            sample = _sample(data, i, where)
            labels.append(sample[label])
            inputs.append(rows.member(sample, i))
            first = inputs[0] if first is None else first
            if _shape(inputs[-1]) != _shape(first):
                raise ValueError(
                    f"{where} samples differ in shape: sample 0 is {_shape(first)}, sample {i} is {_shape(inputs[-1])}; "
                    "bring them to one, such as with a transform that resizes"
                )
        batch = stacked(inputs)
        finite(batch, start, where)
        hashes.append(hashes_of(batch))
    return labels, np.concatenate(hashes)


def _shape(value: Any) -> Any:
    return {name: tuple(each.shape) for name, each in value.items()} if isinstance(value, dict) else tuple(value.shape)


def _known(data: Any, label: Any, files: Sequence[str] | None) -> tuple[list, np.ndarray] | None:
    """Labels and hashes of a data set of torchvision's, from what it keeps and from its files, without reading samples."""
    if not type(data).__module__.startswith("torchvision.") or getattr(data, "target_transform", None) or label != 1:
        return None
    found = next((each for name in ("targets", "labels") if (each := getattr(data, name, None)) is not None), None)
    content = getattr(data, "data", None)
    if found is None or len(found) != len(data) or any(int(data[i][1]) != int(found[i]) for i in (0, len(data) - 1)):
        return None
    how = digest(repr(getattr(data, "transform", None)), repr(getattr(data, "loader", None)))
    if isinstance(content, (Tensor, np.ndarray)) and len(content) == len(data):
        rows = row_hashes(content)
    elif files is not None:
        stats = [os.stat(each[0]) for each in data.samples]
        rows = np.array(
            [(about.st_size, about.st_mtime_ns, hash_of(str(each[0]))) for about, each in zip(stats, data.samples)]
        )
        rows = row_hashes(rows)
    else:
        return None
    return list(found), rows ^ np.int64(hash_of(how))


def hash_of(words: str) -> int:
    """A number that stands for words, the same in every process."""
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little", signed=True)


# Both parts together.


def assembled(train: Any, test: Any, classes: Sequence[str] | int, label: Any = None) -> Labelled:
    """A labelled data set for a model that tells ``classes`` apart, inputs in the type in which they came.

    Raises:
        ValueError: see :func:`side` and :func:`imu_lab.tasks.sources.labels.numbered`.
    """
    parts = {"train": side(train, "train", label), "test": side(test, "test", label)}
    count, names = (classes, None) if isinstance(classes, int) else (len(classes), classes)
    numbers, names = naming.numbered(
        {where: part.labels for where, part in parts.items()}, count, known=names or parts["train"].classes
    )
    return together(parts, numbers, names, Fetch)


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
    started = time.perf_counter()
    hashes = {where: read(part.rows, where) if part.hashes is None else part.hashes for where, part in parts.items()}
    took = (time.perf_counter() - started) / 2
    shared = len(np.intersect1d(*hashes.values()))
    if shared:
        warnings.warn(f"train and test share {shared} identical inputs: test figures will look too good", stacklevel=5)
    kept = [each for part in parts.values() for each in part.kept]
    for where, part in parts.items():
        if part.hashes is None:
            kept.append(Kept.of(part.rows, f"{where} inputs", hashes[where], took))
    examples = {
        where: Examples(torch.arange(len(part)), fetch(part.rows, targets[where]), where)
        for where, part in parts.items()
    }
    first = examples["train"].batch(slice(0, 1)).inputs
    single = next(iter(first.values())) if isinstance(first, dict) and len(first) == 1 else first
    image = isinstance(single, Tensor) and single.ndim == 4 and single.shape[1] in (1, 3)
    return Labelled(
        examples["train"], examples["test"], targets["train"], targets["test"], tuple(classes),
        digest(*hashes.values(), *targets.values(), tuple(classes), _inputs(parts["train"])),
        Stretched(examples["train"]) if image else None,
        single.shape[1] if image else 0,
        _about(parts, targets, classes),
        parts["train"].files,
        held=tuple(kept),
    )  # fmt: skip


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
    words = (f"{name} {str(each.dtype).removeprefix('torch.')} {tuple(each.shape[1:])}" for name, each in named)
    return ", ".join(word.strip() for word in words)
