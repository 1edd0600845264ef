"""The front: who is beaten on both counts, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.studies.pareto import FLOOR

ACROSS, UP = "forget kl_retrained", "test kl_retrained"
PLACES = {
    "original": (0.4, 0.1),
    "a": (0.1, 0.2),
    "b": (0.2, 0.2),
    "c": (0.3, 0.05),
    "d": (0.1, 0.2),
    "retrained": (0, 0),
}


def table(places: dict[str, tuple[float, float]] = PLACES, names: tuple[str, str] = (ACROSS, UP)) -> pd.DataFrame:
    """Two seeds each, 0.01 to either side of the place."""
    rows = [
        (method, seed, x - side, y + 2 * side, 4.0 + seed)
        for method, (x, y) in places.items()
        for seed, side in ((0, 0.01), (1, -0.01))
    ]
    return pd.DataFrame(rows, columns=["method", "seed", *names, "passes"])


def test_who_is_beaten_on_both_counts_and_by_whom() -> None:
    found = imu.pareto(table()).set_index("method")
    assert found["front"].to_dict() == {
        "original": False,
        "a": True,
        "b": False,
        "c": True,
        "d": True,
        "retrained": False,
    }
    told = {"original": "c", "a": "", "b": "a, d", "c": "", "d": "", "retrained": ""}
    assert found["dominated_by"].to_dict() == told, "equals do not beat each other; the retrained model beats nobody"
    assert found.loc["a", ["x", "y", "passes", "seeds"]].tolist() == pytest.approx([0.1, 0.2, 4.5, 2])
    half = 12.706204736 * 0.01  # Student's t of one degree of freedom, times s / √2 = 0.01
    assert found.loc["a", ["x_low", "x_high"]].tolist() == pytest.approx([0.1 - half, 0.1 + half])
    assert set(found["across"]) == {ACROSS} and set(found["up"]) == {UP}


def test_what_is_known_is_to_be_large_and_a_gap_is_a_size() -> None:
    places = {"a": (-0.3, 0.9), "b": (0.2, 0.8), "c": (0.3, 0.85)}
    found = imu.pareto(table(places, ("forget accuracy gap", "test accuracy")), "forget accuracy gap", "test accuracy")
    assert found["x"].tolist() == pytest.approx([0.3, 0.2, 0.3])
    assert found["front"].tolist() == [True, True, False] and found["dominated_by"].tolist() == ["", "", "a"]
    assert imu.pareto(table(places, (ACROSS, "test loss")), ACROSS, "test loss")["dominated_by"].iloc[0] == ""


def test_methods_without_numbers_are_left_out_and_the_floor_is_of_the_retrained() -> None:
    given = table().assign(**{"forget others": 0.5, "test others": 0.4})
    given.loc[given["method"] == "retrained", ["forget others", "test others"]] = [[0.02, 0.01], [0.04, 0.03]]
    given.loc[given["method"] == "b", UP] = np.nan
    found = imu.pareto(given)
    assert found.attrs["without"] == ["b"] and imu.pareto(table()).attrs["without"] == []
    found = found.set_index("method")
    assert "b" not in found.index and found.loc[FLOOR, ["x", "y"]].tolist() == pytest.approx([0.03, 0.02])
    assert not found.loc[FLOOR, "front"] and FLOOR not in imu.pareto(table())["method"].tolist()
    assert len(imu.pareto(table().iloc[:0])) == 0


def test_a_direction_that_nobody_can_say_is_refused() -> None:
    with pytest.raises(ValueError, match="direction of 'forget accuracy' is good.*take 'forget accuracy gap'"):
        imu.pareto(table(names=("forget accuracy", UP)), "forget accuracy", UP)
    with pytest.raises(imu.UnknownName, match="unknown column in this table: 'test kl_retraind'. Did you mean"):
        imu.pareto(table(), kept="test kl_retraind")
    with pytest.raises(imu.UnknownName, match="unknown column in this table: 'arm'"):
        imu.pareto(table(), by="arm")


def test_a_sweep_that_kept_nothing_has_no_runs_to_load() -> None:
    with pytest.raises(ValueError, match=r"no row of this table has a saved run; imu.sweep\(..., folder=\)"):
        imu.load_runs(table().assign(run=None))
    with pytest.raises(imu.UnknownName, match="unknown column in this table: 'run'"):
        imu.load_runs(table())


def test_settings_are_not_pooled_as_seeds() -> None:
    several = pd.concat([table().assign(arm=lambda rows: rows["method"] + " 1"), table().assign(arm="other")])
    with pytest.raises(ValueError, match="several rows for one seed.*by='arm'"):
        imu.pareto(several)


def test_a_trial_tells_its_methods_apart_by_arm() -> None:
    found = imu.pareto(table().rename(columns={"method": "arm"}))
    assert found["arm"].tolist() == imu.pareto(table())["method"].tolist()


def test_who_got_there_under_fewer_seeds_beats_nobody_who_got_there_more_often() -> None:
    """The mean of a method that failed under two seeds of three is that of its lucky one."""
    rows = [{"method": "lucky", "seed": 0, ACROSS: 0.1, UP: 0.1, "reached": True}]
    rows += [{"method": "lucky", "seed": seed, ACROSS: np.nan, UP: np.nan, "reached": False} for seed in (1, 2)]
    rows += [{"method": "steady", "seed": seed, ACROSS: 0.2, UP: 0.2, "reached": True} for seed in range(3)]
    rows += [{"method": "worse", "seed": seed, ACROSS: 0.3, UP: 0.3, "reached": True} for seed in range(3)]
    rows += [{"method": "as lucky", "seed": seed, ACROSS: [0.4, np.nan, np.nan][seed], UP: 0.4} for seed in range(3)]
    found = imu.pareto(pd.DataFrame(rows)).set_index("method")
    assert found["seeds"].to_dict() == {"lucky": 1, "steady": 3, "worse": 3, "as lucky": 1}
    assert (found["of"] == 3).all() and found["front"].to_dict() == {
        "lucky": True, "steady": True, "worse": False, "as lucky": False,
    }  # fmt: skip
    assert found["dominated_by"].to_dict() == {
        "lucky": "", "steady": "", "worse": "steady", "as lucky": "lucky, steady, worse",
    }  # fmt: skip
