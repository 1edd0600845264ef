"""The size of a sample's error at the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.registry import estimator
from ..core.running import device_of, evaluating
from ..tasks.protocol import Examples, Task


@estimator("el2n")
@dataclass(frozen=True)
class ErrorNorm:
    """I_i = −‖δ_i‖, δ_i the derivative of the loss at the outputs: p_i − e_y for cross-entropy.

    Source: EL2N (Paul et al. 2021, arXiv 2107.07075), at the trained model.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus the length of each forget example's error."""
        parts = []
        with evaluating(model), torch.enable_grad():
            for _, batch in forget.batches():
                batch = batch.to(device_of(model))
                outputs = model(batch.inputs).detach().requires_grad_()
                loss = task.example_loss(lambda _, outputs=outputs: outputs, batch).sum()
                parts.append(torch.autograd.grad(loss, outputs)[0].flatten(1).norm(dim=1))
        return -torch.cat(parts)
