"""What holds of every ``plot_*`` on every record it takes. The numbers drawn have their own tests, file by file."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from figures import records
from figures.drawn import FIGURES, MARGINS, UPDATED, USUAL, Given
from figures.records import as_values

import imu_lab as imu
from imu_lab import figures
from imu_lab.figures import theme

LONG = "a very long name " * 40
HOSTILE = {
    "script": "<script>alert(1)</script>", "bold": "<b>bold</b>", "fill-in": "%{x}", "quote": "\"'&", "long": LONG,
    "unicode": "Ünïcødé 数字 🙂", "empty": "",
}  # fmt: skip
CHECKED = ("script", "empty")  # the words of `make check`
NEVER = ("<script", "<b>bold", "%{x}<b>")
IDENTITY = ("meta", "legendgroup", "uid", "type", "source", "dtype", "bdata")  # not shown to anybody
CASES = [
    pytest.param(name, way, id=f"{name}, {way}")
    for name, figure in FIGURES.items()
    for way in ("usual", *figure.others)
]
every_case = pytest.mark.parametrize(("name", "way"), CASES)


def asked(name: str, way: str, word: str = USUAL) -> Given:
    """The records of one case."""
    figure = FIGURES[name]
    return (figure.usual if way == "usual" else figure.others[way])(word)


def drawn(name: str, given: Given) -> go.Figure:
    """The figure of these records."""
    return getattr(imu, name)(*given[0], **given[1])


@cache
def seen(name: str, way: str) -> go.Figure:
    """The figure of one case, for all who look at it and change nothing."""
    return drawn(name, asked(name, way))


def texts(part: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string that a figure may show, with where it stands."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key not in IDENTITY:
                yield from texts(value, f"{path}.{key}")
    elif isinstance(part, list):
        for value in part:
            yield from texts(value, path)
    elif isinstance(part, str):
        yield path, part


def shown(figure: go.Figure) -> list[tuple[str, str]]:
    """All words of a figure, without the template's."""
    traces, layout = as_values(figure)
    layout.pop("template")
    return list(texts({"data": traces, "layout": layout}))


def plain(words: str) -> str:
    """What a reader sees of a text."""
    return re.sub(r"%\{[^}]*\}|<[^>]*>", " ", words or "").strip()


def test_every_figure_has_its_case() -> None:
    assert {name for name in dir(imu) if name.startswith("plot_")} == set(FIGURES)
    assert {name for name in dir(figures) if name.startswith("update_")} == {each.__name__ for each in UPDATED.values()}


@every_case
def test_title_and_looks(name: str, way: str) -> None:
    figure = seen(name, way)
    assert len(plain(figure.layout.title.text)) > 5
    assert figure.layout.template == theme.TEMPLATE and figure.layout.paper_bgcolor is None
    caption = figure.layout.title.text.partition("<br>")[2]
    assert not caption or not plain(caption)[0].islower() and plain(caption)[-1] in ".!?", "captions are sentences"
    figure.to_json()


@every_case
def test_every_axis_has_a_name_and_numbers_have_a_unit(name: str, way: str) -> None:
    figure = seen(name, way)
    axes = {axis: figure.layout[axis] for axis in figure.layout if re.fullmatch(r"[xy]axis\d*", axis)}
    titled = {axis for axis, value in axes.items() if value.visible and plain(value.title.text or "")}
    for axis, value in axes.items():
        if not value.visible or silent(value):
            continue
        beside = [other for other in titled if other[0] == axis[0] and in_line(figure, axis, other)]
        assert axis in titled or beside, f"{axis} has no title, and none in line with it has"
        words = (value if axis in titled else axes[beside[0]]).title.text
        named = value.ticktext is not None and not all(is_number(each) for each in value.ticktext)
        assert named or "(" in words or not len(figure.data), f"{axis}: {words!r} does not say its unit"


def silent(axis: Any) -> bool:
    """Whether an axis has no numbers to name, for what it holds is pictures."""
    return axis.showticklabels is False or axis.fixedrange is True


def is_number(words: str) -> bool:
    return bool(re.fullmatch(r"[−-]?[\d.,]+( .*)?", str(words)))


def in_line(figure: go.Figure, one: str, other: str) -> bool:
    """Whether two axes of one direction cover the same part of the figure, so that one title serves both."""
    return figure.layout[one].domain == figure.layout[other].domain


@every_case
def test_every_trace_answers_the_mouse_in_words(name: str, way: str) -> None:
    for trace in seen(name, way).data:
        if trace.hoverinfo == "skip" or not marks(trace):
            continue
        template = trace.hovertemplate
        assert template and "<extra>" in template, trace.meta
        filled = {found for found in re.findall(r"%\{(\w+)", template)}
        assert filled and all(trace[key] is not None for key in filled), "what is filled in must be there"
        said = plain(template) or " ".join(map(str, np.ravel(trace.customdata)))
        assert re.search(r"[a-z]{3}", said), template


@pytest.mark.few
@pytest.mark.parametrize(
    "word", [pytest.param(w, id=n, marks=[pytest.mark.full] * (n not in CHECKED)) for n, w in HOSTILE.items()]
)
@every_case
def test_words_of_a_user_are_words_and_nothing_else(name: str, way: str, word: str) -> None:
    figure = drawn(name, asked(name, way, word))
    figure.to_json()
    for place, words in shown(figure):
        assert not any(each in words for each in NEVER), place
        assert len(words) < 900, f"{place} is too long to show"
    if word == HOSTILE["unicode"] and not FIGURES[name].settled and way == "usual":
        assert any(word in words for _, words in shown(figure)), "the word must be seen somewhere"


@pytest.mark.parametrize("name", [name for name, figure in FIGURES.items() if not figure.settled])
def test_a_name_cannot_fill_in_values(name: str) -> None:
    """``%{x}`` in a template is filled in by plotly; the name must stand there as itself."""
    given, other = (FIGURES[name].usual(word) for word in ("%{x}", "plain"))
    for odd, usual in zip(drawn(name, given).data, drawn(name, other).data):
        for key in ("hovertemplate", "texttemplate"):
            if getattr(usual, key, None):
                fills = [re.findall(r"%\{[^}]*\}", getattr(trace, key)) for trace in (odd, usual)]
                assert fills[0] == fills[1]


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, figure in FIGURES.items() for n in range(len(figure.empty))]
)
def test_nothing_to_draw_is_said(name: str, number: int) -> None:
    given = FIGURES[name].empty[number]()
    try:
        figure = drawn(name, given)
    except ValueError as refused:
        assert re.search(r"\b(no|nothing|followed)\b", str(refused)) and len(str(refused)) > 20
        return
    words = " ".join(words for place, words in shown(figure) if "title" in place or "annotations" in place)
    assert re.search(r"\b([Nn]o|[Nn]othing)\b", plain(words)), words
    assert not any(np.nan_to_num(np.asarray(trace.y, dtype=float)).any() for trace in figure.data if marks(trace))


def marks(trace: Any) -> bool:
    """Whether a trace shows values, and not a line for the eye alone."""
    values = trace.z if trace.type == "heatmap" else trace.x
    return trace.hoverinfo != "skip" and values is not None and np.size(values) > 0


def test_every_figure_was_given_nothing() -> None:
    assert [name for name, figure in FIGURES.items() if not figure.empty] == []


@every_case
def test_the_record_is_not_changed(name: str, way: str) -> None:
    given = asked(name, way)
    before = copy.deepcopy([content(each) for each in given[0]])
    drawn(name, given)
    assert all(alike(one, content(other)) for one, other in zip(before, given[0], strict=True))


def content(record: Any) -> Any:
    """What a record holds, as frames, arrays and plain values."""
    if is_dataclass(record):
        return {part.name: content(getattr(record, part.name)) for part in fields(record) if part.repr}
    if isinstance(record, dict):
        return {key: content(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [content(each) for each in record]
    return record


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, pd.DataFrame):
        return one.equals(other) and one.attrs == other.attrs
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one is other or bool(one == other)


@pytest.mark.few(2)
@pytest.mark.parametrize("widget", [False, pytest.param(True, marks=pytest.mark.full)], ids=["figure", "widget"])
@pytest.mark.parametrize("name", UPDATED)
def test_an_update_draws_what_a_new_figure_draws(name: str, widget: bool) -> None:
    case = FIGURES[name]
    every = [asked(name, way) for way in ("usual", *case.others)] + [make() for make in case.empty]
    every += [asked(name, "usual", word) for word in HOSTILE.values()]
    figure = drawn(name, every[0])
    figure = go.FigureWidget(figure) if widget else figure
    for given in every + every[::-1]:
        assert UPDATED[name](figure, *given[0], **given[1]) is figure
        assert as_values(figure) == as_values(drawn(name, given))


@every_case
def test_a_split_a_rule_and_a_run_have_their_own_colour(name: str, way: str) -> None:
    for trace in seen(name, way).data:
        named = {key: value for key in ("split", "run", "rule", "draw") if (value := (trace.meta or {}).get(key))}
        if not named:
            continue
        fixed = {theme.colour(value) for value in named.values()} | {theme.INK, theme.colour("retrain")}
        fixed |= {theme.faint(colour) for colour in fixed}
        used = {trace.line.color if "line" in trace else None, getattr(trace.marker, "color", None), trace.fillcolor}
        assert {each for each in used if each is not None} <= fixed, (named, used)


# What each figure refuses: everything that another one takes, unless it is the obvious thing.

RUN = records.run({"forget": [1.0, 0.0]}, steps=[0, 1], margins=MARGINS[:2])
WRONG = {
    "a run": RUN,
    "runs": [RUN, RUN],
    "nothing": None,
    "a word": "imu",
    "numbers": np.arange(5.0),
    "another table": pd.DataFrame({"word": ["a", "b"], "number": [1, 2]}),
    "a table of numbers": pd.DataFrame({"samples": [0.0, 1.0], "weight": [0.0, 1.0]}),
    "labelled": {"a": 1.0},
}
RUNS = {"plot_curves": ("a run", "runs"), "plot_comparison": ("a run", "runs"), "plot_trajectories": ("a run",),
        "plot_resistance": ("a run",)}  # fmt: skip
ASKED = {  # a run is the obvious thing, but this one has no model that could be asked, or recorded something else
    "plot_collateral": ("a run",), "plot_damage_by_sample": ("a run",), "plot_damage": ("a run",),
    "plot_transitions": ("a run",), "plot_forgetting_damage": ("a run", "runs"),
    "plot_quality_utility": ("a run", "runs"), "plot_leakage": ("a run",),
}  # fmt: skip


def refused(name: str, given: Any, *more: Any) -> None:
    """One sentence that begins with the figure's name and says which call gives what it draws."""
    with pytest.raises(TypeError, match=rf"^{name} draws .*imu\.\w+.*; got [^\n]+$") as caught:
        getattr(imu, name)(given, *more)
    assert len(str(caught.value)) < 300 and caught.value.__cause__ is None


@pytest.mark.parametrize("name", FIGURES)
def test_what_it_does_not_draw_is_refused_with_the_call_that_gives_what_it_does(name: str) -> None:
    more = asked(name, "usual")[0][1:]
    for wrong, given in WRONG.items():
        if wrong in RUNS.get(name, ()):
            assert getattr(imu, name)(given, *more).data
        elif wrong in ASKED.get(name, ()):
            with pytest.raises(ValueError, match="this run|these runs|followed"):
                getattr(imu, name)(given, *more)
        else:
            refused(name, given, *more)


@pytest.mark.few(6)
@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_draws_the_record_of_another(name: str) -> None:
    """Figures of one kind of record aside, such as two that draw influences, or that take what the other takes."""
    mine = FIGURES[name].usual(USUAL)[0]
    for other in FIGURES:
        given = asked(other, "usual")[0]
        alike = type(given[0]) is type(mine[0]) and not isinstance(given[0], (pd.DataFrame, dict, list))
        try:
            figure = getattr(imu, name)(given[0], *mine[1:])
        except (TypeError, ValueError) as error:
            assert not alike or isinstance(error, ValueError)
            assert "\n" not in str(error) and "Traceback" not in str(error)
            continue
        same = other == name or alike or {name, other} <= FAMILY or {name, other} in TAKEN
        assert same, f"{name} drew the record of {other}: {figure.layout.title.text}"


FAMILY = {"plot_retrieval", "plot_cmc"}
TAKEN = [  # a run, or runs, is the obvious thing; the table of one sample's damage has what that of all has
    {"plot_comparison", "plot_curves"}, {"plot_comparison", "plot_trajectories"}, {"plot_comparison", "plot_transitions"},
    {"plot_resistance", "plot_trajectories"}, {"plot_resistance", "plot_transitions"}, {"plot_curves", "plot_trajectories"},
    {"plot_curves", "plot_transitions"}, {"plot_collateral", "plot_damage_by_sample"}, {"plot_resistance", "plot_curves"},
    {"plot_trajectories", "plot_transitions"}, {"plot_forgetting_damage", "plot_curves"},
    {"plot_forgetting_damage", "plot_comparison"}, {"plot_quality_utility", "plot_curves"},
    {"plot_quality_utility", "plot_comparison"},
]  # fmt: skip


def test_a_run_draws_what_its_table_draws() -> None:
    assert as_values(imu.plot_resistance(RUN)) == as_values(imu.plot_resistance(imu.resistance(RUN)))
    assert as_values(imu.plot_comparison([RUN, RUN])) == as_values(imu.plot_comparison(imu.compare([RUN, RUN])))
    assert imu.plot_resistance(table=imu.resistance(RUN)).data
