"""Titles: the words under one are folded where a figure would cut them, and only there."""

from __future__ import annotations

import pytest
from figures import records
from PIL import ImageFont

import imu_lab as imu
from imu_lab.figures import live, theme

WORDS = "Numbers are the tokens &lt;of a sample&gt;; near means alike and far means that they are not. " * 3


def lines(figure) -> list[str]:
    return figure.layout.title.text.split("<br>")


def test_long_words_stand_in_lines_that_fit_and_push_the_panels_down() -> None:
    short = live.draw(live.Content([], {"title.text": live.heading("A title", "Few words")}, {}))
    long = live.draw(live.Content([], {"title.text": live.heading("A title", WORDS.strip())}, {}))
    assert len(lines(short)) == 2 and short.layout.margin.t is None
    assert len(lines(long)) == 4 and long.layout.margin.t == theme.TEMPLATE.layout.margin.t + 2 * live.LINE
    font, widest = ImageFont.load_default(12), max(lines(long)[1:], key=len)
    assert font.getlength(widest[-live.LETTERS :]) < 700 - 58 - 8
    framed = live.Content([], {"title.text": live.heading("A title", WORDS.strip())}, {"margin": {"t": 92}})
    assert live.draw(framed).layout.margin.t == 92 + 2 * live.LINE


def test_a_title_that_grows_or_shrinks_takes_and_gives_room_unless_a_panel_has_decided() -> None:
    few, many = (
        live.Content([], {"title.text": live.heading("A title", words)}, {}) for words in ("Few", WORDS.strip())
    )
    figure = live.draw(few)
    seen = [live.update(figure, each).layout.margin.t for each in (many, many, few)]
    assert seen == [live.draw(many).layout.margin.t, live.draw(many).layout.margin.t, None]
    figure.layout.margin.t = 20
    assert [live.update(figure, each).layout.margin.t for each in (many, few)] == [20, 20]


def test_folding_changes_spaces_alone() -> None:
    title = live.heading("A title", WORDS.strip())
    assert live.unfolded(live.folded(title)) == title == live.unfolded(title)
    assert live.folded(live.folded(title)).count("<br>") == live.folded(title).count("<br>")
    assert live.folded("alone") == live.unfolded("alone") == "alone"
    assert live.folded(live.heading("A title", "x" * 300)).count("<br>") == 1, "a word is never broken"


@pytest.mark.parametrize("limit", [None, 1])
def test_the_curves_of_a_collapsed_run_say_all_they_have_to_say(limit: int | None) -> None:
    run = records.run({"forget": [1.0, 0.0], "retain": [1.0, 0.5]}, steps=[0, 1], events={"utility_limit": limit})
    drawn = imu.plot_curves([run])
    assert max(map(len, lines(drawn)[1:])) <= live.LETTERS + len('<span style="font-size:12px">')
    assert ("Grey: kept accuracy down 5 points." in live.unfolded(drawn.layout.title.text)) == (limit is not None)
