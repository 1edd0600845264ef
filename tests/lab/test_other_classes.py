"""A checkpoint of other classes is refused before anything is computed, as the original and as the retrained model."""

from __future__ import annotations

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.tasks.networks import images


@pytest.mark.parametrize("outputs", [2, 8, 12, 100])
def test_a_model_of_other_classes_is_refused(outputs: int) -> None:
    task, model = cases.task("digits class"), images.build("small-cnn", outputs, 1).eval()
    said = rf"has {outputs} outputs, and the task has 10 answers \(0, 1, 2, 3, 4 ...\): it was made for other classes"
    said = (
        said if outputs > 3 else f"has {outputs} outputs, and a sample is of class 3"
    )  # the forgotten one, met at once
    for asked in (imu.influence, imu.unlearn, imu.statistics, imu.Session):
        with pytest.raises(ValueError, match=f"this model {said}"):
            asked(task, model)
    with pytest.raises(ValueError, match=f"the retrained model has {outputs} outputs, and the task has 10 answers"):
        imu.unlearn(task, cases.original("digits class"), steps=1, reference=model)


def test_one_logit_tells_two_classes_apart() -> None:
    torch.manual_seed(0)
    points, labels = torch.randn(20, 3), torch.arange(20) % 2
    for outputs in (1, 2):
        model = torch.nn.Linear(3, outputs)
        task = imu.tasks.Classification.from_data(model, (points, labels), (points + 1, labels), forget_indices=[0, 3])
        assert len(imu.influence(task, model)) == 2
