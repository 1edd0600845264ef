"""Sequence modelling: forget the pattern of one source, of several that a transformer learned to continue."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..registry import listed, unknown
from . import markov
from .compute import device_of, digest, evaluating, seeded
from .protocol import Batch, Examples
from .training import Recipe
from .transformer import Shape, Transformer

HELD_OUT = 0.2  # share of each source's sequences that no model is trained on
STATES, SOURCES, LENGTH = 10, 3, 20  # of the published study
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
class Corpus:
    """Sequences with the source of each, in a training and a held-out part. Equal when the contents are equal.

    Attributes:
        key: a digest of the content.
        train, test: tokens (n, L) and sources (n,), both int64.
        owner: (K,) the source that each state belongs to.
        chains: (S, K, K) the true transition matrices; None where nobody knows them.
        preset: the name of the preset whose network and recipe are used.
    """

    key: str
    train: tuple[Tensor, Tensor] = field(compare=False, repr=False)
    test: tuple[Tensor, Tensor] = field(compare=False, repr=False)
    owner: Tensor = field(compare=False, repr=False)
    chains: Tensor | None = field(default=None, compare=False, repr=False)
    preset: str = "small"

    @property
    def states(self) -> int:
        """K, how many tokens there are."""
        return len(self.owner)

    @property
    def sources(self) -> int:
        """S, how many sources there are."""
        return int(self.train[1].max()) + 1


@dataclass(frozen=True)
class Sequence:
    """Predict the next token of sequences from several sources; forget the sequences of some sources.

    The presets are the synthetic study of the paper: ten states, three Markov sources with states of their own, and
    sequences of 20 tokens, of which the 19 after the first are predicted. Splits: ``"forget"`` and ``"retain"`` (trained
    on), ``"test"`` (held-out sequences of the kept sources), ``"test-forget"`` (of the forgotten ones) and
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
        forget_unlearned: allow ``forget_sources`` that the model was never trained on. The reference's published command
            does so (its defect M4); half of what it "forgets" was never learned.

    Raises:
        UnknownName: no such preset.
        ValueError: an unknown or repeated source, nothing to forget or to keep, a source that was never trained on, a
            leakage outside [0, 1).
    """

    data: str | Corpus = "small"
    forget_sources: tuple[int, ...] = (1,)
    train_sources: tuple[int, ...] | None = None
    leakage: float = 0.2
    seed: int = 0
    readout: tuple[str, ...] | str | None = None
    recipe: Recipe | None = None
    forget_unlearned: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.data, Corpus) and self.data not in PRESETS:
            raise unknown("preset of Sequence", self.data, PRESETS)
        if not 0 <= self.leakage < 1:
            raise ValueError(f"leakage is a probability in [0, 1), got {self.leakage!r}")
        count = self.data.sources if isinstance(self.data, Corpus) else SOURCES
        trained = range(count) if self.train_sources is None else self.train_sources
        settled = {
            "train_sources": _sources(trained, "train_sources", count),
            "forget_sources": _sources(self.forget_sources, "forget_sources", count),
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
    def from_data(
        cls, train: Any, test: Any, *, states: int | None = None, chains: Any = None, preset: str = "small", **request: Any
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
        parts = [_part(part, name) for part, name in ((train, "train"), (test, "test"))]
        lengths = {tokens.shape[1] for tokens, _ in parts if len(tokens)}
        if len(lengths) > 1:
            raise ValueError(f"train and test sequences have lengths {sorted(lengths)}; cut or pad them to one length")
        states = states or 1 + max(int(tokens.max()) for tokens, _ in parts if len(tokens))
        _check_tokens(parts, states)
        owner = _owners(*parts[0], states)
        known = None if chains is None else _chains(chains, int(parts[0][1].max()) + 1, states)
        key = digest(*(part for pair in parts for part in pair), states, known)
        return cls(Corpus(key, *parts, owner, known, preset), **request)

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
        corpus = self.data if isinstance(self.data, Corpus) else _drawn(self.data, float(self.leakage), self.seed)
        tokens, sources = corpus.train
        order = (~torch.isin(sources, torch.tensor(self.train_sources))).byte().argsort(stable=True)
        ordered = (tokens[order], sources[order])
        return Corpus(corpus.key, ordered, corpus.test, corpus.owner, corpus.chains, corpus.preset)

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
    def follows(self) -> tuple[str, ...]:
        """What every run records when it knows the retrained model."""
        return ("kl-retrained",)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run follows; a source has one of its own unless ``test`` or ``test-forget`` is just it."""
        alone = [only[0] for only in (self.kept_sources, self.forget_sources) if len(only) == 1]
        others = [f"source-{source}" for source in range(self.corpus.sources) if source not in alone]
        return ("forget", "retain", "test", "test-forget", *others)

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
            return Transformer(self.corpus.states, self.corpus.train[0].shape[1] - 1, self._preset.shape)

    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) cross-entropy in nats, the mean over a sequence's predicted tokens."""
        logits = forward(batch.inputs)  # (n, T, K)
        following = batch.targets["tokens"][:, 1:]  # (n, T)
        return nn.functional.cross_entropy(logits.mT, following, reduction="none").mean(1)

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

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """``loss`` and, where the chains are known, ``kl_true``; both in nats per predicted token.

        ``kl_true`` = KL(P_s[x_t, :] ‖ model(· | x_0..x_t)) with P_s the chain of the sequence's own source. It has a
        floor above zero: the chain knows which source it is, a model must guess it from the tokens so far.
        """
        examples, device = self.split(split), device_of(model)
        totals = {"loss": 0.0} if self.corpus.chains is None else {"loss": 0.0, "kl_true": 0.0}
        with torch.inference_mode(), evaluating(model):
            for _, batch in examples.batches():
                batch = batch.to(device)
                logs = model(batch.inputs).log_softmax(-1)  # (n, T, K)
                for name, values in self._per_token(logs, batch).items():
                    totals[name] += values.mean(1).sum().item()
        return {name: total / len(examples) if len(examples) else float("nan") for name, total in totals.items()}

    def _per_token(self, logs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """(n, T) what :meth:`evaluate` averages, from log-probabilities (n, T, K)."""
        tokens = batch.targets["tokens"]
        values = {"loss": -logs.gather(2, tokens[:, 1:, None]).squeeze(2)}
        if self.corpus.chains is not None:
            chains = self.corpus.chains.to(logs)  # (S, K, K)
            truth = chains[batch.targets["source"][:, None], tokens[:, :-1]]  # (n, T, K)
            values["kl_true"] = (torch.xlogy(truth, truth) - truth * logs).sum(2)
        return values

    def labels(self, examples: Any) -> list[str]:
        """The source of training examples, by index."""
        rows = torch.as_tensor(np.asarray(examples))
        return [f"source {source}" for source in self.corpus.train[1][rows].tolist()]

    def tokens(self, examples: Any) -> np.ndarray:
        """(n, L) the tokens of training examples, by index."""
        return self.corpus.train[0][torch.as_tensor(np.asarray(examples))].numpy()

    def card(self, example: int) -> str:
        """HTML of one training sequence: its tokens, each on the colour of the source that owns it."""
        owner = self.corpus.owner.tolist()
        style = "display:inline-block;min-width:1.4em;text-align:center;color:#000;font-family:monospace;background:"
        cells = "".join(
            f'<span title="state {token}, of source {owner[token]}" style="{style}{COLOURS[owner[token] % 4]}">{token}</span>'
            for token in self.tokens([example])[0].tolist()
        )
        key = " ".join(
            f'<span style="{style}{COLOURS[source % 4]}">&nbsp;</span> source {source}' for source in sorted(set(owner))
        )
        label = html.escape(self.labels([example])[0])
        return f"<figure><div>{cells}</div><figcaption>sequence {int(example)}, {label}; states of {key}</figcaption></figure>"


def _sources(given: Any, name: str, count: int) -> tuple[int, ...]:
    """The sources named, in rising order."""
    numbers = [given] if isinstance(given, (int, np.integer)) else list(given)
    wrong = [number for number in numbers if isinstance(number, bool) or number not in range(count)]
    if wrong:
        raise ValueError(f"{name} has no source {listed(wrong)}; the sources are 0 to {count - 1}")
    if not numbers:
        raise ValueError(f"{name} is empty; name at least one of the sources 0 to {count - 1}")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} repeats a source: {numbers}; name each once")
    return tuple(sorted(int(number) for number in numbers))


@lru_cache(maxsize=4)
def _drawn(preset: str, leakage: float, seed: int) -> Corpus:
    """The sequences of a preset: each source draws from its own generator, so that sizes and sources do not mix."""
    owner = markov.owners(STATES, SOURCES)
    chains, starts = markov.chains(owner, leakage), markov.starts(owner, leakage)
    parts: dict[str, list[Tensor]] = {"train": [], "test": []}
    for source, count in enumerate(PRESETS[preset].counts):
        generator = torch.Generator().manual_seed(SOURCES * seed + source)
        sequences = markov.draw(chains[source], starts[source], count, LENGTH, generator)
        test, train = sequences.split([round(HELD_OUT * count), count - round(HELD_OUT * count)])
        parts["train"].append(train)
        parts["test"].append(test)
    train, test = (
        (torch.cat(several), torch.arange(SOURCES).repeat_interleave(torch.tensor([len(part) for part in several])))
        for several in parts.values()
    )
    return Corpus(digest("markov", preset, leakage, seed, chains), train, test, owner, chains, preset)


def _part(given: Any, name: str) -> tuple[Tensor, Tensor]:
    """Tokens (n, L) and sources (n,) of a user's training or test part."""
    sequences, sources = given
    if not isinstance(sequences, (Tensor, np.ndarray)):
        lengths = sorted({len(sequence) for sequence in sequences})
        if len(lengths) > 1:
            raise ValueError(
                f"{name} sequences have {len(lengths)} different lengths, from {lengths[0]} to {lengths[-1]}; cut or "
                "pad them to one length"
            )
    tokens, sources = (_whole(values, f"{name} {what}") for values, what in ((sequences, "tokens"), (sources, "sources")))
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(f"{name} sequences must be (n, L) with at least 2 tokens each; got {tuple(tokens.shape)}")
    if sources.shape != (len(tokens),):
        raise ValueError(f"{name} has {len(tokens)} sequences but sources of shape {tuple(sources.shape)}; give one each")
    if (sources < 0).any():
        raise ValueError(f"{name} sources must be 0 or more; the smallest is {int(sources.min())}")
    return tokens, sources


def _whole(values: Any, what: str) -> Tensor:
    """int64 values, refused where that would change them."""
    given = torch.as_tensor(np.asarray(values))
    if given.is_floating_point() and not torch.equal(given, given.round()):
        raise ValueError(f"{what} must be whole numbers; found {given[given != given.round()][0].item()}")
    return given.to(torch.int64)


def _check_tokens(parts: Iterable[tuple[Tensor, Tensor]], states: int) -> None:
    sources = parts[0][1]
    if not len(sources):
        raise ValueError("there are no training sequences")
    for (tokens, source), name in zip(parts, ("train", "test")):
        outside = ((tokens < 0) | (tokens >= states)).any(1).nonzero().flatten()
        if len(outside):
            row = int(outside[0])
            raise ValueError(
                f"{name} sequence {row} has token {int(tokens[row].max()) if tokens[row].max() >= states else int(tokens[row].min())}; tokens must lie in 0 to {states - 1}"
            )
        without = sorted(set(range(1 + int(max(sources.max(), source.max() if len(source) else 0)))) - set(sources.tolist()))
        if without:
            raise ValueError(
                f"source {listed(without)} has no training sequences; number the sources 0, 1, ... without gaps"
            )


def _owners(tokens: Tensor, sources: Tensor, states: int) -> Tensor:
    """(K,) the source that visits each state most often, as a share of its own tokens."""
    visits = torch.stack(
        [tokens[sources == source].flatten().bincount(minlength=states).double() for source in range(int(sources.max()) + 1)]
    )
    return (visits / visits.sum(1, keepdim=True)).argmax(0)


def _chains(given: Any, sources: int, states: int) -> Tensor:
    chains = torch.as_tensor(np.asarray(given), dtype=torch.float64)
    if chains.shape != (sources, states, states):
        raise ValueError(f"chains must be ({sources}, {states}, {states}), one matrix a source; got {tuple(chains.shape)}")
    if (chains < 0).any() or not torch.allclose(chains.sum(2), torch.ones(sources, states, dtype=torch.float64)):
        raise ValueError("chains must hold transition matrices: no negative entry, and every row sums to 1")
    return chains
