"""What a user calls the classes, and what numbers the model knows them by."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.messages import listed, shown, unknown

SHOWN = 5


def one_form(name: str) -> str:
    """The name in one Unicode form: what looks the same is the same."""
    return unicodedata.normalize("NFC", name)


def raw(given: Any, where: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels (n, ...) as an array of numbers or of objects, and the names of their categories where they have some.

    Raises:
        ValueError: labels that are missing.
    """
    if isinstance(given, Tensor):
        return given.detach().cpu().numpy() if given.dtype != torch.bfloat16 else given.float().numpy(), None
    if hasattr(given, "columns"):  # a frame of one column says the same as the column
        if given.shape[1] != 1:
            return given.to_numpy(), None
        return raw(given.iloc[:, 0], where)
    categories = getattr(getattr(given, "cat", given), "categories", None)
    if categories is not None and (hasattr(given, "cat") or hasattr(given, "codes")):
        codes = np.asarray(given.cat.codes if hasattr(given, "cat") else given.codes, dtype=np.int64)
        _all_there(codes < 0, where)
        names = tuple(one_form(str(each)) for each in categories)
        return _plain([names[code] for code in codes]), names  # codes of their own would number each part differently
    if hasattr(given, "isna"):  # a series, an index or an extension array of pandas
        _all_there(np.asarray(given.isna()), where)
        plain = given.to_numpy()
        return (plain if plain.dtype.kind != "O" else _plain(list(plain))), None
    if isinstance(given, np.ma.MaskedArray):
        _all_there(np.ma.getmaskarray(given).reshape(len(given), -1).any(1), where)
        given = given.data
    if isinstance(given, np.ndarray) and given.dtype.kind != "O":
        return given, None
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise ValueError(f"{where} labels are {given!r}; give one label for each sample")
    return _plain(list(given)), None


def _plain(values: list) -> np.ndarray:
    """Numbers as an array of numbers; anything else as an array of objects, one for each sample."""
    scalars = (np.generic, np.ndarray, Tensor)
    values = [each.item() if isinstance(each, scalars) and each.ndim == 0 else each for each in values]
    kinds = {type(each) for each in values}
    if kinds <= {int} or kinds <= {int, float} or kinds <= {bool}:
        return np.asarray(values)
    if not kinds & {str, bytes, tuple, type(None)} and all(np.ndim(each) for each in values):
        try:
            return np.stack([np.asarray(each) for each in values])
        except (TypeError, ValueError):  # no rows of one length
            pass
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _all_there(missing: np.ndarray, where: str) -> None:
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} {where} label(s) are missing, the first at sample {int(np.flatnonzero(missing)[0])}; "
            "leave those samples out or label them"
        )


def words(labels: np.ndarray) -> bool:
    """Whether labels are names rather than numbers."""
    return labels.dtype.kind not in "iuf"


def numbered(
    labels: dict[str, np.ndarray],
    count: int,
    classes: Sequence[Hashable] | None = None,
    known: Sequence[str] | None = None,
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Labels as class numbers 0..count-1, and the classes' names.

    Args:
        labels: (n,) of each part: numbers, or any objects that can be told apart.
        count: how many classes the model tells apart.
        classes: their names, as a user gives them (see :func:`by_output`).
        known: names that the data themselves bring along for numbers, such as those of folders or of categories.

    Raises:
        ValueError: labels that are no class, or that can be two.
    """
    classes = None if classes is None else by_output(classes)
    if classes is not None and len(classes) != count:
        raise ValueError(f"classes= names {len(classes)} classes, but the model tells {count} apart; name each output")
    given = None if classes is None else [_word(each) for each in classes]
    if given is not None and len(set(given)) < len(given):
        raise ValueError(
            f"classes= names some twice: {listed([n for n in dict.fromkeys(given) if given.count(n) > 1])}"
        )
    if any(words(each) for each in labels.values()):
        return _of_words(labels, count, given or (None if known is None else list(known)))
    if given is not None and all(isinstance(each, (int, np.integer)) for each in classes):
        return _of_listed_numbers(labels, [int(each) for each in classes], given)
    made = {where: checked(each, count, where) for where, each in labels.items()}
    names = given or [one_form(str(each)) for each in known or ()][:count]
    return made, tuple([*names, *map(str, range(len(names), count))])


def by_output(classes: Any) -> list[Any]:
    """The classes' names in the order of the model's outputs: as they are listed, or by the numbers that stand beside them.

    Args:
        classes: names in order; or ``{0: "cat", 1: "dog"}`` or ``{"cat": 0, "dog": 1}``, as models and folders carry them.

    Raises:
        ValueError: names without an order, such as a set; numbers that are not 0, 1, ...; an index in another order.
    """
    if isinstance(classes, (str, bytes, set, frozenset)) or not isinstance(classes, Iterable):
        raise ValueError(
            f"classes= lists the names in the order of the model's outputs; {shown(classes)} has no order of names"
        )
    index = getattr(classes, "index", None)
    if hasattr(index, "get_indexer") and not index.is_monotonic_increasing and sorted(index) == list(range(len(index))):
        raise ValueError(
            "classes= carries an index in another order than its names; give classes.sort_index() or list(classes)"
        )
    if not isinstance(classes, Mapping):
        return list(classes)
    found = []
    for names, places in ((classes.values(), classes), (classes, classes.values())):
        numbered = {_place(place): name for place, name in zip(places, names)}
        if set(numbered) == set(range(len(classes))):
            found.append([numbered[k] for k in range(len(classes))])
    if len(found) != 1 and not (found and found[0] == found[1]):
        raise ValueError(
            f"classes= {shown(dict(classes))} does not number the outputs 0 to {len(classes) - 1}; list the names in their order"
        )
    return found[0]


def _place(value: Any) -> Any:
    """A number, also one that a file has as a word."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _word(value: Any) -> str:
    return one_form(str(value.item() if isinstance(value, (np.generic, Tensor)) else value))


def _of_words(labels: dict[str, np.ndarray], count: int, given: list[str] | None) -> Any:
    """Names to numbers: in the order of ``given``, else sorted, where that says which output stands for which."""
    for where, each in labels.items():
        if each.ndim != 1:
            raise ValueError(f"{where} labels must be one per sample, got {each.dtype} of shape {tuple(each.shape)}")
        _all_there(np.array([value is None or value != value for value in each.tolist()], dtype=bool), where)
    found = {where: [_word(value) for value in each.tolist()] for where, each in labels.items()}
    distinct = {_word(value): value for value in labels["train"].tolist()}
    if len(distinct) != len(set(labels["train"].tolist())):
        raise ValueError("two labels that differ are written alike, such as 1 and '1'; give labels of one type")
    names = given if given is not None else _sorted(distinct)
    strange = sorted({name for each in found.values() for name in each} - set(names))
    if strange:
        raise ValueError(f"labels {listed(strange[:SHOWN])} are none of the classes: {', '.join(names[:20])}")
    if len(names) != count:
        raise ValueError(
            f"the training labels are {len(names)} words ({', '.join(names[:SHOWN])}{' ...' if len(names) > SHOWN else ''}), "
            f"but the model tells {count} classes apart; name all of them in the order of its outputs with classes="
        )
    place = {name: k for k, name in enumerate(names)}
    return {
        where: torch.tensor([place[name] for name in each], dtype=torch.int64) for where, each in found.items()
    }, tuple(names)


def _sorted(distinct: dict[str, Any]) -> list[str]:
    """The words in their own order, as label encoders number them.

    Raises:
        ValueError: words that are numbers, where the order of words is not that of numbers; or things without an order.
    """
    try:
        names = [_word(value) for value in sorted(distinct.values())]
    except TypeError:
        kinds = sorted({type(value).__name__ for value in distinct.values()})
        raise ValueError(
            f"labels of {' and '.join(kinds)} have no order; name the classes in the order of the outputs with classes="
        ) from None
    if all(isinstance(value, str) for value in distinct.values()):
        try:
            numeric = sorted(names, key=float)
        except ValueError:
            return names
        if numeric != names:
            raise ValueError(
                f"the labels are words that are numbers, and could be ordered {', '.join(names[:SHOWN])} ... as words or "
                f"{', '.join(numeric[:SHOWN])} ... as numbers; give the order of the model's outputs with classes="
            )
    return names


def _of_listed_numbers(labels: dict[str, np.ndarray], classes: list[int], names: list[str]) -> Any:
    """Numbers that are among ``classes``; asked back where a number is also the place of another."""
    found = {where: checked(each, None, where) for where, each in labels.items()}
    used = sorted({value for each in found.values() for value in each.unique().tolist()})
    strange = [value for value in used if value not in classes]
    places = all(0 <= value < len(classes) for value in used)
    if strange and not places:
        raise ValueError(f"labels {strange[:SHOWN]} are none of the classes {classes[:20]}")
    if strange:
        return found, tuple(names)
    if places and any(classes[value] != value for value in used):
        raise ValueError(
            f"labels such as {used[0]} can be a place in classes={classes[:20]} or one of them; "
            "number the labels from 0 and name the classes in words"
        )
    place = {value: k for k, value in enumerate(classes)}
    return {
        where: torch.tensor([place[value] for value in each.tolist()], dtype=torch.int64)
        for where, each in found.items()
    }, tuple(names)


def checked(labels: Any, classes: int | None, where: str) -> Tensor:
    """(n,) labels as int64, once each is one of 0..classes-1.

    Raises:
        ValueError: a label outside, or labels that are not one integer per example.
    """
    labels = labels if isinstance(labels, Tensor) else torch.from_numpy(_native(np.asarray(labels)))
    if labels.is_floating_point() and labels.ndim == 1:
        _all_there(labels.isnan().numpy(), where)
    if labels.ndim != 1 or labels.is_floating_point() and not torch.equal(labels, labels.round()):
        hint = "; of one-hot rows give .argmax(1)" if labels.ndim == 2 and labels.shape[1] > 1 else ""
        hint = hint or "; numbers that are no classes take a loss=, such as torch.nn.MSELoss(reduction='none')"
        raise ValueError(
            f"{where} labels must be one integer per example, got {labels.dtype} of shape {tuple(labels.shape)}{hint}"
        )
    labels = labels.to(torch.int64)
    outside = labels[(labels < 0) | (labels >= classes)] if classes is not None else labels[:0]
    if len(outside):
        raise ValueError(
            f"{where} labels go from {int(labels.min())} to {int(labels.max())}, but there are {classes} "
            f"classes, 0 to {classes - 1}; number them from 0, or name them in the order of the outputs with classes="
        )
    return labels


def _native(values: np.ndarray) -> np.ndarray:
    """A copy in this machine's order of bytes and in a type that torch has: uint16 and wider become int64."""
    kind = np.dtype(np.int64) if values.dtype.kind == "u" and values.dtype.itemsize > 1 else values.dtype
    return np.array(values, dtype=kind.newbyteorder("="))


def condition(values: Any, column: str) -> str:
    """What :func:`imu_lab.forget_where` is asked for rows with one of these values, as one writes it."""
    words = [str(each) for each in np.ravel(values)[:SHOWN].tolist()]
    return f'"{column} == {words[0]!r}"' if len(words) == 1 else f'"{column} in {words!r}"'


def class_number(given: Any, classes: Sequence[str], kind: str = "class") -> int:
    """The number of a class that a user names or numbers.

    Raises:
        UnknownName: a name that is not there.
        TypeError: several classes.
        ValueError: a number that is none, or that is one class's number and another's name.
    """
    if isinstance(given, (list, tuple, set, frozenset)) or getattr(given, "ndim", 0):
        raise TypeError(_several(given, classes, kind))
    names = [one_form(name) for name in classes]
    if isinstance(given, (bool, np.bool_)) and str(bool(given)) not in names:
        raise ValueError(f"{kind} {given} is no name and no number; the classes are {', '.join(classes[:20])}")
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, (int, float, np.number)):
        if _word(given) not in names:
            raise unknown(kind, given, classes)
        return names.index(_word(given))
    place = int(given) if given == given and abs(given) < 2**31 and int(given) == given else -1
    named = [k for k, name in enumerate(names) if _is_number(name, given)]
    if len(named) > 1 or named and 0 <= place < len(names) and named[0] != place:
        other = f"class number {place}, which is {classes[place]!r}" if 0 <= place < len(names) else "several classes"
        raise ValueError(
            f"{given} can mean {other}, or the one named {listed([classes[k] for k in named])} (number {named[0]}); "
            "say which by its name, in quotes"
        )
    if named:
        return named[0]
    if not 0 <= place < len(names):
        raise ValueError(f"no {kind} {given}; the classes are 0 to {len(names) - 1}: {', '.join(classes[:100])}")
    return place


def _several(given: Any, classes: Sequence[str], kind: str) -> str:
    """That one class is asked for, in words, and how several are."""
    column = "label" if kind == "class" else kind
    each = [value.item() if hasattr(value, "item") else value for value in given]
    known = [_word(classes[k] if isinstance(k, int) and 0 <= k < len(classes) else k) for k in each]
    many = (
        f"; of several write imu.forget_where(task, {condition(known, column)}), of one its name or number"
        if known
        else ""
    )
    return f"one {kind} is forgotten by its name or number, got {shown(given)}{many}"


def _is_number(name: str, given: Any) -> bool:
    try:
        return name.strip().isascii() and float(name) == float(given)
    except ValueError:
        return False
