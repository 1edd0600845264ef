"""Fresh heads on frozen features: the marks are the table's numbers, each model in its own look."""

from __future__ import annotations

from figures.drawn import heads

from imu_lab.figures import colour, plot_head_only
from imu_lab.figures.theme import INK


def test_each_mark_is_a_number_of_the_table() -> None:
    table = heads("imu · uniform", "curvature-ascent")
    figure = plot_head_only(table)
    assert len(figure.data) == 2 * 4, "two panels of two runs, the original and the goal"
    for trace in figure.data:
        split = "test" if trace.xaxis == "x2" else "test-forget"
        column = {"original": "original", "retrained": "goal"}.get(trace.meta["role"], trace.meta.get("run"))
        mine = table[table["split"] == split]
        assert list(trace.x) == mine[column].tolist() and list(trace.customdata) == mine["measure"].tolist()
        assert [round(y) for y in trace.y] == [0, 1, 2], "each in its head's row"
    assert len({tuple(trace.y) for trace in figure.data if trace.xaxis == "x"}) == 4, "none covers another"
    first = {trace.name: trace.marker.color for trace in figure.data}
    assert first["original"] == INK and first["curvature-ascent"] == colour("curvature-ascent")
    assert [trace.showlegend for trace in figure.data] == [True] * 4 + [False] * 4


def test_several_retrained_models_are_a_range_around_the_star() -> None:
    (star, _) = (trace for trace in plot_head_only(heads("imu")).data if trace.meta["role"] == "retrained")
    assert list(star.x + star.error_x.array) == [0.09] * 3 and list(star.x - star.error_x.arrayminus) == [0.02] * 3
    alone = plot_head_only(heads("imu").drop(columns=["goal_low", "goal_high"]))
    assert not any(trace.error_x.array.any() for trace in alone.data if trace.meta["role"] == "retrained")


def test_each_axis_says_what_is_tested_on() -> None:
    layout = plot_head_only(heads("imu")).layout
    assert "accuracy on test-forget, unseen, to forget" in layout.xaxis.title.text
    assert (
        "accuracy on test, unseen, to keep" in layout.xaxis2.title.text and layout.yaxis.ticktext[1] == "linear probe"
    )
