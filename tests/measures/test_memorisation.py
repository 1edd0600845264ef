"""Memorisation and membership against cases worked out by hand, the last token left out."""

from __future__ import annotations

import math
import zlib

import cases
import torch
from torch import Tensor

from imu_lab.measures import memorisation

PAD = -1


def logits(rows: list[list[list[float]]]) -> Tensor:
    """(n, A, K) of probabilities; short rows are filled up with nonsense that nobody may read."""
    longest = max(map(len, rows))
    filled = [row + [[0.98, 0.01, 0.01]] * (longest - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.float64).log()


SURE = {token: [0.8 if token == each else 0.1 for each in range(3)] for token in range(3)}
# Answers of tokens 0 1 2 and an end (2), of 1 and an end, of an end alone, and of nothing.
TRUTH = torch.tensor([[0, 1, 2, 2], [1, 2, PAD, PAD], [2, PAD, PAD, PAD], [PAD] * 4])
SAID = logits(
    [
        [SURE[0], SURE[0], SURE[2], SURE[0]],  # right, wrong, right; the end is wrong, which does not count
        [SURE[1], SURE[0]],
        [SURE[0]],
        [],
    ]
)


def test_which_tokens_count() -> None:
    expected = [[True, True, True, False], [True, False, False, False], [False] * 4, [False] * 4]
    assert memorisation.inner(TRUTH).tolist() == expected


def test_the_share_of_tokens_by_heart() -> None:
    found = memorisation.exact_memorisation(SAID, TRUTH)
    assert cases.close(found, [2 / 3, 1.0, math.nan, math.nan], within=1e-6)


def test_from_which_token_on_all_follow() -> None:
    assert cases.close(memorisation.extraction_strength(SAID, TRUTH), [1 / 3, 1.0, 0.0, 0.0], within=1e-6)
    wrong_at_last = logits([[SURE[0], SURE[1], SURE[0], SURE[2]]])
    assert cases.close(memorisation.extraction_strength(wrong_at_last, TRUTH[:1]), [1 / 3], within=1e-6)
    first_wrong = logits([[SURE[2], SURE[1], SURE[2], SURE[2]]])
    assert cases.close(memorisation.extraction_strength(first_wrong, TRUTH[:1]), [2 / 3], within=1e-6)


def test_the_least_likely_tokens() -> None:
    low, high = -math.log(0.1), -math.log(0.8)
    # 0.4 of 3 tokens is one of them, 0.7 of 3 is two
    assert cases.close(memorisation.min_k(SAID, TRUTH), [low, high, math.nan, math.nan], within=1e-6)
    assert cases.close(memorisation.min_k(SAID, TRUTH, 0.7)[:1], [(low + high) / 2], within=1e-6)
    five = logits([[SURE[0]] * 6])
    truth = torch.tensor([[0, 1, 1, 0, 0, 2]])
    assert cases.close(memorisation.min_k(five, truth), [low], within=1e-6)  # two of five, both 0.1


def test_the_least_likely_tokens_by_how_unusual_they_are() -> None:
    logs = [math.log(0.8), math.log(0.1), math.log(0.1)]
    mean = sum(p * each for p, each in zip((0.8, 0.1, 0.1), logs))
    deviation = math.sqrt(sum(p * each**2 for p, each in zip((0.8, 0.1, 0.1), logs)) - mean**2)
    expected = [-(math.log(0.1) - mean) / deviation, -(math.log(0.8) - mean) / deviation, math.nan, math.nan]
    assert cases.close(memorisation.min_k_plus_plus(SAID, TRUTH), expected, within=1e-6)
    even = torch.zeros(1, 2, 3, dtype=torch.float64)  # no deviation at all: the least variance stands for it
    assert cases.close(memorisation.min_k_plus_plus(even, torch.tensor([[0, 1]])), [0.0], within=1e-6, of=1.0)


def test_the_length_of_the_packed_text() -> None:
    text = "שלום " * 9
    assert cases.close(memorisation.zlib_ratio(3.0, text), 3.0 / len(zlib.compress(text.encode())), within=1e-12)


def test_the_area_and_what_leaks() -> None:
    members, others = torch.tensor([0.1, 0.2, 0.6, math.nan]), torch.tensor([0.3, 0.7])
    # of six pairs the other one is higher in five
    assert cases.close(memorisation.membership_auc(members, others), 5 / 6, within=1e-6)
    assert math.isnan(memorisation.membership_auc(members[3:], others))
    assert cases.close(memorisation.privacy_leakage(0.98), 100 * (0.02 - 0.5) / 0.5, within=1e-6)
    assert cases.close(memorisation.privacy_leakage(0.0, 0.6), 150.0, within=1e-6)
    assert cases.relative(memorisation.privacy_leakage(0.6, 0.6), 0.0, of=100.0) < 1e-9


def test_the_harmonic_mean() -> None:
    assert cases.close(memorisation.harmonic_mean([0.5, 0.25, 1.0]), 3 / 7, within=1e-6)
    assert memorisation.harmonic_mean([0.5, 0.0, 1.0]) == 0.0 and math.isnan(
        memorisation.harmonic_mean([0.5, math.nan])
    )
