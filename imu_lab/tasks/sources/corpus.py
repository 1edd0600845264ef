"""Sequences from several sources, with a held-out part: drawn from Markov chains, or a user's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.memo import remembered
from ...core.messages import listed
from ...core.running import digest
from . import markov
from .gate import in_one_order

Part = tuple[Tensor, Tensor]  # tokens (n, L) and the source of each sequence (n,), both int64

HELD_OUT = 0.2  # share of each source's sequences that no model is trained on
STATES, LENGTH = 10, 20  # of the published study


@dataclass(frozen=True)
class Corpus:
    """Sequences with the source of each, in a training and a held-out part. Equal when the contents are equal.

    Attributes:
        key: a digest of the content.
        train, test: tokens (n, L) and sources (n,).
        owner: (K,) the source that each state belongs to.
        chains: (S, K, K) the true transition matrices; None where nobody knows them.
        preset: whose network and recipe go with it.
    """

    key: str
    train: Part = field(compare=False, repr=False)
    test: Part = field(compare=False, repr=False)
    owner: Tensor = field(compare=False, repr=False)
    chains: Tensor | None = field(default=None, compare=False, repr=False)
    preset: str = "small"

    @property
    def states(self) -> int:
        """K, how many different tokens there are."""
        return len(self.owner)

    @property
    def sources(self) -> int:
        """S, how many sources there are."""
        return int(self.train[1].max()) + 1


@remembered(4)
def drawn(counts: tuple[int, ...], leakage: float, seed: int) -> Corpus:
    """The published study's sequences, ``counts[s]`` from source s, a fifth of them held out.

    Each source has a random generator of its own, so that another size of one source leaves the others as they are.
    """
    owner = markov.owners(STATES, len(counts))
    chains, starts = markov.chains(owner, leakage), markov.starts(owner, leakage)
    parts: list[tuple[Tensor, Tensor]] = []
    for source, count in enumerate(counts):
        generator = torch.Generator().manual_seed(len(counts) * seed + source)
        sequences = markov.draw(chains[source], starts[source], count, LENGTH, generator)
        held_out = round(HELD_OUT * count)
        parts.append((sequences[held_out:], sequences[:held_out]))
    train, test = ((torch.cat(part), _numbered(part)) for part in zip(*parts))
    return Corpus(digest("markov", counts, leakage, seed, chains), train, test, owner, chains)


def _numbered(parts: tuple[Tensor, ...]) -> Tensor:
    """(n,) the number of the part that each row comes from."""
    return torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part) for part in parts]))


def supplied(train: Any, test: Any, states: int | None, chains: Any) -> Corpus:
    """A user's own sequences, checked (see :meth:`imu_lab.tasks.Sequence.from_data`)."""
    parts = {"train": _part(train, "train"), "test": _part(test, "test")}
    (tokens, sources), (held_out, _) = parts.values()
    if not len(tokens):
        raise ValueError("there are no training sequences")
    if len(held_out) and tokens.shape[1] != held_out.shape[1]:
        raise ValueError(
            f"training sequences have {tokens.shape[1]} tokens, test sequences {held_out.shape[1]}; cut or pad them to "
            "one length"
        )
    states = 1 + max(int(part.max()) for part in (tokens, held_out) if len(part)) if states is None else int(states)
    for name, part in parts.items():
        _check_tokens(part[0], name, states)
    _check_sources(*(part[1] for part in parts.values()))
    known = None if chains is None else _checked_chains(chains, int(sources.max()) + 1, states)
    key = digest(*parts["train"], *parts["test"], states, known)
    return Corpus(key, *parts.values(), _owners(tokens, sources, states), known)


def _part(given: Any, name: str) -> Part:
    """Tokens and sources of a user's training or test part."""
    try:
        sequences, sources = given
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a pair (sequences, sources); got {type(given).__name__}") from error
    in_one_order(sequences, sources, name)
    sequences = sequences.to_numpy() if hasattr(sequences, "to_numpy") else sequences
    if not isinstance(sequences, Tensor) and np.dtype(getattr(sequences, "dtype", object)).kind == "O":
        lengths = sorted({len(sequence) for sequence in sequences})
        if len(lengths) > 1:
            raise ValueError(
                f"{name} sequences have {len(lengths)} different lengths, from {lengths[0]} to {lengths[-1]}; cut or "
                "pad them to one length"
            )
    tokens, sources = _whole(sequences, f"{name} tokens"), _whole(sources, f"{name} sources")
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(f"{name} sequences must be (n, L) with at least 2 tokens each; got {tuple(tokens.shape)}")
    if sources.shape != (len(tokens),):
        raise ValueError(f"{name} has {len(tokens)} sequences, but sources {tuple(sources.shape)}; give one each")
    return tokens, sources


def _whole(values: Any, what: str) -> Tensor:
    """int64 values, refused where that would change them."""
    given = np.asarray(values)
    if given.dtype == object:  # an array of equally long sequences
        given = np.asarray(given.tolist())
    numbers = given.dtype.kind in "biuf"
    broken = given[~np.isfinite(given) | (given != np.floor(given))] if numbers else given.flatten()
    if broken.size:
        raise ValueError(f"{what} must be whole numbers; found {broken.tolist()[0]!r}")
    return torch.from_numpy(given.astype(np.int64))


def _check_tokens(tokens: Tensor, name: str, states: int) -> None:
    """Raise unless all tokens lie in 0..K-1."""
    outside = (tokens < 0) | (tokens >= states)
    if outside.any():
        row, place = outside.nonzero()[0].tolist()
        raise ValueError(
            f"{name} sequence {row} has token {tokens[row, place].item()} at place {place}; tokens must lie in 0 to "
            f"{states - 1}"
        )


def _check_sources(train: Tensor, test: Tensor) -> None:
    """Raise unless the sources are 0..S-1 and each has training sequences."""
    everyone = torch.cat([train, test])
    if everyone.min() < 0:
        raise ValueError(f"sources are numbered from 0; found {int(everyone.min())}")
    without = sorted(set(range(int(everyone.max()) + 1)) - set(train.tolist()))
    if without:
        raise ValueError(
            f"source {listed(without)} has no training sequences; number the sources 0, 1, ... without gaps"
        )


def _owners(tokens: Tensor, sources: Tensor, states: int) -> Tensor:
    """(K,) the source that visits each state most often, as a share of its own tokens."""
    mine = [tokens[sources == source].flatten() for source in range(int(sources.max()) + 1)]
    visits = torch.stack([each.bincount(minlength=states) / len(each) for each in mine])
    return visits.argmax(0)


def _checked_chains(given: Any, sources: int, states: int) -> Tensor:
    """(S, K, K) transition matrices."""
    chains = torch.as_tensor(np.asarray(given), dtype=torch.float64)
    if chains.shape != (sources, states, states):
        raise ValueError(
            f"chains must be ({sources}, {states}, {states}), one matrix a source; got {tuple(chains.shape)}"
        )
    if (chains < 0).any() or (chains.sum(2) - 1).abs().max() > 1e-6:
        raise ValueError("chains must hold transition matrices: no negative entry, and every row sums to 1")
    return chains
