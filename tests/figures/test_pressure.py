"""Shares of pressure are drawn as the tables have them."""

from __future__ import annotations

import pandas as pd

import imu_lab as imu


def shares(*weights: float) -> pd.DataFrame:
    """A table of shares, equal parts."""
    count = len(weights)
    low = [part / count for part in range(count)]
    return pd.DataFrame({"part": range(1, count + 1), "confidence_low": low, "confidence_high": [x + 0.1 for x in low],
                         "samples": 3, "weight": weights, "selected": 1.0})  # fmt: skip


def test_a_line_per_rule_and_the_level_of_uniform_pressure() -> None:
    figure = imu.plot_pressure({"sqrt-clipped": shares(0.7, 0.3), "<b>": shares(0.5, 0.5)})
    assert [list(trace.y) for trace in figure.data] == [[0.7, 0.3], [0.5, 0.5]]
    assert figure.data[1].name == "&lt;b&gt;" and figure.layout.shapes[0].y0 == 0.5
    assert "0.50 to 0.60" in figure.layout.xaxis.ticktext[1]
    assert figure.layout.xaxis.title.text and "share" in figure.layout.yaxis.title.text


def test_no_rules_draw_an_empty_figure() -> None:
    assert not imu.plot_pressure({}).data


def test_ends_of_a_part_are_told_apart():
    table = shares(0.7, 0.3).assign(confidence_low=[0.2, 0.99961], confidence_high=[0.9, 0.99969])
    assert [text.split("p(y) ")[1] for text in imu.plot_pressure({"uniform": table}).layout.xaxis.ticktext] == [
        "0.20 to 0.90",
        "0.9996 to 0.9997",
    ]
