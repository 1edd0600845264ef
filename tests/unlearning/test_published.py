"""The public code's run: equal to ``imu`` with every switch off, and what each switch does."""

from __future__ import annotations

import copy

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu


@pytest.mark.parametrize("name", ["own data", "sequence"])
def test_off_it_is_imu(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    weights = imu.intensity(imu.influence(task, model))
    how = dict(steps=5, lr=1e-2, batch_size=16)
    ours, theirs = (imu.unlearn(task, model, weights, method=method, **how) for method in ("imu", "imu-published"))
    assert cases.close(theirs.trajectory["loss"].to_numpy(), ours.trajectory["loss"].to_numpy(), within=1e-4)
    assert cases.close(theirs.samples["pressure"].to_numpy(), ours.samples["pressure"].to_numpy())


def test_in_training_mode_the_running_means_drift_and_the_kept_suffer() -> None:
    """A8: only the readout has a gradient, and all of the network changes; twice an update."""
    task, model = cases.own_data(), cases.conv_net()
    how = dict(method="imu-published", steps=3, lr=1e-3, batch_size=64, seed=0)
    still, drifted = (imu.unlearn(task, model, drifting=drifting, **how) for drifting in (False, True))
    before = model.state_dict()

    def changed(run: imu.Run) -> set[str]:
        return {key for key, value in run.model.state_dict().items() if not torch.equal(value, before[key])}

    readout = {"classifier.weight", "classifier.bias"}
    assert changed(still) == readout
    assert changed(drifted) == readout | {
        f"body.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert drifted.model.body[1].num_batches_tracked == before["body.1.num_batches_tracked"] + 6
    norm, forget = model.body[1], task.split("forget").batch().inputs
    by_hand = copy.deepcopy(norm).train()
    for _ in range(6):
        by_hand(model.body[0](forget))
    assert cases.close(drifted.model.body[1].running_mean, by_hand.running_mean, within=1e-5)
    assert not drifted.model.training
    again = imu.unlearn(task, model, drifting=True, **how)
    assert again.curve.equals(drifted.curve), "what dropout draws is decided by the seed"


def test_batch_mates_decide_a_samples_pressure() -> None:
    """A6: in a batch by itself the least of samples gets all of it; shares of the whole set are its weight."""
    task, model = cases.task("own data"), cases.original("own data")
    weights = np.array([0.6, 0.2, 0.1, 0.09, 0.01])
    for seed in (0, 1):
        run = {
            how: imu.unlearn(task, model, weights, method="imu-published", steps=5, batch_size=1, normalise=how, seed=seed,
                             momentum=0.0, weight_decay=0.0, lr=1e-3) for how in ("batch", "set")
        }  # fmt: skip
        assert cases.close(run["batch"].samples["pressure"].to_numpy(), 1.0)
        steps = run["set"].terms.query("term == 'ascent_gradient'")["value"].to_numpy()
        plain = run["batch"].terms.query("term == 'ascent_gradient'")["value"].to_numpy()
        assert cases.close(np.sort(steps / plain), np.sort(5 * weights), within=0.05)


def test_the_l1_term_outweighs_the_ascent_of_a_fitted_model() -> None:
    """A9: at the first update, with the public code's α."""
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, method="imu-published", steps=1, alpha=0.2, lr=1e-4)
    first = run.terms.set_index("term")["value"]
    assert first["l1_gradient"] == pytest.approx(0.2 * sum(v.numel() for v in model[-1].parameters()) ** 0.5, rel=1e-3)
    assert first["l1_gradient"] > 3 * first["ascent_gradient"]


def test_the_tenth_that_alone_is_pressed() -> None:
    """A7: the code's default leaves nine samples of ten out, and its help says the opposite."""
    task, model = cases.task("digits class"), cases.original("digits class")
    scores = imu.influence(task, model, "published")
    count = int((scores.values < 0).sum())
    few, all_of_them = (imu.intensity(scores, top=top) for top in (0.1, 1.0))
    assert few.frame["selected"].sum() == pytest.approx(0.1 * count, abs=1)
    assert all_of_them.frame["selected"].sum() == count
    kept = scores.values[few.frame["selected"].to_numpy()]
    assert np.abs(kept).min() >= np.sort(np.abs(scores.values[scores.values < 0]))[-len(kept)] - 1e-12


def test_a_single_sample_is_put_through_in_training_mode_too() -> None:
    task = cases.own_data(forget_indices=[4])
    run = imu.unlearn(task, cases.conv_net(), method="imu-published", drifting=True, steps=2, lr=1e-3)
    assert np.isfinite(run.trajectory["loss"]).all() and isinstance(run.model, nn.Module)


def test_a_single_sample_without_a_spread_is_refused_in_one_sentence() -> None:
    """Where nothing of a picture is left but one number per channel."""
    model = nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3)).eval()
    task = cases.own_data(model, forget_indices=[0, 1, 2])
    with pytest.raises(ValueError, match="left with a single sample; choose a batch_size"):
        imu.unlearn(task, model, method="imu-published", drifting=True, steps=2, lr=1e-3, batch_size=2)
    assert not model.training
