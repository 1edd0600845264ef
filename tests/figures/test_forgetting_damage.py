"""Forgetting against damage: the paths are the runs' numbers, and what they are read against stands where it belongs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cases
import plotly.graph_objects as go
import pytest
from figures import drawn
from figures.records import run

import imu_lab as imu
from imu_lab.core.records import Run
from imu_lab.figures import colour, plot_forgetting_damage, plot_quality_utility
from imu_lab.figures.theme import INK

FORGET, TEST = [0.04, 0.03, 0.05], [0.005, 0.02, 0.03]


def distances(
    rule: str = "uniform", shift: float = 0.0, models: str = "ab", metric: str = "kl_retrained", **more: Any
) -> Run:
    """A run that was compared with as many retrained models as there are letters."""
    curves = {"forget": [value + shift for value in FORGET], "test": [value + shift for value in TEST]}
    level = {"forget": 0.02, "test": 0.01} if len(models) > 1 else {"forget": 0.0, "test": 0.0}
    made = run(curves, rule, metric=metric, steps=[0, 5, 9], reference=level, **more)
    return replace(made, settings=made.settings | {"compared_with": {"digests": list(models)}})


def traces(figure: go.Figure, role: str) -> list[Any]:
    """Those of one role."""
    return [trace for trace in figure.data if trace.meta["role"] == role]


def test_a_path_holds_the_distances_after_each_update() -> None:
    figure = plot_forgetting_damage([distances(), distances("shuffled", 0.01)])
    one, other = traces(figure, "path")
    assert (list(one.x), list(one.y), list(one.customdata)) == (FORGET, TEST, [0, 5, 9])
    assert cases.close(list(other.x), [0.05, 0.04, 0.06]) and "markers" in one.mode
    assert (one.line.color, one.marker.color) == (colour("uniform"),) * 2 and other.line.color == colour("shuffled")
    ends = traces(figure, "end")
    assert [(*end.x, *end.y) for end in ends][0] == (0.05, 0.03) and ends[0].marker.size > 3 * one.marker.size


def test_seeds_share_a_colour_and_their_ends_are_one_mark() -> None:
    figure = plot_forgetting_damage([distances(seed=0), distances(shift=0.02, seed=1)])
    paths, (end,) = traces(figure, "path"), traces(figure, "end")
    assert len(paths) == 2 and {path.line.color for path in paths} == {colour("uniform")}
    assert [path.showlegend for path in paths] == [True, False] and paths[0].opacity < 1
    assert cases.close([*end.x, *end.y], [0.06, 0.04]) and "mean of 2 seeds" in end.hovertemplate
    (nothing,) = traces(figure, "nothing")
    assert cases.close(sorted(nothing.x), [0.04, 0.06])
    upright, level = figure.layout.shapes
    assert cases.close([upright.x0, upright.x1, level.y0, level.y1], [0.05, 0.05, 0.015, 0.015])


def test_the_corner_is_the_noise_floor() -> None:
    figure = plot_forgetting_damage(distances())
    (floor,), (star,) = traces(figure, "noise floor"), traces(figure, "retrained")
    assert (list(floor.x), list(floor.y)) == ([0, 0.02, 0.02, 0], [0, 0, 0.01, 0.01]) and floor.fill == "toself"
    assert (*star.x, *star.y) == (0.02, 0.01) and star.name == "a retrained model beside the others"
    (nothing,) = traces(figure, "nothing")
    assert (*nothing.x, *nothing.y) == (FORGET[0], TEST[0]) and nothing.marker.color == INK


def test_beside_one_retrained_model_the_star_stands_at_zero_and_there_is_no_floor() -> None:
    figure = plot_forgetting_damage(distances(models="a"))
    (star,) = traces(figure, "retrained")
    assert (*star.x, *star.y) == (0, 0) and star.name == "retrained model" and not traces(figure, "noise floor")


def test_axes_say_what_where_in_which_unit_and_which_way() -> None:
    figure = plot_forgetting_damage(distances())
    assert figure.layout.xaxis.title.text == (
        "KL to the retrained model on forget, the samples to forget<br>(nats per prediction; lower is better)"
    )
    assert "on test, unseen, to keep" in figure.layout.yaxis.title.text
    agreement = plot_forgetting_damage(distances(metric="agreement"))
    assert "higher is better" in agreement.layout.xaxis.title.text
    assert list(traces(agreement, "noise floor")[0].x) == [1, 0.02, 0.02, 1]


def far(*values: float) -> Run:
    """A run that ends at these distances on forget and test."""
    made = distances("shuffled", models="a")
    last, curve = made.curve["step"] == 9, made.curve.copy()
    for split, value in zip(("forget", "test"), values):
        curve.loc[last & (curve["split"] == split), "value"] = value
    return replace(made, curve=curve)


def test_what_collapsed_leaves_the_picture_and_is_named_with_how_far_it_got() -> None:
    figure = plot_forgetting_damage([distances(models="a"), far(23.456, 8.0)])
    across, up = figure.layout.xaxis.range, figure.layout.yaxis.range
    assert 0.05 < across[1] < 0.06 and 0.03 < up[1] < 0.04, "the others fill the axes"
    assert "Beyond the axes, at up to 23.5 on forget and 8 on test: imu · shuffled." in figure.layout.title.text
    inside, outside = traces(figure, "end")
    assert inside.marker.symbol != outside.marker.symbol == "triangle-ne"
    assert (outside.x[0], outside.y[0]) == (across[1], up[1]) and list(outside.customdata[0]) == [23.456, 8.0]
    assert "customdata[0]" in outside.hovertemplate
    assert list(traces(figure, "path")[1].x)[-1] == 23.456, "the path is whole"
    one_way = plot_forgetting_damage([distances(models="a"), far(0.05, 8.0)])
    assert one_way.layout.xaxis.range is None and traces(one_way, "end")[1].marker.symbol == "triangle-up"


def test_alone_it_leaves_its_beginning_to_be_read() -> None:
    figure = plot_forgetting_damage(far(23.0, float("inf")))
    assert figure.layout.xaxis.range[1] == pytest.approx(1.1 * 4 * FORGET[0])
    assert figure.layout.yaxis.range is None or figure.layout.yaxis.range[1] < 1


@pytest.mark.parametrize("values", [(0.2, 0.03), (0.5, 0.09)])
def test_runs_that_are_not_so_far_apart_share_the_axes(values: tuple[float, float]) -> None:
    figure = plot_forgetting_damage([distances(models="a"), far(*values)])
    assert figure.layout.xaxis.range is None and figure.layout.yaxis.range is None
    assert "Beyond" not in figure.layout.title.text
    agreement = plot_forgetting_damage([distances(metric="agreement"), distances("shuffled", 90.0, metric="agreement")])
    assert agreement.layout.xaxis.range is None, "an agreement cannot run away"


def test_runs_without_a_distance_are_refused() -> None:
    with pytest.raises(ValueError, match="no distance to the retrained model was recorded .* on 'forget' and 'test'"):
        plot_forgetting_damage(run({"forget": [1.0], "test": [1.0]}, steps=[0]))
    with pytest.raises(ValueError, match="no distance .* on 'forget' and 'retain'"):
        plot_forgetting_damage(distances(), kept="retain")
    with pytest.raises(imu.UnknownName, match="distance recorded by all these runs: 'accuracy'.* Known: kl_retrained"):
        plot_forgetting_damage(distances(), metric="accuracy")


def test_quality_against_utility_are_the_runs_numbers_and_the_band_is_the_floor() -> None:
    made = drawn.paths("uniform", "a", "b")
    figure = plot_quality_utility(made)
    (path,), (star,), (floor,) = (traces(figure, role) for role in ("path", "retrained", "noise floor"))
    assert (list(path.x), list(path.y), list(path.customdata)) == ([3.0, 1.0], [0.9, 0.6], [0, 5])
    assert (*star.x, *star.y) == (0.4, 0.85) and (min(floor.x), max(floor.x)) == (0.0, 0.4)
    assert max(floor.y) >= 0.9, "the band reaches as high as what is drawn"
    alone = plot_quality_utility(drawn.paths("uniform", "a"))
    assert not traces(alone, "noise floor") and [*traces(alone, "retrained")[0].x] == [0.0]
    axes = alone.layout
    assert "lower is better" in axes.xaxis.title.text and "higher is better" in axes.yaxis.title.text
    with pytest.raises(ValueError, match="model_utility"):
        plot_quality_utility(distances())
