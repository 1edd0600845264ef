"""Sequence modelling: forget the pattern of one source, of several that a transformer learned to continue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.knobs import check_flag
from ..core.messages import listed, unknown
from ..core.running import checked_seed, digest, full_precision, placed, seeded
from .evaluation import averages
from .networks.transformer import Shape, Transformer
from .outputs import log_probabilities
from .protocol import Batch, Examples
from .sources import corpus as corpora
from .sources.corpus import Corpus
from .training import Recipe

COLOURS = ("#9ecae9", "#ffbf79", "#88d27a", "#d6a5c9")  # behind a state, by the source that owns it; text is black


@dataclass(frozen=True)
class Preset:
    """A size of the study: sequences per source (training and held out together), network, training, unlearning."""

    counts: tuple[int, ...]
    shape: Shape
    recipe: Recipe
    unlearning: Mapping[str, Any] = field(default_factory=dict)


PRESETS = {
    "small": Preset(
        (2000, 1000, 1000),
        Shape(32, 2, 4),
        Recipe(epochs=6, lr=3e-3, batch_size=64, weight_decay=0.01, optimizer="adamw"),
        {"optimizer": "adamw", "lr": 2e-3, "batch_size": 4},
    ),
    "paper": Preset(
        (10_000, 5_000, 5_000),
        Shape(128, 4, 4),
        Recipe(epochs=5, lr=5e-4, batch_size=128, weight_decay=0.01, optimizer="adamw", schedule="constant"),
        {"optimizer": "adamw", "lr": 5e-4, "batch_size": 4},
    ),
}


@dataclass(frozen=True)
class Sequence:
    """Predict the next token of sequences from several sources; forget the sequences of some sources.

    The presets are the synthetic study of the paper: ten states, three Markov sources with states of their own, and
    sequences of 20 tokens, of which the 19 after the first are predicted. Splits: ``"forget"`` and ``"retain"``
    (trained on), ``"test"`` (held-out sequences of the kept sources), ``"test-forget"`` (of the forgotten ones) and
    ``"source-0"``, ... (held-out sequences of one source).

    Attributes:
        data: ``"small"`` (a model in seconds), ``"paper"`` (minutes), or what :meth:`from_data` made.
        forget_sources: the sources whose training sequences are to be forgotten.
        train_sources: the sources that the original model is trained on; None for all.
        leakage: how likely a source is to leave its own states.
        seed: of the sequences drawn.
        readout: the modules that influence and unlearning act on, by name; None for the last linear layer, ``"all"``
            for every parameter.
        recipe: how to train; None for the preset's own.
        forget_unlearned: allow ``forget_sources`` that the model was never trained on. The reference's published
            command does so (its defect M4); half of what it "forgets" was never learned.
        device: where models are made, such as ``"cuda"``; None for the CPU.

    Raises:
        UnknownName: no such preset.
        ValueError: an unknown or repeated source, nothing to forget or to keep, a source that was never trained on, a
            leakage outside [0, 1), a seed that is no whole number.
    """

    data: str | Corpus = "small"
    forget_sources: tuple[int, ...] = (1,)
    train_sources: tuple[int, ...] | None = None
    leakage: float = 0.2
    seed: int = 0
    readout: tuple[str, ...] | str | None = None
    recipe: Recipe | None = None
    forget_unlearned: bool = False
    device: str | None = None

    @full_precision()
    def __post_init__(self) -> None:
        if not isinstance(self.data, Corpus) and self.data not in tuple(PRESETS):
            raise unknown("preset of Sequence", self.data, PRESETS)
        if not (isinstance(self.leakage, Real) and 0 <= self.leakage < 1):
            raise ValueError(f"leakage is a probability in [0, 1), got {self.leakage!r}")
        count = self.data.sources if isinstance(self.data, Corpus) else len(PRESETS[self.data].counts)
        trained = range(count) if self.train_sources is None else self.train_sources
        settled = {
            "train_sources": _sources(trained, "train_sources", count),
            "forget_sources": _sources(self.forget_sources, "forget_sources", count),
            "seed": checked_seed(self.seed),
            "forget_unlearned": check_flag("Sequence", "forget_unlearned", self.forget_unlearned),
            "recipe": self.recipe or self._preset.recipe,
            "readout": tuple(self.readout) if isinstance(self.readout, list) else self.readout,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        self._check_request()

    def _check_request(self) -> None:
        never = sorted(set(self.forget_sources) - set(self.train_sources))
        if never and not self.forget_unlearned:
            raise ValueError(
                f"source {listed(never)} has no sequences in the training set (train_sources={self.train_sources}), so "
                "there is nothing to forget; name a trained source, or pass forget_unlearned=True to press sequences "
                "that the model never saw"
            )
        if not self.kept_sources:
            raise ValueError(
                f"the request forgets every source that the model is trained on {self.train_sources}; something must "
                "be left to keep"
            )

    @classmethod
    @full_precision()
    def from_data(
        cls,
        train: Any,
        test: Any,
        *,
        states: int | None = None,
        chains: Any = None,
        preset: str = "small",
        **request: Any,
    ) -> Sequence:
        """A task around sequences of your own.

        Args:
            train, test: ``(sequences, sources)``: equally long sequences (n, L) of whole numbers 0..K-1, and the number
                of the source of each, 0..S-1 (n,).
            states: K; None for the largest token plus one.
            chains: (S, K, K) the true transition matrices, where they are known; ``kl_true`` needs them.
            preset: whose network and recipe to use.
            request: ``forget_sources`` and any other setting of the task.

        Raises:
            ValueError: sequences of unequal length or under two tokens, tokens outside 0..K-1, a source without
                training sequences, or matrices that are no transition matrices.
        """
        if preset not in PRESETS:
            raise unknown("preset of Sequence", preset, PRESETS)
        return cls(replace(corpora.supplied(train, test, states, chains), preset=preset), **request)

    @property
    def _preset(self) -> Preset:
        return PRESETS[self.data.preset if isinstance(self.data, Corpus) else self.data]

    @property
    def kept_sources(self) -> tuple[int, ...]:
        """The sources trained on that are not to be forgotten."""
        return tuple(source for source in self.train_sources if source not in self.forget_sources)

    @cached_property
    def corpus(self) -> Corpus:
        """The sequences, those of trained sources first, so that an example's id is its place in the training split."""
        given = self.data
        if not isinstance(given, Corpus):
            given = corpora.drawn(PRESETS[given].counts, float(self.leakage), self.seed)
        tokens, sources = given.train
        order = (~torch.isin(sources, torch.tensor(self.train_sources))).byte().argsort(stable=True)
        return replace(given, train=(tokens[order], sources[order]))

    @property
    def data_key(self) -> str:
        """A digest of the data in their order: part of every checkpoint's name."""
        return digest(self.corpus.key, self.train_sources)

    @property
    def architecture(self) -> tuple:
        """What else decides the network: part of every checkpoint's name."""
        return ("transformer", *self._preset.shape)

    @property
    def unlearning(self) -> Mapping[str, Any]:
        """This task's own defaults for a method's settings: those of the published study, for the paper's preset."""
        return self._preset.unlearning

    @property
    def forgotten_when(self) -> tuple[str, str]:
        """A number or ``"retrained"`` as ``stop_at`` means this: the forget sequences' loss has risen to it."""
        return ("loss", ">=")

    @property
    def goal(self) -> tuple[str, str, float]:
        """A source is forgotten when its tokens are told no better than by guessing among all states."""
        return ("loss", ">=", float(np.log(self.corpus.states)))

    @property
    def follows(self) -> tuple[str, ...]:
        """What every run records when it knows the retrained model."""
        return ("kl-retrained",)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run follows; a source has one of its own unless ``test`` or ``test-forget`` is just it."""
        alone = [only[0] for only in (self.kept_sources, self.forget_sources) if len(only) == 1]
        others = [f"source-{source}" for source in range(self.corpus.sources) if source not in alone]
        return ("forget", "retain", "test", "test-forget", *others)

    @full_precision()
    def split(self, name: str) -> Examples:
        """``"train"``, ``"forget"``, ``"retain"``, ``"test"``, ``"test-forget"`` or ``"source-<number>"``."""
        makers = {
            "train": lambda: self._of("train", self.train_sources),
            "forget": lambda: self._of("train", self.forget_sources),
            "retain": lambda: self._of("train", self.kept_sources),
            "test": lambda: self._of("test", self.kept_sources),
            "test-forget": lambda: self._of("test", self.forget_sources),
        }
        for source in range(self.corpus.sources):
            makers[f"source-{source}"] = lambda source=source: self._of("test", (source,))
        if name not in makers:
            raise unknown("split", name, makers)
        return makers[name]()

    def _of(self, part: str, sources: tuple[int, ...]) -> Examples:
        """The sequences of these sources in the training or the held-out part."""
        tokens, source = getattr(self.corpus, part)
        rows = torch.isin(source, torch.tensor(sources)).nonzero().flatten()
        tokens, source = tokens[rows], source[rows]
        return Examples.of(tokens[:, :-1], {"tokens": tokens, "source": source}, rows, part, chunk=128)

    def make_model(self, seed: int) -> nn.Module:
        """A fresh transformer under ``seed``."""
        with seeded(seed):
            made = Transformer(self.corpus.states, self.corpus.train[0].shape[1] - 1, self._preset.shape)
        return placed(made, self.device or "cpu")

    def token_losses(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n, T) cross-entropy in nats of each predicted token."""
        logits = forward(batch.inputs)  # (n, T, K)
        return nn.functional.cross_entropy(logits.mT, batch.targets["tokens"][:, 1:], reduction="none")

    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) cross-entropy in nats, the mean over a sequence's predicted tokens."""
        return self.token_losses(forward, batch).mean(1)

    def example_margin(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) true logit minus the largest other, the mean over a sequence's predicted tokens.

        A chain that moves at random has no right answer: a well-fitted model's margin is a little below zero.
        """
        logits = forward(batch.inputs)  # (n, T, K)
        truth = batch.targets["tokens"][:, 1:, None]  # (n, T, 1)
        others = logits.scatter(2, truth, -torch.inf).amax(2, keepdim=True)
        return (logits.gather(2, truth) - others).mean((1, 2))

    def example_length(self, batch: Batch) -> Tensor:
        """(n,) how many predicted tokens ``example_loss`` is the mean of."""
        tokens = batch.targets["tokens"]
        return torch.full((len(tokens),), float(tokens.shape[1] - 1), device=tokens.device)

    def example_metrics(self, forward: Callable[[Any], Tensor], batch: Batch) -> dict[str, Tensor]:
        """(n,) ``loss`` and, where the chains are known, ``kl_true``; both in nats per predicted token.

        ``kl_true`` = KL(P_s[x_t, :] ‖ model(· | x_0..x_t)) with P_s the chain of the sequence's own source. It has a
        floor above zero: the chain knows which source it is, a model must guess it from the tokens so far.
        """
        tokens, logs = batch.targets["tokens"], log_probabilities(forward(batch.inputs))  # (n, T, K)
        metrics = {"loss": -logs.gather(2, tokens[:, 1:, None]).mean((1, 2))}
        if self.corpus.chains is not None:
            chains = self.corpus.chains.to(logs)  # (S, K, K)
            state = batch.targets["source"][:, None], tokens[:, :-1]
            sure = torch.xlogy(chains, chains).sum(2)  # (S, K), Σ_k P log P
            metrics["kl_true"] = (sure[state] - (chains[state] * logs).sum(2)).mean(1)
        return metrics

    evaluate = averages

    def labels(self, examples: Any) -> list[str]:
        """The source of training examples, by index."""
        return [f"source {source}" for source in self.corpus.train[1].numpy()[np.asarray(examples, dtype=np.int64)]]

    def tokens(self, examples: Any) -> np.ndarray:
        """(n, L) the tokens of training examples, by index."""
        return self.corpus.train[0].numpy()[np.asarray(examples, dtype=np.int64)]

    def card(self, example: int) -> str:
        """HTML of one training sequence: its tokens, each on the colour of the source that owns it."""
        owner = self.corpus.owner.tolist()
        cells = "".join(
            _cell(str(token), owner[token], f"state {token}, of source {owner[token]}")
            for token in self.tokens([example])[0].tolist()
        )
        key = " ".join(f"{_cell('&nbsp;', source)} source {source}" for source in sorted(set(owner)))
        words = f"sequence {int(example)}, {self.labels([example])[0]}; states of {key}"
        return f"<figure><div>{cells}</div><figcaption>{words}</figcaption></figure>"


def _cell(text: str, source: int, title: str = "") -> str:
    """A token, or a key to the colours, as HTML."""
    look = f"min-width:1.4em;color:#000;background:{COLOURS[source % len(COLOURS)]}"
    return f'<span title="{title}" style="display:inline-block;text-align:center;{look}">{text}</span>'


def _sources(given: Any, name: str, count: int) -> tuple[int, ...]:
    """The sources named, in rising order."""
    numbers = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    wrong = [number for number in numbers if isinstance(number, bool) or number not in range(count)]
    if wrong:
        raise ValueError(f"{name} has no source {listed(wrong)}; the sources are 0 to {count - 1}")
    if not numbers:
        raise ValueError(f"{name} is empty; name at least one of the sources 0 to {count - 1}")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} repeats a source: {numbers}; name each once")
    return tuple(sorted(int(number) for number in numbers))
