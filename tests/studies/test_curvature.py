"""The trace of each sample's Hessian, against the whole Hessian and against the closed form."""

from __future__ import annotations

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.features.readout import view
from imu_lab.studies.curvature import curvature


@pytest.mark.parametrize("name", ["digits class", "sequence"])
def test_it_is_the_trace_of_the_whole_hessian(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    found = curvature(task, model)
    seen, head = view(task, model)
    forget = seen.split("forget")
    assert found["example"].tolist() == forget.ids.tolist()
    shapes = [value.shape for value in head.parameters()]
    flat = torch.cat([value.detach().flatten() for value in head.parameters()]).double()
    for at in (0, len(forget) - 1):
        batch = forget.batch(torch.tensor([at])).in_precision(torch.float64)

        def loss(vector, batch=batch):
            parts = [
                part.view(shape) for part, shape in zip(vector.split([s.numel() for s in shapes]), shapes, strict=True)
            ]
            return seen.example_loss(lambda inputs: torch.nn.functional.linear(inputs, *parts), batch).sum()

        hessian = torch.autograd.functional.hessian(loss, flat)
        assert cases.close(found["curvature"][at], hessian.trace(), within=1e-4, of=found["curvature"].max())


def test_for_cross_entropy_it_has_a_closed_form() -> None:
    seen, head = view(cases.task("digits class"), cases.original("digits class"))
    inputs = seen.split("forget").batch().inputs
    p = head(inputs).softmax(1).detach()
    wanted = (p * (1 - p)).sum(1) * (inputs.square().sum(1) + 1)
    found = curvature(cases.task("digits class"), cases.original("digits class"))["curvature"]
    assert cases.close(found, wanted, within=1e-3)


def test_a_sure_sample_is_flat_and_another_readout_has_none() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    found = curvature(task, model)["curvature"]
    confidence = imu.unlearn(task, model, steps=0).samples["confidence_before"]
    assert (found > 0).all() and found[confidence.argmax()] < found[confidence.argmin()]
    whole = imu.tasks.Classification("digits", forget_class=3, recipe=task.recipe, readout="all")
    assert curvature(whole, model)["curvature"].isna().all()
