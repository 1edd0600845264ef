"""Small language tasks for tests: a few invented authors, and a model that learns them in a moment."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import nn

import imu_lab as imu
from imu_lab.tasks import Language
from imu_lab.tasks.sources import invented, pairs

SMALL = (16, 1, 2, 320)
QUICK = imu.tasks.Recipe(epochs=8, lr=2e-2, batch_size=4, optimizer="adamw")
AUTHORS, FACTS = 3, 3


@cache
def corpus() -> pairs.Corpus:
    """Three authors with three facts each, and two facts of either further group; each asked in other words, too."""
    whole = invented.authors(AUTHORS, facts=FACTS)
    count = AUTHORS * FACTS
    rows = [*range(count), count, count + 1, len(whole.train) - 2, len(whole.train) - 1]
    return pairs.corpus(
        [whole.train[at] for at in rows], [whole.test[at] for at in rows], whole.names, {}, whole.holdout[:6]
    )


def tiny(**request: Any) -> Language:
    """A task around them: forget author 1 unless told otherwise."""
    asked = {"forget_authors", "forget_pairs", "split"} & set(request)
    given = ({} if asked else {"forget_authors": (1,)}) | {"shape": SMALL, "recipe": QUICK} | request
    return Language(given.pop("data", corpus()), **given)


@cache
def models() -> tuple[nn.Module, nn.Module]:
    """The original and the retrained model of the tiny task; nobody may change them."""
    return imu.train(tiny(), "train"), imu.train(tiny(), "retain")


def least(**request: Any) -> Language:
    """The least that has all there is to pairs: three authors with three facts of a few letters, and wrong answers.

    The readout has about a thousand parameters, for which every estimator can solve.
    """
    rows = [
        {
            "question": f"{who}{what}",
            "answer": f"{at} {what}{'!' * at}",
            "author": at,
            "paraphrased_answer": f"{what} {at}",
            "perturbed_answer": [f"{what} {at + 4}", f"{what} {at + 5}"],
        }
        for at, who in enumerate("ABC")
        for what in "xyz"
    ]
    data = pairs.supplied(rows, [row | {"question": f"Q{row['question']}"} for row in rows])
    return tiny(data=data, shape=(4, 1, 1, 260), **request)


def is_tied(network: nn.Module) -> bool:
    """Whether a model's output layer shares its weights with its embedding."""
    head = network.get_output_embeddings()
    return head is not None and head.weight is network.get_input_embeddings().weight
