"""What shows the truth stays covered where somebody can predict, and is shown at once where nobody can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as W
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Image, Markdown, display
from IPython.utils.capture import capture_output
from ipywidgets.widgets.widget import _instances

import imu_lab as imu
from imu_lab.widgets.base.cover import VIEW

HOSTILE = "<img src=x onerror=alert(1)>"


class Notebook:
    """A cell's outputs as a notebook keeps them: new ones one below the other, updates in their place."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell, self._runs = shell, 0
        self.outputs: list[dict] = []

    def run(self, cell: Callable[[], Any], name: str | None = "a") -> Any:
        """Run a cell, which shows what it returns; without a name as nbconvert does."""
        self._runs += 1
        request = {"header": {"msg_id": str(self._runs)}, "metadata": {"cellId": name} if name else {}}
        self._shell.get_parent = lambda: request
        with self.listening():
            shown = cell()
            display(shown)
        self._shell.get_parent = lambda: {"header": {"msg_id": "click"}, "metadata": {}}
        return shown

    def listening(self) -> Any:
        """Take in what is displayed."""
        return _Taken(self.outputs)

    def told(self) -> str:
        """All that a page without widgets shows."""
        return str([{kind: value for kind, value in each["data"].items() if kind != VIEW} for each in self.outputs])


class _Taken:
    def __init__(self, outputs: list[dict]) -> None:
        self._outputs, self._capture = outputs, capture_output(stdout=False, stderr=False)

    def __enter__(self) -> None:
        self._caught = self._capture.__enter__()

    def __exit__(self, *how: Any) -> None:
        self._capture.__exit__(*how)
        for new in self._caught._outputs:
            name = (new["transient"] or {}).get("display_id")
            if new.get("update"):
                places = [
                    at for at, old in enumerate(self._outputs) if (old["transient"] or {}).get("display_id") == name
                ]
                assert places, "an update of what was shown"
                for at in places:
                    self._outputs[at] = new
            else:
                self._outputs.append(new)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook on a screen."""
    monkeypatch.delenv("IMU_LAB_STATIC", raising=False)
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")
    yield Notebook(InteractiveShell.instance())
    InteractiveShell.clear_instance()


def figure() -> go.Figure:
    return go.Figure(go.Scatter(y=[1, 2], name="a line"))


def button(widget: W.Widget, words: str) -> W.Button:
    """The button of these words inside a widget."""
    (found,) = [each for each in inside(widget) if isinstance(each, W.Button) and each.description == words]
    return found


def inside(widget: W.Widget) -> list[W.Widget]:
    """A widget and all that it holds."""
    return [widget, *(each for child in getattr(widget, "children", ()) for each in inside(child))]


PLOTLY = "application/vnd.plotly.v1+json"


def test_things_are_covered_and_come_with_the_prediction(notebook: Notebook) -> None:
    guess = imu.predict("Which share?")
    notebook.run(lambda: guess, "question")
    notebook.outputs.clear()
    table = pd.DataFrame({"a": ["of the table"]})
    shown = notebook.run(lambda: guess.result(0.9, figure(), table))
    head, *things = notebook.outputs
    assert shown.covered and "0.9" not in shown.value and "Covered until" in shown.value
    assert len(things) == 2 and VIEW in head["data"]
    covers = [_instances[each["data"][VIEW]["model_id"]] for each in things]
    assert [each.outputs for each in covers] == [(), ()], "a page that shows widgets shows nothing yet"
    assert PLOTLY in things[0]["data"] and "of the table" in things[1]["data"]["text/html"], "any other page shows all"
    with notebook.listening():
        guess.say(0.2)
    assert not shown.covered and shown.words == "You said 0.2; it is 0.9." and shown.words in shown.value
    _, drawn, table = notebook.outputs
    assert len(notebook.outputs) == 3 and VIEW not in drawn["data"] and VIEW not in table["data"]
    assert drawn["data"][PLOTLY]["data"][0]["name"] == "a line" and "of the table" in table["data"]["text/html"]
    assert [each.outputs[0]["data"] for each in covers] == [drawn["data"], table["data"]], "for a page loaded again"
    with notebook.listening():
        guess.say(0.4)
    assert len(notebook.outputs) == 3 and "You said 0.4; it is 0.9." in shown.value
    assert notebook.outputs[1] is drawn, "the figure stays"


def test_nobody_is_stuck(notebook: Notebook) -> None:
    guess = imu.predict("Who?", ["we", "they"])
    shown = notebook.run(lambda: guess.result("we", Markdown("*because*")))
    show = button(shown, "Show without predicting")
    assert show.layout.display is None, "it is there"
    with notebook.listening():
        show.click()
    assert not shown.covered and "The answer is “we”." in shown.value and show.layout.display == "none"
    assert notebook.outputs[-1]["data"].keys() == {"text/markdown", "text/plain"}
    with notebook.listening():
        guess.say("they")
    assert "You said “they”; the answer is “we”." in shown.value and len(notebook.outputs) == 2


def test_who_has_predicted_sees_it_at_once(notebook: Notebook) -> None:
    shown = notebook.run(lambda: imu.predict("Which share?", said=0.2).result(0.9, figure()))
    assert not shown.covered and "You said 0.2; it is 0.9." in shown.value
    assert notebook.outputs[1]["data"].keys() == {PLOTLY, "text/plain"} or VIEW not in notebook.outputs[1]["data"]


@pytest.mark.parametrize("nobody", ["no cell", "pictures"])
def test_where_nobody_can_click_all_is_shown(notebook: Notebook, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if nobody == "pictures":
        monkeypatch.setenv("IMU_LAB_STATIC", "1")
    picture = Image(data=b"\x89PNG\r\n\x1a\n", format="png")
    guess = imu.predict("Which share?")
    shown = notebook.run(lambda: guess.result(0.9, figure(), picture), None if nobody == "no cell" else "a")
    head, *things = notebook.outputs
    assert not shown.covered and "It is 0.9." in shown.value
    assert head["data"]["text/html"] == "<p>It is 0.9.</p>" and head["data"]["text/plain"] == "It is 0.9."
    assert [VIEW in each["data"] for each in things] == [False, False]
    assert PLOTLY in things[0]["data"] and "image/png" in things[1]["data"]


def test_a_page_without_widgets_shows_words_and_pictures_of_what_is_covered(notebook: Notebook) -> None:
    shown = notebook.run(lambda: imu.predict("Which share?").result(0.9, Image(data=b"\x89PNG", format="png")))
    head, picture = notebook.outputs
    assert shown.covered and head["data"]["text/html"] == "<p>It is 0.9.</p>"
    assert picture["data"]["image/png"] == "iVBORw==" or isinstance(picture["data"]["image/png"], str)


def test_nothing_is_drawn_twice(notebook: Notebook) -> None:
    class Thing:
        drawn = 0

        def _repr_png_(self) -> bytes:
            self.drawn += 1
            return b"\x89PNG"

    thing, guess = Thing(), imu.predict("Which share?")
    notebook.run(lambda: guess.result(0.9, thing))
    with notebook.listening():
        guess.say(0.2)
    assert thing.drawn == 1 and isinstance(notebook.outputs[-1]["data"]["image/png"], str), "bytes are sent as text"


def test_a_question_that_was_not_shown_is_asked_beside_its_answer(notebook: Notebook) -> None:
    hidden, seen = imu.predict("Which share?"), imu.predict("Which share?")
    notebook.run(lambda: seen, "question")
    assert hidden in inside(notebook.run(lambda: hidden.result(0.9, figure())))
    shown = hidden.result(0.9, figure())
    for cell in ("c", "d"):
        notebook.run(lambda: shown, cell)
    assert inside(shown).count(hidden) == 1, "once, however often it is shown"
    assert seen not in inside(notebook.run(lambda: seen.result(0.9, figure()), "b"))


def test_two_answers_to_one_question(notebook: Notebook) -> None:
    guess = imu.predict("Which share?")
    one = notebook.run(lambda: guess.result(0.9, Markdown("one")), "a")
    two = notebook.run(lambda: guess.result(0.3, Markdown("two")), "b")
    with notebook.listening():
        button(one, "Show without predicting").click()
    assert not one.covered and two.covered
    with notebook.listening():
        guess.say(0.1)
    assert (one.words, two.words) == ("You said 0.1; it is 0.9.", "You said 0.1; it is 0.3.") and not two.covered


def test_a_cell_that_runs_again_frees_what_it_had_made(notebook: Notebook) -> None:
    cells = {
        "question": lambda: imu.predict("Which share?"),
        "answer": lambda: asked[-1].result(0.9, figure(), Markdown("more")),
    }
    asked, counts = [], []
    for _ in range(3):
        asked.append(notebook.run(cells["question"], "question"))
        notebook.run(cells["answer"], "answer")
        counts.append(len(_instances))
    assert counts[0] == counts[1] == counts[2]
    notebook.run(cells["answer"], "answer")
    assert len(_instances) == counts[0] and len(asked[-1]._results) == 1, "and the question no longer knows it"


def test_a_question_asked_again_speaks_to_the_answer_that_waits(notebook: Notebook) -> None:
    def question() -> Any:
        return imu.predict("Which share?")

    guess = notebook.run(question, "question")
    shown = notebook.run(lambda: guess.result(0.9, Markdown("more")), "answer")
    again = notebook.run(question, "question")
    with notebook.listening():
        again.say(0.2)
    assert not shown.covered and shown.words == "You said 0.2; it is 0.9."
    other = notebook.run(lambda: imu.predict("Which other share?"), "question")
    with notebook.listening():
        other.say(0.3)
    assert shown.words == "You said 0.2; it is 0.9.", "it was asked something else"


def test_words_are_words_beside_covered_things(notebook: Notebook) -> None:
    guess = imu.predict("Who?", [HOSTILE, "other"])
    shown = notebook.run(lambda: guess.result(HOSTILE, Markdown("more")))
    with notebook.listening():
        guess.say("other")
    assert HOSTILE not in shown.value + notebook.outputs[0]["data"]["text/html"] and "&lt;img" in shown.value


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(TypeError, match=r"nothing to show in None; give the figure or table itself, without display"):
        imu.predict("?").result(0.9, None)
    assert not imu.predict("?").result(0.9).covered, "a truth alone needs no cover"
