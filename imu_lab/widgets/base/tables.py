"""Tables and cards as snippets of HTML: what the records say, escaped, with nothing computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import pandas as pd

from ...core.quantities import describe
from ...core.records import Run
from ...figures import live

LEDGER = ("influence", "weight", "pressure", "confidence_before", "confidence_after", "margin_after", "time_to_forget")
LONG = 12  # letters of an answer beside which numbers still have room in one line
LINE_WIDTH, LINE_HEIGHT = 250, 92


def number(value: Any, column: str = "") -> str:
    """A number in few characters, a probability with three decimals; a dash where there is none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, (bool, str)):
        return escape(str(value))
    if column.startswith("confidence"):
        return f"{value:.3f}"
    if abs(value) == float("inf"):
        return "∞" if value > 0 else "−∞"
    if float(value) == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    return f"{value:.3g}".replace("-", "−")


def title(column: str) -> str:
    """A column's heading."""
    return describe(column).title


def ledger(rows: pd.DataFrame, by: str, picture: Callable[[int], str], chosen: int | None = None) -> str:
    """The ledger as a table.

    Args:
        rows: of ``run.samples`` or a table with more columns, already in order.
        by: the column they are ordered by; it is shown first, so that it is in view where not all have room.
        picture: from an example to its ``<img>``, or to nothing.
        chosen: the example whose row is marked.
    """
    columns = [column for column in dict.fromkeys((by, *LEDGER)) if column in rows]
    head = "".join(
        f'<th class="{"imu-sorted" if column == by else ""}" title="{escape(describe(column).meaning)}">'
        f"{escape(title(column))}</th>"
        for column in columns
    )
    body = []
    names = [column for column in ("example", "label") if column in rows]
    for row in rows[names + columns].to_dict("records"):
        mark = ' class="imu-chosen"' if row["example"] == chosen else ""
        cells = "".join(f"<td>{number(row[column], column)}</td>" for column in columns)
        label = escape(str(row.get("label", "")))
        body.append(
            f'<tr{mark}><td class="imu-word">{picture(row["example"])}</td><td>{row["example"]}</td>'
            f'<td class="imu-word">{label}</td>{cells}</tr>'
        )
    return (
        f'<table><thead><tr><th></th><th>example</th><th class="imu-word">label</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def scores(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A small table with one run a row.

    Args:
        rows: with ``name``, ``colour`` and the columns.
        columns: from column to heading.
    """
    head = "".join(f"<th>{escape(text)}</th>" for text in columns.values())
    body = []
    for row in rows:
        key = f'<span class="imu-key" style="border-color: {escape(row["colour"])}"></span>'
        cells = "".join(f"<td>{number(row.get(column), column)}</td>" for column in columns)
        body.append(f'<tr><td class="imu-word">{key}{escape(row["name"])}</td>{cells}</tr>')
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def card(look: str, facts: Mapping[str, Any], lines: Sequence[tuple[str, str, pd.Series]]) -> str:
    """What is known of one sample.

    Args:
        look: the task's own HTML of the sample.
        facts: names (columns of the ledger) and values.
        lines: (name, colour, confidence by update) of each run.
    """
    listed = "".join(
        f'<dt title="{escape(describe(name).meaning)}">{escape(title(name))}</dt><dd>{number(value, name)}</dd>'
        for name, value in facts.items()
    )
    drawn = confidence_lines(lines) if lines else ""
    return f'<div class="imu-card-body"><div>{look}</div><dl>{listed}</dl>{drawn}</div>'


def answers(rows: Mapping[str, NamedTuple]) -> str:
    """What models answer to one sample, as a table: from the words for a model to its answer and other quantities.

    A quantity that no model has is left out.
    """
    facts = {words: answer._asdict() for words, answer in rows.items()}
    columns = dict.fromkeys(name for row in facts.values() for name, value in row.items() if pd.notna(value))
    head = "".join(f'<th title="{escape(describe(name).meaning)}">{escape(title(name))}</th>' for name in columns)
    body = "".join(
        f'<tr><td class="imu-word">{escape(words)}</td>'
        + "".join(f"<td{_long(row[name])}>{number(row[name], name)}</td>" for name in columns)
        + "</tr>"
        for words, row in facts.items()
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>" if columns else ""


def _long(value: Any) -> str:
    """The class of a cell whose words need several lines."""
    return ' class="imu-long"' if isinstance(value, str) and len(value) > LONG else ""


def confidence_lines(lines: Sequence[tuple[str, str, pd.Series]]) -> str:
    """Small lines of one sample's confidence over the updates, as SVG."""
    last = max((series.index.max() for *_, series in lines), default=1) or 1
    paths, left, top = [], 22, 6
    for position, (name, colour, series) in enumerate(lines):
        points = " ".join(
            f"{left + LINE_WIDTH * step / last:.1f},{top + LINE_HEIGHT * (1 - value):.1f}"
            for step, value in series.items()
        )
        paths.append(
            f'<polyline points="{points}" fill="none" stroke="{escape(colour)}" stroke-width="2" '
            f'stroke-dasharray="{"" if not position else "4 3"}"><title>{escape(name)}</title></polyline>'
        )
    bottom, right = top + LINE_HEIGHT, left + LINE_WIDTH
    frame = (
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="currentColor" stroke-opacity=".35"/>'
        f'<text x="{left - 5}" y="{top + 8}" text-anchor="end">1</text><text x="{left - 5}" y="{bottom}" '
        f'text-anchor="end">0</text><text x="{left}" y="{bottom + 14}">confidence in the label, by update</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{last:g}</text>'
    )
    return (
        f'<svg role="img" aria-label="confidence by update" width="{right + 6}" height="{bottom + 20}">'
        f"{frame}{''.join(paths)}</svg>"
    )


def caption(title: str | None) -> str:
    """A figure's title, which is already safe to show, as words that wrap; what follows its first line is small."""
    return f"<p>{live.unfolded(title or '')}</p>"


def legend_name(run: Run) -> str:
    """How a run is called in the workbench: by the rule of its weights."""
    return str(run.settings.get("weights", {}).get("rule", run.label))
