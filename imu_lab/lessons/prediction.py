"""A prediction that a reader enters before looking, and that comes back beside what is true."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as W

from ..core.messages import kind_of, unknown
from ..widgets.base.closing import close_all
from ..widgets.base.cover import Covered, predecessor, running_cell
from ..widgets.base.reachable import reachable
from .answers import Choice, Mistyped, Number, single

WIDE = {"width": "auto", "min_width": "120px"}
COVERED = "Covered until you have entered your prediction."


class Prediction(W.VBox):
    """A question with a slider or a few words to choose from; ``.result(truth, figure)`` shows both beside each other.

    Attributes:
        question: what is asked.
        said: the prediction; None as long as there is none.
        shown: whether a cell has shown the question.
    """

    def __init__(self, question: str, kind: Choice | Number, step: float | None, said: Any) -> None:
        self.question, self.kind = str(question), kind
        self.said: Any = None
        self.shown = False
        self._results: list[Result] = []
        self._words = W.HTML()
        self._choose = self._chooser(step)
        head = W.HTML(f"<b>Predict.</b> {html.escape(self.question)}")
        super().__init__([head, self._choose, self._words])
        self.add_class("imu-reachable")
        reachable()
        self._succeed(predecessor(self))
        if said is not None:
            self.say(said)

    def _succeed(self, before: W.Widget | None) -> None:
        """Take over what waits for the same question, which a run before this one asked."""
        if isinstance(before, Prediction) and (before.question, before.kind) == (self.question, self.kind):
            for result in before._results:
                result.asked = self
            self._results, before._results = before._results, []
        if before is not None:
            before.close()

    def _chooser(self, step: float | None) -> W.Widget:
        """A button for each word; or a slider and a button that says: this is it."""
        if isinstance(self.kind, Choice):
            self._buttons = {word: W.Button(description=word, layout=W.Layout(**WIDE)) for word in self.kind.known()}
            for word, button in self._buttons.items():
                button.on_click(lambda _, word=word: self.say(word))
            return W.HBox(list(self._buttons.values()), layout=W.Layout(flex_flow="row wrap"))
        low, high = self.kind.low, self.kind.high
        self._slider = W.FloatSlider(
            low, min=low, max=high, step=step or (high - low) / 100, readout_format=".2f" if high - low <= 10 else ".0f"
        )
        button = W.Button(description="This is my prediction", layout=W.Layout(**WIDE))
        button.on_click(lambda _: self.say(self._slider.value))
        return W.HBox([self._slider, button])

    def say(self, value: Any) -> None:
        """Enter a prediction, as the buttons do.

        Raises:
            ValueError: it is none of the words, or not between the slider's ends.
        """
        try:
            self.said = self.kind(value)
        except Mistyped as error:
            raise ValueError(str(error)) from None
        self._words.value = html.escape(f"You say {written(self.said)}. Go on and see.")
        if isinstance(self.kind, Number):
            self._slider.value = self.said
        else:
            for word, button in self._buttons.items():
                button.button_style = "info" if word == self.said else ""
        for result in self._results:
            result.tell()

    def result(self, truth: Any, *things: Any) -> Result:
        """What is true, beside what was said; it changes when the prediction does.

        Args:
            truth: a number, or one of the words to choose from.
            things: what shows it (figures, tables, pictures, text, panels). In a notebook on a screen they stay covered,
                and so does the truth, until there is a prediction or "Show without predicting" is clicked. Where nobody
                can click they are shown at once. Nothing waits.

        Raises:
            TypeError: the truth is of another kind than the prediction, or there is nothing to show in one of ``things``.
            UnknownName: the truth is none of the words to choose from.
        """
        if any(thing is None for thing in things):
            raise TypeError("there is nothing to show in None; give the figure or table itself, without display(...)")
        found = single(truth)
        if isinstance(self.kind, Choice):
            if found not in self.kind.known():
                raise unknown("answer to this prediction", found, self.kind.known())
        elif isinstance(found, bool) or not isinstance(found, (int, float)):
            raise TypeError(f"a prediction from a slider is compared with a number; got {kind_of(truth)}")
        result = Result(self, found, things)
        self._results.append(result)
        return result

    def close(self) -> None:
        """Free all that it holds."""
        close_all(self.children)
        self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **how: Any) -> Any:
        self.shown = True
        return with_words(super()._repr_mimebundle_(**how), self.question, "Predict.")


class Result(W.VBox):
    """What is true of a prediction, beside what was said, and the things that show it.

    Attributes:
        asked: the prediction.
        truth: what is true.
    """

    def __init__(self, asked: Prediction, truth: Any, things: Sequence[Any] = ()) -> None:
        self.asked, self.truth = asked, truth
        self._things, self._open = Covered(things), not things
        self._sentence = W.HTML()
        self._button = W.Button(description="Show without predicting", layout=W.Layout(width="max-content"))
        self._button.on_click(lambda _: self.uncover())
        beside = W.Layout(flex_flow="row wrap", align_items="center", grid_gap="0 16px")
        super().__init__([W.HBox([self._sentence, self._button], layout=beside)])
        if (before := predecessor(self)) is not None:
            before.close()
        self.tell()

    @property
    def covered(self) -> bool:
        """Whether it waits for a prediction."""
        return not self._open

    def uncover(self) -> None:
        """Show it, with a prediction or without."""
        self._open = True
        self.tell()

    def tell(self) -> None:
        """Say it again, of what is said now."""
        self._open = self._open or self.asked.said is not None
        self._sentence.value = f"<p role='status'>{html.escape(COVERED if self.covered else self.words)}</p>"
        self._button.layout.display = None if self.covered else "none"
        (self.add_class if self.covered else self.remove_class)("imu-waiting")  # what tells of it waits, too
        if not self.covered:
            self._things.uncover()

    @property
    def value(self) -> str:
        """What is shown, as HTML."""
        return self._sentence.value

    @property
    def words(self) -> str:
        """The sentence that stands beside the things."""
        said, truth = self.asked.said, self.truth
        is_so = f"the answer is {written(truth)}" if isinstance(truth, str) else f"it is {written(truth)}"
        if said is None:
            return f"{is_so[0].upper()}{is_so[1:]}."
        return f"You said {written(said)}, and so it is." if said == truth else f"You said {written(said)}; {is_so}."

    def close(self) -> None:
        """Free all that it holds; the question stays."""
        self.asked._results = [each for each in self.asked._results if each is not self]
        self._things.close()
        close_all(self.children[-1:])
        self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **how: Any) -> Any:
        return with_words(super()._repr_mimebundle_(**how), self.words)

    def _ipython_display_(self) -> None:
        if running_cell() is None:
            self.uncover()
        if self.covered and not self.asked.shown and self.asked not in self.children:
            self.children = (self.asked, *self.children)
        self._things.show(self._repr_mimebundle_(), self.covered)


def with_words(bundle: Any, words: str, head: str = "") -> Any:
    """What a cell shows of a widget, with the same in words for whoever reads without a kernel."""
    bold = f"<b>{head}</b> " if head else ""
    told = {"text/html": f"<p>{bold}{html.escape(words)}</p>", "text/plain": f"{head} {words}".strip()}
    if bundle is None:
        return told
    data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
    return (data | told, *rest) if rest else data | told


def written(value: Any) -> str:
    """A number to three digits that count; words between quotation marks."""
    return f"“{value}”" if isinstance(value, str) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def predict(
    question: str,
    choices: Sequence[str] | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    step: float | None = None,
    said: Any = None,
) -> Prediction:
    """A prediction to enter before looking: a few words to choose from, or a slider. Nothing waits for it.

    >>> guess = imu.predict("Which share of all influence do the strongest tenth have?")
    >>> guess
    >>> guess.result(0.6, imu.plot_influence(scores))  # in a later cell: the figure, and "You said 0.2; it is 0.6."

    What ``.result`` is given beside the truth stays covered in a notebook on a screen until a prediction was entered, or
    "Show without predicting" was clicked; in JupyterLab the words below it, up to the next heading or code, wait with it.

    Args:
        question: what is asked.
        choices: the words to choose from; None for a slider from ``low`` to ``high``.
        step: of the slider; a hundredth of the way by default.
        said: a prediction written in code, for where no widgets can be used.

    Raises:
        ValueError: fewer than two choices, the same one twice, ``low`` not below ``high``, or a prediction that cannot be.
    """
    if choices is None:
        if not low < high:
            raise ValueError(f"low must be below high; got {low} and {high}")
        return Prediction(question, Number("", float(low), float(high)), step, said)
    words = [str(word) for word in choices] if not isinstance(choices, str) else [choices]
    if len(words) < 2 or len({word.casefold() for word in words}) < len(words):
        raise ValueError(f"choices are two or more different words; got {words}")
    return Prediction(question, Choice(tuple(words)), step, said)
