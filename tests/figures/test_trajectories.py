"""The heat map of samples × updates: sorted by time to forget, thinned honestly."""

import numpy as np
import pytest
from figures.records import run

from imu_lab.core.messages import UnknownName
from imu_lab.figures import plot_trajectories, theme, update_trajectories
from imu_lab.figures.trajectories import ROWS, _trajectories_info
from imu_lab.studies.resistance import resistance

# samples 100..104 over updates 0..3: forgotten at 2, never, at 1, rebounds and is never, at 0
MARGINS = np.array([[3.0, 2, 1, 1, -1], [1, 2, -1, -1, -2], [-1, 2, -2, -1, -2], [-2, 2, -3, 1, -2]])
STEPS = [0, 1, 2, 3]


def sample_run(margins=MARGINS, steps=STEPS, limit=None):
    return run({"forget": [1.0] * len(steps)}, steps=steps, margins=margins, events={"utility_limit": limit})


def veils(figure):
    return [shape for shape in figure.layout.shapes if shape.name == "after the limit"]


def by_role(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_rows_go_from_forgotten_first_to_never():
    info = _trajectories_info(sample_run(), "margin")
    assert info.examples.tolist() == [104, 102, 100, 103, 101]  # of the never forgotten, 101 was the surest
    assert info.time_to_forget[:3].tolist() == [0, 1, 2] and np.isnan(info.time_to_forget[3:]).all()
    assert info.values.tolist() == MARGINS.T[[4, 2, 0, 3, 1]].tolist()
    assert (info.count, info.never) == (5, 2)


def test_ties_are_sorted_by_what_was_left_whichever_direction_is_forgotten():
    margins = np.array([[3.0, 1.0, 2.0], [-1, -1, -1]])
    for value in ("margin", "confidence", "loss"):
        assert _trajectories_info(sample_run(margins, [0, 1]), value).examples.tolist() == [101, 102, 100]


def test_the_map_is_the_trajectory_and_each_cell_knows_its_example():
    mine = sample_run()
    drawn = by_role(plot_trajectories(mine))["trajectories"]
    first = mine.trajectory[mine.trajectory["example"] == 104]
    assert drawn.z[0].tolist() == first["confidence"].tolist()
    assert drawn.customdata[:, 0].tolist() == [104, 102, 100, 103, 101] and drawn.customdata.shape == (5, 4)
    assert drawn.x.tolist() == STEPS and (drawn.zmin, drawn.zmax) == (0, 1)


def test_margins_change_sign_in_the_middle_of_the_scale():
    drawn = by_role(plot_trajectories(sample_run(), value="margin"))["trajectories"]
    assert drawn.zmin == -drawn.zmax < 0
    assert [stop[1] for stop in drawn.colorscale] == [stop[1] for stop in theme.DIVERGING]


def test_the_white_line_is_the_left_edge_of_the_first_forgotten_cell():
    line = by_role(plot_trajectories(sample_run()))["time_to_forget"]
    assert line.x.tolist() == [-0.5, -0.5, 0.5, 0.5, 1.5, 1.5] and line.y.tolist() == [-0.5, 0.5, 0.5, 1.5, 1.5, 2.5]
    spaced = by_role(plot_trajectories(sample_run(MARGINS, [0, 10, 20, 30])))["time_to_forget"]
    assert spaced.x.tolist() == [-5, -5, 5, 5, 15, 15]  # the edges of the drawn cells


def test_never_forgotten_samples_are_set_apart_and_counted():
    figure = plot_trajectories(sample_run())
    assert figure.layout.shapes[0].y0 == figure.layout.shapes[0].y1 == 2.5
    assert figure.layout.title.text.startswith("3 of 5 samples forgotten (1 wrong from the start), 2 never")
    assert not plot_trajectories(sample_run(np.array([[1.0, 1], [-1, -1]]), [0, 1])).layout.shapes
    assert not plot_trajectories(sample_run(np.ones((2, 3)), [0, 1])).layout.shapes


def test_updates_from_the_utility_limit_on_are_grey_cell_by_cell():
    figure = plot_trajectories(sample_run(limit=1))
    (veil,) = veils(figure)
    assert (veil.xref, veil.x0, veil.x1) == ("x", 0.5, 3.5) and (veil.yref, veil.y0, veil.y1) == ("paper", 0, 1)
    assert veil.layer == "above" and veil.line.width == 0, "over the map, and no frame that a panel would colour"
    assert veil.fillcolor.startswith("rgba(190, 190, 190, 0.") and "Grey: kept accuracy down 5 points" in title(figure)
    assert [shape.type for shape in figure.layout.shapes] == ["rect", "line"], "never forgotten: set apart above it"
    spaced = veils(plot_trajectories(sample_run(MARGINS, [0, 10, 20, 30], limit=20)))
    assert [(each.x0, each.x1) for each in spaced] == [(15, 35)], "the edges of the drawn cells"


def test_without_a_utility_limit_nothing_is_grey_or_counted_apart():
    for mine in (sample_run(), sample_run(limit=9), sample_run(np.zeros((4, 0)), limit=1)):  # 9: after the last record
        figure = plot_trajectories(mine)
        assert not veils(figure) and "Grey" not in title(figure) and "limit" not in title(figure)


def test_samples_forgotten_only_after_the_limit_are_counted_apart_as_in_the_table():
    mine = sample_run(limit=1)  # forgotten at 0, 1 and 2: at the limit itself is not after it
    info = _trajectories_info(mine, "margin")
    assert (info.count, info.never, info.late) == (5, 2, 1) == (5, 2, resistance(mine)["after_limit"].sum())
    assert title(plot_trajectories(mine)).startswith(
        "3 of 5 samples forgotten (1 only after the limit, 1 wrong from the start), 2 never"
    )
    assert info.examples.tolist() == _trajectories_info(sample_run(), "margin").examples.tolist(), "the order stays"


def test_another_runs_limit_shows_or_hides_the_grey_and_other_shapes_can_stand_beside_it():
    figure = plot_trajectories(sample_run(limit=2))
    figure.layout.shapes = [*figure.layout.shapes, dict(type="line", name="rewind", x0=1, x1=1, y0=0, y1=1)]
    update_trajectories(figure, sample_run(limit=2), value="loss")
    assert [shape.name for shape in figure.layout.shapes] == ["after the limit", None, "rewind"]
    update_trajectories(figure, sample_run())
    assert not veils(figure)
    update_trajectories(figure, sample_run(limit=1))
    assert [each.x0 for each in veils(figure)] == [0.5]


def title(figure):
    return figure.layout.title.text


def test_too_many_rows_are_thinned_evenly_and_the_title_says_so():
    count = 5 * ROWS
    margins = np.stack([np.linspace(1, 2, count), np.full(count, -1.0)])
    mine = sample_run(margins, [0, 1])
    info = _trajectories_info(mine, "margin")
    assert len(info.examples) == ROWS and info.count == count
    assert info.examples[0] == 100 and info.examples[-1] == 100 + count - 1
    assert set(np.diff(info.examples)) <= {5, 6}
    assert "1,000 evenly spaced samples shown of 5,000" in plot_trajectories(mine).layout.title.text
    assert "evenly" not in plot_trajectories(sample_run()).layout.title.text


def test_an_unknown_value_is_refused_with_what_exists():
    with pytest.raises(UnknownName, match="Known: loss, confidence, margin"):
        plot_trajectories(sample_run(), value="entropy")


@pytest.mark.parametrize(
    ("margins", "steps"),
    [(np.zeros((1, 0)), [0]), (np.ones((1, 1)), [0]), (np.full((2, 3), np.nan), [0, 1]), (np.zeros((0, 0)), [])],
    ids=["no samples", "one cell", "nan", "nothing"],
)
def test_odd_records_draw(margins, steps):
    figure = plot_trajectories(sample_run(margins, steps), value="margin")
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
    figure.to_json()
