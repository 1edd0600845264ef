"""Markov sources: chains that mostly stay within their own states, and the sequences they write."""

from __future__ import annotations

import torch
from torch import Tensor


def owners(states: int, sources: int) -> Tensor:
    """(K,) the source that owns each state: neighbouring groups, equal in size to within one state.

    Ten states and three sources give groups of 4, 3 and 3. (The reference gives 3 to each and the last to nobody.)
    """
    groups = torch.arange(states).tensor_split(sources)
    return torch.repeat_interleave(torch.arange(sources), torch.tensor([len(group) for group in groups]))


def chains(owner: Tensor, leakage: float) -> Tensor:
    """(S, K, K) the transition matrix of each source; row i holds the probabilities of what follows state i.

    From a state of its own a source stays among its own with probability 1 − leakage, each of them alike; the leakage
    is spread over all other states. From a foreign state, which only leakage leads to, every state is equally likely.

    Source: the synthetic study of Fan et al. 2025 (arXiv 2508.01620), which takes it from Fan et al. 2024 (SimNPO,
    arXiv 2410.07163).
    """
    states, sources = len(owner), int(owner.max()) + 1
    matrices = torch.full((sources, states, states), 1 / states, dtype=torch.float64)
    for source, start in enumerate(starts(owner, leakage)):
        matrices[source, owner == source] = start
    return matrices


def starts(owner: Tensor, leakage: float) -> Tensor:
    """(S, K) each source's distribution of first states: 1 − leakage over its own, leakage over the others."""
    sources = int(owner.max()) + 1
    own = owner == torch.arange(sources)[:, None]  # (S, K)
    share = own.double() / own.sum(1, keepdim=True) * (1 - leakage)
    return share + (~own).double() / (~own).sum(1, keepdim=True) * leakage


def draw(chain: Tensor, start: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """(count, length) int64 sequences of one source.

    Args:
        chain: (K, K) transition matrix.
        start: (K,) distribution of the first state.
    """
    sequences = torch.empty(count, length, dtype=torch.int64)
    sequences[:, 0] = torch.multinomial(start, count, replacement=True, generator=generator)
    for place in range(1, length):
        following = chain[sequences[:, place - 1]]  # (count, K)
        sequences[:, place] = torch.multinomial(following, 1, generator=generator).squeeze(1)
    return sequences
