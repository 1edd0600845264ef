"""Whatever mode of torch's holds around a call, such as that of a notebook without gradients, the verbs say the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu

MODES = {
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "new tensors elsewhere": lambda: torch.device("meta"),  # as torch.set_default_device("cuda") has it
}
MINE = cases.conv_net(), cases.images(60, 0), cases.images(30, 1)
VERBS = {
    "influence": lambda run: imu.influence(run.task, run.model_at(0)).values,
    "influence_matrix": lambda run: imu.influence_matrix(run.task, run.model_at(0)).values,
    "curvature_spectrum": lambda run: imu.curvature_spectrum(run.task, run.model_at(0)).table,
    "one_step_check": lambda run: (
        imu.one_step_check(run.task, run.model_at(0), imu.influence(run.task, run.model_at(0))).table
    ),
    "refit": lambda run: next(imu.refit(run.task, run.model_at(0)).parameters()).detach(),
    "again": lambda run: imu.again(run).curve["value"],
    "collateral": lambda run: imu.collateral(run)["predicted"],
    "damage_by_sample": lambda run: imu.damage_by_sample(run)["predicted"],
    "resistance": lambda run: imu.resistance(run, rebound=5)["rebound_censored"].astype(float),
    "a task": lambda run: imu.tasks.Classification.from_data(*MINE, forget_indices=[0]).split("forget").batch().inputs,
    "digits": lambda run: imu.tasks.Classification("digits", forget_class=3).split("forget").batch().inputs,
    "sequences": lambda run: imu.tasks.Sequence("small", forget_sources=(1,)).split("forget").batch().inputs,
    "train": lambda run: next(imu.train(run.task, recipe=imu.tasks.Recipe(epochs=1, lr=0.01)).parameters()).detach(),
}
VERBS |= {
    f"unlearn by {name}": lambda run, name=name: imu.unlearn(
        run.task, run.model_at(0), method=name, steps=2, seed=1
    ).curve["value"]
    for name in ("gradient-ascent", "npo", "fine-tune", "imu-minibatch", "retrain", "scrub", "boundary-shrink")
}


@pytest.fixture(scope="module")
def run() -> imu.Run:
    """A short run on the blobs."""
    return imu.unlearn(cases.task("toy"), cases.original("toy"), steps=3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_the_same(
    verb: str, mode: str, run: imu.Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Callable[[imu.Run], Any] = VERBS[verb]
    within: Callable[[], AbstractContextManager] = MODES[mode]
    found = []
    for place, around in (("usual", torch.enable_grad), ("other", within)):
        # What one has trained is not to be found by the other.
        monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / place))
        imu.clear_caches()
        with around():
            found.append(np.asarray(asked(run), dtype=float))
    assert found[0].size and np.array_equal(*found, equal_nan=True)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
