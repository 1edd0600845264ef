"""One self-contained HTML page of a comparison: tables, figures and what to make of them. Opens without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from ... import figures
from ...core.quantities import describe
from ...core.records import Intensity, Run

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8886; }
td:first-child, th:first-child { text-align: left; white-space: nowrap; }
"""


def write(runs: Sequence[Run], weights: Intensity, shown: pd.DataFrame, title: str) -> str:
    """The page as one string of HTML.

    Args:
        runs: the runs of the table, the one of interest first.
        weights: the intensities of the first run.
        shown: the table, from :func:`imu_lab.studies.comparison.report_table`.
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
