"""Why samples resist: known causes are found, noise is not, and held-out means held out."""

from __future__ import annotations

from typing import Any
from warnings import catch_warnings, simplefilter

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.studies.explanation import too_few, why_columns
from imu_lab.studies.resistance import counted


def invented(count: int = 120, seed: int = 0) -> pd.DataFrame:
    """A table in which the margin causes resistance, pressure follows the margin, and one column is noise."""
    random = np.random.default_rng(seed)
    margin = random.normal(size=count)
    return pd.DataFrame(
        {
            "example": np.arange(count),
            "rank": margin + 0.3 * random.normal(size=count),
            "pressed": True,
            "pressure": np.exp(-margin),
            "margin_before": margin,
            "class_overlap": random.normal(size=count),
            "near_duplicate": False,
        }
    )


def test_a_cause_is_found_and_noise_is_not() -> None:
    found = imu.reasons(invented(), draws=200).set_index("column")
    assert found.index[0] in ("margin_before", "pressure") and "near_duplicate" not in found.index
    assert (found["low"] <= found["correlation"]).all() and (found["correlation"] <= found["high"]).all()
    assert found.loc["margin_before", "low"] > 0.8
    assert found.loc["class_overlap", "low"] < 0 < found.loc["class_overlap", "high"]


def test_given_pressure_takes_the_confounder_out() -> None:
    random = np.random.default_rng(1)
    pressure = random.normal(size=400)
    table = pd.DataFrame(
        {
            "rank": pressure + 0.2 * random.normal(size=400),
            "pressure": pressure,
            "pressed": True,
            "margin_before": pressure + 0.2 * random.normal(size=400),
        }
    )
    found = imu.reasons(table, draws=20).set_index("column")
    assert found.loc["margin_before", "correlation"] > 0.9
    assert abs(found.loc["margin_before", "given_pressure"]) < 0.15 and np.isnan(
        found.loc["pressure", "given_pressure"]
    )


def test_samples_without_pressure_are_not_explained_by_their_own_run() -> None:
    table = invented().assign(pressed=lambda t: t["example"] >= 20, uniform_rank=lambda t: t["rank"])
    assert (imu.reasons(table, draws=5)["samples"] == 100).all()
    assert (imu.reasons(table, "uniform_rank", draws=5)["samples"] == 120).all()
    with pytest.raises(ValueError, match="5 samples had something to withstand"):
        imu.reasons(table.assign(pressed=table["example"] < 5))
    wrong = table.assign(wrong_before=table["example"] >= 90)
    assert (imu.reasons(wrong, draws=5)["samples"] == 70).all(), "who was wrong before had nothing to withstand"
    with pytest.raises(imu.UnknownName, match="Did you mean 'rank'"):
        imu.reasons(table, "ranks")


def test_under_uniform_pressure_there_is_none_to_take_out() -> None:
    table = invented().assign(uniform_rank=lambda t: t["rank"])
    found = imu.reasons(table, "uniform_rank", draws=5).set_index("column")
    assert "pressure" not in found.index and found["given_pressure"].isna().all()
    assert imu.reasons(table.assign(pressure=np.nan), draws=5)["given_pressure"].isna().all()
    assert "pressure" not in set(imu.predict_resistance(table, "uniform_rank", controls=1).importance["column"])


def test_the_never_forgotten_are_explained_as_the_latest() -> None:
    table = invented().assign(censored=lambda t: t["rank"] > 90, time_to_forget=lambda t: t["rank"].mask(t["censored"]))
    found = imu.reasons(table, "time_to_forget", draws=5)
    assert (found["samples"] == 120).all() and found["correlation"].abs().max() > 0.8


@pytest.mark.slow
def test_the_forest_is_scored_on_what_it_did_not_see_and_beats_its_control() -> None:
    found = imu.predict_resistance(invented(), controls=4)
    assert found.low < found.score < found.high and found.score > 0.8 > 0.5 > abs(found.control)
    assert set(found.importance["column"][:2]) == {"margin_before", "pressure"}
    noise = invented().assign(rank=np.random.default_rng(3).normal(size=120))
    assert imu.predict_resistance(noise, controls=2).score < 0.3, (
        "a forest knows its training set by heart; this must not"
    )


def test_partial_dependence_rises_with_the_cause() -> None:
    shape = imu.predict_resistance(invented(), controls=1).dependence
    margin = shape[shape["column"] == "margin_before"]
    assert margin["predicted"].iloc[-1] > margin["predicted"].iloc[0] + 10


def toy_run(**how: Any) -> imu.Run:
    """A run on the toy that forgets a good part of it."""
    return imu.unlearn(cases.task("toy"), cases.original("toy"), **({"steps": 30, "lr": 0.1} | how))


@pytest.mark.filterwarnings("ignore:the run")
def test_every_why_column_is_there_for_a_real_run() -> None:
    run = toy_run()
    table = imu.explain_resistance(run, folds=2)
    assert len(table) == len(run.samples) and table["example"].tolist() == run.samples["example"].tolist()
    wanted = {
        "influence_fisher-diagonal", "gradient_norm", "curvature", "margin_before", "held_out_confidence",
        "training_events", "retain_distance", "class_overlap", "label_suspicion", "near_duplicate", "retain_neighbours",
    }  # fmt: skip
    assert wanted <= set(table.columns)
    assert "influence_el2n" in why_columns(table)
    quick = imu.explain_resistance(run, training=False)
    every = imu.explain_resistance(run, training=False, estimators="all", uniform=True)
    assert {f"influence_{name}" for name in imu.estimators} <= set(every) and "uniform_rank" in every
    assert "influence_el2n" in imu.explain_resistance(run, training=False, estimators="el2n")
    assert "held_out_confidence" not in quick and quick["rank"].equals(table["rank"])
    found = imu.reasons(table)
    assert found["forgotten"].eq((~table["censored"] & ~table["after_limit"] & ~table["wrong_before"]).sum()).all()
    assert table.attrs["about"] == imu.resistance(run).attrs["about"] and "40 pressed" in table.attrs["about"]


def test_nothing_is_explained_where_nothing_was_forgotten_and_nothing_is_trained_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    idle = toy_run(lr=1e-6)
    monkeypatch.setattr(imu.tasks.Toy, "make_model", lambda *_: pytest.fail("a model was to be trained"))
    about = imu.resistance(idle).attrs["about"]
    assert about == "imu · uniform: 0 of 40 samples forgotten, 40 pressed"
    with pytest.raises(ValueError, match=r"40 samples had .*; 0 of 40 samples forgotten, 40 pressed; an explanation needs "
                       r"at least 5 forgotten: make the run again with .*lr=\.\.\.\)$"):  # fmt: skip
        imu.explain_resistance(idle)
    with pytest.raises(ValueError, match="at least 5 forgotten"):
        imu.reasons(imu.resistance(idle))
    assert "forgotten" in imu.plot_resistance(idle).layout.title.text


def test_too_few_pressed_are_not_explained_either() -> None:
    weights = np.zeros(40)
    weights[:6] = 1
    few = toy_run(weights=weights, steps=60, lr=0.3)
    with pytest.raises(
        ValueError, match=r"^6 samples had .* 6 pressed; an explanation needs at least 10: .*press more"
    ):
        imu.explain_resistance(few, training=False)
    assert "6 pressed" in imu.resistance(few).attrs["about"]
    # Under uniform pressure all were pressed: that can be explained.
    table = imu.explain_resistance(few, training=False, uniform=True)
    assert len(imu.reasons(table, "uniform_rank", draws=5))


@pytest.mark.parametrize(("late", "words"), [(0, ""), (3, " (3 more only after the utility limit)")])
def test_who_was_lost_in_the_collapse_is_counted_apart(late: int, words: str) -> None:
    table = invented(20).assign(
        censored=lambda t: t["example"] >= 9, after_limit=lambda t: t["example"] < late, wrong_before=False
    )
    assert str(counted(table)) == f"{9 - late} of 20 samples forgotten{words}, 20 pressed"
    assert too_few(table) == "" and (imu.reasons(table, draws=5)["forgotten"] == 9 - late).all()
    few = table.assign(censored=table["example"] >= 4)
    assert "at least 5 forgotten" in too_few(few) and too_few(few, "confidence_auc") == ""


@pytest.mark.filterwarnings("default")
def test_an_order_by_confidence_is_not_passed_off_as_one_of_forgetting() -> None:
    table = invented(20).assign(
        censored=lambda t: t["example"] >= 12, after_limit=lambda t: t["example"].between(3, 11), wrong_before=False
    )
    with pytest.warns(
        UserWarning, match=r"^3 of 20 samples forgotten \(9 more only after the utility limit\).*mostly confidence"
    ):
        imu.reasons(table, draws=5)
    with catch_warnings():
        simplefilter("error")
        imu.reasons(table.assign(after_limit=False), draws=5)
        imu.reasons(table.assign(time_to_forget=table["rank"]), "time_to_forget", draws=5)
