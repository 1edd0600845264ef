"""Datasets, which are asked sample by sample: is each the same twice, what do they bring along, and what is in them?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...core.messages import reason, with_article
from ...core.running import described, digest, row_hashes
from .held import Array, Kept, Stream, finite, hashes_of, stacked
from .members import PADDED, Side, checked, chosen, label_of, numbers

TWICE = 16  # samples of a dataset that are read twice
RANDOM = ("random", "jitter", "augment", "erasing", "mix")  # in the names of transforms that draw
TOGETHER = 64  # samples hashed together
LOOKED_AT = 64  # samples read twice where a transform's name says that it draws


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
            f"the input of {where} sample {i} is {with_article(type(value).__name__)}; give tensors or arrays of numbers"
        )
    found = numbers(value, f"sample {i} of the {where} part:")
    return found if isinstance(found, Tensor) else torch.from_numpy(np.array(found))


def of_samples(data: Any, where: str, label: Any, accepts: Sequence[str]) -> Side:
    """A map-style dataset or a list of samples."""
    if not len(data):
        raise ValueError(f"the {where} part is empty")
    first = _sample(data, 0, where)
    if isinstance(first, Mapping):
        at = label_of(list(first), label, where)
        names = tuple(chosen({name: each for name, each in first.items() if name != at}, where, accepts))
        wanted, said = (names if set(names) & set(accepts) else names[0]), f"label: {at!r}"
    elif isinstance(first, (tuple, list)):
        at = label_of(range(len(first)), label, where) if len(first) != 1 else label_of([0], None, where)
        wanted, said = 0 if at else 1, f"label: member {at}"
        said += f" ({len(first) - 2} other member(s) left out)" if len(first) > 2 else ""
    else:
        raise ValueError(
            f"a {where} sample is {with_article(type(first).__name__)}; a sample is a pair "
            "(input, label), or a dict with label= its name"
        )
    rows = Stream(data, Member(wanted, where))
    rows.few, seen = _the_same_twice(rows, data, where)
    classes, files = _brought(data, at)
    known = _known(data, at, files)
    found, hashes = known or _read(rows, data, at, where)
    made = checked(rows, found, where, said, files=files, hashes=hashes, seen=seen if known else "")
    kept = [Kept.of(rows, f"samples of the {where} part")]
    if known and _in_memory(data):  # read whole, as arrays are: a few samples do not tell of an edit of another
        kept.append(Kept.of(Array(data.data), f"samples of the {where} part"))
    return replace(made, classes=made.classes or classes, kept=tuple(kept))


def _sample(data: Any, i: int, where: str) -> Any:
    try:
        return data[i]
    except Exception as error:  # a dataset of the user's may raise anything
        raise ValueError(f"{where} sample {i} cannot be read: {type(error).__name__}: {reason(error)}") from None


def _the_same_twice(rows: Stream, data: Any, where: str) -> tuple[tuple[int, ...], str]:
    """Positions of a few samples, once some were found to be the same twice, and a digest of those inputs.

    Raises:
        ValueError: one was not.
    """
    draws = _drawing(data)
    wanted = LOOKED_AT if draws else TWICE
    few, seen = sorted({round(k) for k in np.linspace(0, len(rows) - 1, wanted)}), []
    for i in few:
        once, again = (rows.member(_sample(data, i, where), i) for _ in range(2))
        if not _same(once, again):
            raise ValueError(
                f"{where} sample {i} is another each time it is read{f' ({draws})' if draws else ''}, so no influence is "
                "the sample's own; hand over the data set with its transform for testing, without augmentation, and leave "
                "augmentation to training (recipe=)"
            )
        seen.append(digest(*(once.values() if isinstance(once, dict) else [once])))
    return tuple(few[:: max(1, len(few) // 4)]), digest(*seen)


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
                pictures = isinstance(first, Tensor) and first.ndim == 3
                raise ValueError(
                    f"{where} samples differ in shape: sample 0 is {_shape(first)}, sample {i} is {_shape(inputs[-1])}; "
                    f"{'bring them to one, such as with a transform that resizes' if pictures else PADDED}"
                )
        batch = stacked(inputs)
        finite(batch, start, where)
        hashes.append(hashes_of(batch))
    return labels, np.concatenate(hashes)


def _shape(value: Any) -> Any:
    return {name: tuple(each.shape) for name, each in value.items()} if isinstance(value, dict) else tuple(value.shape)


def _known(data: Any, label: Any, files: Sequence[str] | None) -> tuple[list, np.ndarray] | None:
    """Labels and hashes of a data set of torchvision's, from what it keeps and from its files, without reading samples.

    What its transform does is not in them: a transform may print alike whatever it does, as ``Lambda()``.
    """
    if not type(data).__module__.startswith("torchvision.") or getattr(data, "target_transform", None) or label != 1:
        return None
    found = next((each for name in ("targets", "labels") if (each := getattr(data, name, None)) is not None), None)
    if found is None or len(found) != len(data) or any(int(data[i][1]) != int(found[i]) for i in (0, len(data) - 1)):
        return None
    how = digest(*(described(getattr(data, name, None)) for name in ("transform", "loader")))
    if _in_memory(data):
        rows = row_hashes(data.data)
    elif files is not None:
        stats = [os.stat(each[0]) for each in data.samples]
        rows = np.array(
            [(about.st_size, about.st_mtime_ns, hash_of(str(each[0]))) for about, each in zip(stats, data.samples)]
        )
        rows = row_hashes(rows)
    else:
        return None
    return list(found), rows ^ np.int64(hash_of(how))


def _in_memory(data: Any) -> bool:
    """Whether a data set of torchvision's holds all its samples."""
    content = getattr(data, "data", None)
    return isinstance(content, (Tensor, np.ndarray)) and len(content) == len(data)


def hash_of(words: str) -> int:
    """A number that stands for words, the same in every process."""
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little", signed=True)
