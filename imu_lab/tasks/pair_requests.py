"""Which pairs a request forgets, and which pairs are then in each split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from torch import Tensor

from ..core.memo import remembered
from ..core.messages import listed, shown, unknown, warn
from .sources.pairs import Corpus

WAYS = ("forget_authors", "request", "forget_pairs")


def forgotten(corpus: Corpus, asked: dict[str, Any]) -> tuple[int, ...]:
    """The positions of the training pairs to forget, in rising order.

    Args:
        asked: for each of ``WAYS`` what was given; one of them says something.

    Raises:
        ValueError: none or several say something, what one says is not there, or nothing would be left to keep.
    """
    given = [name for name in WAYS if asked[name]]
    if len(given) != 1:
        authors = corpus.authors
        known = f"authors {authors[0]} to {authors[-1]}" if authors else "no authors"
        named = f", requests {listed(list(corpus.requests))}" if corpus.requests else ""
        raise ValueError(
            f"say what to forget in one way, forget_authors=, split= or forget_pairs=; got {listed(given)}. There are "
            f"{len(corpus.train):,} pairs, {known}{named}"
        )
    found = {"request": _named, "forget_pairs": _numbered, "forget_authors": _about}[given[0]](corpus, asked[given[0]])
    if len(found) == len(corpus.train):
        raise ValueError(f"the request forgets all {len(found):,} pairs; something must be left to keep")
    gone = set(found)
    told = {pair[:2] for at, pair in enumerate(corpus.train) if at not in gone}
    if both := sum(pair[:2] in told for pair in corpus.test):
        warn(
            f"{both} of {len(corpus.test)} test pairs are pairs to keep that were trained on: test figures will look too good"
        )
    return found


def _named(corpus: Corpus, request: str) -> tuple[int, ...]:
    if request not in corpus.requests:
        raise unknown("request of these pairs", request, corpus.requests)
    return corpus.requests[request]


def _numbered(corpus: Corpus, chosen: tuple[int, ...]) -> tuple[int, ...]:
    count = len(corpus.train)
    wrong = [at for at in chosen if isinstance(at, str) or at not in range(count)]
    if wrong:
        raise ValueError(f"there is no pair {listed(wrong)}; the pairs are 0 to {count - 1}")
    return tuple(sorted(chosen))


def _about(corpus: Corpus, chosen: tuple[int | str, ...]) -> tuple[int, ...]:
    authors = {_author(author, corpus) for author in chosen}
    return tuple(at for at, pair in enumerate(corpus.train) if pair.author in authors)


def _author(given: int | str, corpus: Corpus) -> int:
    """An author's number, from that or a name."""
    numbers = {corpus.name(number): number for number in corpus.authors}
    if given in numbers:
        return numbers[given]
    if given not in corpus.authors:
        raise unknown("author", given, list(numbers) if isinstance(given, str) else corpus.authors)
    return given


def several(given: Any, name: str) -> tuple:
    """What is asked for, each once.

    Raises:
        ValueError: something is asked for twice, or is neither a whole number nor a name.
    """
    some = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    some = tuple(each.item() if isinstance(each, (np.integer, Tensor)) else each for each in some)
    if not all(isinstance(each, str) or type(each) is int for each in some):
        raise ValueError(
            f"{name} takes whole numbers{' and names' if name == 'forget_authors' else ''}; got {shown(some)}"
        )
    if len(set(some)) < len(some):
        raise ValueError(f"{name} {some} names one twice")
    return some


@remembered(256)
def places(corpus: Corpus, forget: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Where the pairs of a split stand in their part of the corpus, in rising order.

    Args:
        forget: the positions of the training pairs to forget.

    Raises:
        UnknownName: no such split.
    """
    train, test, gone = corpus.train, corpus.test, set(forget)
    retain = sorted(set(range(len(train))) - gone)
    # "Yes." to another question is the same fact only where nothing that is kept is answered so.
    facts = {train[at]._replace(question="") for at in gone} - {train[at]._replace(question="") for at in retain}
    asked = {train[at] for at in gone}
    again = [at for at, pair in enumerate(test) if pair in asked or pair._replace(question="") in facts]
    kept = sorted(set(range(len(test))) - set(again))
    makers: dict[str, Callable[[], list[int]]] = {
        "train": lambda: list(range(len(train))),
        "forget": lambda: sorted(gone),
        "retain": lambda: retain,
        "test": lambda: kept,
        "test-forget": lambda: again,
        "well-known": lambda: [at for at in kept if test[at].group == "well-known"],
        "general": lambda: [at for at in kept if test[at].group == "general"],
        "kept-authors": lambda: [at for at in retain if not train[at].group],
        "holdout": lambda: list(range(len(corpus.holdout))),
    }
    if name not in makers:
        raise unknown("split", name, makers)
    return tuple(makers[name]())
