"""A prediction can be entered, comes back beside what is true, and nothing waits for it."""

from __future__ import annotations

import ipywidgets as W
import pytest

import imu_lab as imu


def buttons(widget: W.Widget) -> dict[str, W.Button]:
    """All buttons inside a widget by their words."""
    inside = [each for child in getattr(widget, "children", ()) for each in buttons(child).items()]
    return dict(inside) | ({widget.description: widget} if isinstance(widget, W.Button) else {})


def test_a_slider_comes_back_beside_the_truth() -> None:
    guess = imu.predict("Which share?")
    shown = guess.result(0.9)
    assert guess.said is None and shown.words == "It is 0.9."
    guess._slider.value = 0.2
    assert guess.said is None, "a slider that is moved has said nothing yet"
    buttons(guess)["This is my prediction"].click()
    assert guess.said == 0.2 and shown.words == "You said 0.2; it is 0.9." and shown.words in shown.value


def test_a_choice_comes_back_beside_the_truth() -> None:
    guess = imu.predict("Who?", ["the odd ones", "the textbook ones"])
    shown = guess.result("the odd ones")
    buttons(guess)["the textbook ones"].click()
    assert shown.words == "You said “the textbook ones”; the answer is “the odd ones”."
    buttons(guess)["the odd ones"].click()
    assert shown.words == "You said “the odd ones”, and so it is."
    assert [each.button_style for each in buttons(guess).values()] == ["info", ""]


def test_a_prediction_can_be_written_in_code() -> None:
    assert imu.predict("How many?", low=0, high=1000, said=250).result(1200).words == "You said 250; it is 1,200."


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a & b"])
def test_words_are_words(hostile: str) -> None:
    guess = imu.predict(hostile, [hostile, "other"], said=hostile)
    shown = guess.result("other")
    for text in (guess.children[0].value, shown.value, guess._repr_mimebundle_()["text/html"], guess._words.value):
        assert hostile not in text and ("&lt;script&gt;" in text or "&amp;" in text)


def test_readers_without_a_kernel_see_the_words() -> None:
    guess = imu.predict("Which share?")
    assert "Which share?" in guess._repr_mimebundle_()["text/html"]
    assert "It is 0.5." in guess.result(0.5)._repr_mimebundle_()["text/html"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="low must be below high; got 1 and 0"):
        imu.predict("?", low=1, high=0)
    with pytest.raises(ValueError, match="two or more different words"):
        imu.predict("?", ["same", "Same"])
    with pytest.raises(ValueError, match="two or more different words"):
        imu.predict("?", "yes")
    with pytest.raises(ValueError, match="2 cannot be; give a number between 0 and 1"):
        imu.predict("?", said=2)
    with pytest.raises(imu.UnknownName, match="unknown answer to this prediction: 'c'"):
        imu.predict("?", ["a", "b"]).result("c")
    with pytest.raises(TypeError, match="is compared with a number; got a str"):
        imu.predict("?").result("much")
