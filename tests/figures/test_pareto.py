"""The front drawn: marks where the table says, filled where nobody is better, and ways that are the runs' numbers."""

from __future__ import annotations

import cases
import plotly.graph_objects as go
import pytest
from figures.drawn import distances, front

import imu_lab as imu


def roles(figure: go.Figure) -> dict[str, list]:
    found: dict[str, list] = {}
    for trace in figure.data:
        found.setdefault(trace.meta["role"], []).append(trace)
    return found


def test_marks_stand_where_the_table_says_with_their_intervals() -> None:
    table = front("imu")
    found = roles(imu.plot_pareto(table))
    marks = {trace.meta["method"]: trace for trace in found["method"]}
    assert set(marks) == {"original", "imu", "uniform"}
    for name, mark in marks.items():
        row = table.set_index("method").loc[name]
        assert cases.close([*mark.x, *mark.y], [row["x"], row["y"]])
        assert cases.close(mark.error_x.array[0], row["x_high"] - row["x"]) and mark.error_y.array[0] > 0
        assert (mark.marker.color == "rgba(0,0,0,0)") == (not row["front"])
    assert "beaten on both by imu" in marks["uniform"].hovertemplate and "2 passes" in marks["imu"].hovertemplate
    (line,), (star,), (corner,) = found["front"], found["retrained"], found["noise floor"]
    assert list(line.x) == sorted(line.x) and len(line.x) == 2 and star.x[0] == pytest.approx(0.005)
    assert cases.close([max(corner.x), max(corner.y)], [0.03, 0.02])


def test_ways_are_what_the_runs_recorded() -> None:
    run = distances("imu")
    (way,) = roles(imu.plot_pareto(front("imu"), paths={"imu": [run]}))["path"]
    assert (
        list(way.x) == run.series("forget", "kl_retrained").tolist()
        and list(way.y) == run.series("test", "kl_retrained").tolist()
    )
    with pytest.raises(imu.UnknownName, match="unknown method of this front: 'imv'. Did you mean 'imu'"):
        imu.plot_pareto(front("imu"), paths={"imv": [run]})


def test_a_method_that_never_got_there_has_its_way_and_is_named() -> None:
    table, run = front("imu"), distances("imu")
    table.attrs["without"] = ["npo <b>"]
    figure = imu.plot_pareto(table, paths={"imu": [run], "npo <b>": [run, run]})
    shown = [(trace.meta["method"], trace.showlegend) for trace in roles(figure)["path"]]
    assert shown == [("imu", False), ("npo <b>", True), ("npo <b>", False)]
    assert "no numbers on both axes: npo &lt;b&gt;" in figure.layout.title.text
    assert "no numbers" not in imu.plot_pareto(front("imu")).layout.title.text


def test_an_interval_below_zero_moves_no_axis() -> None:
    table = front("imu")
    wide = table.assign(x_low=-50.0, x_high=50.0)
    plain, cut = imu.plot_pareto(table).layout, imu.plot_pareto(wide).layout
    assert plain.xaxis.range[0] < 0 < table["x"].max() < plain.xaxis.range[1] and plain.xaxis.range[0] > -0.1
    assert -3 < cut.xaxis.range[0] < 0 and cut.xaxis.range[1] > 50
    assert cut.yaxis.range == plain.yaxis.range


def test_a_goal_of_zero_has_no_place_on_logarithmic_axes() -> None:
    table = front("imu")
    table.loc[table["method"] == "retrained", ["x", "y"]] = 0.0
    assert "retrained" not in roles(imu.plot_pareto(table, log=True)) and "retrained" in roles(imu.plot_pareto(table))
    assert imu.plot_pareto(table, log=True).layout.xaxis.type == "log"
    with pytest.raises(ValueError, match="plot_pareto needs True or False for log, got 'no'"):
        imu.plot_pareto(table, log="no")


def test_only_a_front_is_drawn() -> None:
    with pytest.raises(
        TypeError, match=r"plot_pareto draws the table of imu.pareto\(table\); got a table without across"
    ):
        imu.plot_pareto(front("imu").drop(columns="across"))
