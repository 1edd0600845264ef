"""What is measured of a question-answer pair: probability, truth ratio, ROUGE; pure functions of losses and words.

The definitions are those of open-unlearning (Dorna et al. 2025, arXiv 2506.12618), which follow TOFU (Maini et al. 2024,
arXiv 2401.06121) except where ``definition="tofu"`` says so. A loss is the mean over the n tokens of an answer and the one
that ends it, in nats, so that exp(−loss) is the geometric mean of the tokens' probabilities.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from ..core.memo import remembered
from ..core.messages import unknown

EPSILON = 1e-10  # open-unlearning's, wherever it divides
DEFINITIONS = ("open-unlearning", "tofu")
COUNTED = re.compile("[a-z0-9]")  # what ROUGE makes words of


def truth_ratios(right: Tensor, wrong: Tensor, definition: str = "open-unlearning") -> Tensor:
    """(n,) R_i, how much likelier the wrong answers are than the right one in other words.

    R_i = exp(−mean_j a_ij) / (exp(−a_i) + 1e-10) with a the losses: the *geometric* mean over the wrong answers. The paper's
    is the arithmetic one, mean_j exp(−a_ij) / exp(−a_i).

    Args:
        right: (n,) losses of the paraphrased answers.
        wrong: (n, m) losses of the wrong answers; NaN where a pair has fewer.
        definition: whose.
    """
    if definition not in DEFINITIONS:
        raise unknown("definition of the truth ratio", definition, DEFINITIONS)
    if definition == "tofu":
        return torch.exp(right[:, None] - wrong).nanmean(1)
    return torch.exp(-wrong.nanmean(1)) / (torch.exp(-right) + EPSILON)


def folded(ratios: Tensor) -> Tensor:
    """(n,) min(R, 1/R): 1 where right and wrong are told apart no longer; for what is to be forgotten."""
    return torch.minimum(ratios, 1 / (ratios + EPSILON))


def truthful(ratios: Tensor) -> Tensor:
    """(n,) max(0, 1 − R): 1 where the wrong answers are impossible; for what is kept."""
    return (1 - ratios).clamp_min(0)


def rouge_recall(truth: str, said: str) -> float:
    """ROUGE-L recall (Lin 2004) with stems: the longest common subsequence over the words of the truth.

    NaN where the truth has no word that ROUGE counts, as in scripts other than the Latin one.
    """
    if not COUNTED.search(truth.lower()):
        return float("nan")
    return 1.0 if truth == said else float(_scorer().score(truth, said)["rougeL"].recall)


@remembered(1)
def _scorer() -> object:
    before = random.getstate()
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    random.setstate(before)  # what it imports draws from Python's generator
    return RougeScorer(["rougeL"], tokenizer=_Stems(DefaultTokenizer(use_stemmer=True).tokenize))


class _Stems:
    """The scorer's own words and stems, of each word once: finding stems takes most of its time, and answers share words."""

    def __init__(self, cut: Callable[[str], list[str]]) -> None:
        self._cut = lru_cache(2**14)(cut)

    def tokenize(self, text: str) -> list[str]:
        """The stems of a text; what is between words is no part of any."""
        return [stem for word in text.split() for stem in self._cut(word)]
