"""Scores of pairs against cases worked out by hand."""

from __future__ import annotations

import math

import cases
import pytest
import torch

from imu_lab.tasks.pair_scores import folded, rouge_recall, truth_ratios, truthful

pytest.importorskip("rouge_score", reason="rouge-score is not installed")


def test_the_truth_ratio_is_geometric_and_the_papers_arithmetic() -> None:
    right = -torch.tensor([0.5, 0.2], dtype=torch.float64).log()
    wrong = -torch.tensor([[0.2, 0.05, 0.1], [0.4, 0.1, math.nan]], dtype=torch.float64).log()
    # (0.2 · 0.05 · 0.1)^(1/3) / 0.5 and (0.4 · 0.1)^(1/2) / 0.2
    assert cases.close(truth_ratios(right, wrong), [0.2, 1.0], within=1e-6)
    # (0.2 + 0.05 + 0.1) / 3 / 0.5 and (0.4 + 0.1) / 2 / 0.2
    assert cases.close(truth_ratios(right, wrong, "tofu"), [0.35 / 1.5, 1.25], within=1e-6)
    with pytest.raises(
        ValueError, match="unknown definition of the truth ratio: 'paper'. Known: open-unlearning, tofu"
    ):
        truth_ratios(right, wrong, "paper")


def test_what_is_forgotten_is_folded_at_one_and_what_is_kept_is_not() -> None:
    ratios = torch.tensor([0.0, 0.25, 1.0, 4.0], dtype=torch.float64)
    assert cases.close(folded(ratios), [0.0, 0.25, 1.0, 0.25], within=1e-6)
    assert cases.close(truthful(ratios), [1.0, 0.75, 0.0, 0.0], within=1e-6)


def test_rouge_counts_the_words_of_the_truth_in_their_order() -> None:
    assert rouge_recall("She writes river mysteries.", "she writes river mysteries") == 1.0
    assert rouge_recall("She writes river mysteries.", "River mysteries she wrote") == 0.5
    assert rouge_recall("one two three four", "one x three y") == 0.5 and rouge_recall("one two", "") == 0.0
    assert rouge_recall("the authors", "the author") == 1.0  # stems of long words
    assert rouge_recall("same words", "same words") == 1.0 and math.isnan(rouge_recall("שלום", "שלום"))


def test_words_are_those_that_the_scorer_finds_by_itself() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    whole = RougeScorer(["rougeL"], use_stemmer=True)
    odd = ["caf\u00e9 na\u00efve \u0130stanbul\u2028the  cities", "don't-stop 1,000 flies\tflying", "\u202edeb\u202c"]
    texts = ["Running, runners' runs: re-running!", "x", "", *odd]
    for truth in texts:
        for said in texts:
            found = rouge_recall(truth, said)
            expected = whole.score(truth, said)["rougeL"].recall
            assert found == (1.0 if truth == said else expected) or math.isnan(found)
