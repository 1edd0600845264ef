"""A workbench as a page: the answers at a grid of slider positions, worked out once, with the figures and cards of each."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from plotly.utils import PlotlyJSONEncoder

from ... import figures
from ...core.knobs import Knob
from ...core.messages import listed, unknown
from ...figures import live, theme
from ..base import tables
from ..base.controls import Choice
from ..base.run_table import run_table
from ..workbench.pipeline import Answer, Pipeline, Question
from . import page
from .held import shares, spaced
from .looks import PICTURES, cards_of, column_of, sprites_of

POSITIONS = 400  # answers of a page
USUAL = ("lr", "damping", "quantile")  # sliders that move where none is named, as far as they are there
AROUND = 10.0  # on a logarithmic scale: positions from a tenth of the value to ten times as much
STAGES = ("method", "estimator", "rule")  # the slowest first: a control run is the same for all rules
PARTS = ("curves", "influence", "intensity")
UPDATES = 31  # at which the confidence of a sample is kept
SAMPLES = 400  # on cards and in the ledger
SQUEEZED = 0.5  # of their bytes that ledgers and confidence take once compressed
DIGITS = 4  # significant ones of what figures show
EQUAL_FORGETTING = 0.01


class Slider(NamedTuple):
    """A setting that moves in the page: of which stage, its knob, and its positions; ``start`` is the number of the first."""

    name: str
    stage: str
    about: Knob
    values: tuple
    start: int


def sliders_of(
    wanted: Mapping[str, Any] | Sequence[str] | None, question: Question, knobs: Mapping[str, Mapping]
) -> list[Slider]:
    """The sliders of a page.

    Args:
        wanted: names of settings, each with its positions or how many it shall have; names alone share ``POSITIONS`` answers;
            None takes the usual ones.
        question: what the controls say now; these values are among the positions.
        knobs: from a stage to the knobs of what is chosen there.

    Raises:
        UnknownName: a setting that nothing chosen has.
        ValueError: a position that a setting does not allow, a name that two stages have, or more answers than a page may
            hold.
    """
    homes: dict[str, list[str]] = {}
    for stage in STAGES:
        for name in (name for name, about in knobs[stage].items() if about.range or about.options()):
            homes.setdefault(name, []).append(stage)
    if wanted is None:
        wanted = [name for name in USUAL if len(homes.get(name, ())) == 1]
    if isinstance(wanted, str):
        wanted = [wanted]
    for name in wanted:
        if name not in homes:
            raise unknown("slider", name, list(homes))
        if len(stages := homes[name]) > 1:
            raise ValueError(f"{name!r} is a setting of {listed(stages)}, so a slider of that name could move either")
    named = (
        dict(wanted)
        if isinstance(wanted, Mapping)
        else dict.fromkeys(wanted, int(POSITIONS ** (1 / max(1, len(wanted)))))
    )
    made = [_slider(name, stage, knobs[stage][name], positions, getattr(question, stage).settings[name])
            for name, positions in named.items() for stage in homes[name]]  # fmt: skip
    count = int(np.prod([len(each.values) for each in made]))
    if count > POSITIONS:
        raise ValueError(f"these sliders have {count:,} positions together, and a page holds {POSITIONS}; give fewer for some, "
                         f"such as sliders={{{made[0].name!r}: 5}}")  # fmt: skip
    return sorted(made, key=lambda each: STAGES.index(each.stage))


def _slider(name: str, stage: str, about: Knob, positions: Any, value: Any) -> Slider:
    """Its positions, in order, with the value that is set now among them."""
    if isinstance(positions, int) and not isinstance(positions, bool):
        if positions < 1:
            raise ValueError(f"slider {name!r} needs at least one position, got {positions}")
        positions = _spread(about, value, positions)
    positions = list(positions)
    for each in positions:
        about.check("the page", name, each)
    if value not in positions:
        positions.append(value)
    ordered = list(dict.fromkeys(positions))
    if not any(isinstance(each, str) for each in ordered):
        ordered.sort(key=lambda each: (each is not None, each or 0.0))  # what is off comes first
    return Slider(name, stage, about, tuple(ordered), ordered.index(value) if value in ordered else 0)


def _spread(about: Knob, value: Any, count: int) -> list:
    """Values on both sides of the one that is set, which is one of them."""
    if about.options():
        return list(about.options())[:count]
    low, high = about.range
    start = value if value else (low * high) ** 0.5
    if about.scale == "log":
        found = np.geomspace(max(low, start / AROUND), min(high, start * AROUND), count)
    else:
        found = np.linspace(low, high, count)
    if isinstance(value, int) and not isinstance(value, bool):
        return sorted({int(round(each)) for each in found} | {value})[:count]
    found = [float(f"{each:.3g}") for each in found]
    found[int(np.argmin(np.abs(np.array(found) - start)))] = value if value is not None else found[0]
    return found


class Gathered:
    """Things that many answers share, each once, with a number."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, thing: Any) -> int:
        """The number of the thing under this key; it is taken in where it is new."""
        if key not in self._numbers:
            self._numbers[key] = len(self.things)
            self.things.append(thing)
        return self._numbers[key]


class Grid:
    """The answers at all positions, gathered in a form that a page can hold.

    Args:
        pipeline: answers questions.
        question: what the controls say; the sliders' settings are put in.
        sliders: what moves.
    """

    def __init__(self, pipeline: Pipeline, question: Question, sliders: Sequence[Slider]) -> None:
        self.pipeline, self.question, self.sliders = pipeline, question, sliders
        self.drawn = {name: Gathered() for name in PARTS}
        self.scores, self.runs = Gathered(), Gathered()
        self.answers: list[list[int]] = []
        self._live: dict[str, Any] = {}
        self.examples = spaced(pipeline.session.task.split("forget").ids.numpy(), SAMPLES)

    def fill(self, told: Callable[[int, int], None]) -> None:
        """Work all answers out; ``told`` hears how many are done, and of how many."""
        shape = [range(len(each.values)) for each in self.sliders]
        total = int(np.prod([len(each) for each in shape]))
        for done, at in enumerate(product(*shape)):
            self._take(self.answer(at))
            if not done:
                self._check_room(total)
            told(done + 1, total)

    def asked(self, at: Sequence[int]) -> Question:
        """The question at these positions."""
        settings = {stage: dict(getattr(self.question, stage).settings) for stage in STAGES}
        for slider, place in zip(self.sliders, at):
            settings[slider.stage][slider.name] = slider.values[place]
        return self.question._replace(
            **{stage: Choice(getattr(self.question, stage).name, settings[stage]) for stage in STAGES}
        )

    def answer(self, at: Sequence[int]) -> Answer:
        """The whole answer at these positions."""
        *_, whole = self.pipeline(self.asked(at), lambda *_: None)
        return whole

    def _take(self, answer: Answer) -> None:
        records = {"curves": list(answer.runs), "influence": answer.scores, "intensity": answer.weights}
        numbers = [self._draw(name, record) for name, record in records.items()]
        names = [tables.legend_name(run) for run in answer.runs]
        table = run_table(answer.runs, names, at_forget=EQUAL_FORGETTING)
        held = [self.runs.number(id(run), run) for run in answer.runs]
        self.answers.append([*numbers, self.scores.number(table, table), *held])

    def _draw(self, name: str, record: Any) -> int:
        """The number of a figure; drawn into one that stays, for only what differs is worked out then."""
        if name not in self._live:
            self._live[name] = getattr(figures, f"plot_{name}")(record)
        getattr(figures, f"update_{name}")(self._live[name], record)
        content = live.written(self._live[name])
        layout = {**content.frame, **{key: value for key, value in content.layout.items()}}
        told = json.dumps(_rounded({"data": content.traces, "layout": layout}), cls=PlotlyJSONEncoder)
        return self.drawn[name].number(told, told)

    def _check_room(self, total: int) -> None:
        """Refuse, after the first answer, what would be too large after the last."""
        moved = {stage: [len(each.values) for each in self.sliders if each.stage == stage] for stage in STAGES}
        of_scores = int(np.prod(moved["estimator"], initial=1))
        often = {
            "curves": total,
            "influence": of_scores,
            "intensity": of_scores * int(np.prod(moved["rule"], initial=1)),
        }
        needed = sum(often[name] * len(zlib.compress(made.things[0].encode())) for name, made in self.drawn.items())
        needed += total * len(self.examples) * (UPDATES + 4 * len(tables.LEDGER)) * SQUEEZED
        room = page.LARGEST * 3 / 4 - page.SHELL - PICTURES // 4
        if needed > room:
            raise ValueError(f"the page of {total} positions would take more than {page.LARGEST // 10**6} MB; about "
                             f"{max(1, int(total * room / needed))} positions fit: give the sliders fewer")  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """The ledgers and confidence curves of all runs, and which answer shows what."""
        columns = self.columns
        runs = self.runs.things
        ledgers = np.stack([run.samples.set_index("example").reindex(columns=columns).loc[self.examples].to_numpy(np.float32).T
                            for run in runs])  # fmt: skip
        longest = max((run.steps for run in runs), key=len)
        steps = spaced(longest, UPDATES)
        followed = np.stack([_followed(run, self.examples, steps) for run in runs])
        return {"examples": self.examples.astype(np.int32), "answers": np.array(self.answers, np.int32), "ledgers": ledgers,
                "confidence": followed, "steps": steps.astype(np.int32)}  # fmt: skip

    @property
    def columns(self) -> list[str]:
        """The columns of the ledger that are shown."""
        return [name for name in tables.LEDGER if name in self.runs.things[0].samples]


def _followed(run: Any, examples: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(n, s) confidence in a byte each; 255 where a run was not followed so far."""
    wide = run.trajectory.pivot(index="example", columns="step", values="confidence")
    whole = shares(wide.reindex(index=examples, columns=steps).to_numpy(dtype=float)).astype(float)
    return np.where(whole > 65_534, 255, np.round(whole / 65_534 * 254)).astype(np.uint8)


def _rounded(part: Any) -> Any:
    """The same with numbers of few digits, which take a third of the room."""
    if isinstance(part, Mapping):
        return {key: _rounded(value) for key, value in part.items()}
    if isinstance(part, np.ndarray) and part.dtype.kind == "f":
        return [_rounded(value) for value in part.tolist()]
    if isinstance(part, np.ndarray):
        return part.tolist()
    if isinstance(part, (list, tuple)):
        return [_rounded(value) for value in part]
    if isinstance(part, (float, np.floating)):
        return float(f"{part:.{DIGITS}g}") if np.isfinite(part) else None
    return part


def workbench_page(grid: Grid, title: str, about: str = "") -> str:
    """The page of a filled grid as one string of HTML; ``about`` is plain text, an empty line parts its paragraphs."""
    task = grid.pipeline.session.task
    pictures = sprites_of(task, grid.examples, PICTURES // 4)
    cards = cards_of(task, grid.examples)
    words = {
        "sliders": [_told(each) for each in grid.sliders],
        "figures": {name: [json.loads(each) for each in made.things] for name, made in grid.drawn.items()},
        "scores": grid.scores.things,
        "template": json.loads(json.dumps(theme.TEMPLATE.to_plotly_json(), cls=PlotlyJSONEncoder)),
        "columns": [column_of(name) for name in grid.columns],
        "names": [[tables.legend_name(run), figures.colour(run.label)] for run in grid.runs.things],
        "labels": [str(each) for each in grid.runs.things[0].samples.set_index("example")["label"].loc[grid.examples]],
        "cards": {str(example): card for example, card in cards.items()},
    }
    arrays = grid.arrays()
    if pictures is not None:
        arrays |= pictures.arrays()
        words["sprites"] = pictures.words()
    whole = int(len(task.split("forget")))
    notes = [
        f"{len(grid.answers):,} answers were worked out once, at the positions of the sliders; between them there are none."
    ]
    if len(grid.examples) < whole:
        notes.append(f"{len(grid.examples):,} of {whole:,} forget samples have a row and a card, evenly spaced.")
    places = {"TITLE": escape(title), "NOTES": escape(" ".join(notes)),
              "ABOUT": "".join(f"<p>{escape(part)}</p>" for part in about.split("\n\n") if part.strip())}  # fmt: skip
    return page.whole(title, page.filled("workbench_page.html", places), page.Data(words, arrays), "workbench_page.js")


class Quick(Pipeline):
    """A pipeline that does not measure the distance to the retrained model, which a page does not show."""

    def _followed(self) -> list[Any] | None:
        return None


def _told(slider: Slider) -> dict[str, Any]:
    return {"name": slider.name, "help": slider.about.help, "values": [str(each) if each is not None else "off" for each in
            slider.values], "start": slider.start}  # fmt: skip
