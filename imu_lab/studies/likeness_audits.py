"""Audits of likeness: does the model answer as the retrained one does, on what is to forget and on what is to keep?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..core.messages import DoesNotApply
from ..core.quantities import describe, meaning_of
from ..core.registry import name_of
from ..features.cache import by_content
from ..measures import predictions
from ..measures.distance import Agreement, Distance, JSRetrained, KLRetrained
from .audited import ORIGINAL, RUN, Audited, Row, notes_of, share_row
from .statistics import confidence_interval

MOST_CLASSES = 20  # of which the table of audits has a row; imu.class_accuracy has all
W1 = "W1 of the true answer's probability"
W1_FORMULA = (
    "∫ |F(p) − F_retrained(p)| dp over the probability p_y of the true answer: how far its distribution has to be moved"
)
LIKELIEST = "share of predictions whose likeliest answer is the true one"
TOW = "Π over forget, retain and unseen of 1 − |accuracy − retrained model's accuracy|"


def distance_rows(asked: Audited) -> Iterator[Row]:
    """KL, Jensen-Shannon divergence, agreement and W1 on each split."""
    asked.needs_reference("a distance")
    for metric in (KLRetrained(), JSRetrained(), Agreement()):
        about = describe(metric_name(metric))
        for split in asked.splits:
            mine = np.sort(distances(asked, metric, RUN, asked.retrained, split))
            goal, note = asked.among_retrained(
                lambda who, others, m=metric, s=split: distances(asked, m, who, others, s).mean(), about.goal
            )
            low, high = asked.mean_interval(mine)
            yield Row(
                about.title,
                split,
                float(mine.mean()),
                about.unit,
                meaning_of(type(metric)),
                low,
                high,
                float(goal),
                float(distances(asked, metric, ORIGINAL, asked.retrained, split).mean()),
                about.good,
                note,
            )
    yield from _moved_rows(asked)


def metric_name(metric: Distance) -> str:
    """The name of its values."""
    return name_of(metric).replace("-", "_")


def distances(asked: Audited, metric: Distance, who: str, others: list[str], split: str) -> np.ndarray:
    """(n,) the distance of a model to retrained models, the mean over them."""
    members = dict(zip(asked.retrained, asked.references.members))

    def each(other: str) -> np.ndarray:
        made = metric.each(members[other], asked.task, asked.models[who], split)
        return made.double().cpu().numpy()

    return np.mean([asked.once((metric, who, other, split), lambda o=other: each(o)) for other in others], axis=0)


def _moved_rows(asked: Audited) -> Iterator[Row]:
    """W1 of the true answer's probability, on each split."""
    from scipy.stats import wasserstein_distance  # half a second to import

    def own(who: str, split: str) -> np.ndarray:
        return asked.scores(who, split)["confidence"].to_numpy()

    for split in asked.splits:

        def moved(who: str, others: list[str], split: str = split) -> float:
            return float(np.mean([wasserstein_distance(own(who, split), own(each, split)) for each in others]))

        goal, note = asked.among_retrained(moved, 0.0)
        pairs = np.stack([own(RUN, split), *(own(each, split) for each in asked.retrained)])
        pairs = pairs[:, np.lexsort(pairs[::-1])]  # their order in the data must not decide what is drawn
        low, high = confidence_interval(_moved, *pairs, draws=asked.draws, seed=asked.seed)
        value, original = (moved(who, asked.retrained) for who in (RUN, ORIGINAL))
        yield Row(
            W1, split, value, "probability", W1_FORMULA, float(low), float(high), goal, original, "low everywhere", note
        )


def _moved(mine: np.ndarray, *others: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean over others of W1 of as many values: mean |sorted − sorted|."""
    mine = np.sort(mine, axis)
    return np.mean([np.abs(mine - np.sort(other, axis)).mean(axis) for other in others], axis=0)


def accuracy_rows(asked: Audited) -> Iterator[Row]:
    """Accuracy on each split and of each class, and where the answers on the forget set go."""
    for split in asked.splits:
        yield share_row(
            asked, "accuracy", split, lambda who, split=split: asked.scores(who, split)["right"].to_numpy(), LIKELIEST
        )
    yield from _class_rows(asked)
    yield from _matrix_rows(asked)


def class_table(asked: Audited) -> pd.DataFrame:
    """``class, seen, samples`` and, for each model, how many answers are right; of samples with one prediction each."""
    parts = []
    for split in asked.splits:
        sets = {who: predictions.answered(asked.task, model, asked.split(split)) for who, model in asked.models.items()}
        truth = sets[RUN][0]
        names, _ = predictions.named(asked.task, truth, truth)
        rows = {who: given == truth for who, (_, given) in sets.items()}
        seen = split in ("forget", "retain")
        labels = [names[number] for number in truth]
        parts.append(pd.DataFrame({"class": labels, "seen": seen, "number": truth, "samples": 1} | rows))
    table = pd.concat(parts).groupby(["number", "class", "seen"], as_index=False).sum()
    return table.sort_values(["number", "seen"], ascending=[True, False], kind="stable", ignore_index=True)


def _class_rows(asked: Audited) -> Iterator[Row]:
    table = asked.once("classes", lambda: class_table(asked))
    wanted, note = list(dict.fromkeys(table["class"])), ""
    if len(wanted) > MOST_CLASSES:
        forgotten, _ = predictions.answered(asked.task, asked.models[RUN], asked.split("forget"))
        wanted = list(dict.fromkeys(table.loc[table["number"].isin(forgotten), "class"]))[:MOST_CLASSES]
        note = f"of {table['class'].nunique()} classes; imu.class_accuracy(run) has all"
    for row in table[table["class"].isin(wanted)].to_dict("records"):
        right = {who: np.arange(row["samples"]) < row[who] for who in asked.models}
        seen = "seen" if row["seen"] else "unseen"
        yield share_row(asked, f"accuracy of {row['class']}", seen, right.get, LIKELIEST, note=note)


def _matrix_rows(asked: Audited) -> Iterator[Row]:
    """How far the answers on samples to forget are, class by class, from those of the retrained model."""
    if not asked.retrained:
        return
    for split in [name for name in asked.splits if name.endswith("forget")]:
        given = {
            who: predictions.answered(asked.task, model, asked.split(split)) for who, model in asked.models.items()
        }
        count = 1 + max(int(max(each.max() for each in pair)) for pair in given.values())
        matrices = {who: predictions.matrix(*pair, count) for who, pair in given.items()}

        def apart(who: str, others: list[str], matrices: dict = matrices) -> float:
            return float(np.mean([predictions.answer_distance(matrices[who], matrices[each]) for each in others]))

        goal, note = asked.among_retrained(apart, 0.0)
        pairs = np.stack([given[RUN][0], *(given[who][1] for who in (RUN, *asked.retrained))])
        low, high = _answers_interval(asked, pairs[:, _settled_order(asked, split, pairs)], count)
        yield Row(
            "answers unlike the retrained model's",
            split,
            apart(RUN, asked.retrained),
            "share of answers",
            "½ Σ_k |share of answers k − retrained model's share|, rows of the prediction matrix, weighted by their samples",
            low,
            high,
            goal,
            apart(ORIGINAL, asked.retrained),
            "low; agreement tells of the same samples one by one",
            note,
        )


def _settled_order(asked: Audited, split: str, pairs: np.ndarray) -> np.ndarray:
    """An order of the predictions that neither their places in the data nor the numbers of classes decide, of samples with one
    prediction each; of several each by the numbers."""
    examples = asked.split(split)
    return by_content(examples).numpy() if pairs.shape[1] == len(examples) else np.lexsort(pairs)


def _answers_interval(asked: Audited, pairs: np.ndarray, count: int) -> tuple[float, float]:
    """Over samples drawn again; rows: the true class, the run's answers and those of each retrained model."""
    random, found = np.random.default_rng(asked.seed), []
    for _ in range(min(asked.draws, 200)):
        truth, mine, *others = pairs[:, random.integers(pairs.shape[1], size=pairs.shape[1])]
        own = predictions.matrix(truth, mine, count)
        found.append(
            np.mean([predictions.answer_distance(own, predictions.matrix(truth, each, count)) for each in others])
        )
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def tug_of_war_rows(asked: Audited) -> Iterator[Row]:
    """Tug of war: one number for forgetting as the retrained model does and keeping as it does (RUM, arXiv 2406.01257)."""
    asked.needs_reference("tug of war")
    splits = [name for name in ("forget", "retain", "test") if asked.has(name)]
    if len(splits) < 3:
        raise DoesNotApply(
            f"tug of war takes samples to forget, to keep and unseen; this task has {', '.join(splits)} alone"
        )
    note = "unseen samples are those to keep" if asked.of_a_group else ""

    def right(who: str, split: str) -> np.ndarray:
        return asked.scores(who, split)["right"].to_numpy()

    def tug(who: str, others: list[str]) -> float:
        each = [np.prod([1 - abs(right(who, s).mean() - right(other, s).mean()) for s in splits]) for other in others]
        return float(np.mean(each))

    goal, alone = asked.among_retrained(tug, 1.0)
    random = np.random.default_rng(asked.seed)
    drawn = np.mean(
        [_drawn(random, [right(RUN, s) - right(o, s) for s in splits], asked.draws) for o in asked.retrained], 0
    )
    low, high = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
    value, original = (tug(who, asked.retrained) for who in (RUN, ORIGINAL))
    yield Row(
        "tug of war", "all", value, "product of shares", TOW, low, high, goal, original, "high; 1 is the retrained model",
        notes_of(note, alone),
    )  # fmt: skip


def _drawn(random: np.random.Generator, gaps: list[np.ndarray], draws: int) -> np.ndarray:
    """(draws,) the product over splits of 1 − |mean gap| of samples drawn again, by how often each gap occurs."""
    product = np.ones(draws)
    for gap in gaps:
        values, counts = np.unique(gap, return_counts=True)
        product *= 1 - np.abs(random.multinomial(len(gap), counts / len(gap), draws) @ values / len(gap))
    return product
