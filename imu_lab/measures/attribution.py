"""Where a model looks when it classifies a picture: signed Grad-CAM of the true class's logit, and its change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.messages import kind_of, unknown
from ..core.running import device_of, evaluating
from ..tasks.protocol import Examples, Task


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each place in some pictures contributes to the logit of the picture's true class.

    Attributes:
        maps: (n, h, w) signed: above 0 the place is evidence for the true class, below 0 against it.
        examples: (n,) ids of the pictures.
        source: which data the ids count in, such as ``"train"``.
        label: the name of the model, or of the difference between two.
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
            ValueError: the two are of different pictures.
        """
        same = self.source == before.source and np.array_equal(self.examples, before.examples)
        if not same:
            raise ValueError("the two attributions are of different pictures; make both from the same examples")
        return replace(self, maps=self.maps - before.maps, label=f"{self.label} − {before.label}")

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        return f"Attribution({self.label!r}, {len(self)} pictures of {' × '.join(map(str, self.maps.shape[1:]))})"


def gradcam(
    task: Task,
    model: nn.Module,
    examples: Examples | None = None,
    *,
    layer: str | None = None,
    label: str = "model",
) -> Attribution:
    """Signed Grad-CAM of the logit of each picture's true class (captum's ``LayerGradCam``), at the picture's size.

    The target is a logit of the whole model, never a feature channel, and the pictures are as the model sees them in
    use: nothing is cropped at random. Negative evidence is kept (no ReLU), so that the difference of two models shows
    what was lost as well as what was gained. The absolute level of a logit means little; compare places.

    Source: Selvaraju et al. 2017, "Grad-CAM" (ICCV).

    Args:
        task: a task of pictures with one label each.
        model: a whole model, not the readout alone.
        examples: which pictures; None takes the held-out pictures of what is forgotten.
        layer: the name of a convolutional block; None for the model's own ``last_block``, else its last convolution.
        label: the model's name in figures.

    Raises:
        UnknownName: the model has no such layer.
        TypeError: ``examples`` are none.
        ValueError: the model has no convolution to look at, or there are no pictures.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer, modules = layer or _last_block(model), dict(model.named_modules())
    if layer not in modules:
        raise unknown("module", layer, [name for name in modules if name])
    examples = task.split("test-forget") if examples is None else examples
    if not isinstance(examples, Examples):
        raise TypeError(
            f'examples are some of a split, such as task.split("forget").take([0, 1]); got {kind_of(examples)}'
        )
    if not len(examples) or examples.batch(slice(0, 1)).inputs.ndim != 4:
        raise ValueError(
            "Grad-CAM needs pictures, (n, channels, height, width); these are "
            + ("none" if not len(examples) else f"inputs of shape {tuple(examples.batch(slice(0, 1)).inputs.shape)}")
            + '. Without examples= it takes task.split("test-forget"); give others, such as task.split("forget")'
        )
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
