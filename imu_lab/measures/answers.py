"""What models answer in their own words, side by side: a table, and in a notebook a card for each question."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn

from ..core.messages import listed
from ..core.taken import several_examples
from ..tasks.cards import words
from ..tasks.pair_scores import rouge_recall
from ..tasks.protocol import Task, prepared
from .language import check_pairs

COLUMNS = ["example", "author", "question", "answer", "model", "said", "exact", "rouge"]
SHOWN = 20  # questions in a notebook


@dataclass(frozen=True, eq=False)
class Answers:
    """What several models answered to some questions.

    Attributes:
        frame: ``example, author, question, answer, model, said, exact, rouge``, a row for each question and model. ``said``
            is the model's own greedy answer, ``exact`` whether it is the true one word for word, ``rouge`` the ROUGE-L
            recall of the true answer's words (NaN where it has none that count).
    """

    frame: pd.DataFrame

    def __repr__(self) -> str:
        rates = self.frame.groupby("model", sort=False)["exact"].mean()
        said = ", ".join(f"{name} {rate:.0%} exactly" for name, rate in rates.items())
        return f"Answers({self.frame['example'].nunique()} questions; {said or 'no model'})"

    def _repr_html_(self) -> str:
        models = list(dict.fromkeys(self.frame["model"]))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("question", "true answer", *models))
        each = [rows for _, rows in self.frame.groupby("example", sort=False)]
        body = "".join(_row(rows) for rows in each[:SHOWN])
        more = f", {SHOWN} of {len(each)} questions" if len(each) > SHOWN else ""
        note = (
            f"{html.escape(repr(self))}{more}. ✓: word for word. On what is forgotten the goal is the retrained model"
        )
        style = "text-align:left;vertical-align:top"
        return f'<div><table style="{style}"><tr style="{style}">{head}</tr>{body}</table><p>{note}.</p></div>'


def _row(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    cells = [words(first["question"]), words(first["answer"])]
    cells += [f"{words(row.said)}{' ✓' if row.exact else ''}" for row in rows.itertuples()]
    made = "".join(f'<td style="text-align:start;vertical-align:top">{cell}</td>' for cell in cells)
    return f'<tr title="pair {int(first["example"])}, {html.escape(first["author"])}">{made}</tr>'


def own_answers(
    task: Task,
    models: Mapping[str, nn.Module],
    examples: Iterable[int] | None = None,
    *,
    split: str = "forget",
    progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """What models answer, greedily and in their own words, to the questions of a split.

    >>> imu.own_answers(task, {"before": original, "now": run.model, "retrained": retrained}, [30, 31])

    Args:
        task: a :class:`~imu_lab.tasks.Language`.
        models: whole models by what to call them.
        examples: which pairs of the split, by index; None for all.
        split: whose pairs.
        progress: called with (answered, in all) for each model; None shows a bar for work longer than two seconds.

    Raises:
        TypeError: the task has no pairs, or the models have no names.
        ValueError: a pair that the split does not hold.
    """
    check_pairs("own answers need", task, models)
    held = task.split(split)
    known = held.ids.tolist()
    wanted = known if examples is None else several_examples(examples, "examples=")
    if outside := [each for each in wanted if each not in set(known)]:
        raise ValueError(f"{split!r} has no pair {listed(outside)}; it holds {len(known)}")
    some = getattr(task.corpus, held.source)
    rows = []
    for name, model in models.items():
        said = task.answers_of(prepared(task, model), wanted, held.source, progress) if wanted else []
        rows += [_told(task, at, some[at], str(name), text) for at, text in zip(wanted, said)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    order = {at: place for place, at in enumerate(wanted)}
    return Answers(table.sort_values("example", key=lambda ids: ids.map(order), kind="stable", ignore_index=True))


def _told(task: Any, at: int, pair: Any, model: str, said: str) -> tuple[Any, ...]:
    author = task.corpus.name(pair.author) or pair.group
    return at, author, pair.question, pair.answer, model, said, said == pair.answer, rouge_recall(pair.answer, said)
