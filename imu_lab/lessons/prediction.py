"""A prediction that a reader enters before looking, and that comes back beside what is true."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as W

from ..core.messages import kind_of, unknown
from .answers import Choice, Mistyped, Number, single

WIDE = W.Layout(width="auto", min_width="120px")


class Prediction(W.VBox):
    """A question with a slider or a few words to choose from; ``.result(truth)`` shows both beside each other.

    Attributes:
        question: what is asked.
        said: the prediction; None as long as there is none.
    """

    def __init__(self, question: str, kind: Choice | Number, step: float | None, said: Any) -> None:
        self.question, self.kind = str(question), kind
        self.said: Any = None
        self._listeners: list = []
        self._words = W.HTML()
        self._choose = self._chooser(step)
        head = W.HTML(f"<b>Predict.</b> {html.escape(self.question)}")
        super().__init__([head, self._choose, self._words])
        if said is not None:
            self.say(said)

    def _chooser(self, step: float | None) -> W.Widget:
        """A button for each word; or a slider and a button that says: this is it."""
        if isinstance(self.kind, Choice):
            self._buttons = {word: W.Button(description=word, layout=WIDE) for word in self.kind.known()}
            for word, button in self._buttons.items():
                button.on_click(lambda _, word=word: self.say(word))
            return W.HBox(list(self._buttons.values()), layout=W.Layout(flex_flow="row wrap"))
        low, high = self.kind.low, self.kind.high
        self._slider = W.FloatSlider(
            low, min=low, max=high, step=step or (high - low) / 100, readout_format=".2f" if high - low <= 10 else ".0f"
        )
        button = W.Button(description="This is my prediction", layout=WIDE)
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
        for listener in self._listeners:
            listener()

    def result(self, truth: Any) -> Result:
        """What is true, beside what was said; it changes when the prediction does."""
        found = single(truth)
        if isinstance(self.kind, Choice):
            if found not in self.kind.known():
                raise unknown("answer to this prediction", found, self.kind.known())
        elif isinstance(found, bool) or not isinstance(found, (int, float)):
            raise TypeError(f"a prediction from a slider is compared with a number; got {kind_of(truth)}")
        shown = Result(self, found)
        self._listeners.append(shown.tell)
        return shown

    def _repr_mimebundle_(self, **how: Any) -> Any:
        return with_words(super()._repr_mimebundle_(**how), f"<p><b>Predict.</b> {html.escape(self.question)}</p>")


class Result(W.HTML):
    """What is true of a prediction, beside what was said."""

    def __init__(self, asked: Prediction, truth: Any) -> None:
        self._asked, self.truth = asked, truth
        super().__init__()
        self.tell()

    def tell(self) -> None:
        """Say it again, of what is said now."""
        self.value = f"<p>{html.escape(self.words)}</p>"

    @property
    def words(self) -> str:
        """The sentence that is shown."""
        said, truth = self._asked.said, self.truth
        is_so = f"the answer is {written(truth)}" if isinstance(truth, str) else f"it is {written(truth)}"
        if said is None:
            return f"{is_so[0].upper()}{is_so[1:]}."
        return f"You said {written(said)}, and so it is." if said == truth else f"You said {written(said)}; {is_so}."

    def _repr_mimebundle_(self, **how: Any) -> Any:
        return with_words(super()._repr_mimebundle_(**how), self.value)


def with_words(bundle: Any, words: str) -> Any:
    """What a cell shows of a widget, with the same as plain HTML for whoever reads without a kernel."""
    if bundle is None:
        return {"text/html": words}
    data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
    data = {**data, "text/html": words}
    return (data, *rest) if rest else data


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

    >>> guess = imu.predict("Which share of the weight goes to the best-known fifth?")
    >>> guess
    >>> guess.result(0.04)  # in a later cell: "You said 0.2; it is 0.04."

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
