"""Which samples a request forgets: a group of them, a share drawn at random, or those named by index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.messages import listed, shown, unknown, with_article
from .sources import folders
from .sources import labels as naming
from .sources.labelled import Labelled

WAYS = ("forget_class", "forget_fraction", "forget_indices", "forget_superclass", "forget_subclass")
FEW = 5  # classes or samples named in a sentence


def only_one(asked: Mapping[str, Any]) -> str:
    """The one of ``WAYS`` that says something.

    Raises:
        ValueError: none or several do.
    """
    given = [name for name in WAYS if asked[name] is not None]
    if len(given) != 1:
        raise ValueError(f"give one of {', '.join(f'{name}=' for name in WAYS)}; got {listed(given)}")
    return given[0]


def level(request: str, given: str | None) -> str | None:
    """What the model names, as it was given or as the request implies it.

    Raises:
        ValueError: there is no such level, or it does not fit the request.
    """
    implied = {"forget_superclass": "subclass", "forget_subclass": "superclass"}.get(request)
    if given is not None and given not in folders.LABELS:
        raise unknown("level for labels=", given, folders.LABELS)
    if implied and given not in (None, implied):
        raise ValueError(
            f"{request} speaks of the level that the model does not name, so labels={implied!r}, got {given!r}; "
            "what the model names is forgotten with forget_class"
        )
    return given or implied


class Group(NamedTuple):
    """The number of each training and each test sample's group, and of the one to forget."""

    train: Tensor
    test: Tensor
    number: int


def group_of(data: Labelled, forget_class: int | str | None, wanted: str | None) -> Group | None:
    """The class, or the group ``wanted`` of the other level, that is to be forgotten; None where neither is asked for."""
    if forget_class is not None:
        if not data.classes:
            raise ValueError("the targets are no classes; request samples with forget_fraction= or forget_indices=")
        return Group(data.train_labels, data.test_labels, naming.class_number(forget_class, data.classes))
    if wanted is None:
        return None
    other = data.level
    return Group(other.train, other.test, naming.class_number(wanted, other.names, other.kind))


def chosen(
    count: int, group: Group | None, fraction: float | None, indices: tuple[int, ...] | None, seed: int
) -> Tensor:
    """The indices to forget of so many training samples, in rising order.

    Raises:
        ValueError: they are none or all, or the share is none.
    """
    if group is not None:
        found = (group.train == group.number).nonzero().flatten()
    elif fraction is not None:
        found = _random_share(count, fraction, seed)
    else:
        found = torch.from_numpy(np.sort(np.fromiter(indices, np.int64, len(indices))))
    if not len(found):
        raise ValueError("the forget set is empty: the request matches no training example")
    if len(found) == count:
        raise ValueError(f"the request forgets all {count} training examples; something must be left to keep")
    return found


def _random_share(count: int, share: float, seed: int) -> Tensor:
    if isinstance(share, (bool, str)) or not isinstance(share, (int, float, np.number)) or not 0 < share < 1:
        raise ValueError(f"forget_fraction must lie strictly between 0 and 1, got {share}")
    drawn = np.random.default_rng(seed).choice(count, size=round(share * count), replace=False)
    return torch.as_tensor(np.sort(drawn), dtype=torch.int64)


def emptied(classes: Sequence[str], stay: bool) -> str:
    """That a class is forgotten by its samples alone: where it stays in the test split, the retrained model must fail there."""
    return (
        f"the request takes every training sample of {some(classes)}: the retrained model never sees one, and "
        + ("their unseen samples stay in the test split" if stay else "answers other classes for it")
        + "; forget_class= asks for a whole class and measures its unseen samples apart"
    )


def copied(hashes: np.ndarray, forgotten: Tensor, kept: Tensor) -> str:
    """That inputs to forget are found among those that are kept, in words; empty where none is.

    Args:
        hashes: (n,) of the content of each training input.
        forgotten, kept: positions.
    """
    mine, others = hashes[forgotten.numpy()], hashes[kept.numpy()]
    found = np.isin(mine, others).nonzero()[0]
    if not len(found):
        return ""
    one = int(forgotten[int(found[0])])
    other = int(kept[int((others == hashes[one]).argmax())])
    return (
        f"{len(found)} of {len(mine)} inputs to forget are among those to keep as well (sample {one} is sample {other}), so the "
        "retrained model learns from them all the same; forget the copies with them, or drop them"
    )


def some(classes: Sequence[str]) -> str:
    """The first few classes by name, for a sentence."""
    more = f" and {len(classes) - FEW} more" if len(classes) > FEW else ""
    return f"class {listed(list(classes[:FEW]))}{more}"


def indices(given: Any, count: int, names: Any = None) -> tuple[int, ...]:
    """Positions among ``count`` samples, from numbers or from a mask of booleans, as they were given.

    Args:
        names: the index of the samples' rows, of data that came with one of pandas. A mask with an index is put into their
            order.

    Raises:
        ValueError: floats, words, a mask of another length, positions outside, or repeated ones; an index or a column of
            numbers beside rows whose names are other numbers, which could be positions or names.
    """
    missing = getattr(given, "isna", None)
    if missing is not None and np.asarray(missing()).any():
        raise ValueError("forget_indices holds missing values; say True or False for each")
    values = _one_row(given)
    if not values.size:
        return ()
    index = getattr(given, "index", given)
    index = index if hasattr(index, "get_indexer") else None
    if values.dtype.kind == "b":
        return tuple(np.flatnonzero(_mask(values, index, count, names)).tolist())
    if index is not None and names is not None:
        _refuse_names(names)
    if values.dtype.kind not in "iu":
        words = values.dtype.kind in "US"
        named = f"; of files write imu.forget_where(task, {naming.condition(values, 'file')})" if words else ""
        got = shown(given) if values.dtype == object else "words" if words else values.dtype.name
        raise ValueError(
            f"forget_indices must be whole numbers or a mask of True and False, got {got}: floats and words are no indices{named}"
        )
    positions = values.astype(np.int64)
    outside = positions[(positions < 0) | (positions >= count)]
    if len(outside):
        raise ValueError(
            f"forget_indices {outside[:FEW].tolist()} are not in the training set; it has 0 to {count - 1}"
        )
    found, times = np.unique(positions, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"forget_indices repeats {found[times > 1][:FEW].tolist()}; name each example once")
    return tuple(positions.tolist())


def _one_row(given: Any) -> np.ndarray:
    """(m,) the values of anything that holds several, or of one number; those of a set in order.

    Raises:
        ValueError: rows of several values, such as the columns of a frame, or True and False among numbers.
    """
    if isinstance(given, slice):
        raise ValueError(f"forget_indices takes positions, got {given}; give list(range(...))")
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)) and not hasattr(given, "__array__"):
        given = list(given) if not isinstance(given, Set) else sorted(given, key=lambda each: (str(type(each)), each))
        if len({isinstance(each, (bool, np.bool_)) for each in given}) > 1:
            raise ValueError("forget_indices mixes True and False with other values; give positions or a mask")
    values = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if values.dtype == object and values.size:
        values = np.asarray(values.tolist())
    if values.ndim > 1 and values.size != max(values.shape):
        raise ValueError(
            f"forget_indices is one row of positions, or a mask; got {with_article(type(given).__name__)} of shape {values.shape}, "
            "whose columns could each be meant"
        )
    return values.ravel()


def _mask(mask: np.ndarray, index: Any, count: int, names: Any) -> np.ndarray:
    """A mask in the order of the samples; that of its ``index`` counts where it and the rows have ``names``.

    Raises:
        ValueError: it is of another length, or its index holds other names, or one of them twice.
    """
    if mask.size != count:
        raise ValueError(f"forget_indices is a mask of {mask.size} values, but there are {count} training examples")
    if index is None or names is not None and index.equals(names):
        return mask
    if names is None:
        if not index.is_monotonic_increasing:
            raise ValueError(
                "forget_indices is a mask whose index is in another order than the samples; give forget_indices.sort_index()"
            )
        return mask
    if not index.is_unique or not names.is_unique or (places := index.get_indexer(names)).min() < 0:
        raise ValueError(
            f"forget_indices is a mask whose index, {list(index[:3])} ..., is not that of the training rows, "
            f"{list(names[:3])} ...; give mask.loc[X.index], or mask.to_numpy() if its order is right"
        )
    return mask[places]


def _refuse_names(names: Any) -> None:
    """Refuse numbers of pandas' that can be positions or the names of rows."""
    if not np.array_equal(names, np.arange(len(names))):
        raise ValueError(
            f"forget_indices comes from pandas, and the training rows are named {list(names[:3])} ... and not 0, 1, 2, ..., so it "
            "could mean names or positions; of names give X.index.get_indexer(names), of positions a plain list"
        )
