"""Audits of the features: is what was forgotten still in the layers, whatever the last one answers?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..core.messages import DoesNotApply
from ..core.running import digest
from ..features.cache import by_content
from ..measures import layers
from .audited import ORIGINAL, RUN, Audited, Row, notes_of, share_row
from .head_only import GOOD, Seen, fresh_probe, heads_of, heads_splits, right_answers, seen_by

PER_CLASS = 10  # pictures behind a prototype
COMPARED = 600  # samples that CKA compares at most
DRAWS = 200  # resamplings of CKA at most
TRAINED = 5000  # samples that a probe of a layer learns from at most
PROBE = (
    "share of samples whose class a fresh logistic regression tells from this layer (L2, C = 1, standardised; the mean over "
    "places)"
)
CKA = "‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of centred features X and Y of this and of the retrained model; the mean over places and tokens"


def head_rows(asked: Audited) -> Iterator[Row]:
    """What fresh heads make of the features that reach the last layer (see :func:`imu_lab.head_only`)."""
    names, heads = heads_splits(asked.task), heads_of(PER_CLASS, asked.seed)
    asked.split(names[0])  # what heads learn from, if the task gives it

    def right(who: str) -> dict[tuple[str, str], np.ndarray]:
        return asked.once(
            ("heads", who), lambda: right_answers(asked.task, asked.models[who], names, heads, asked.seed)
        )

    for key in right(RUN):
        about = heads[key[0]]
        yield share_row(asked, *key, lambda who, key=key: right(who)[key], about.formula, about.good)


def probe_rows(asked: Audited) -> Iterator[Row]:
    """A fresh logistic regression on each layer but the last, tested on what is to forget."""
    names = heads_splits(asked.task)[:2]
    asked.split(names[0])  # what probes learn from, if the task gives it
    truth = [seen_by(asked.task, asked.models[RUN], asked.split(name)).truth for name in names]
    if unknown := set(truth[1]) - set(truth[0]):
        raise DoesNotApply(f"a probe learns from the {names[0]!r} split, which has no sample of class {min(unknown)}")
    few = by_content(asked.split(names[0]))[:TRAINED].numpy()
    wanted = dict(list(layers.layers(asked.task, asked.models[RUN]).items())[:-1])

    def right(who: str, layer: str) -> np.ndarray:
        train, test = (_features(asked, who, name)[layer] for name in names)
        seen = Seen(train[few], truth[0][few], truth[0][few]), Seen(test, truth[1], truth[1])
        return asked.once(("probe", digest(train, test)), lambda: fresh_probe(*seen) == truth[1])

    for layer in wanted:
        name, right_of = f"linear probe of layer {layer}", lambda who, layer=layer: right(who, layer)
        yield share_row(asked, name, names[1], right_of, PROBE, GOOD)


def _features(asked: Audited, who: str, split: str) -> dict[str, np.ndarray]:
    """{layer: (n, d)} of a split, computed once; layers by their names in the run's model."""
    wanted = asked.once("layers", lambda: layers.layers(asked.task, asked.models[RUN]))
    return asked.once(
        ("features", who, split),
        lambda: layers.layer_features(asked.task, asked.models[who], asked.split(split), wanted),
    )


def cka_rows(asked: Audited) -> Iterator[Row]:
    """Linear CKA of each layer with that of the retrained model, on what is to forget and on what is to keep."""
    asked.needs_reference("CKA")
    for split in [name for name in ("forget", "retain") if asked.has(name)]:
        for layer in _features(asked, RUN, split):
            yield _cka_row(asked, split, layer)


def _cka_row(asked: Audited, split: str, layer: str) -> Row:
    few = by_content(asked.split(split))[:COMPARED].numpy()  # of one entry, a tensor would be taken for a number

    def products(who: str) -> np.ndarray:
        return asked.once(("gram", who, split, layer), lambda: layers.gram(_features(asked, who, split)[layer][few]))

    def alike(who: str, others: list[str], counts: np.ndarray | None = None) -> float:
        return float(np.mean([layers.cka(products(who), products(other), counts) for other in others]))

    random, size, width = np.random.default_rng(asked.seed), len(few), _features(asked, RUN, split)[layer].shape[1]
    drawn = [
        alike(RUN, asked.retrained, random.multinomial(size, np.full(size, 1 / size)))
        for _ in range(min(asked.draws, DRAWS))
    ]
    low, high = pd.Series(drawn).quantile([0.025, 0.975])  # of those that have a value
    goal, note = asked.among_retrained(alike, 1.0)
    value = alike(RUN, asked.retrained)
    even = "" if value == value else f"no value: one of the two answers all {size} sample(s) alike here"
    few_words = f"{size} samples for {width} features: biased upwards" if size < layers.BIAS * width else ""
    return Row(
        f"CKA of layer {layer}",
        split,
        value,
        "share (0 to 1)",
        CKA,
        float(low),
        float(high),
        goal,
        alike(ORIGINAL, asked.retrained),
        "high; an edit of a later layer alone cannot change it",
        notes_of(even, few_words, note),
    )
