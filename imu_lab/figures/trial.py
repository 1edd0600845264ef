"""A trial's arms side by side: what each needed and what it cost, with intervals over seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..core.quantities import describe
from . import live, theme

KINDS = ("circle", "diamond-open", "square-open", "triangle-up-open")  # plain steps filled, equal ones open


def plot_trial(summary: pd.DataFrame) -> go.Figure:
    """A panel per quantity, a row per arm, a dot with its 95 % interval per kind of step.

    Args:
        summary: from :func:`imu_lab.over_seeds`, grouped by ``steps`` and ``arm``.
    """
    quantities, arms, kinds = (list(dict.fromkeys(summary[name])) for name in ("quantity", "arm", "steps"))
    traces = [
        _dots(summary[(summary["quantity"] == quantity) & (summary["steps"] == kind)], arms, kinds, kind, panel)
        for panel, quantity in enumerate(quantities)
        for kind in kinds
    ]
    against = summary["against"].iloc[0] if "against" in summary and len(summary) else None
    layout = {"title.text": live.heading(_headline(against), _subtitle(summary, against))}
    return live.draw(live.Content(traces, layout, _frame(quantities, arms, against)))


def _headline(against: str | None) -> str:
    return "At equal forgetting" if against is None else f"At equal forgetting, minus {theme.text(against)}'s"


def _subtitle(summary: pd.DataFrame, against: str | None) -> str:
    words = f"mean over {theme.number(summary['of'].max())} seeds, 95 % interval"
    return words + (" · an interval across 0 is no difference" if against is not None else " · none: never got there")


def _dots(rows: pd.DataFrame, arms: list[str], kinds: list[str], kind: str, panel: int) -> dict[str, Any]:
    axis, place = "" if panel == 0 else str(panel + 1), kinds.index(kind)
    colours = [theme.colour(arm) for arm in rows["arm"]]
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": {"role": "arm", "steps": kind},
        "name": theme.text(kind),
        "legendgroup": kind,
        "showlegend": panel == 0,
        "xaxis": f"x{axis}",
        "x": rows["mean"].to_numpy(),
        "y": [arms.index(arm) + 0.5 * ((place + 0.5) / len(kinds) - 0.5) for arm in rows["arm"]],
        "error_x": {
            "array": (rows["high"] - rows["mean"]).to_numpy(),
            "thickness": 1.5,
            "width": 4,
            "color": theme.INK,
        },
        "marker": {"size": 10, "color": colours, "symbol": KINDS[place % len(KINDS)], "line": {"width": 2}},
        "customdata": rows[["arm", "low", "high", "seeds", "of"]].to_numpy(),
        "hovertemplate": f"%{{customdata[0]}}, {theme.text(kind)}<br>%{{x:.4g}} "
        "(95 % interval %{customdata[1]:.4g} to %{customdata[2]:.4g})<br>%{customdata[3]} of %{customdata[4]} seeds"
        "<extra></extra>",
    }


def _frame(quantities: list[str], arms: list[str], against: str | None) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "yaxis": {
            "anchor": "free",
            "position": 0,
            "title": {"text": "arm"},
            "tickvals": list(range(len(arms))),
            "ticktext": [theme.text(arm) for arm in arms],
            "range": [len(arms) - 0.5, -0.5],
        },
        "showlegend": True,
    }
    width = 1 / len(quantities)
    for panel, quantity in enumerate(quantities):
        axis = "" if panel == 0 else str(panel + 1)
        title = _title(quantity) + ("" if against is None else "<br>difference")
        domain = [panel * width + (0.03 if panel else 0), (panel + 1) * width - (0.03 if len(quantities) > 1 else 0)]
        frame[f"xaxis{axis}"] = {
            "anchor": "y",
            "domain": domain,
            "nticks": 6,
            "title": {"text": title},
            "zeroline": True,
            "zerolinecolor": theme.INK,
        }
    return frame


def _title(quantity: str) -> str:
    """``"retain accuracy change"`` with the unit of accuracy; other columns speak for themselves."""
    known = {"updates": "updates needed<br>(count)", "seconds": "time<br>(seconds)"}
    metric = quantity.removesuffix(" change").removesuffix(" gap").split(" ", 1)[-1]
    return known.get(quantity, theme.titled(quantity, describe(metric).unit).replace(" (", "<br>("))
