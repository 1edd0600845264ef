"""Markov sources: each stays among its own states but for the leakage, and its sequences follow its matrix."""

from __future__ import annotations

import cases
import pytest
import torch

from imu_lab.tasks.sources import markov

OWNER = markov.owners(10, 3)


def test_every_state_belongs_to_a_source() -> None:
    assert OWNER.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert markov.owners(9, 3).bincount().tolist() == [3, 3, 3] and markov.owners(7, 2).bincount().tolist() == [4, 3]


@pytest.mark.parametrize("leakage", [0.0, 0.2, 0.9])
def test_a_source_leaves_its_own_states_with_the_leakage_and_treats_foreign_ones_alike(leakage: float) -> None:
    chains = markov.chains(OWNER, leakage)
    assert chains.shape == (3, 10, 10) and cases.close(
        chains.sum(2), torch.ones(3, 10, dtype=torch.float64), within=1e-5
    )
    for source in range(3):
        own = OWNER == source
        assert cases.close(chains[source][own][:, own].sum(1), 1 - leakage, within=1e-5)
        assert chains[source][own][:, own].unique().numel() == 1
        assert (chains[source][~own] == 0.1).all()


def test_the_first_state_is_the_sources_own_but_for_the_leakage() -> None:
    starts = markov.starts(OWNER, 0.2)
    assert cases.close(starts.sum(1), torch.ones(3, dtype=torch.float64), within=1e-5)
    assert cases.close(torch.stack([starts[s, OWNER == s].sum() for s in range(3)]), 0.8, within=1e-5)


def test_sequences_follow_their_matrix() -> None:
    chain, start = markov.chains(OWNER, 0.2)[1], markov.starts(OWNER, 0.2)[1]
    drawn = markov.draw(chain, start, 20_000, 11, torch.Generator().manual_seed(0))
    counts = torch.zeros(10, 10, dtype=torch.float64)
    counts.index_put_((drawn[:, :-1].flatten(), drawn[:, 1:].flatten()), torch.tensor(1.0).double(), accumulate=True)
    assert (counts / counts.sum(1, keepdim=True) - chain).abs().max() < 0.01  # 10 standard deviations at most
    assert (drawn[:, 0].bincount(minlength=10) / len(drawn) - start).abs().max() < 0.015


def test_a_seed_gives_the_same_sequences_and_leaves_the_global_state_alone() -> None:
    chain, start = markov.chains(OWNER, 0.2)[0], markov.starts(OWNER, 0.2)[0]
    state = torch.random.get_rng_state()
    first, second = (markov.draw(chain, start, 5, 20, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.random.get_rng_state(), state)
