"""Every method on every kind of request that pictures in two levels of folders allow."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imu_lab as imu
from imu_lab.tasks import Classification

CLASSES = ("animals/cat", "animals/dog", "plants/fir", "plants/oak")
QUICK = imu.tasks.Recipe(epochs=1, lr=0.01, batch_size=8)
REQUESTS: dict[str, dict[str, Any]] = {
    "superclass": {"forget_superclass": "plants"},
    "subclass": {"forget_subclass": "oak"},
    "filter": {"forget_fraction": 0.5, "labels": "superclass"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of each class to train on, and three unseen ones."""
    root, chance = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for place, name in enumerate(CLASSES):
        for part, count in (("train", 6), ("test", 3)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = chance.integers(0, 120, (8, 8, 3)) + 40 * place
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{number}.png")
    return root


@cache
def asked(folder: Path, request: str) -> tuple[Classification, torch.nn.Module, torch.nn.Module]:
    """A task with its original and its retrained model."""
    task = Classification(folder, recipe=QUICK, **REQUESTS[request])
    if request == "filter":
        task = imu.forget_where(task, "subclass == 'oak' and example % 2 == 0")
    return task, imu.train(task), imu.train(task, "retain")


@pytest.mark.few(7)
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("method", imu.methods)
def test_every_method_serves_every_request(method: str, request_: str, folder: Path) -> None:
    task, original, retrained = asked(folder, request_)
    before = {name: value.clone() for name, value in original.state_dict().items()}
    forget, files = task.split("forget"), task.files(task.split("forget").ids)
    run = imu.unlearn(task, original, method=method, steps=2, reference=retrained)
    last = run.curve[run.curve["step"] == run.events["steps"]]
    assert np.isfinite(last["value"]).all() and run.events["diverged_at"] is None and run.events["steps"] > 0
    assert set(last["split"]) == set(task.splits) and run.samples["example"].tolist() == forget.ids.tolist()
    wanted = "plants" if request_ == "superclass" else "oak"
    assert files and all(wanted in file for file in files)
    moved = any(not torch.equal(value, run.model.state_dict()[name]) for name, value in before.items())
    assert moved and all(torch.equal(value, original.state_dict()[name]) for name, value in before.items())
