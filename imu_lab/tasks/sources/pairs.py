"""Question-answer pairs: the record, JSON-lines files, and a folder laid out like TOFU.

Rows of one data set stand in another order in every copy of it, so pairs are joined by question and answer and never by
their place. What is written in a pair is data: nothing here reads it as anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from unicodedata import category

import numpy as np

from ...core.memo import remembered
from ...core.messages import listed, shown
from ...core.running import digest
from .rows import Row, lines, rows_of

NOBODY = -1  # the author of a pair that is about no author
PER_AUTHOR = 20  # TOFU: pairs of each author, one author after the other
ENDINGS = (".json", ".jsonl")
# What other data sets call the two members of a pair.
KEYS = (
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("input", "output"),
    ("query", "response"),
)
TOFU_TEST = {"real_authors_perturbed": "well-known", "world_facts_perturbed": "general"}


class Pair(NamedTuple):
    """A question and its answer.

    Attributes:
        question, answer: as they are written.
        author: the number of whom it is about, ``NOBODY`` for nobody in particular.
        group: what kind of fact it is: ``""`` for one about an author, else such as ``"general"``.
        paraphrased: the answer in other words, or None.
        wrong: answers that read alike and are wrong.
    """

    question: str
    answer: str
    author: int = NOBODY
    group: str = ""
    paraphrased: str | None = None
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """Pairs to train on, and pairs that no model is trained on. Equal when the contents are equal.

    Attributes:
        key: a digest of the content.
        train, test: the pairs; an example's id is its place among them.
        holdout: pairs like those about the authors, about others whom no model was told of: what membership is measured
            against.
        names: of the authors, by number.
        requests: positions in ``train`` that are to be forgotten together, by name, such as ``"forget05"``.
    """

    key: str
    train: tuple[Pair, ...] = field(compare=False, repr=False)
    test: tuple[Pair, ...] = field(compare=False, repr=False, default=())
    holdout: tuple[Pair, ...] = field(compare=False, repr=False, default=())
    names: Mapping[int, str] = field(compare=False, repr=False, default_factory=dict)
    requests: Mapping[str, tuple[int, ...]] = field(compare=False, repr=False, default_factory=dict)

    @property
    def authors(self) -> tuple[int, ...]:
        """The numbers of the authors that there are training pairs about."""
        return tuple(sorted({pair.author for pair in self.train} - {NOBODY}))

    @property
    def about(self) -> str:
        """In words, what there is: ``"400 pairs about 40 authors, 480 not trained on, ..."``."""
        told = f"{len(self.train):,} pairs" + (f" about {len(self.authors):,} authors" if self.authors else "")
        beside = {"not trained on": self.test, "about others whom no model was told of": self.holdout}
        told += "".join(f", {len(some):,} {what}" for what, some in beside.items() if some)
        compared = sum(bool(pair.wrong) for pair in self.train)
        return f"{told}; {compared:,} with wrong answers to compare with"

    def name(self, author: int) -> str:
        """What to call an author; empty words for nobody in particular."""
        return self.names.get(author, f"author {author}") if author != NOBODY else ""


def corpus(
    train: Iterable[Pair],
    test: Iterable[Pair] = (),
    names: Mapping[int, str] = MappingProxyType({}),
    requests: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    holdout: Iterable[Pair] = (),
) -> Corpus:
    """Pairs as one record, told by their content."""
    train, test, holdout = tuple(train), tuple(test), tuple(holdout)
    if not train:
        raise ValueError("there are no pairs to train on")
    key = digest("pairs", train, test, holdout, dict(names), dict(requests))
    return Corpus(key, train, test, holdout, dict(names), dict(requests))  # a proxy cannot be pickled


def supplied(train: Any, test: Any = (), keys: tuple[str, str] | None = None) -> Corpus:
    """A user's own pairs: rows with a question and an answer, or the path of a file of such rows, checked.

    A row may also tell its ``author`` (a number or a name), ``paraphrased_answer`` and ``perturbed_answer``.

    Raises:
        FileNotFoundError: no such file.
        TypeError: ``train`` or ``test`` is neither rows nor a path.
        ValueError: a damaged row, an empty question or answer, a pair that is there twice; each named by its number.
    """
    keys = checked_keys(keys)
    rows = {part: rows_of(given, part) for part, given in (("train", train), ("test", test))}
    numbers = _numbered([_author(row) for some in rows.values() for row in some])
    parts = {part: _pairs(some, keys, numbers) for part, some in rows.items()}
    for part in parts.values():
        _check_distinct(part)
    names = {number: author for author, number in numbers.items() if isinstance(author, str)}
    return corpus((pair for _, pair in parts["train"]), (pair for _, pair in parts["test"]), names)


def checked_keys(given: Any) -> tuple[str, str] | None:
    """The names of question and answer, or None.

    Raises:
        ValueError: something else than two different names.
    """
    if given is None:
        return None
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(isinstance(name, str) for name in given):
        if given[0] != given[1]:
            return tuple(given)
    raise ValueError(
        f'keys is the names of question and answer, two different ones, such as ("question", "answer"); got {given!r}'
    )


def _pairs(
    rows: list[Row], keys: tuple[str, str] | None, numbers: Mapping[Any, int] = MappingProxyType({None: NOBODY})
) -> list[tuple[str, Pair]]:
    """Where each pair stands, and the pair."""
    if not rows:
        return []
    asked, told = _keys(rows[0], keys)
    return [
        (
            row.where,
            Pair(_text(row, asked), _text(row, told), numbers.get(_author(row), NOBODY), "", *_others(row, told)),
        )
        for row in rows
    ]


def _author(row: Row) -> int | str | None:
    """Whom a row says that it is about."""
    author = row.values.get("author")
    if author is not None and not isinstance(author, str) and (type(author) is not int or author < 0):
        raise ValueError(f"the author in {row.where} is {shown(author, 40)}; give a name or a number from 0")
    return author


def _numbered(authors: list[int | str | None]) -> dict[int | str | None, int]:
    """The number of each author: its own where all have one, also one that a file has as a word, else its place among those
    named.

    Raises:
        ValueError: some authors have numbers and some names, so that a number could mean an author or a place.
    """
    known = list(dict.fromkeys(author for author in authors if author is not None))
    if len({type(author) for author in known}) > 1:
        kinds = [next(author for author in known if isinstance(author, kind)) for kind in (int, str)]
        raise ValueError(
            f"authors are numbers, such as {kinds[0]}, and names, such as {kinds[1]!r}; give all in one way"
        )
    own = {author: int(author) for author in known if isinstance(author, int) or author.isdecimal()}
    if len(set(own.values())) < len(known):
        own = {author: at for at, author in enumerate(known)}
    return own | {None: NOBODY}


def _keys(first: Row, given: tuple[str, str] | None) -> tuple[str, str]:
    """The names of the two members: those given, else the only ones that are known."""
    known = [str(key) for key in first.values]
    if given is not None:
        missing = [key for key in given if key not in first.values]
        if missing:
            raise ValueError(f"{first.where} has no {listed(missing)}; it has {listed(known)}")
        return given
    found = [keys for keys in KEYS if set(keys) <= set(known)]
    if len(found) != 1:
        what = "no question and answer" if not found else f"several: {' or '.join(map(str, found))}"
        raise ValueError(
            f"{first.where} has {listed(known)}, in which {what} can be told; name the two with "
            'keys=("question", "answer")'
        )
    return found[0]


def _text(row: Row, key: str) -> str:
    """A member that has to be there and to hold words."""
    value = row.values.get(key)
    if not isinstance(value, str) or not _visible(value):
        what = "is missing" if value is None else "is empty" if isinstance(value, str) else f"is {shown(value, 40)}"
        raise ValueError(f"the {key} in {row.where} {what}; each pair needs words there, so fill it in or drop the row")
    return _checked(value, key, row)


def _visible(value: str) -> bool:
    """Whether a text has a character that can be seen: spaces, controls and marks of direction cannot."""
    return any(category(each)[0] not in "ZC" or category(each) in ("Co", "Cs", "Cn") for each in value)


def _checked(value: str, key: str, row: Row) -> str:
    """Words without the spaces around them, once they can be written down."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the {key} in {row.where} holds half a character at {error.start + 1} ({value[error.start]!a}), which no text can "
            "have; write it whole or leave it out"
        ) from None
    return value.strip()


def _others(row: Row, told: str) -> tuple[str | None, tuple[str, ...]]:
    """The paraphrased and the wrong answers of a row, where it has some.

    Args:
        told: the name of its answer.
    """
    paraphrased = _text(row, "paraphrased_answer") if row.values.get("paraphrased_answer") is not None else None
    given = row.values.get("perturbed_answer")
    given = given.tolist() if isinstance(given, np.ndarray) else given  # as frames of parquet files hold lists
    if isinstance(given, str) and given.strip().startswith("[") and given.strip().endswith("]"):
        raise ValueError(
            f"perturbed_answer in {row.where} is a list written as one text: {shown(given, 60)}; give the list that "
            "json.loads makes of it"
        )
    wrong = () if given is None else (given,) if isinstance(given, str) else given
    if not isinstance(wrong, (list, tuple)) or not all(isinstance(each, str) and _visible(each) for each in wrong):
        raise ValueError(
            f"perturbed_answer in {row.where} holds something that is no answer: {shown(given, 60)}; give a list of texts"
        )
    wrong = tuple(_checked(each, "perturbed_answer", row) for each in wrong)
    right = {" ".join(row.values[key].split()) for key in (told, "paraphrased_answer") if row.values.get(key)}
    if same := [each for each in wrong if " ".join(each.split()) in right]:
        raise ValueError(
            f"perturbed_answer in {row.where} holds the right answer, too: {shown(same[0], 60)}; wrong answers are what the right "
            "one is compared with, so drop it"
        )
    return paraphrased, wrong


def _key(pair: Pair) -> tuple[str, str]:
    """What tells a pair from others, whatever the spaces between its words."""
    return " ".join(pair.question.split()), " ".join(pair.answer.split())


def _check_distinct(pairs: list[tuple[str, Pair]]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for where, pair in pairs:
        if (before := seen.setdefault(_key(pair), where)) is not where:
            raise ValueError(
                f"{where} holds the same question and answer as {before}: {shown(pair.question, 60)}; one of them would be "
                "kept where the other is forgotten, so drop one"
            )


@remembered(4)
def tofu(folder: str) -> Corpus:
    """A folder of JSON-lines files named as TOFU's are: ``full`` at least, and what there is beside it.

    ``forget01``, ... become requests by name; ``<request>_perturbed`` and ``retain_perturbed`` give paraphrased and wrong
    answers to the pairs of ``full`` that have the same question and answer; ``real_authors_perturbed`` and
    ``world_facts_perturbed`` are the pairs that no model is trained on, ``holdout01``, ... those about other authors. An
    author's number counts in the order of this folder's ``full``.

    Source: Maini et al. 2024 (arXiv 2401.06121).

    Raises:
        FileNotFoundError: there is no ``full``.
        ValueError: a damaged row, or one that ``full`` does not hold, named by file and line.
    """
    files = {path.stem: path for path in sorted(Path(folder).iterdir()) if path.suffix in ENDINGS}
    if "full" not in files:
        raise FileNotFoundError(
            f"{folder} holds no full.json; a folder laid out like TOFU has full.json, forget05.json, ... with one object a "
            f"line. It holds {listed(list(files)[:8])}"
        )
    full = [pair for _, pair in _read(files["full"])]
    train = [pair._replace(author=at // PER_AUTHOR) for at, pair in enumerate(full)]
    places = {_key(pair): at for at, pair in enumerate(train)}
    requests = {}
    for name, path in files.items():
        if name.endswith("_perturbed") and name not in TOFU_TEST:
            for at, pair in _joined(path, places):
                train[at] = train[at]._replace(paraphrased=pair.paraphrased, wrong=pair.wrong)
        elif name.startswith("forget"):
            requests[name] = tuple(sorted(at for at, _ in _joined(path, places)))
    test = [
        pair._replace(group=group)
        for name, group in TOFU_TEST.items()
        if name in files
        for _, pair in _read(files[name])
    ]
    others = {_key(pair): pair for name in files if name.startswith("holdout") for _, pair in _read(files[name])}
    return corpus(train, test, requests=requests, holdout=others.values())


def _read(path: Path) -> list[tuple[str, Pair]]:
    pairs = _pairs(list(lines(path)), ("question", "answer"))
    _check_distinct(pairs)
    return pairs


def _joined(path: Path, places: Mapping[tuple[str, str], int]) -> Iterator[tuple[int, Pair]]:
    """Each pair of a file with its place among the pairs of ``full``."""
    for where, pair in _read(path):
        if _key(pair) not in places:
            raise ValueError(
                f"{where} is not among the pairs of full: {shown(pair.question, 60)}; pairs are joined by question and "
                "answer, so both files must be of one data set"
            )
        yield places[_key(pair)], pair


def from_hub(name: str = "locuslab/TOFU") -> str:
    """The folder to which TOFU was downloaded from the hub of Hugging Face."""
    from huggingface_hub import snapshot_download

    return snapshot_download(name, repo_type="dataset", allow_patterns=["*.json"])
