"""RMU against its formula, with the layer before the readout and with another."""

from __future__ import annotations

import cases
import pytest
import torch
from descents import EACH, by_hand, difference, flat, stepped
from linear_heads import own
from torch import Tensor, nn

import imu_lab as imu


def inner(model: nn.Module, inputs: Tensor) -> Tensor:
    """What reaches the readout."""
    if isinstance(model, nn.Sequential):
        return model[1](model[0](inputs))
    kept: list[Tensor] = []
    handle = last(model).register_forward_hook(lambda _, given, made: kept.append(given[0]))
    model(inputs)
    handle.remove()
    return kept[0]


def last(model: nn.Module) -> nn.Module:
    """The readout."""
    return [each for each in model.modules() if isinstance(each, nn.Linear)][-1]


@pytest.mark.few(1)
@EACH
def test_it_is_the_formula_and_the_readout_stays(given) -> None:
    task, model = given()
    forget, retain = (task.split(name).batch().inputs for name in ("forget", "retain"))
    drawn = torch.rand(inner(model, forget).shape[-1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted, before = 2.0 * drawn / drawn.square().sum().sqrt(), inner(model, retain).detach()

    def loss(moved: nn.Module) -> Tensor:
        return ((inner(moved, forget) - wanted) ** 2).mean() + 3.0 * ((inner(moved, retain) - before) ** 2).mean()

    moved, updates = stepped(task, model, "rmu", steps=4, coefficient=2.0, retain_weight=3.0)
    assert difference(moved, by_hand(model, loss, steps=4), model) < 1e-9
    assert updates[0].terms["misdirection"] == pytest.approx(loss(model).item(), rel=1e-10)
    assert updates[0].terms["retain_inner"] == 0 < updates[-1].terms["retain_inner"]
    decayed, _ = stepped(task, model, "rmu", steps=2, weight_decay=0.5)
    head = [last(each) for each in (decayed, model)]
    assert torch.equal(head[0].weight, head[1].weight) and not torch.equal(flat(decayed), flat(model))


def test_a_layer_by_name_and_what_comes_after_stays() -> None:
    task, model = own(torch.float64)
    moved, _ = stepped(task, model, "rmu", steps=2, layer="body")
    after = moved.state_dict()
    changed = {
        key.rpartition(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, after[key])
    }
    assert changed == {"body.0", "body.1"}


def test_it_loses_the_class_and_keeps_the_others() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, method="rmu", steps=150, lr=0.3, coefficient=20.0, record_every=50)
    fallen = {split: run.value(split, "accuracy", 0) - run.value(split, "accuracy") for split in ("forget", "retain")}
    assert fallen["forget"] > 0.5 > 0.1 > fallen["retain"]


@pytest.mark.parametrize("layer", ["nowhere", "3"])
def test_a_layer_that_is_not_there_is_named(layer: str) -> None:
    with pytest.raises(ValueError, match=f"layer='{layer}' names no module inside this Sequential; it has 0, 1, 2"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), method="rmu", layer=layer)
