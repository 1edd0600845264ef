"""The play button: every value once, no faster than what follows, from wherever the slider stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import ipywidgets as W
import pytest
from waiting import until

from imu_lab.widgets.explorer.player import Player

SECONDS = 10.0


@pytest.fixture
def slider() -> W.IntSlider:
    return W.IntSlider(3, 0, 6)


def seen(slider: W.IntSlider) -> list[int]:
    values: list[int] = []
    slider.observe(lambda change: values.append(change.new), "value")
    return values


def test_it_plays_from_where_the_slider_stands_to_the_end(slider: W.IntSlider) -> None:
    values, player = seen(slider), Player(slider, 0.0, lambda: None)
    player.value = True
    until(lambda: not player.value)
    assert values == [4, 5, 6] and player.icon == "play"


def test_at_the_end_it_begins_again(slider: W.IntSlider) -> None:
    slider.value = 6
    drawn: list[int] = []
    player = Player(slider, 0.0, lambda: drawn.append(slider.value))
    player.value = True
    until(lambda: not player.value)
    assert drawn == [0, 1, 2, 3, 4, 5, 6]


def test_it_waits_for_each_answer(slider: W.IntSlider) -> None:
    answered, asked = threading.Semaphore(0), []

    def follow() -> None:
        asked.append(slider.value)
        assert answered.acquire(timeout=SECONDS)

    player = Player(slider, 0.0, follow)
    player.value = True
    for value in (4, 5, 6):
        until(lambda: len(asked) == value - 3)
        assert asked[-1] == slider.value == value, "it stands still until it has been followed"
        answered.release()
    until(lambda: not player.value)


def test_it_goes_no_faster_than_asked(slider: W.IntSlider) -> None:
    player, began = Player(slider, 0.05, lambda: None), time.perf_counter()
    player.value = True
    until(lambda: not player.value)
    assert time.perf_counter() - began >= 3 * 0.05


def test_a_second_click_stops_it_and_a_third_goes_on_alone(slider: W.IntSlider) -> None:
    slider.value = 0
    values, player = seen(slider), Player(slider, 0.05, lambda: None)
    for pressed in (True, False, True):
        player.value = pressed
    until(lambda: not player.value)
    assert values == sorted(set(values)), "the first thread does not play beside the second"
    assert slider.value == 6 and player.icon == "play"


def test_a_slider_moved_by_hand_is_played_on_from_there(slider: W.IntSlider) -> None:
    slider.max = 100
    values = seen(slider)

    def jump() -> None:
        if slider.value == 5:
            slider.value = 98

    player = Player(slider, 0.0, jump)
    player.value = True
    until(lambda: not player.value)
    assert values == [4, 5, 98, 99, 100]


def test_an_error_is_told_and_lets_the_button_go(slider: W.IntSlider) -> None:
    told: list[Exception] = []

    def guarded(callback: Callable) -> Callable:
        def call(*arguments: object) -> None:
            try:
                callback(*arguments)
            except ValueError as error:
                told.append(error)

        return call

    def fails() -> None:
        raise ValueError("no picture")

    player = Player(slider, 0.0, fails, guarded)
    player.value = True
    until(lambda: not player.value and bool(told))
    assert slider.value == 4 and player.icon == "play"
