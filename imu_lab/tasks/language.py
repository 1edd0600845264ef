"""Language models: forget the facts about some authors, of all that a model was taught in questions and answers."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..core.knobs import check_count
from ..core.memo import remembered
from ..core.messages import listed, shown, unknown
from ..core.running import checked_seed
from . import cards
from .evaluation import outcomes, outputs
from .networks import language as networks
from .networks.language import PAD, Codec
from .outputs import derived, kl, log_probabilities
from .pair_scores import folded, rouge_recall, truth_ratios, truthful
from .protocol import Batch, Examples, ExamplesOf
from .sources import invented, pairs
from .sources.pairs import Corpus, Pair
from .training import Recipe

INVENTED, HUB = "invented-authors", "tofu"
ROOM = 2**22  # logits made at once: a vocabulary times all tokens of all pairs would fill any memory
SMALL = Recipe(epochs=30, lr=5e-3, batch_size=32, weight_decay=0.01, optimizer="adamw")
PRETRAINED = Recipe(epochs=5, lr=1e-5, batch_size=16, weight_decay=0.01, optimizer="adamw", one_thread=False)
ANSWER = 200  # tokens of a model's own answer, at most
PARTS = {"test": "test", "test-forget": "test", "well-known": "test", "general": "test", "holdout": "holdout"}
KEPT = ("retain", "kept-authors")
OTHERS = {"paraphrased": lambda pair: (pair.paraphrased or pair.answer,), "wrong": lambda pair: pair.wrong}
ANSWERS: dict[str, Callable[[Pair], tuple[str, ...]]] = {"": lambda pair: (pair.answer,), **OTHERS}


def _loses_as_given(kind: type) -> bool:
    """Whether the parts of the loss are those of this class, and not of one made from it."""
    return kind.token_losses is Language.token_losses and kind.example_length is Language.example_length


def answer_derivative(logits: Tensor, batch: Batch) -> Tensor:
    """(n, A, K) (p − e_y) / n_i at each of a pair's n_i predicted tokens, 0 at padding."""
    truth = batch.targets["tokens"][:, 1:, None]
    share = (truth != PAD) / (truth != PAD).sum(1, keepdim=True).to(logits.dtype)
    return logits.softmax(-1).scatter_add_(2, truth.clamp_min(0), -torch.ones_like(share)).mul_(share)


@dataclass(frozen=True)
class Language:
    """Answer questions about authors and the world; forget what was said about some authors.

    One example is one pair. Its loss is the mean over the tokens of the answer and the one that ends it; a margin is the
    least over them, so it is negative where the model no longer gives the answer word for word. Splits: ``"forget"`` and
    ``"retain"`` (trained on), of which ``"kept-authors"`` is the part about authors; ``"test"`` (not trained on, to keep),
    with ``"well-known"`` and ``"general"`` in it; ``"test-forget"`` (the forgotten facts, asked in other words);
    ``"holdout"`` (authors that no model was told of). ``"<split>-perturbed"`` holds the pairs that have wrong answers, on
    which a split is measured where there are such, ``"<split>-paraphrased"`` and ``"<split>-wrong"`` those answers.

    Attributes:
        data: ``"invented-authors"``, which the library writes itself; ``"tofu"``, downloaded from the hub; the path of a
            folder laid out like TOFU or of a JSON-lines file; or what :meth:`from_data` made.
        forget_authors: the authors to forget, by number or name.
        split, request: instead of authors, a request that the data name, such as ``"forget05"``.
        forget_pairs: instead of authors, single pairs, by index.
        model: a causal language model of Hugging Face, by name or local path; None for a small Llama that is trained from
            fresh weights, with a vocabulary learned from the data. An output layer that is tied to the embedding gets
            weights of its own, so that forgetting at the output leaves the meaning of words as it is.
        shape: of that small Llama: the width of a token's vector, blocks, attention heads, tokens of the vocabulary at most
            (256 single bytes among them, so that no text is unknown).
        seed: of the invented authors.
        readout: the modules that influence and unlearning act on; None for the output layer, ``"all"`` for every parameter.
        recipe: how to train; None for the model's own.
        keys: the names of question and answer in a user's rows; None where they can be told.
        device: where models are made, such as ``"cuda"``; None for the CPU.

    Raises:
        ImportError: transformers, tokenizers or rouge-score are missing; the message says what to install.
        FileNotFoundError, ValueError: unusable data, an unknown or empty request, nothing left to keep, a pair longer than
            the model reads (each says which).
    """

    data: str | Corpus = INVENTED
    forget_authors: tuple[int | str, ...] = ()
    split: InitVar[str | None] = None  # only said when a task is made; the method of that name stands below
    forget_pairs: tuple[int, ...] = ()
    model: str | None = None
    shape: tuple[int, int, int, int] = networks.Shape()
    seed: int = 0
    readout: tuple[str, ...] | str | None = None
    recipe: Recipe | None = None
    keys: tuple[str, str] | None = None
    device: str | None = None
    request: str | None = None

    forgotten_when: ClassVar[tuple[str, str]] = ("loss", ">=")
    goal: ClassVar[tuple[str, str, float]] = ("exact", "<=", 0.0)
    follows: ClassVar[tuple[str, ...]] = ("forget-quality",)

    def __post_init__(self, split: Any) -> None:
        networks.check_installed()
        settled = {
            "data": self.data if isinstance(self.data, Corpus) else str(self.data),
            "request": self.request if callable(split) or split is None else split,
            "forget_pairs": _several(self.forget_pairs, "forget_pairs"),
            "forget_authors": _several(self.forget_authors, "forget_authors"),
            "shape": _shape(self.shape),
            "seed": checked_seed(self.seed),
            "recipe": self.recipe or (SMALL if self.model is None else PRETRAINED),
            "readout": tuple(self.readout) if isinstance(self.readout, list) else self.readout,
            "keys": None if self.keys is None else tuple(self.keys),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        self._check_request()
        _check_lengths(self.corpus, self.codec)

    def _check_request(self) -> None:
        asked = [name for name in ("forget_authors", "request", "forget_pairs") if getattr(self, name)]
        if len(asked) != 1:
            authors = self.corpus.authors
            known = f"authors {authors[0]} to {authors[-1]}" if authors else "no authors"
            named = f", requests {listed(list(self.corpus.requests))}" if self.corpus.requests else ""
            raise ValueError(
                f"say what to forget in one way, forget_authors=, split= or forget_pairs=; got {listed(asked)}. There are "
                f"{len(self.corpus.train):,} pairs, {known}{named}"
            )
        if not len(self._forgotten) < len(self.corpus.train):
            raise ValueError(
                f"the request forgets all {len(self.corpus.train):,} pairs; something must be left to keep"
            )

    @classmethod
    def from_data(cls, train: Any, test: Any = (), *, keys: tuple[str, str] | None = None, **request: Any) -> Language:
        """A task around pairs of your own.

        Args:
            train, test: rows with a question and an answer (a list of dicts, a frame), or the path of a JSON-lines file.
                A row may also tell its ``author``, ``paraphrased_answer`` and ``perturbed_answer``.
            keys: the names of question and answer, where they cannot be told.
            request: ``forget_authors``, ``forget_pairs`` and any other setting of the task.

        Raises:
            FileNotFoundError, ValueError: see :func:`imu_lab.tasks.sources.pairs.supplied`.
        """
        return cls(pairs.supplied(train, test, keys), **request)

    @cached_property
    def corpus(self) -> Corpus:
        """The pairs behind the task."""
        if isinstance(self.data, Corpus):
            return self.data
        if self.data == INVENTED:
            return invented.authors(seed=self.seed)
        place = Path(pairs.from_hub() if self.data == HUB else self.data)
        if place.is_dir():
            return pairs.tofu(str(place))
        if not place.is_file():
            raise FileNotFoundError(
                f"no pairs at {self.data!r}; give {INVENTED!r}, {HUB!r}, a folder laid out like TOFU or a JSON-lines file"
            )
        return pairs.supplied(place, keys=self.keys)

    @property
    def codec(self) -> Codec:
        """Words to tokens, in the form in which the model is asked."""
        if self.model is None:
            return networks.trained_codec(self.corpus, self.shape.words)
        return networks.loaded_codec(self.model)

    @property
    def data_key(self) -> str:
        """A digest of the pairs and of what makes tokens of them: part of every checkpoint's name."""
        return f"{self.corpus.key} {self.codec.key}"

    @property
    def unlearning(self) -> Mapping[str, Any]:
        """This task's own defaults for a method's settings: steps of one length, a share of the output layer's own.

        A learned answer has hardly any gradient and a forgotten one a large one, so plain steps explode; and those of AdamW
        press every word of the vocabulary alike. Measured on the invented authors at equal forgetting, both cost the kept
        answers several times as much.
        """
        steps = {"optimizer": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
        return steps | {"batch_size": 8, "step_norm": 0.02, "relative_steps": True}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run follows: those that there are."""
        held_out = ("test", "test-forget")
        return ("forget", "retain", *(name for name in held_out if len(self._places(name))))

    @cached_property
    def _forgotten(self) -> tuple[int, ...]:
        """The positions of the training pairs to forget, in rising order."""
        corpus, count = self.corpus, len(self.corpus.train)
        if self.request is not None:
            if self.request not in corpus.requests:
                raise unknown("request of these pairs", self.request, corpus.requests)
            return corpus.requests[self.request]
        if self.forget_pairs:
            wrong = [at for at in self.forget_pairs if isinstance(at, str) or at not in range(count)]
            if wrong:
                raise ValueError(f"there is no pair {listed(wrong)}; the pairs are 0 to {count - 1}")
            return tuple(sorted(self.forget_pairs))
        authors = {_author(author, corpus) for author in self.forget_authors}
        return tuple(at for at, pair in enumerate(corpus.train) if pair.author in authors)

    def with_request(self, examples: Iterable[int]) -> Language:
        """The same task with these pairs to be forgotten."""
        return replace(self, forget_authors=(), request=None, forget_pairs=tuple(examples))

    def split(self, name: str) -> Examples:  # noqa: F811
        """``"train"``, ``"forget"``, ``"retain"``, ``"test"``, ``"test-forget"``, ``"well-known"``, ``"general"``; and each
        with ``-perturbed``, ``-paraphrased`` or ``-wrong`` behind it."""
        stem, _, kind = name.rpartition("-")
        stem, kind = (stem, kind) if kind in ("perturbed", *OTHERS) else (name, "")
        places, part = self._places(stem), PARTS.get(stem, "train")
        if kind:  # what is kept is measured on the same pairs for every request that the data name
            named = {at for places in self.corpus.requests.values() for at in places} if stem in KEPT else set()
            places = [at for at in places if getattr(self.corpus, part)[at].wrong and at not in named]
        answer = kind if kind in OTHERS else ""
        told = tokens(self.corpus, self.codec, part, answer)
        rows = torch.isin(told.ids // told.each, torch.tensor(places, dtype=torch.int64)).nonzero().flatten()
        made = Batch({"prompt": told.prompt, "answer": told.answer}, {"tokens": told.predicted})
        chunk = max(1, ROOM // (told.answer.shape[1] * self.codec.words))
        source = f"{part}-{answer}" if answer else part
        return Examples.of(*made, told.ids, source, min(512, chunk)).take(rows)

    def _places(self, name: str) -> list[int]:
        """Where the pairs of a split stand in the training or the test part."""
        forgotten, corpus = set(self._forgotten), self.corpus
        facts = {corpus.train[at]._replace(question="") for at in forgotten}
        again = {at for at, pair in enumerate(corpus.test) if pair._replace(question="") in facts}
        kept = [at for at in range(len(corpus.test)) if at not in again]
        makers: dict[str, Callable[[], Iterable[int]]] = {
            "train": lambda: range(len(corpus.train)),
            "forget": lambda: forgotten,
            "retain": lambda: set(range(len(corpus.train))) - forgotten,
            "test": lambda: kept,
            "test-forget": lambda: again,
            "well-known": lambda: (at for at in kept if corpus.test[at].group == "well-known"),
            "kept-authors": lambda: (
                at for at in set(range(len(corpus.train))) - forgotten if not corpus.train[at].group
            ),
            "holdout": lambda: range(len(corpus.holdout)),
            "general": lambda: (at for at in kept if corpus.test[at].group == "general"),
        }
        if name not in makers:
            raise unknown("split", name, makers)
        return sorted(makers[name]())

    def make_model(self, seed: int) -> nn.Module:
        """A fresh small model under ``seed``, or the pretrained one, as the task calls it."""
        if self.model is not None:
            return networks.loaded(self.model).to(self.device or "cpu")
        return networks.small(self.codec, self.shape, seed).to(self.device or "cpu")

    def prepared(self, model: nn.Module) -> nn.Module:
        """A model of Hugging Face as the task calls it, its output layer with weights of its own."""
        return networks.called(model)

    def token_losses(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n, A) −log p of each predicted token, in nats; 0 at padding."""
        logits, truth = forward(batch.inputs), batch.targets["tokens"][:, 1:]  # (n, A, K), (n, A)
        mine = logits.gather(2, truth.clamp_min(0)[..., None]).squeeze(2)
        return (logits.logsumexp(2) - mine).masked_fill(truth == PAD, 0.0)

    @derived(answer_derivative, when=lambda task: _loses_as_given(type(task)))
    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) the mean over the tokens of each answer and the one that ends it, in nats."""
        return self.token_losses(forward, batch).sum(1) / self.example_length(batch)

    def example_margin(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) true logit minus the largest other, the least over an answer's tokens: negative where it is not given."""
        logits, truth = forward(batch.inputs), batch.targets["tokens"][:, 1:, None]
        others = logits.scatter(2, truth.clamp_min(0), -torch.inf).amax(2)
        ahead = logits.gather(2, truth.clamp_min(0)).squeeze(2) - others  # (n, A)
        return ahead.masked_fill(truth.squeeze(2) == PAD, torch.inf).amin(1)

    def example_length(self, batch: Batch) -> Tensor:
        """(n,) how many tokens ``example_loss`` is the mean of."""
        return (batch.targets["tokens"][:, 1:] != PAD).sum(1)

    def example_divergence(self, outputs: Tensor, reference: Tensor, batch: Batch) -> Tensor:
        """(n,) KL(reference ‖ model) in nats, the mean over an answer's tokens."""
        each = kl(log_probabilities(reference), log_probabilities(outputs))  # (n, A)
        return each.masked_fill(batch.targets["tokens"][:, 1:] == PAD, 0.0).sum(1) / self.example_length(batch)

    def evaluate(
        self,
        model: nn.Module,
        split: str,
        examples_of: ExamplesOf | None = None,
        whole: Callable[[], nn.Module] | None = None,
    ) -> dict[str, float]:
        """``loss``, ``probability``, ``exact``, ``rouge`` and, where there are wrong answers, ``truth_ratio``.

        Means over the pairs of a split that have wrong answers, over all where none has, as in open-unlearning.
        ``exact`` is the share of answers given word for word; ``truth_ratio`` is the mean of min(R, 1/R) of what is to be
        forgotten and of max(0, 1 − R) elsewhere. What a model says itself is asked only where it is not the answer.

        Args:
            whole: gives the whole model where ``model`` is the readout alone.
        """
        examples_of, perturbed = examples_of or self.split, f"{split}-perturbed"
        compared = len(self.split(perturbed)) > 0
        examples = examples_of(perturbed if compared else split)
        if not len(examples):
            return {}
        found = outcomes(self, model, examples).double()  # (n, 2)
        right = found[:, 1] > 0
        rouge = self._rouge(whole or (lambda: model), examples, right)
        metrics = {
            "loss": found[:, 0].mean().item(),
            "probability": torch.exp(-found[:, 0]).mean().item(),
            "exact": right.double().mean().item(),
            "rouge": float(np.nanmean(rouge)) if np.isfinite(rouge).any() else float("nan"),
        }
        if compared:
            ratios = self.truth_ratios(model, split, examples_of)
            metrics["truth_ratio"] = (folded if split.endswith("forget") else truthful)(ratios).mean().item()
        return metrics

    def truth_ratios(
        self,
        model: nn.Module,
        split: str,
        examples_of: ExamplesOf | None = None,
        definition: str = "open-unlearning",
    ) -> Tensor:
        """(n,) R of each pair of a split that has wrong answers (see :func:`imu_lab.tasks.pair_scores.truth_ratios`)."""
        right = self.losses(model, (examples_of or self.split)(f"{split}-paraphrased"))
        return truth_ratios(right, self.wrong_losses(model, split, examples_of), definition)

    def wrong_losses(self, model: nn.Module, split: str, examples_of: ExamplesOf | None = None) -> Tensor:
        """(n, m) float64 the loss of each wrong answer to the pairs of a split that have such; NaN where one has fewer."""
        pairs_with, examples = self.split(f"{split}-perturbed").ids, (examples_of or self.split)(f"{split}-wrong")
        each = tokens(self.corpus, self.codec, PARTS.get(split, "train"), "wrong").each
        found = torch.full((len(pairs_with), each), torch.nan, dtype=torch.float64)
        found[torch.searchsorted(pairs_with, examples.ids // each), examples.ids % each] = self.losses(model, examples)
        return found

    def losses(self, model: nn.Module, examples: Examples) -> Tensor:
        """(n,) float64 the loss of each example, in nats."""
        rows = [
            self.example_loss(lambda _, made=made: made, batch) for _, batch, made in outputs(self, model, examples)
        ]
        return torch.cat(rows).double().cpu() if rows else torch.empty(0, dtype=torch.float64)

    def _rouge(self, whole: Callable[[], nn.Module], examples: Examples, right: Tensor) -> np.ndarray:
        """(n,) ROUGE-L recall of the model's own answers; those that are ``right`` are known without asking for them."""
        some = [getattr(self.corpus, examples.source)[at] for at in examples.ids.tolist()]
        said = [pair.answer for pair in some]
        wrong = (~right).nonzero().flatten()
        if len(wrong):
            answers = self.answers_of(whole(), examples.ids[wrong].numpy(), examples.source, _silent)
            for at, answer in zip(wrong.tolist(), answers):
                said[at] = answer
        return np.array([rouge_recall(pair.answer, answer) for pair, answer in zip(some, said)])

    def answers_of(
        self,
        model: nn.Module,
        examples: Any,
        source: str = "train",
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """What a model answers, greedily, to the questions of pairs by index.

        Args:
            source: which pairs the indices count, ``"train"`` or ``"test"``.
            progress: called with (answered, in all); None shows a bar for work longer than two seconds.
        """
        told = tokens(self.corpus, self.codec, source, "")
        most = min(ANSWER, 2 * told.answer.shape[1], self.codec.context - told.prompt.shape[1])
        return networks.answered(self.prepared(model), self.codec, told.prompt[_rows(examples)], most, progress)

    def labels(self, examples: Any) -> list[str]:
        """Whom training pairs are about, by index; what kind of fact, where they are about nobody."""
        return self._labels(self.corpus.train, examples)

    def test_labels(self, examples: Any) -> list[str]:
        """The same of pairs that no model is trained on."""
        return self._labels(self.corpus.test, examples)

    def _labels(self, some: tuple[Pair, ...], examples: Any) -> list[str]:
        return [self.corpus.name(some[at].author) or some[at].group for at in _rows(examples).tolist()]

    def spelled(self, tokens: Any) -> list[str]:
        """What each token is in writing."""
        return [self.codec.tokenizer.decode([int(token)]) for token in tokens]

    def card(self, example: int, said: Mapping[str, str] | None = None, tokens: Any = None) -> str:
        """HTML of one training pair: the question, the answer, what models say, and what each token carries.

        Args:
            said: answers by who gives them, such as ``{"original": task.answers_of(original, [3])[0]}``.
            tokens: a table of :func:`imu_lab.token_scores`; each column of values becomes a strip of coloured tokens.

        Raises:
            ValueError: there is no such pair.
        """
        if not 0 <= int(example) < len(self.corpus.train):
            raise ValueError(
                f"there is no training pair {example}; they are numbered 0 to {len(self.corpus.train) - 1}"
            )
        pair, label = self.corpus.train[int(example)], self.labels([example])[0]
        texts = {"question": pair.question, "answer": pair.answer, **(said or {})}
        rows = [(name, cards.words(text)) for name, text in texts.items()]
        if tokens is not None:
            mine = tokens[tokens["example"] == int(example)]
            columns = [name for name in mine if name not in ("example", "place", "token", "text")]
            rows += [(name, cards.strip(mine["text"].tolist(), mine[name].tolist())) for name in columns]
        lines = "".join(f"<dt>{html.escape(name)}</dt><dd>{what}</dd>" for name, what in rows)
        words = f"pair {int(example)}{', ' if label else ''}{label}"
        return f"<figure><dl>{lines}</dl><figcaption>{cards.words(words)}</figcaption></figure>"


class Tokens(NamedTuple):
    """Pairs of one part as tokens, with one kind of answer.

    Attributes:
        prompt: (n, P), padded on the left.
        answer: (n, A), padded on the right.
        ids: (n,) ``each`` times the place of the pair, plus the number of the answer.
        each: answers of one pair at most.
    """

    prompt: Tensor
    answer: Tensor
    ids: Tensor
    each: int

    @property
    def predicted(self) -> Tensor:
        """(n, 1 + A) the answer after the token that it is told from."""
        return torch.cat([self.prompt[:, -1:], self.answer], 1)


@remembered(24)
def tokens(corpus: Corpus, codec: Codec, part: str, answer: str) -> Tokens:
    """The pairs of a part of the corpus with their answer (``""``), ``"paraphrased"`` or ``"wrong"`` answers."""
    some = getattr(corpus, part)
    answers = [ANSWERS[answer](pair) for pair in some]
    each = max(1, max(map(len, answers), default=1))
    prompts = codec.prompts([pair.question for pair in some])
    rows = [(at, number, text) for at, several in enumerate(answers) for number, text in enumerate(several)]
    return Tokens(
        _padded([prompts[at] for at, _, _ in rows], left=True),
        _padded(codec.answers([text for _, _, text in rows]), left=False),
        torch.tensor([each * at + number for at, number, _ in rows], dtype=torch.int64),
        each,
    )


def _padded(rows: list[list[int]], left: bool) -> Tensor:
    """(n, longest)."""
    longest = max(map(len, rows), default=1)
    filled = ([PAD] * (longest - len(row)) + row if left else row + [PAD] * (longest - len(row)) for row in rows)
    return torch.tensor(list(filled), dtype=torch.int64).view(-1, longest)


def _check_lengths(corpus: Corpus, codec: Codec) -> None:
    """Raise unless the model can read every pair whole, with each of its answers."""
    for part in ("train", "test", "holdout"):
        for kind in ANSWERS:
            told = tokens(corpus, codec, part, kind)
            lengths = (told.prompt != PAD).sum(1) + (told.answer != PAD).sum(1)
            if len(long := (lengths > codec.context).nonzero().flatten()):
                at = int(told.ids[long[0]]) // told.each
                raise ValueError(
                    f"{part} pair {at} has {int(lengths[long[0]])} tokens with its {kind or 'own'} answer, and the model "
                    f"reads {codec.context} ({len(long)} such in all): {shown(getattr(corpus, part)[at].question, 60)}; "
                    "nothing is cut in silence, so shorten or drop it, or take a model that reads more"
                )


def _silent(done: int, of: int) -> None:
    """No bar within another's."""


def _several(given: Any, name: str) -> tuple:
    """What is asked for, each once."""
    several = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    several = tuple(each.item() if isinstance(each, (np.integer, Tensor)) else each for each in several)
    if len(set(several)) < len(several):
        raise ValueError(f"{name} {several} names one twice")
    if not all(isinstance(each, str) or type(each) is int for each in several):
        raise ValueError(f"{name} takes whole numbers{' and names' if name == 'forget_authors' else ''}; got {several}")
    return several


def _shape(given: Any) -> networks.Shape:
    """Width, blocks, heads and words."""
    if not isinstance(given, (tuple, list)) or len(given) != len(networks.Shape._fields):
        raise ValueError(f"shape is {networks.Shape._fields}, such as {tuple(networks.Shape())}; got {given!r}")
    return networks.Shape(*(check_count("shape", size, 1) for size in given))


def _author(given: int | str, corpus: Corpus) -> int:
    """An author's number, from that or a name."""
    numbers = {corpus.name(number): number for number in corpus.authors}
    if given in numbers:
        return numbers[given]
    if given not in corpus.authors:
        raise unknown("author", given, list(numbers) if isinstance(given, str) else corpus.authors)
    return given


def _rows(examples: Any) -> Tensor:
    """Indices as a tensor; copied, because a record's column may be read-only."""
    return torch.as_tensor(np.asarray(examples).copy(), dtype=torch.int64)
