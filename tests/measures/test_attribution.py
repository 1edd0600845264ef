"""Grad-CAM on the true identity: against its formula, signed, on a logit, and without a trace in the model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cases
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.measures.attribution import Attribution, gradcam

pytestmark = pytest.mark.slow  # needs a trained network of people


@cache
def task() -> imu.tasks.ReID:
    return imu.tasks.ReID("figures", forget_persons=(7,), recipe=imu.tasks.Recipe(epochs=2, batch_size=32))


@cache
def model() -> nn.Module:
    return imu.train(task())


def by_the_formula(network: nn.Module, pictures: torch.Tensor, person: int) -> torch.Tensor:
    """(n, h', w') Σ_k α_k A_k with α_k the mean over places of the logit's derivative at channel k."""
    places = network.backbone[:4](pictures).detach().requires_grad_()  # the blocks before pooling
    logits = network.classifier(network.embedding(network.backbone[4:](places)))
    (slopes,) = torch.autograd.grad(logits[:, person].sum(), places)
    return (slopes.mean((2, 3), keepdim=True) * places).sum(1).detach()


def test_equals_the_formula_and_keeps_the_sign() -> None:
    seen = gradcam(task(), model())
    pictures = task().split("test-forget").batch().inputs
    coarse = by_the_formula(model(), pictures, 7)[:, None]
    wanted = nn.functional.interpolate(coarse, pictures.shape[2:], mode="bilinear")[:, 0]
    assert seen.maps.shape == (8, 64, 32) and cases.close(seen.maps, wanted.numpy(), within=1e-5)
    assert (seen.maps < 0).any() and (seen.maps > 0).any()


def test_the_target_is_the_true_persons_logit() -> None:
    """Changing another person's row of the classifier changes nothing; changing this person's does."""
    for person, moves in ((3, False), (7, True)):
        other = cases.copy.deepcopy(model())
        with torch.no_grad():
            other.classifier.weight[person] *= -1
        assert (cases.relative(gradcam(task(), other).maps, gradcam(task(), model()).maps) > 1e-4) == moves


def test_the_model_is_untouched() -> None:
    network = cases.copy.deepcopy(model()).train()
    before = cases.frozen(network)
    gradcam(task(), network)
    assert cases.same(before, network)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_frozen_model_and_no_grad() -> None:
    network = cases.copy.deepcopy(model()).requires_grad_(False)
    with torch.no_grad():
        assert cases.close(gradcam(task(), network).maps, gradcam(task(), model()).maps, within=1e-6)


def test_the_difference() -> None:
    before, after = gradcam(task(), model(), label="a"), gradcam(task(), task().make_model(1), label="b")
    change = after - before
    assert (
        change.label == "b − a" and cases.close(change.maps, after.maps - before.maps, within=1e-5) and len(change) == 8
    )
    with pytest.raises(ValueError, match="different pictures"):
        after - gradcam(task(), model(), task().split("test-forget").take(torch.arange(3)))
    with pytest.raises(ValueError, match="different pictures"):
        after - replace(before, source="train")


def test_any_pictures_and_any_layer() -> None:
    seen = gradcam(task(), model(), task().split("retain").take(torch.arange(70)), layer="backbone.block2")
    assert seen.maps.shape == (70, 64, 32) and seen.source == "train"


def test_a_model_without_convolutions() -> None:
    class Flat(nn.Module):
        pass

    with pytest.raises(ValueError, match="Flat has no convolution for Grad-CAM to look at; name one with layer="):
        gradcam(task(), Flat())


def test_another_task_of_pictures() -> None:
    digits = imu.tasks.Classification("digits", forget_class=3)
    seen = gradcam(digits, digits.make_model(0))
    assert isinstance(seen, Attribution) and seen.maps.shape[1:] == (8, 8)


def test_inputs_that_are_no_pictures_are_refused_in_words() -> None:
    toy, digits = imu.tasks.Toy(), imu.tasks.Classification("digits", forget_class=3)
    with pytest.raises(ValueError, match=r"Grad-CAM needs pictures.*inputs of shape \(1, 2\)"):
        gradcam(toy, toy.make_model(0), toy.split("forget"), layer="0")
    with pytest.raises(ValueError, match='these are none. Without examples= it takes task.split."test-forget".'):
        gradcam(digits, digits.make_model(0), digits.split("forget").take(torch.arange(0)))
    assert repr(gradcam(digits, digits.make_model(0), label="fresh")).startswith("Attribution('fresh', ")


@pytest.mark.parametrize("given", [[0, 1], 3, "forget"])
def test_positions_are_no_examples(given: object) -> None:
    task = cases.task("digits class")
    with pytest.raises(TypeError, match=r'such as task.split\("forget"\).take\(\[0, 1\]\); got'):
        imu.gradcam(task, cases.original("digits class"), given)


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(imu.UnknownName, match="unknown module: 'backbone.block5'. Did you mean 'backbone.block"):
        gradcam(task(), model(), layer="backbone.block5")
