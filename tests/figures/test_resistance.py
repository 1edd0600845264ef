"""What the figures of resistance draw: states, places, honest grey."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from figures.records import run as by_hand

import imu_lab as imu
from imu_lab.figures import theme
from imu_lab.figures.resistance import STATES, _resistance_info
from imu_lab.studies.explanation import Prediction

TABLE = pd.DataFrame(
    {
        "example": [7, 8, 9, 10],
        "pressure": [1.0, 0.0, 2.0, 3.0],
        "rank": [1.0, 4.0, 3.0, 2.0],
        "censored": [False, True, True, False],
        "after_limit": [False, False, False, True],
        "pressed": [True, False, True, True],
    }
)


def roles(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_each_state_has_its_trace_and_no_pressure_wins_over_never_forgotten():
    drawn = roles(imu.plot_resistance(TABLE))
    assert {role: trace.customdata.tolist() for role, trace in drawn.items()} == {
        "forgotten": [7],
        "no pressure": [8],
        "never forgotten": [9],
        "only after the limit": [10],
    }
    assert drawn["no pressure"].marker.color == drawn["only after the limit"].marker.color == theme.INK
    assert drawn["never forgotten"].x.tolist() == [2.0] and drawn["never forgotten"].y.tolist() == [3.0]


def test_going_only_after_the_limit_under_uniform_pressure_counts_where_that_is_drawn():
    table = TABLE.assign(uniform_rank=[4.0, 3.0, 2.0, 1.0], uniform_after_limit=[True, True, False, False])
    table = table.astype({"uniform_after_limit": object})
    table.loc[2, "uniform_after_limit"] = np.nan  # the uniform run did not have this sample
    for axes in ({"against": "uniform_rank"}, {"value": "uniform_rank"}):
        drawn = roles(imu.plot_resistance(table, **axes))
        assert drawn["only after the limit"].customdata.tolist() == [7, 10] and "forgotten" not in drawn
        assert drawn["no pressure"].customdata.tolist() == [8] and drawn["never forgotten"].customdata.tolist() == [9]
    assert roles(imu.plot_resistance(table))["forgotten"].customdata.tolist() == [7]


def test_what_was_wrong_from_the_start_shows_no_resistance_whatever_came_later():
    drawn = roles(imu.plot_resistance(TABLE.assign(wrong_before=[True, True, False, True])))
    wrong = drawn.pop("wrong from the start")
    assert wrong.customdata.tolist() == [7, 8, 10] and wrong.marker.color == theme.INK
    assert list(drawn) == ["never forgotten"]
    assert len({symbol for _, symbol in STATES.values()}) == len(STATES), "each state has its own marker"


def test_the_axes_are_what_was_asked():
    figure = imu.plot_resistance(TABLE.assign(uniform_rank=[1, 2, 3, 4]), against="uniform_rank")
    assert "updates" not in figure.layout.xaxis.title.text and roles(figure)["no pressure"].x.tolist() == [2.0]
    with pytest.raises(imu.UnknownName, match="Did you mean 'pressure'"):
        _resistance_info(TABLE, "presure", "rank")


def test_a_real_table_is_drawn_whole():
    margins = np.array([[3.0, 2, 1], [-1, 2, 1]])
    table = imu.resistance(by_hand({"forget": [1, 0]}, steps=[0, 1], margins=margins))
    assert sum(len(trace.x) for trace in imu.plot_resistance(table).data) == 3


def test_reasons_show_intervals_and_what_is_left_without_pressure():
    found = pd.DataFrame(
        {
            "column": ["margin_before", "influence_el2n"],
            "correlation": [0.9, -0.4],
            "low": [0.8, -0.6],
            "high": [0.95, -0.1],
            "given_pressure": [0.3, np.nan],
            "samples": 50,
        }
    )
    drawn = roles(imu.plot_reasons(found))
    assert drawn["correlation"].x.tolist() == [-0.4, 0.9] and drawn["correlation"].customdata[0][0] == "influence, el2n"
    assert cases.close(drawn["correlation"].error_x.arrayminus, [0.2, 0.1])
    assert drawn["given pressure"].x[1] == 0.3 and drawn["given pressure"].showlegend
    without = roles(imu.plot_reasons(found.assign(given_pressure=np.nan)))
    assert not without["given pressure"].showlegend, "the legend names what is drawn"


def test_dependence_draws_the_most_important_first_and_tells_the_score():
    importance = pd.DataFrame({"column": ["b", "a"], "importance": [0.5, 0.1]})
    dependence = pd.DataFrame({"column": ["a", "a", "b"], "value": [0.0, 1.0, 2.0], "predicted": [3.0, 4.0, 5.0]})
    figure = imu.plot_dependence(Prediction(0.8, 0.7, 0.9, 0.05, 0.2, 50, 5, importance, dependence))
    assert [trace.meta["role"] for trace in figure.data] == ["b", "a"]
    assert "0.80 (0.70 to 0.90); with shuffled targets 0.05" in figure.layout.title.text
