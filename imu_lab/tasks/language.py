"""Language models: forget the facts about some authors, of all that a model was taught in questions and answers."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, fields, replace
from functools import cached_property
from os.path import expanduser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ..core.knobs import check_count
from ..core.messages import kind_of
from ..core.running import checked_seed, full_precision, placed
from . import answer_loss, cards, pair_measures
from .networks import language as networks
from .networks import pretrained
from .networks.adapters import WHERE as ADAPTERS
from .networks.adapters import adapted, check_peft
from .networks.installed import check_installed
from .networks.language import Codec
from .pair_requests import WAYS, forgotten, places, several
from .pair_tokens import ANSWERS, OTHERS, PARTS, check_lengths, tokens
from .protocol import Batch, Examples
from .sources import invented, pairs
from .sources.pairs import Corpus, Pair
from .training import Recipe

INVENTED, HUB = "invented-authors", "tofu"
ROOM = 2**22  # logits made at once: a vocabulary times all tokens of all pairs would fill any memory
SMALL = Recipe(epochs=30, lr=5e-3, batch_size=32, weight_decay=0.01, optimizer="adamw")
PRETRAINED = Recipe(epochs=5, lr=1e-5, batch_size=16, weight_decay=0.01, optimizer="adamw", one_thread=False)
ANSWER = 200  # tokens of a model's own answer, at most
KEPT = ("retain", "kept-authors")


@dataclass(frozen=True)
class Language:
    """Answer questions about authors and the world; forget what was said about some authors.

    One example is one pair. Its loss is the mean over the tokens of the answer and the one that ends it; a margin is the
    least over them, so it is negative where the model no longer gives the answer word for word. Pairs are padded and never
    packed into one sequence, so that none sees another. Splits: ``"forget"`` and
    ``"retain"`` (trained on), of which ``"kept-authors"`` is the part about authors; ``"test"`` (not trained on, to keep),
    with ``"well-known"`` and ``"general"`` in it; ``"test-forget"`` (the forgotten facts, asked in other words);
    ``"holdout"`` (authors that no model was told of). ``"<split>-perturbed"`` holds the pairs that have wrong answers, on
    which a split is measured where there are such, ``"<split>-paraphrased"`` and ``"<split>-wrong"`` those answers,
    ``"<split>-declined"`` the questions with an answer such as "I don't know."

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
        adapters: the rank of LoRA adapters, where they and not the model's own weights are to be trained; they are then the
            readout. ``readout="adapters"`` names those of a model that has some, such as one of ``peft``.
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
    adapters: int | None = None
    device: str | None = None
    request: str | None = None

    forgotten_when: ClassVar[tuple[str, str]] = ("loss", ">=")
    goal: ClassVar[tuple[str, str, float]] = ("exact", "<=", 0.0)
    follows: ClassVar[tuple[str, ...]] = ("forget-quality",)
    declined: ClassVar[str] = "forget-declined"
    distinct: ClassVar[bool] = True  # its metrics read the pairs of the corpus

    @full_precision()
    def __post_init__(self, split: Any) -> None:
        check_installed()
        keys = pairs.checked_keys(self.keys)
        settled = {
            "data": _data(self.data, keys),
            "request": self.request if callable(split) or split is None else split,
            "forget_pairs": several(self.forget_pairs, "forget_pairs"),
            "forget_authors": several(self.forget_authors, "forget_authors"),
            "shape": _shape(self.shape),
            "seed": checked_seed(self.seed),
            "recipe": self.recipe or (SMALL if self.model is None else PRETRAINED),
            "readout": self._settled_readout(),
            "keys": keys,
            "model": None if self.model is None else expanduser(str(self.model)),
            "adapters": None if self.adapters is None else check_count("adapters", self.adapters, 1),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_forgotten", forgotten(self.corpus, {name: getattr(self, name) for name in WAYS}))
        check_lengths(self.corpus, self.codec)

    def _settled_readout(self) -> tuple[str, ...] | str | None:
        wanted = "adapters" if self.readout is None and self.adapters else self.readout
        if wanted == "adapters":
            check_peft()
            return ADAPTERS
        return tuple(wanted) if isinstance(wanted, list) else wanted

    @classmethod
    @full_precision()
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
    def about(self) -> str:
        """One line: what the data were understood to be, and what is forgotten of them."""
        return f"{self.corpus.about}; {len(self._forgotten):,} to be forgotten"

    def __repr__(self) -> str:
        settings = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{type(self).__name__}({settings})\n{self.about}"

    @property
    def codec(self) -> Codec:
        """Words to tokens, in the form in which the model is asked."""
        if self.model is None:
            return networks.trained_codec(self.corpus, self.shape.words)
        return pretrained.loaded_codec(self.model)

    @property
    def data_key(self) -> str:
        """A digest of the pairs and of what makes tokens of them: part of every checkpoint's name."""
        return f"{self.corpus.key} {self.codec.key}"

    @property
    def samples_key(self) -> str:
        """A digest of the pairs, whatever makes tokens of them."""
        return self.corpus.key

    @property
    def unlearning(self) -> Mapping[str, Any]:
        """This task's own defaults for a method's settings: steps of one length, a share of the output layer's own.

        A learned answer has hardly any gradient and a forgotten one a large one, so plain steps explode; and those of AdamW
        press every word of the vocabulary alike. Measured on the invented authors at equal forgetting, both cost the kept
        answers several times as much.
        """
        steps = {"optimizer": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
        npo = {"beta": 0.1}  # the ratio of two probabilities of a whole answer is far from 1 after the first steps
        return steps | {"batch_size": 8, "step_norm": 0.02, "relative_steps": True, "npo": npo, "npo-kl": npo}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run follows: those that there are."""
        held_out = ("test", "test-forget")
        return ("forget", "retain", *(name for name in held_out if self._places(name)))

    def with_request(self, examples: Iterable[int]) -> Language:
        """The same task with these pairs to be forgotten."""
        return replace(self, forget_authors=(), request=None, forget_pairs=tuple(examples))

    def _places(self, split: str) -> tuple[int, ...]:
        return places(self.corpus, self._forgotten, split)

    @full_precision()
    def split(self, name: str) -> Examples:  # noqa: F811
        """``"train"``, ``"forget"``, ``"retain"``, ``"test"``, ``"test-forget"``, ``"well-known"``, ``"general"``; and each
        with ``-perturbed``, ``-paraphrased``, ``-wrong`` or ``-declined`` behind it."""
        stem, _, kind = name.rpartition("-")
        stem, kind = (stem, kind) if kind in ("perturbed", *ANSWERS) else (name, "")
        places, part = self._places(stem), PARTS.get(stem, "train")
        # What is kept is measured on the same pairs for every request that the data name.
        if kind in ("perturbed", *OTHERS):
            named = {at for places in self.corpus.requests.values() for at in places} if stem in KEPT else set()
            places = tuple(at for at in places if getattr(self.corpus, part)[at].wrong and at not in named)
        answer = kind if kind in ANSWERS else ""
        told = tokens(self.corpus, self.codec, part, answer)
        rows = torch.isin(told.ids // told.each, torch.tensor(places, dtype=torch.int64)).nonzero().flatten()
        made = Batch({"prompt": told.prompt, "answer": told.answer}, {"tokens": told.predicted})
        chunk = max(1, ROOM // (told.answer.shape[1] * self.codec.words))
        source = f"{part}-{answer}" if answer else part
        return replace(Examples.of(*made, told.ids, source, min(512, chunk)), padding=told.padding).take(rows)

    def make_model(self, seed: int) -> nn.Module:
        """A fresh small model under ``seed``, or the pretrained one, as the task calls it."""
        small = self.model is None
        if small:
            pretrained.check_room(
                networks.size_of(self.codec, self.shape), f"a network of the shape {tuple(self.shape)}"
            )
        made = networks.small(self.codec, self.shape, seed) if small else pretrained.loaded(self.model)
        if self.adapters:
            made = networks.CausalModel(adapted(made.network, self.adapters, seed))
        return placed(made, self.device or "cpu")

    def prepared(self, model: nn.Module) -> nn.Module:
        """A model of Hugging Face as the task calls it, its output layer with weights of its own.

        Raises:
            ValueError: it knows fewer tokens than the task's tokenizer makes.
        """
        made = networks.called(model)
        words = getattr(getattr(made, "network", None), "get_input_embeddings", lambda: None)()
        known, wanted = getattr(words, "num_embeddings", None), min(self.codec.words, self.codec.known_words)
        if known is not None and known < wanted:
            raise ValueError(
                f"this model knows {known} tokens and the task's tokenizer makes {wanted}: it was made for other words; give a "
                "model of this task, such as imu.train(task), or name the model when you make the task: model="
            )
        return made

    token_losses = answer_loss.token_losses
    example_loss = answer_loss.example_loss
    training_loss = answer_loss.training_loss
    example_margin = answer_loss.example_margin
    example_length = answer_loss.example_length
    example_divergence = answer_loss.example_divergence
    evaluate = pair_measures.evaluate
    truth_ratios = pair_measures.truth_ratios
    wrong_losses = pair_measures.wrong_losses
    losses = pair_measures.losses

    @pair_measures.on_own_threads
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

        Raises:
            ValueError: there is no such pair.
        """
        rows, count = torch.tensor(np.asarray(examples), dtype=torch.int64), len(getattr(self.corpus, source))
        if outside := rows[(rows < 0) | (rows >= count)].tolist():
            raise ValueError(f"there is no {source} pair {outside[0]}; they are numbered 0 to {count - 1}")
        told = tokens(self.corpus, self.codec, source, "")
        most = min(ANSWER, 2 * told.answer.shape[1], self.codec.context - told.prompt.shape[1])
        return networks.answered(self.prepared(model), self.codec, told.prompt[rows], most, progress)

    def labels(self, examples: Any) -> list[str]:
        """Whom training pairs are about, by index; what kind of fact, where they are about nobody."""
        return self._labels(self.corpus.train, examples)

    def test_labels(self, examples: Any) -> list[str]:
        """The same of pairs that no model is trained on."""
        return self._labels(self.corpus.test, examples)

    def _labels(self, some: tuple[Pair, ...], examples: Any) -> list[str]:
        return [self.corpus.name(some[at].author) or some[at].group for at in map(int, examples)]

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


def _shape(given: Any) -> networks.Shape:
    """Width, blocks, heads and words."""
    if not isinstance(given, (tuple, list)) or len(given) != len(networks.Shape._fields):
        raise ValueError(f"shape is {networks.Shape._fields}, such as {tuple(networks.Shape())}; got {given!r}")
    made = networks.Shape(*(check_count("shape", size, 1) for size in given))
    if made.width % (2 * made.heads):
        raise ValueError(
            f"shape {tuple(made)} has a width of {made.width}, which is no multiple of twice its {made.heads} heads: each head "
            "turns pairs of numbers"
        )
    return made


def _data(given: Any, keys: Any) -> str | Corpus:
    """Where the pairs are, as it is kept.

    Raises:
        TypeError: it is no place.
        ValueError: names of question and answer were given for pairs that have theirs.
    """
    if not isinstance(given, (str, Path, Corpus)):
        raise TypeError(
            f"data is {INVENTED!r}, {HUB!r} or a path; got {kind_of(given)}. Rows of your own go to "
            "imu.tasks.Language.from_data(rows, ...)"
        )
    if keys is not None and (isinstance(given, Corpus) or given in (INVENTED, HUB) or Path(expanduser(given)).is_dir()):
        raise ValueError(
            f"keys={keys!r} names the question and the answer in the rows of a file of your own; these pairs have them already: "
            "leave keys= out, or give it to from_data"
        )
    return given if isinstance(given, Corpus) else expanduser(str(given))
