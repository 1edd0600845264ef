"""The curves: drawn values are the record's, seeds are pooled honestly, an update draws the same as a new figure."""

from dataclasses import replace

import cases
import numpy as np
import pandas as pd
import pytest
from figures.records import as_values, four_splits, run

from imu_lab.core.messages import UnknownName
from imu_lab.core.quantities import SPLITS
from imu_lab.figures import colour, dash, plot_curves, update_curves
from imu_lab.figures.pooling import grouped
from imu_lab.figures.theme import INK, faint

REFERENCE = {"forget": 0.0, "retain": 1.0, "test": 0.97, "test-forget": 0.05}


def traces(figure, role, **meta):
    found = [trace for trace in figure.data if trace.meta["role"] == role]
    return [trace for trace in found if all(trace.meta[key] == value for key, value in meta.items())]


def several():
    return [run(four_splits(fall), rule) for fall, rule in ((1.0, "sqrt-clipped"), (0.5, "uniform"))]


def test_one_run_is_one_panel_with_exactly_its_curve():
    mine = run(four_splits())
    figure = plot_curves(mine)
    lines = traces(figure, "line")
    assert [trace.meta["split"] for trace in lines] == list(SPLITS)
    for trace in lines:
        drawn = mine.series(trace.meta["split"], "accuracy")
        assert trace.x.tolist() == drawn.index.tolist() and trace.y.tolist() == drawn.tolist()
        assert trace.meta["run"] == mine.label and trace.name == trace.meta["split"]
        assert trace.line.color == colour(trace.meta["split"]) and trace.line.dash == dash(trace.meta["split"])
    assert len({trace.xaxis for trace in lines}) == 1 and not traces(figure, "band")


def test_several_kinds_of_runs_are_one_panel_per_split():
    figure = plot_curves(several())
    panels = {split: {trace.xaxis for trace in traces(figure, "line", split=split)} for split in SPLITS}
    assert sorted(map(len, panels.values())) == [1, 1, 1, 1] and len(set.union(*panels.values())) == 4
    by_run = {trace.meta["run"]: trace for trace in traces(figure, "line", split="retain")}
    assert by_run["imu · uniform"].line.color == colour("uniform")
    assert by_run["imu · sqrt-clipped"].line.color == colour("imu")
    assert len([trace for trace in traces(figure, "line") if trace.showlegend]) == 2  # one entry per run
    words = " ".join(note.text for note in figure.layout.annotations)
    assert all(f"<b>{split}</b>" in words for split in SPLITS)


def test_what_is_kept_has_a_scale_of_its_own_in_tenths():
    layout = plot_curves(several()).layout
    assert layout.yaxis.range[0] < 0.0 < 1.0 < layout.yaxis.range[1]  # forget
    assert 0.87 < layout.yaxis2.range[0] < 0.9 and 1.0 < layout.yaxis2.range[1] < 1.01  # retain: 0.9 to 1


def test_faint_runs_are_faint_and_leave_the_axes_alone():
    stale, figure = several()[1].label, plot_curves(several())
    plain = as_values(figure)
    update_curves(figure, several(), faint={stale})
    faint = {trace.meta.get("run") for trace in figure.data if trace.opacity < 1}
    assert faint == {stale}, "no grey that is not there: a page would draw all anew for it"
    assert all(trace.opacity == 1 for trace in (*traces(figure, "retrained"), *traces(figure, "key")))
    update_curves(figure, several(), splits=["forget", "test"], faint={stale})
    assert as_values(figure) == as_values(plot_curves(several(), splits=["forget", "test"], faint={stale}))
    assert None not in (figure.layout.xaxis.range, figure.layout.yaxis.range)
    assert as_values(update_curves(figure, several())) == plain


def test_splits_and_metric_are_chosen_and_refused():
    assert [trace.meta["split"] for trace in traces(plot_curves(run(four_splits()), splits=["test"]), "line")] == [
        "test"
    ]
    with pytest.raises(UnknownName, match="'acuracy'. Did you mean 'accuracy'"):
        plot_curves(run(four_splits()), metric="acuracy")
    with pytest.raises(UnknownName, match="'tst'. Did you mean 'test'"):
        plot_curves(run(four_splits()), splits=["tst"])


def test_seeds_are_their_mean_in_a_band_from_lowest_to_highest():
    values = {0: [1.0, 0.8, 0.2], 1: [1.0, 0.4, 0.0], 2: [0.7, 0.6, 0.1]}
    figure = plot_curves([run({"forget": y}, seed=seed, steps=range(3)) for seed, y in values.items()])
    (line,), (band,) = traces(figure, "line"), traces(figure, "band")
    assert cases.close(line.y, [0.9, 0.6, 0.1], within=1e-5)
    assert line.meta["seeds"] == 3 and line.customdata.tolist() == [[0.7, 1.0], [0.4, 0.8], [0.0, 0.2]]
    assert band.x.tolist() == [0, 1, 2, 2, 1, 0] and band.y.tolist() == [1.0, 0.8, 0.2, 0.0, 0.4, 0.7]
    assert "Band: lowest to highest of 3 seeds" in figure.layout.title.text


def test_a_seed_that_stopped_keeps_its_last_value_in_the_mean():
    runs = [run({"forget": [1.0, 0.0]}, steps=[0, 1]), run({"forget": [1.0, 0.8, 0.6]}, seed=1, steps=[0, 1, 2])]
    (line,) = traces(plot_curves(runs), "line")
    assert cases.close(line.y, [1.0, 0.4, 0.3], within=1e-5)


def test_runs_are_pooled_only_when_seeds_alone_differ():
    runs = [
        run(four_splits(), seed=0),
        run(four_splits(), seed=1),
        run(four_splits(), lr=0.1),
        run(four_splits(), "uniform"),
    ]
    groups = grouped(runs)
    assert [len(group.runs) for group in groups] == [2, 1, 1]
    assert [group.label for group in groups] == [
        "imu · sqrt-clipped (lr 0.01)",
        "imu · sqrt-clipped (lr 0.1)",
        "imu · uniform",
    ]
    forked, noted = run(four_splits()), run(four_splits())
    forked.settings["forked"], noted.settings["noted"] = {"step": 7}, {"where": 7}
    labels = [group.label for group in grouped([run(four_splits()), forked, noted])]
    what = "what a run does not have is not told of it"
    assert labels == ["imu · sqrt-clipped", "imu · sqrt-clipped · forked at 7", "imu · sqrt-clipped (where 7)"], what
    tasks = [run(four_splits()), run(four_splits(), seed=1)]
    for each, text in zip(tasks, ("Toy(seed=0, n=5)", "Toy(seed=1, n=5)")):
        each.settings["task"] = text
    assert len(grouped(tasks)) == 2, "under another seed of the task others are forgotten"


def test_the_retrained_model_is_a_dotted_level():
    figure = plot_curves(run(four_splits(), reference=REFERENCE))
    levels = {trace.meta["split"]: trace for trace in traces(figure, "retrained")}
    assert {split: set(trace.y) for split, trace in levels.items()} == {key: {v} for key, v in REFERENCE.items()}
    assert list(levels["test"].x) == [0, 5] and levels["test"].line.color == colour("test")
    assert levels["test"].line.dash not in {trace.line.dash for trace in traces(figure, "line")}
    assert traces(figure, "key")[0].showlegend
    without = plot_curves(run(four_splits()))
    assert all(not len(trace.x) for trace in traces(without, "retrained")) and not traces(without, "key")[0].showlegend


def test_runs_with_retrained_models_of_their_own_have_a_level_each():
    """As those of two requests; their mean is where no model is."""
    one, other = (
        run(four_splits(), reference=dict(REFERENCE, test=level), task=name) for level, name in ((0.9, "a"), (0.5, "b"))
    )
    figure = plot_curves([one, other])
    for made, level in zip(grouped([one, other]), (0.9, 0.5), strict=True):
        (drawn,) = traces(figure, "retrained", split="test", run=made.label)
        (line,) = traces(figure, "line", split="test", run=made.label)
        assert set(drawn.y) == {level} and made.label in drawn.hovertemplate
        assert (drawn.line.color, drawn.line.dash) == (line.line.color, line.line.dash) and drawn.line.width == 1
    assert len(traces(figure, "retrained")) == 2 * len(SPLITS), "on every split, whether they agree there or not"
    assert traces(figure, "key")[0].name == "retrained model, each run's own"
    assert figure.layout.yaxis4.range[0] < 0.5, "it is within its panel"
    update_curves(figure, [one, one])
    assert (
        as_values(figure) == as_values(plot_curves([one, one])) and traces(figure, "key")[0].name == "retrained model"
    )


@pytest.mark.parametrize("same", [True, False])
def test_a_level_is_not_lent_to_a_run_of_another_request(same):
    known, other = run(four_splits(), reference=REFERENCE), run(four_splits(), "uniform")
    asked = [
        replace(each, samples=pd.DataFrame({"example": [at]})) for each, at in ((known, 1), (other, 1 if same else 2))
    ]
    figure = plot_curves(asked)
    assert [trace.meta.get("run") for trace in traces(figure, "retrained")] == [None if same else known.label] * len(
        SPLITS
    )


def test_floors_and_starts_that_differ_are_drawn_for_each_run():
    one, other = distances(), distances(rule="uniform")
    further = replace(other, reference=other.reference.assign(value=[0.3, 0.01]), curve=other.curve.assign(
        value=[0.6, 0.5, 0.4, 0.005, 0.02, 0.03]))  # fmt: skip
    figure = plot_curves([one, further], metric="kl_retrained")
    drawn = {role: [(trace.meta["split"], max(trace.y)) for trace in figure.data if trace.meta["role"] == role]
             for role in ("noise floor", "nothing")}  # fmt: skip
    assert drawn == {"noise floor": [("forget", 0.02), ("forget", 0.3), ("test", 0.01), ("test", 0.01)],
                     "nothing": [("forget", 0.04), ("forget", 0.6), ("test", 0.005), ("test", 0.005)]}  # fmt: skip


def test_references_of_several_seeds_are_their_mean():
    runs = [
        run({"test": [1.0]}, steps=[0], seed=seed, reference={"test": level}) for seed, level in enumerate((0.9, 0.7))
    ]
    assert cases.close(list(traces(plot_curves(runs), "retrained")[0].y), [0.8, 0.8])


def test_events_are_marked_on_the_lines_that_they_concern():
    mine = run(four_splits(), events={"utility_limit": 2, "stopped_at": 4, "diverged_at": 6})
    marks = {event: traces(plot_curves(mine), event)[0] for event in ("utility_limit", "stopped_at", "diverged_at")}
    assert list(marks["utility_limit"].x) == [2, 2]
    assert list(marks["utility_limit"].y) == [mine.value(split, "accuracy", 2) for split in ("retain", "test")]
    assert [split for _, split in marks["stopped_at"].customdata] == ["forget", "test-forget"]
    assert list(marks["stopped_at"].y) == [mine.value(split, "accuracy", 4) for split in ("forget", "test-forget")]
    assert list(marks["diverged_at"].x) == [6] * 4  # not recorded: drawn at the last value before
    assert list(marks["diverged_at"].y)[0] == mine.value("forget", "accuracy", 5)
    assert all(trace.showlegend for trace in marks.values())
    alone = traces(plot_curves(mine, splits=["retain"]), "stopped_at")[0]
    assert list(alone.x) == [4]
    assert not any(trace.showlegend for trace in traces(plot_curves(run(four_splits())), "stopped_at"))


def limited(limit, rule="sqrt-clipped", seed=0, **more):
    return run(four_splits(), rule, seed=seed, events={"utility_limit": limit}, **more)


def veils(figure):
    return [(shape.name, shape.xref, shape.x0, shape.x1) for shape in figure.layout.shapes]


def test_a_run_that_collapsed_by_a_loss_is_grey_too_and_one_with_a_limit_says_so_once():
    collapsed = plot_curves(run(four_splits(), events={"collapsed_at": 2}))
    assert list(traces(collapsed, "collapsed_at")[0].x) == [2, 2] and not len(traces(collapsed, "utility_limit")[0].x)
    assert [shape.x0 for shape in collapsed.layout.shapes] == [2]
    assert "kept samples no longer known" in collapsed.layout.title.text.lower()
    both = plot_curves(run(four_splits(), events={"collapsed_at": 4, "utility_limit": 2}))
    assert list(traces(both, "utility_limit")[0].x) == [2, 2] and not len(traces(both, "collapsed_at")[0].x)
    assert [shape.x0 for shape in both.layout.shapes] == [2] and "kept accuracy" in both.layout.title.text


def test_one_run_is_grey_behind_from_its_utility_limit_on_and_keeps_its_marks():
    figure = plot_curves(limited(2))
    assert veils(figure) == [("after the limit", "x", 2, 5.1)] and figure.layout.xaxis.range[1] == 5.1
    (veil,) = figure.layout.shapes
    assert veil.layer == "below" and veil.line.width == 0 and (veil.yref, veil.y0, veil.y1) == ("paper", 0, 1)
    assert list(traces(figure, "utility_limit")[0].x) == [2, 2]
    assert "Grey: kept accuracy down 5 points" in figure.layout.title.text
    without = plot_curves(limited(None))
    assert not veils(without) and "Grey" not in without.layout.title.text
    assert len(without.data) == len(figure.data), "a live figure exchanges data in place"


@pytest.mark.parametrize(
    ("limits", "start"), [([4, 2, 3], 3), ([4, None, 3], 4), ([2, None, None], None), ([4, 2], 2), ([2, None], 2)]
)
def test_the_mean_of_seeds_is_grey_where_half_of_them_have_passed_their_limit(limits, start):
    figure = plot_curves([limited(limit, seed=seed) for seed, limit in enumerate(limits)])
    assert [x0 for _, _, x0, _ in veils(figure)] == ([] if start is None else [start])
    assert ("Grey: half are past ▼" in figure.layout.title.text) == (start is not None)
    marked = sorted(set(traces(figure, "utility_limit")[0].x))
    assert marked == sorted(limit for limit in limits if limit is not None), "each seed's own"


def test_compared_runs_are_grey_each_from_its_own_limit_on():
    runs = [limited(2), limited(4, "uniform"), limited(None, "shuffled")]
    figure = plot_curves(runs)
    past = {trace.xaxis: trace for trace in traces(figure, "past limit")}
    assert not veils(figure) and len(past) == 4, "no common veil; one trace per panel"
    line = traces(figure, "line", split="retain", run="imu · uniform")[0]
    grey = past[line.xaxis]
    assert list(grey.x) == [2, 3, 4, 5, 5, 4, 5, 5]
    assert cases.close(grey.y, [*line.y[2:], np.nan, *line.y[4:], np.nan], within=1e-5)
    order = [trace.meta["role"] for trace in figure.data if trace.xaxis == line.xaxis]
    assert order.index("past limit") > max(at for at, role in enumerate(order) if role == "line"), "over the lines"
    assert all(trace.opacity < 1 for trace in traces(update_curves(figure, runs, faint={runs[2].label}), "past limit"))
    assert grey.line.color.startswith("rgba(121, 121, 121") and grey.hoverinfo == "skip" and not grey.showlegend
    assert "Grey: kept accuracy down 5 points" in figure.layout.title.text


def test_grey_parts_come_and_go_without_new_traces():
    figure = plot_curves([limited(2), limited(None, "uniform")])
    before = figure.data
    update_curves(figure, [limited(None), limited(None, "uniform")])
    assert all(old is new for old, new in zip(before, figure.data)) and len(before) == len(figure.data)
    assert not any(len(trace.x) for trace in traces(figure, "past limit"))
    update_curves(figure, [limited(None), limited(3, "uniform")])
    assert len(traces(figure, "past limit")[0].x) == 4 and figure.data == before


def test_axes_and_hover_say_unit_and_direction():
    figure = plot_curves(run(four_splits()))
    assert figure.layout.yaxis.title.text == "accuracy (share correct)"
    assert figure.layout.xaxis.title.text == "updates made (0 = original model)"
    assert "elsewhere: high" in figure.layout.title.text
    assert all(
        "share correct" in t.hovertemplate and "elsewhere: high" in t.hovertemplate for t in traces(figure, "line")
    )


def test_an_update_of_the_same_kind_keeps_the_traces_and_the_template():
    figure = plot_curves(several())
    before, template = figure.data, figure.layout.template
    faster = [run(four_splits(fall), rule) for fall, rule in ((0.9, "sqrt-clipped"), (0.4, "shuffled"))]
    update_curves(figure, faster)
    assert all(old is new for old, new in zip(before, figure.data)) and len(before) == len(figure.data)
    assert figure.layout.template is template
    assert (
        traces(figure, "line", run="imu · shuffled", split="forget")[0].y.tolist()
        == four_splits(0.4)["forget"].tolist()
    )


def test_a_line_that_a_user_removed_comes_back():
    figure = plot_curves(several())
    figure.data = figure.data[:3]
    update_curves(figure, several())
    assert len(traces(figure, "line")) == 8


@pytest.mark.parametrize(
    "runs",
    [
        [],
        run({}),
        run({"forget": [1.0]}, steps=[0]),
        run({"forget": [np.nan] * 6}, reference={"forget": np.nan}),
        [run({"forget": [1.0, np.nan]}, steps=[0, 1], seed=s) for s in (0, 1)],
        [run({"forget": [1.0]}, steps=[0]), run({"persons": [0.5]}, "uniform", steps=[0])],
    ],
    ids=["none", "empty", "one row", "nan", "nan in seeds", "other splits"],
)
def test_odd_records_draw(runs):
    figure = plot_curves(runs)
    expected = sum(len(each.curve) for each in ([runs] if not isinstance(runs, list) else runs))
    assert sum(len(trace.x) * trace.meta["seeds"] for trace in traces(figure, "line")) == expected
    figure.to_json()


def test_without_a_metric_it_is_the_one_that_tells_of_forgetting_on_the_task():
    mine = run(four_splits(), metric="identity_accuracy")
    mine.settings["forgotten_when"] = ["identity_accuracy", "<="]
    figure = plot_curves(mine)
    assert [trace.meta["split"] for trace in traces(figure, "line")] == list(SPLITS)
    assert as_values(update_curves(figure, mine)) == as_values(plot_curves(mine, metric="identity_accuracy"))


def distances(seeds=("a", "b"), metric="kl_retrained", **more):
    known = {"forget": 0.02, "test": 0.01}
    curves = {"forget": [0.04, 0.03, 0.05], "test": [0.005, 0.02, 0.03]}
    made = run(curves, metric=metric, steps=[0, 1, 2], reference=known, **more)
    return replace(made, settings=made.settings | {"compared_with": {"digests": list(seeds)}})


def test_the_noise_floor_and_doing_nothing_are_drawn_under_a_distance():
    figure = plot_curves(distances(), metric="kl_retrained")
    bands = {trace.meta["split"]: trace for trace in traces(figure, "noise floor")}
    assert [list(bands["test"].x), list(bands["test"].y)] == [[0, 2, 2, 0], [0, 0, 0.01, 0.01]]
    assert bands["forget"].fillcolor == faint(colour("forget")) and bands["forget"].fill == "toself"
    assert {trace.meta["split"]: list(trace.y) for trace in traces(figure, "nothing")} == {
        "forget": [0.04, 0.04],
        "test": [0.005, 0.005],
    }
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert names[-2:] == ["noise floor: two retrained models", "doing nothing"] and "retrained model" not in names
    roles = [trace.meta["role"] for trace in figure.data]
    assert roles.index("noise floor") < roles.index("line"), "it lies under the lines"


def test_an_agreement_has_its_floor_below_one():
    figure = plot_curves(distances(metric="agreement"), metric="agreement")
    assert list(traces(figure, "noise floor")[0].y) == [1, 1, 0.02, 0.02]


def test_beside_one_retrained_model_there_is_no_floor_and_beside_accuracy_no_line_of_doing_nothing():
    alone = plot_curves(distances(seeds=("a",)), metric="kl_retrained")
    assert not traces(alone, "noise floor") and len(traces(alone, "nothing")) == 2
    assert set(traces(alone, "retrained")[0].y) == {0.02} and traces(alone, "key")[0].name == "retrained model"
    plain = plot_curves(run(four_splits(), reference=REFERENCE))
    assert not traces(plain, "noise floor") and not traces(plain, "nothing")


def test_the_floor_is_in_every_panel_where_runs_are_compared():
    figure = plot_curves([distances(), distances(rule="uniform")], metric="kl_retrained")
    assert [(trace.meta["split"], trace.xaxis) for trace in traces(figure, "noise floor")] == [
        ("forget", "x"),
        ("test", "x2"),
    ]
    assert {trace.line.color for trace in traces(figure, "nothing")} == {INK}
