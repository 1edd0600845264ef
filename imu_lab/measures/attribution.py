"""Where a model looks to name a person: signed Grad-CAM on the true identity's logit, and its change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.messages import unknown
from ..core.running import device_of, evaluating
from ..tasks.protocol import Examples, Task


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each place of some pictures does for the logit of the person who is on them.

    Attributes:
        maps: (n, h, w) signed: above 0 the place speaks for the true person, below 0 against.
        examples: (n,) ids of the pictures.
        source: the data that the ids count in.
        label: the model's name, or the difference's.
        task: the task, for its pictures.
    """

    maps: np.ndarray
    examples: np.ndarray
    source: str
    label: str
    task: Any = field(default=None, repr=False)

    def __sub__(self, before: Attribution) -> Attribution:
        """The signed difference: what unlearning added and took away, place by place.

        Raises:
            ValueError: they speak of different pictures.
        """
        same = self.source == before.source and np.array_equal(self.examples, before.examples)
        if not same:
            raise ValueError("the two attributions are of different pictures; make both from the same examples")
        return replace(self, maps=self.maps - before.maps, label=f"{self.label} − {before.label}")

    def __len__(self) -> int:
        return len(self.examples)


def gradcam(
    task: Task,
    model: nn.Module,
    examples: Examples | None = None,
    *,
    layer: str | None = None,
    label: str = "model",
) -> Attribution:
    """Signed Grad-CAM of each picture's true identity logit (captum's ``LayerGradCam``), at the picture's size.

    The target is an *identity logit* of the whole model, never a feature channel, and the pictures are as the model
    sees them in use: nothing is cropped at random. Negative evidence is kept (no ReLU), so that a difference of two
    models shows what was lost as well as what was gained. A logit's absolute level means little; compare places.

    Source: Selvaraju et al. 2017, "Grad-CAM" (ICCV).

    Args:
        task: a task of pictures with one label each.
        model: a whole model, not the readout alone.
        examples: which pictures; None takes the held-out pictures of what is forgotten.
        layer: the name of a convolutional block; None for the model's own ``last_block``, else its last convolution.
        label: the model's name in figures.

    Raises:
        UnknownName: the model has no such layer.
        ValueError: the model has no convolution to look at.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer, modules = layer or _last_block(model), dict(model.named_modules())
    if layer not in modules:
        raise unknown("module", layer, [name for name in modules if name])
    examples = task.split("test-forget") if examples is None else examples
    explain = LayerGradCam(model, modules[layer])
    parts = []
    with evaluating(model), torch.enable_grad():
        for _, batch in examples.batches(64):
            inputs, truth = batch.to(device_of(model))
            coarse = explain.attribute(inputs, target=truth, relu_attributions=False)  # (n, 1, h', w')
            fine = LayerAttribution.interpolate(coarse, inputs.shape[2:], interpolate_mode="bilinear")
            parts.append(fine[:, 0].detach().cpu())
    return Attribution(torch.cat(parts).numpy(), examples.ids.numpy(), examples.source, label, task)


def _last_block(model: nn.Module) -> str:
    """Where to look in a model: what it names itself, or its last convolution."""
    if hasattr(model, "last_block"):
        return model.last_block
    found = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    if not found:
        kind = type(model).__name__
        raise ValueError(f"this {kind} has no convolution for Grad-CAM to look at; name one with layer=")
    return found[-1]
