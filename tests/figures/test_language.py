"""The views on pairs: the numbers drawn are those of the records."""

from __future__ import annotations

import cases
import pandas as pd
from figures import drawn

import imu_lab as imu
from imu_lab.measures.truth_ratio import beside
from imu_lab.studies.leakage import WHEN


def traces(figure: object, role: str) -> list:
    return [trace for trace in figure.data if trace.meta["role"] == role]


def test_truth_ratios_are_the_curves_and_the_bar_is_the_distance() -> None:
    tables = [pd.DataFrame({"example": range(4), "author": "A", "truth_ratio": values})
              for values in ([0.1, 0.5, 0.5, 2.0], [0.2, 1.5, 2.0, 3.0])]  # fmt: skip
    figure = imu.plot_truth_ratio(beside({"now": tables[0]}, {"retrained": tables[1]}))
    (model,), (goal,), (bar,) = (traces(figure, role) for role in ("model", "retrained", "distance"))
    assert list(model.x) == [0.1, 0.5, 0.5, 2.0] and list(model.y) == [0.25, 0.75, 0.75, 1.0]
    assert list(goal.x) == [0.2, 1.5, 2.0, 3.0] and goal.line.dash != "solid"
    assert list(bar.x) == [0.5, 0.5] and list(bar.y) == [0.75, 0.25], "as long as the distance, where it is reached"
    assert "KS 0.50" in model.name and "KS" not in goal.name and "0.500" in bar.hovertemplate


def test_a_ratio_of_zero_has_its_place_and_says_what_it_is() -> None:
    (model,) = traces(imu.plot_truth_ratio(drawn.ratios("now", "retrained")), "model")
    assert model.x[0] == 1e-10 and model.customdata[0][1] == "0"


def test_the_map_holds_the_changes_forgotten_first() -> None:
    rows = [("a", False, -0.1), ("b", True, -0.9), ("c", False, -0.4), ("d", True, -0.95)]
    table = pd.concat([pd.DataFrame(
        [(name, label, gone, 10, *[change * scale] * 9) for label, gone, change in rows],
        columns=["pressed", "label", "forgotten", "samples",
                 *(f"{each}_{when}" for each in ("loss", "probability", "right") for when in WHEN)],
    ) for name, scale in (("all together", 1.0), ("retrained", 0.5))])  # fmt: skip
    figure = imu.plot_leakage(table)
    (map_,) = traces(figure, "change")
    assert list(figure.layout.xaxis.ticktext) == ["d", "b", "c", "a"], "the most damaged first on either side"
    assert list(figure.layout.yaxis.ticktext) == ["all together", "retrained"]
    assert cases.close(map_.z, [[-0.95, -0.9, -0.4, -0.1], [-0.475, -0.45, -0.2, -0.05]])
    assert figure.layout.shapes[0].x0 == 1.5 and map_.zmax == -map_.zmin == 0.95
    worst = imu.plot_leakage(table, value="loss").layout.xaxis.ticktext
    assert list(worst) == ["b", "d", "a", "c"], "a loss is damage where it rises"


def test_facts_and_means_of_each_lesson() -> None:
    record = drawn.back("A", "nothing", "same author", "kept authors")
    figure = imu.plot_comeback(record)
    facts, (means,), (goal,) = (traces(figure, role) for role in ("fact", "mean", "retrained"))
    assert cases.close([sorted(trace.x) for trace in facts], [[0.3, 0.4]] * 3) and cases.close(means.x, 0.35)
    assert list(means.y) == [0, 1, 2] == list(goal.y) and cases.close(goal.x, 0.05)
    assert list(figure.layout.yaxis.ticktext)[1] == "same author<br>(5 facts learned)"
