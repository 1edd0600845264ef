"""One self-contained HTML page of a comparison: tables, figures and what to make of them. Opens without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from ... import figures
from ...core.quantities import describe
from ...core.records import Intensity, Run
from ...studies.comparison import compare

KEPT = ("retain", "test")

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8886; }
td:first-child, th:first-child { text-align: left; white-space: nowrap; }
"""


def table(runs: Sequence[Run], at_forget: float, metric: str = "accuracy") -> pd.DataFrame:
    """What a reader compares: one row per run at equal forgetting, below the original and the retrained model.

    Args:
        runs: runs of one task, from one original, with the retrained model as their reference.
        at_forget: the forget accuracy at which they are compared.
    """
    rows = compare(runs, at_forget=at_forget).head(len(runs))
    splits = list(dict.fromkeys(runs[0].curve["split"]))
    known = runs[0].reference[runs[0].reference["metric"] == metric].set_index("split")["value"]
    ends = {"original": {split: runs[0].value(split, metric, 0) for split in splits}, "retrained": known}
    shown = [
        {"run": name, **{f"{split} {metric}": values.get(split) for split in splits}} for name, values in ends.items()
    ]
    for _, row in rows.iterrows():
        kept = {f"{split} change, points": 100 * row[f"{split} {metric} change"] for split in KEPT if split in splits}
        shown.append(row[["run", "updates", *(f"{split} {metric}" for split in splits)]].to_dict() | kept)
    frame = pd.DataFrame(shown).round(3)
    front = ["run", "updates"]
    return (
        frame[[*front, *(name for name in frame if name not in front)]]
        .astype({"updates": "Int64"})
        .astype({"updates": object})
    )


def write(runs: Sequence[Run], weights: Intensity, shown: pd.DataFrame, title: str) -> str:
    """The page as one string of HTML.

    Args:
        runs: the runs of the table, the one of interest first.
        weights: the intensities of the first run.
        shown: the table, from :func:`table`.
        title: its heading.
    """
    pictures = [figures.plot_curves(list(runs)), figures.plot_intensity(weights), figures.plot_trajectories(runs[0])]
    drawn = [
        picture.to_html(full_html=False, include_plotlyjs=number == 0, config={"displayModeBar": False})
        for number, picture in enumerate(pictures)
    ]
    accuracy = describe("accuracy")
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(accuracy.title)}: {html.escape(accuracy.meaning)} ({html.escape(accuracy.good)}). Runs are "
        "compared at equal forgetting: each at its first update with the forget accuracy asked for. A saving in updates "
        "that vanishes at equal step length is a matter of step size, not of influence.</p>",
        shown.to_html(index=False, border=0, na_rep="–"),
        *drawn,
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
