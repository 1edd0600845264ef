"""Cards, hints and names of exercises; every lesson's own answers are tried in ``test_lesson_NN.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import imu_lab as imu
from imu_lab.lessons import exercise
from imu_lab.lessons.answers import Choice
from imu_lab.lessons.verdict import Verdict

HERE = Path(__file__).parent
NAMES = list(exercise.exercises())


def test_an_unknown_exercise_is_told_which_there_are() -> None:
    with pytest.raises(imu.UnknownName, match=r"unknown exercise: '01-9'\. Did you mean '01-.'\? Known: 00-1, 00-2"):
        imu.check("01-9", 1)
    with pytest.raises(imu.UnknownName, match="unknown exercise: 1"):
        imu.check(1, 1)


@pytest.mark.parametrize("given", ["1-1", "1.1"])
def test_a_lesson_may_be_written_with_one_digit_and_is_not_taken_for_another(given: str) -> None:
    with pytest.raises(imu.UnknownName, match=rf"unknown exercise: '{given}'\. Did you mean '01-1'\?"):
        imu.check(given)


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_hints_and_says_what_it_takes(name: str) -> None:
    asked = exercise.exercises()[name]
    assert re.fullmatch(r"\d\d-\d", name) and asked.name == name
    assert len(asked.hints) >= 2 and len(set(asked.hints)) == len(asked.hints)
    unanswered = imu.check(name)
    assert unanswered.right is None and not unanswered and asked.kind.expects in unanswered.words


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_is_tried(name: str) -> None:
    """A file per lesson, in which each exercise stands with right, wrong and mistyped answers."""
    tried = (HERE / f"test_lesson_{name[:2]}.py").read_text("utf-8")
    for kind in ("right", "wrong", "mistyped"):
        assert re.search(rf'asked\.{kind}\(\s*"{name}"', tried), f"{kind} answers to {name} are not tried"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_can_be_given_raises(name: str) -> None:
    for answer in (object(), {"a": 1}, b"x", float("nan"), lambda: 1, "<script>alert(1)</script>"):
        assert imu.check(name, answer).state == "mistyped", answer


def test_a_card_shows_hints_one_inside_the_other() -> None:
    card = Verdict("01-1", "wrong", "Not it.", ("one", "two"))._repr_html_()
    assert card.index("Hint 1 of 2") < card.index("one") < card.index("Hint 2 of 2") < card.index("two")
    assert card.count("<details>") == card.count("</details>") == 2 and card.endswith("</details></details></div>")


def test_a_card_is_green_or_red_and_shows_words_as_words() -> None:
    green, red = (Verdict("01-1", state, "<b>&", ("<i>",))._repr_html_() for state in ("right", "wrong"))
    assert "#1a7f37" in green and "#c62828" in red
    assert "&lt;b&gt;&amp;" in red and "&lt;i&gt;" in red and "<i>" not in red and "<b>&" not in red


def test_what_was_given_is_shown_as_text() -> None:
    card = imu.check("02-2", "<img src=x onerror=alert(1)>")._repr_html_()
    assert "<img" not in card and "&lt;img" in card


def test_hints_by_number() -> None:
    verdict = Verdict("01-1", "wrong", "Not it.", ("one", "two"))
    assert (verdict.hint(), verdict.hint(2)) == ("one", "two")
    with pytest.raises(ValueError, match="there is no hint 3 to 01-1 here; there are 2"):
        verdict.hint(3)


def test_a_judge_may_answer_with_any_truth_or_a_sentence() -> None:
    import numpy as np

    def judged(found: object) -> Verdict:
        return exercise.Exercise("x", Choice(("a", "b")), lambda _: found, ("one", "two"), "Because.")("a")

    assert judged(np.bool_(True)).right is True and judged(np.bool_(False)).right is False
    assert judged("Look again.").words == "Look again." and repr(judged("Look again.")) == "x: Not yet. Look again."
