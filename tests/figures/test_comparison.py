"""Runs side by side: the table's numbers as dots, the original and the retrained model beside them; a trial's arms."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from figures.records import as_values

import imu_lab as imu
from imu_lab.core.messages import UnknownName
from imu_lab.figures import colour, plot_comparison, update_comparison
from imu_lab.figures.comparison import _comparison_info


def table(**changes):
    frame = pd.DataFrame(
        {
            "run": ["imu · sqrt-clipped", "imu · sqrt-clipped", "imu · uniform"],
            "seed": [0, 1, 0],
            "updates": [37, 46, 103],
            "reached": True,
            "forget accuracy": [0.01, 0.0, 0.01],
            "forget accuracy change": [-0.99, -1.0, -0.99],
            "forget accuracy gap": [0.01, 0.0, 0.01],
            "retain accuracy": [0.98, 0.97, 0.95],
            "retain accuracy change": [-0.02, -0.03, -0.05],
            "retain accuracy gap": [-0.01, -0.02, -0.04],
        }
    )
    return frame.assign(**changes)


def traces(figure, role, **meta):
    found = [trace for trace in figure.data if trace.meta["role"] == role]
    return [trace for trace in found if all(trace.meta[key] == value for key, value in meta.items())]


def test_levels_come_back_from_change_and_gap():
    levels = _comparison_info(table()).levels.set_index(["row", "split", "level"])["value"]
    assert levels[(0, "retain", "original")] == pytest.approx(1.0)
    assert levels[(1, "retain", "retrained")] == pytest.approx(0.99)
    assert levels[(0, "forget", "retrained")] == pytest.approx(0.0)


def test_each_row_of_the_table_is_a_dot_in_the_row_of_its_run():
    figure = plot_comparison(table())
    (kept,) = traces(figure, "value", split="retain")
    assert kept.x.tolist() == [0.98, 0.97, 0.95] and np.round(kept.y).tolist() == [0, 0, 1]
    assert kept.marker.color == colour("retain") and kept.xaxis == "x2"
    assert traces(figure, "value", split="forget")[0].xaxis == "x"
    assert list(figure.layout.yaxis.ticktext) == [
        "imu · sqrt-clipped<br>37 to 46 updates",
        "imu · uniform<br>103 updates",
    ]
    assert "to keep: accuracy (share correct)" == figure.layout.xaxis2.title.text


def test_a_run_that_never_got_there_says_so():
    frame = table()
    frame.loc[2, [name for name in frame if "accuracy" in name] + ["updates"]] = np.nan
    figure = plot_comparison(frame)
    assert [(note.text, note.y) for note in figure.layout.annotations] == [("never got there", 1)] * 2
    assert traces(figure, "value", split="retain")[0].x.tolist() == [0.98, 0.97]


def test_a_table_without_a_retrained_model_draws_the_original_only():
    figure = plot_comparison(table(**{"forget accuracy gap": np.nan, "retain accuracy gap": np.nan}))
    assert [len(trace.x) for trace in traces(figure, "retrained")] == [0, 0]
    assert not any(trace.showlegend for trace in traces(figure, "retrained"))
    assert [len(trace.x) for trace in traces(figure, "original")] == [2, 2]


def test_an_unknown_metric_is_refused_with_what_exists():
    with pytest.raises(UnknownName, match="'acuracy'. Did you mean 'accuracy'"):
        plot_comparison(table(), metric="acuracy")


@pytest.mark.parametrize("frame", [pd.DataFrame(), table().iloc[:0], table().iloc[:1]], ids=["none", "no rows", "one"])
def test_odd_tables_draw(frame):
    figure = plot_comparison(frame)
    assert sum(len(trace.x) for trace in traces(figure, "value")) == 2 * len(frame)
    figure.to_json()


def test_without_a_metric_it_is_the_first_of_the_table():
    frame = table().rename(columns=lambda name: name.replace("accuracy", "identity_accuracy"))
    figure = plot_comparison(frame)
    assert as_values(figure) == as_values(plot_comparison(frame, metric="identity_accuracy"))
    assert as_values(update_comparison(figure, frame)) == as_values(figure) and len(traces(figure, "value")) == 2


ROWS = [
    ("plain steps", "imu", 0, 30.0, -0.01), ("plain steps", "imu", 1, 40.0, -0.03),
    ("plain steps", "<i>", 0, 50.0, 0.0), ("plain steps", "<i>", 1, 70.0, -0.02),
    ("equal steps (0.02)", "imu", 0, 20.0, 0.0), ("equal steps (0.02)", "imu", 1, np.nan, np.nan),
    ("equal steps (0.02)", "<i>", 0, 22.0, 0.0), ("equal steps (0.02)", "<i>", 1, 24.0, 0.0),
]  # fmt: skip
TABLE = pd.DataFrame(ROWS, columns=["steps", "arm", "seed", "updates", "retain accuracy change"])
BOTH = ["updates", "retain accuracy change"]


def test_means_and_intervals_are_those_of_the_summary() -> None:
    summary = imu.over_seeds(TABLE, BOTH)
    figure = imu.plot_trial(summary)
    assert [trace.xaxis for trace in figure.data] == ["x", "x", "x2", "x2"]
    assert list(figure.data[0].x) == [35.0, 60.0] and list(figure.data[1].x) == [20.0, 23.0]
    assert np.isnan(figure.data[1].error_x.array[0]), "one seed has no interval"
    assert figure.layout.yaxis.ticktext == ("imu", "&lt;i&gt;")
    assert "share correct" in figure.layout.xaxis2.title.text and "updates" in figure.layout.xaxis.title.text
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol


def test_differences_say_to_whom() -> None:
    figure = imu.plot_trial(imu.over_seeds(TABLE, BOTH, against="imu"))
    assert "minus imu" in figure.layout.title.text and list(figure.data[0].x) == [0, 25.0]
    assert "difference" in figure.layout.xaxis.title.text


def test_beside_several_retrained_models_a_bar_reaches_from_the_goal_to_the_noise_floor():
    frame = table().rename(columns=lambda name: name.replace("accuracy", "kl_retrained"))
    frame["retain kl_retrained floor"] = frame["retain kl_retrained"] - frame["retain kl_retrained gap"]
    figure = plot_comparison(frame)
    forget, kept = traces(figure, "noise floor")
    assert not len(forget.x) and kept.xaxis == "x2" and kept.showlegend is False
    assert cases.close(kept.x, [0, 0.99, np.nan] * 2), "one in the row of each run"
    assert np.round(kept.y).tolist() == [0] * 3 + [1] * 3
    assert [list(trace.x) for trace in traces(figure, "retrained")][1] == [], "no star: the mean of several is no model"
    assert not traces(plot_comparison(table()), "noise floor")


def test_a_trial_shades_the_noise_floor_of_a_distance():
    rows = [
        ("equal steps", arm, seed, 30.0, 0.01 + 0.02 * (arm == "uniform") + 0.001 * seed)
        for arm in ("imu", "uniform")
        for seed in (0, 1)
    ]
    made = pd.DataFrame(rows, columns=["steps", "arm", "seed", "updates", "test kl_retrained"])
    quantities, floors = ["updates", "test kl_retrained"], {"test kl_retrained": 0.012}
    (band,) = imu.plot_trial(imu.over_seeds(made, quantities), floors=floors).layout.shapes
    assert (band.xref, band.x0, band.x1, band.yref) == ("x2", 0, 0.012, "paper")
    figure = imu.plot_trial(imu.over_seeds(made, quantities, against="uniform"), floors=floors)
    assert [(each.x0, each.x1) for each in figure.layout.shapes] == [(-0.012, 0.012)]
    assert "Shaded: the noise floor" in figure.layout.title.text
    assert not imu.plot_trial(imu.over_seeds(made, quantities)).layout.shapes
    with pytest.raises(UnknownName, match="quantity with a noise floor: 'test kl'.* Known: updates, test kl_retrained"):
        imu.plot_trial(imu.over_seeds(made, quantities), floors={"test kl": 1.0})
