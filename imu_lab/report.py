"""One self-contained HTML page of a comparison: tables, figures and what to make of them. Opens without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from . import figures
from .comparison import compare
from .results import Intensity, Run, describe

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8886; }
td:first-child, th:first-child { text-align: left; }
"""


def table(runs: Sequence[Run], at_forget: float, metric: str = "accuracy") -> pd.DataFrame:
    """What a reader compares: one row per run at equal forgetting, one column per split, changes in points.

    Args:
        runs: runs of one task.
        at_forget: the forget accuracy at which they are compared.
    """
    rows = compare(runs, at_forget=at_forget)
    splits = list(dict.fromkeys(runs[0].curve["split"]))
    shown = rows[["run", "updates"]].copy()
    for split in splits:
        shown[f"{split} {metric}"] = rows[f"{split} {metric}"].round(3)
    for split in [name for name in splits if name in ("retain", "test")]:
        shown[f"{split} change, points"] = (100 * rows[f"{split} {metric} change"]).round(2)
    return shown


def write(runs: Sequence[Run], weights: Intensity, shown: pd.DataFrame, title: str) -> str:
    """The page as one string of HTML.

    Args:
        runs: the runs of the table, the one of interest first.
        weights: the intensities of the first run.
        shown: the table, from :func:`table`.
        title: its heading.
    """
    pictures = [figures.plot_curves(list(runs)), figures.plot_intensity(weights), figures.plot_trajectories(runs[0])]
    drawn = [picture.to_html(full_html=False, include_plotlyjs=number == 0) for number, picture in enumerate(pictures)]
    accuracy = describe("accuracy")
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(accuracy.title)}: {html.escape(accuracy.meaning)} ({html.escape(accuracy.good)}). Runs are "
        "compared at equal forgetting: each at its first update with the forget accuracy asked for. A saving in updates "
        "that vanishes at equal step length is a matter of step size, not of influence.</p>",
        shown.to_html(index=False, border=0, na_rep="not reached"),
        *drawn,
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
