"""The figures of sequences: their data are the record's, and what is missing is named."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import sequences
from sequences import models, tiny

import imu_lab as imu
from imu_lab.figures.sequence import _tokens_info, _transitions_info
from imu_lab.measures.transitions import learned

FOLLOW = ("kl-retrained", imu.metrics.create("transitions", source=1))


@pytest.fixture(scope="module")
def run() -> imu.Run:
    """A short run that followed source 1."""
    return imu.unlearn(tiny(), models()[0], steps=3, lr=1e-2, reference=models()[1], follow=FOLLOW)


def matrices(figure: object) -> dict[str, np.ndarray]:
    """What each panel shows."""
    return {trace.meta["of"]: np.array(trace.z, dtype=float) for trace in figure.data}


def test_the_matrices_are_the_models(run: imu.Run) -> None:
    info = _transitions_info(run)
    assert info.steps.tolist() == [0, 1, 2, 3] and info.source == 1 and info.owner.tolist() == [0, 0, 1, 1, 2, 2]
    for found, model in ((info.learned[0], models()[0]), (info.learned[-1], run.model), (info.retrained, models()[1])):
        assert cases.close(found, learned(tiny(), model, "source-1"), within=1e-6)
    assert cases.close(info.true, sequences.CHAINS[1], within=1e-5)


def test_the_slider_has_every_update_and_moves_the_model_alone(run: imu.Run) -> None:
    info, figure = _transitions_info(run), imu.plot_transitions(run, step=1)
    shown = matrices(figure)
    assert list(shown) == ["the true chain", "the model", "the retrained model"]
    assert cases.close(shown["the model"], info.learned[1], within=1e-5)
    slider = figure.layout.sliders[0]
    assert slider.active == 1 and [step.label for step in slider.steps] == ["0", "1", "2", "3"]
    for step, matrix in zip(slider.steps, info.learned):
        (change, traces) = step.args
        assert cases.close(np.array(change["z"][0], dtype=float), matrix, within=1e-5) and list(traces) == [1]
    assert cases.close(matrices(imu.plot_transitions(run))["the model"], info.learned[-1], within=1e-5)


def test_without_chains_or_reference_these_panels_are_not_there() -> None:
    task = tiny(chains=None)
    bare = imu.unlearn(task, models()[0], steps=1, follow=FOLLOW[1:])
    figure = imu.plot_transitions(bare)
    assert list(matrices(figure)) == ["the model"] and list(figure.layout.sliders[0].steps[0].args[1]) == [0]


def test_what_was_not_recorded_is_named(run: imu.Run) -> None:
    plain = imu.unlearn(tiny(), models()[0], steps=1)
    with pytest.raises(ValueError, match=r'create\("transitions", source=1\)'):
        imu.plot_transitions(plain)
    with pytest.raises(ValueError, match="followed the transitions of source 1; .*source=2"):
        imu.plot_transitions(run, source=2)
    with pytest.raises(ValueError, match="update 9 was not recorded; the run has 4, from 0 to 3"):
        imu.plot_transitions(run, step=9)


def test_strips_show_the_table_sorted_by_influence() -> None:
    table = imu.token_scores(tiny(), models()[0])
    info = _tokens_info(table)
    totals = table.groupby("example")["influence"].sum()
    assert len(info.examples) == 12 and info.count == 20 and (np.diff(info.totals) >= 0).all()
    assert info.examples[0] == totals.idxmin() and info.examples[-1] == totals.idxmax()
    row = table[table["example"] == info.examples[4]]
    assert np.array_equal(info.loss[4], row["loss"]) and np.array_equal(info.tokens[4], row["token"])
    figure = imu.plot_tokens(table)
    assert cases.close(np.array(figure.data[1].z, dtype=float), info.influence, within=1e-5)
    assert figure.data[1].zmin == -figure.data[1].zmax == -np.abs(info.influence).max()
    assert np.array(figure.data[0].customdata)[4, 0] == info.examples[4]


def test_strips_of_named_sequences() -> None:
    table = imu.token_scores(tiny(), models()[0])
    assert sorted(_tokens_info(table, [41, 52]).examples.tolist()) == [41, 52]
    with pytest.raises(ValueError, match=r"sequences \[3\] are not in the table; it has 20"):
        imu.plot_tokens(table, examples=[3])
    with pytest.raises(ValueError, match="no tokens"):
        imu.plot_tokens(table.iloc[:0])


def test_curves_of_distances(run: imu.Run) -> None:
    figure = imu.plot_curves(run, metric="kl_retrained")
    drawn = {trace.meta["split"]: trace.y for trace in figure.data if (trace.meta or {}).get("role") == "line"}
    assert set(drawn) == set(tiny().splits) and cases.close(
        drawn["test"], run.series("test", "kl_retrained"), within=1e-5
    )
