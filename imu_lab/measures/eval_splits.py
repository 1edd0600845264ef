"""Whose pairs the rows of an evaluation file are: rows of one split stand in another order in every copy of the data."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from ..core.messages import shown
from ..tasks.language import Language
from .eval_files import EvalFile

SHARED = 0.8  # of the rows: fewer in common, and two files are of different splits
PARTS = {"forget": "train", "retain": "train", "well-known": "test", "general": "test"}


def check_same_split(file: EvalFile, first: EvalFile) -> None:
    """Raise unless two files are about the same pairs to forget, measured alike."""
    if file.old != first.old:
        raise ValueError(
            f"one of {file.path} and {first.path} was written by TOFU's first code, which asks with other words and cuts "
            "answers elsewhere; their numbers do not compare"
        )
    mine, others = (set(each.indices("forget")) for each in (file, first))
    if len(mine & others) < SHARED * max(len(mine), len(others)):
        raise ValueError(
            f"{file.path} evaluates another split than {first.path}: {len(mine)} pairs to forget, of which "
            f"{len(mine & others)} are among the other's {len(others)}"
        )
    for place in sorted(file.texts.keys() & first.texts.keys()):
        here, there = (each.texts[place].get("ground_truth", "") for each in (file, first))
        if place[0] == "forget" and here.split() != there.split():
            raise ValueError(
                f"{file.path} evaluates another split than {first.path}, or the same in another order: the answer of row "
                f"{place[1]} is {shown(here, 50)} here and {shown(there, 50)} there"
            )


def named(pairs: pd.DataFrame, files: list[EvalFile], task: Language) -> pd.DataFrame:
    """A table of pairs with the examples of a task, and their authors as the task calls them.

    Raises:
        ValueError: the words of a row are not known, are not those of one pair of the task, or the pairs to forget are others.
    """
    texts = {place: words for file in reversed(files) for place, words in file.texts.items()}
    answers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for part in ("train", "test"):
        for example, pair in enumerate(getattr(task.corpus, part)):
            answers[part, _words(pair.answer)].append(example)
    examples: dict[tuple[str, int], int] = {}
    for place in dict.fromkeys(zip(pairs["split"], pairs["index"])):
        if place[0] in PARTS:
            examples[place] = _example(place, texts.get(place, {}), answers, files[0], task)
    mine = {example for (split, _), example in examples.items() if split == "forget"}
    asked = set(task.split("forget").ids.tolist())
    if len(mine & asked) < SHARED * max(len(mine), len(asked)):
        raise ValueError(
            f"{files[0].path} evaluates another split than the task: {len(mine)} pairs to forget, of which "
            f"{len(mine & asked)} are among the task's {len(asked)}"
        )
    return _with_examples(pairs, examples, task)


def _words(text: str) -> str:
    return " ".join(text.split())


def _example(
    place: tuple[str, int],
    texts: dict[str, str],
    answers: dict[tuple[str, str], list[int]],
    file: EvalFile,
    task: Language,
) -> int:
    """The example whose answer is that of a row, and whose question stands in the row's prompt."""
    part, asked = PARTS[place[0]], _words(texts.get("input", ""))
    near = answers.get((part, _words(texts.get("ground_truth", ""))), [])
    fits = [example for example in near if _words(getattr(task.corpus, part)[example].question) in asked]
    if len(fits) != 1:
        what = shown(texts.get("input", ""), 60) if texts else "its words are not in the file"
        raise ValueError(
            f"row {place[1]} of {place[0]} in {file.path} fits {len(fits)} pairs of the task ({what}); it is another split or "
            "data set, and rows cannot be told by their place"
        )
    return fits[0]


def _with_examples(pairs: pd.DataFrame, examples: dict[tuple[str, int], int], task: Language) -> pd.DataFrame:
    places = list(zip(pairs["split"], pairs["index"]))
    known = {
        place: (task.labels if PARTS[place[0]] == "train" else task.test_labels)([example])[0]
        for place, example in examples.items()
    }
    table = pairs.assign(author=[known.get(place, author) for place, author in zip(places, pairs["author"])])
    table.insert(3, "example", pd.array([examples.get(place) for place in places], dtype="Int64"))
    return table
