"""Whether a user's own model had learned its training set at all: labels, inputs and parts that were mistaken show in that."""

from __future__ import annotations

import math

from torch import nn

from ..core.running import same_tensors
from ..tasks.protocol import Task, offered
from ..unlearning.driver import SplitMetrics

LEARNED = 0.2  # of the way from guessing to knowing all: whoever was trained has come so far
MANY, FEW = 200, 50  # samples: of fewer than many, an untrained model may miss all by chance, and is not spoken of
SURE = 2.0  # times the loss of guessing: who errs so surely was trained, and for other outputs
CERTAIN = 1e-4  # how likely what is warned of may be where nothing is wrong
ERRORS, CLEARLY = 4, 0.1  # standard errors, and a share: by how much unseen samples are known better


def doubt(task: Task, model: nn.Module, measured: SplitMetrics, loss: float) -> str:
    """What speaks against a user's own model or data, in words; empty where nothing does, and for any other model.

    Args:
        measured: what the model, before anything is forgotten, reaches on each split.
        loss: its mean loss on the forget set, in nats.
    """
    classes, own = len(offered(task).classes or ()), offered(task).trained
    train, test = (_shares(task, measured, names) for names in (("forget", "retain"), ("test", "test-forget")))
    if own is None or classes < 2 or train is None:
        return ""
    unlearned = train[1] >= MANY or loss >= SURE * math.log(classes)
    words = (unlearned and _not_learned(*train, 1 / classes)) or (_swapped(*train, *test) if test else "")
    if not words or (original := own("train", 0)) is None:
        return ""
    return words if same_tensors(model, original) else ""


def _shares(task: Task, measured: SplitMetrics, names: tuple[str, ...]) -> tuple[float, int] | None:
    """The share of samples of some splits that are recognised, and how many they are."""
    known = [
        (measured[name]["accuracy"], len(task.split(name))) for name in names if "accuracy" in measured.get(name, ())
    ]
    count = sum(each for _, each in known)
    return (sum(share * each for share, each in known if each) / count, count) if count else None


def _not_learned(share: float, count: int, chance: float) -> str:
    """That no more samples are recognised than guessing would, where a trained model would hardly be so unlucky."""
    if not share <= chance + 2 * (chance * (1 - chance) / count) ** 0.5:
        return ""
    from scipy.stats import binom  # half a second to import

    if binom.cdf(round(share * count), count, chance + LEARNED * (1 - chance)) > CERTAIN:
        return ""
    return (
        f"the model is right on {share:.0%} of its {count:,} training samples, where guessing gives {chance:.0%}: is classes= in "
        "the order of its outputs, is the model trained, are the inputs scaled as in its training?"
    )


def _swapped(train: float, count: int, test: float, unseen: int) -> str:
    """That unseen samples are known far better than those of the training."""
    if min(count, unseen) < FEW:
        return ""
    both = (train * count + test * unseen) / (count + unseen)
    error = (both * (1 - both) * (1 / count + 1 / unseen)) ** 0.5
    if not test - train > max(CLEARLY, ERRORS * error):
        return ""
    return (
        f"the model is right on {test:.0%} of its {unseen:,} test samples and on {train:.0%} of its {count:,} training samples: "
        "are train and test swapped?"
    )
