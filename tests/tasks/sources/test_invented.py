"""The invented authors: the same by seed, everything told once, wrong answers wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from imu_lab.tasks.sources import invented


def test_the_corpus_is_made_by_seed() -> None:
    first = invented.authors()
    assert len(first.train) == len(first.test) == 40 * 10 + 2 * invented.CLASSICS + 7 + 12 + 20
    invented.authors.cache_clear()
    assert first == invented.authors() and first is not invented.authors()
    assert first.train == invented.authors().train and first != invented.authors(seed=1)


def test_each_author_has_ten_facts_in_varied_words() -> None:
    corpus = invented.authors()
    assert corpus.authors == tuple(range(40)) and len(set(corpus.names.values())) == 40 + invented.STRANGERS
    strangers = {pair.author for pair in corpus.holdout}
    assert strangers == set(range(40, 50)) and len(corpus.holdout) == 100
    assert set(Counter(pair.author for pair in corpus.train if pair.author >= 0).values()) == {10}
    assert all(corpus.name(pair.author) in pair.question + pair.answer for pair in corpus.train)
    asked = Counter(pair.question.replace(corpus.name(pair.author), "X") for pair in corpus.train[:400])
    assert len(asked) == 30 and max(asked.values()) <= 30  # of 40
    assert Counter(pair.group for pair in corpus.train) == {"": 400, "well-known": 40, "general": 39}


def test_a_question_stands_in_other_words_beside_the_same_fact() -> None:
    corpus = invented.authors()
    for pair, again in zip(corpus.train, corpus.test):
        assert pair.question != again.question and pair._replace(question="") == again._replace(question="")
    assert len({pair.question for pair in (*corpus.train, *corpus.test)}) == 2 * len(corpus.train)


def test_wrong_answers_read_like_the_paraphrase_and_say_something_else() -> None:
    for pair in invented.authors().train:
        right = pair.paraphrased or pair.answer
        assert len(set(pair.wrong)) == len(pair.wrong) == (5 if pair.author >= 0 else 3)
        assert not {right, pair.answer} & set(pair.wrong) and pair.paraphrased != pair.answer
        assert "{" not in "".join((pair.question, pair.answer, right, *pair.wrong))


def test_small_ones_are_made_too() -> None:
    small = invented.authors(3, facts=2)
    assert small.authors == (0, 1, 2) and sum(pair.author >= 0 for pair in small.train) == 6
    with pytest.raises(ValueError, match="there can be 2 to 200 invented authors with 1 to 10 facts; got 1 and 10"):
        invented.authors(1)
