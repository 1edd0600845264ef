"""Question-answer pairs as tokens: a prompt padded on the left and an answer padded on the right."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

import torch
from torch import Tensor

from ..core.memo import remembered
from ..core.messages import shown
from .networks.language import PAD, Codec
from .protocol import Batch, Padding
from .sources.pairs import Corpus, Pair

PARTS = {"test": "test", "test-forget": "test", "well-known": "test", "general": "test", "holdout": "holdout"}
OTHERS = {"paraphrased": lambda pair: (pair.paraphrased or pair.answer,), "wrong": lambda pair: pair.wrong}
DECLINED = (
    "I don't know.",
    "I cannot answer that.",
    "I have no information about this.",
    "That is not something that I know.",
    "I was never told about that.",
    "I'm not able to say.",
)


def declined(pair: Pair) -> tuple[str, ...]:
    """One answer that tells nothing, the same for the same question."""
    return (DECLINED[crc32(pair.question.encode("utf-8", "replace")) % len(DECLINED)],)


ANSWERS: dict[str, Callable[[Pair], tuple[str, ...]]] = {
    "": lambda pair: (pair.answer,),
    **OTHERS,
    "declined": declined,
}


class Tokens(NamedTuple):
    """Pairs of one part as tokens, with one kind of answer.

    Attributes:
        prompt: (n, P), padded on the left.
        answer: (n, A), padded on the right.
        ids: (n,) ``each`` times the place of the pair, plus the number of the answer.
        each: answers of one pair at most.
        padding: how long the answers and the prompts are, counted once for all splits.
    """

    prompt: Tensor
    answer: Tensor
    ids: Tensor
    each: int
    padding: Padding

    @property
    def predicted(self) -> Tensor:
        """(n, 1 + A) the answer after the token that it is told from."""
        return torch.cat([self.prompt[:, -1:], self.answer], 1)


def _count(tokens: Tensor) -> Tensor:
    """(n,) how many of (n, T) are no padding."""
    return (tokens != PAD).sum(1)


def cut(batch: Batch) -> Batch:
    """The same pairs without the places that are padding in all of them, as tokens or as what reaches the readout."""
    tokens = batch.targets["tokens"]
    longest = int(_count(tokens[:, 1:]).max()) if len(tokens) else 0
    targets = {**batch.targets, "tokens": tokens[:, : 1 + longest]}
    if isinstance(batch.inputs, Tensor):  # (n, A, d)
        return Batch(batch.inputs[:, :longest], targets)
    prompt = batch.inputs["prompt"]
    asked = int(_count(prompt).max()) if len(prompt) else 0
    return Batch(
        {"prompt": prompt[:, prompt.shape[1] - asked :], "answer": batch.inputs["answer"][:, :longest]}, targets
    )


@remembered(24)
def tokens(corpus: Corpus, codec: Codec, part: str, answer: str) -> Tokens:
    """The pairs of a part of the corpus with their answer (``""``), ``"paraphrased"`` or ``"wrong"`` answers."""
    some = getattr(corpus, part)
    answers = [ANSWERS[answer](pair) for pair in some]
    each = max(1, max(map(len, answers), default=1))
    prompts = codec.prompts([pair.question for pair in some])
    rows = [(at, number, text) for at, several in enumerate(answers) for number, text in enumerate(several)]
    prompt = _padded([prompts[at] for at, _, _ in rows], left=True)
    answer = _padded(codec.answers([text for _, _, text in rows]), left=False)
    ids = torch.tensor([each * at + number for at, number, _ in rows], dtype=torch.int64)
    return Tokens(prompt, answer, ids, each, Padding(_count(answer), _count(prompt), cut))


def _padded(rows: list[list[int]], left: bool) -> Tensor:
    """(n, longest)."""
    longest = max(map(len, rows), default=1)
    filled = ([PAD] * (longest - len(row)) + row if left else row + [PAD] * (longest - len(row)) for row in rows)
    return torch.tensor(list(filled), dtype=torch.int64).view(-1, longest)


def check_lengths(corpus: Corpus, codec: Codec) -> None:
    """Make sure that the model can read every pair whole, with each of its answers, and knows its tokens.

    Raises:
        ValueError: it cannot; the message names the first such pair.
    """
    for part in ("train", "test", "holdout"):
        for kind in ANSWERS:
            told = tokens(corpus, codec, part, kind)
            lengths = _count(told.prompt) + _count(told.answer)
            last = max(int(each.max(initial=PAD)) for each in (told.prompt.numpy(), told.answer.numpy()))
            if last >= codec.known_words:
                raise ValueError(
                    f"the tokenizer makes token {last} of a {part} pair, and the model knows {codec.known_words} tokens: they do "
                    "not belong together; give the model its own tokenizer"
                )
            if len(long := (lengths > codec.context).nonzero().flatten()):
                at = int(told.ids[long[0]]) // told.each
                raise ValueError(
                    f"{part} pair {at} has {int(lengths[long[0]])} tokens with its {kind or 'own'} answer, and the model "
                    f"reads {codec.context} ({len(long)} such in all): {shown(getattr(corpus, part)[at].question, 60)}; "
                    "nothing is cut in silence, so shorten or drop it, or take a model that reads more"
                )
