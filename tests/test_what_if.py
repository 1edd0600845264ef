"""What-ifs: the named samples are treated otherwise, and nobody else."""

from __future__ import annotations

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.what_if import differences, reweighted, subset


@pytest.fixture(scope="module")
def run() -> imu.Run:
    task, original = cases.task("digits class"), cases.original("digits class")
    return imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), steps=12)


def test_a_dropped_sample_gets_no_pressure_and_is_still_measured(run: imu.Run) -> None:
    gone = run.samples["example"].iloc[:3].tolist()
    other = imu.what_if(run, drop=gone)
    rows = other.samples.set_index("example").loc[gone]
    assert (rows["pressure"] == 0).all() and not rows["selected"].any() and len(other.samples) == len(run.samples)
    assert other.label.endswith("3 changed")


def test_a_factor_multiplies_the_share(run: imu.Run) -> None:
    from imu_lab.again import weights_of

    first = int(run.samples["example"].iloc[0])
    before, after = weights_of(run), reweighted(weights_of(run), {first: 5.0})
    ratio = after.values / before.values
    assert ratio[0] / ratio[1] == pytest.approx(5) and after.values.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="no sample is left"):
        imu.what_if(run, drop=run.samples["example"])


def test_kept_samples_move_to_the_retain_set(run: imu.Run) -> None:
    kept = run.samples["example"].iloc[:10].tolist()
    other = imu.what_if(run, keep=kept)
    assert not set(kept) & set(other.samples["example"]) and len(other.samples) == len(run.samples) - 10
    assert set(kept) <= set(other.task.split("retain").ids.tolist())


def test_a_new_request_from_any_samples(run: imu.Run) -> None:
    other = imu.what_if(run, request=[5, 6, 7, 900], steps=3)
    assert other.samples["example"].tolist() == [5, 6, 7, 900] and other.events["steps"] == 3
    with pytest.raises(ValueError, match="Toy forgets no single samples"):
        imu.what_if(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1), request=[1])
    with pytest.raises(ValueError, match="not in the forget set, which holds 146"):
        imu.what_if(run, drop=[0])


def test_differences_are_the_other_run_minus_the_first(run: imu.Run) -> None:
    other = imu.what_if(run, drop=[int(run.samples["example"].iloc[0])])
    table = differences(run, other)
    assert np.allclose(table["pressure_change"], table["pressure_other"] - table["pressure"])
    assert table["margin_after_change"].abs().is_monotonic_decreasing
    assert (differences(run, imu.again(run)).filter(like="change").fillna(0) == 0).all(axis=None)


def test_a_subset_is_the_same_run_through_fewer_samples(run: imu.Run) -> None:
    some = run.samples["example"].iloc[[3, 50, 99]].tolist()
    few = subset(run, some)
    assert few.samples["example"].tolist() == some
    expected = run.trajectory[run.trajectory["example"].isin(some)]
    assert few.trajectory["loss"].tolist() == expected["loss"].tolist()
    assert len(subset(run, run.samples["example"], most=20).trajectory) == 20 * 13
