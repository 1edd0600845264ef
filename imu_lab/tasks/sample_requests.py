"""Which samples a request forgets: a group of them, a share drawn at random, or those named by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.messages import listed, unknown
from .sources import folders
from .sources import labels as naming
from .sources.labelled import Labelled

WAYS = ("forget_class", "forget_fraction", "forget_indices", "forget_superclass", "forget_subclass")
FEW = 5  # classes named in a sentence


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


def some(classes: Sequence[str]) -> str:
    """The first few classes by name, for a sentence."""
    more = f" and {len(classes) - FEW} more" if len(classes) > FEW else ""
    return f"class {listed(list(classes[:FEW]))}{more}"
