"""How curved a sample's loss is in the readout's weights: flat where the model is sure of it, steep where it had to bend."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from ..core.running import device_of, one_thread
from ..features.readout import CachedTask, view
from ..tasks.protocol import Batch, Task


def curvature(task: Task, model: nn.Module) -> pd.DataFrame:
    """The trace of the Hessian of each forget sample's loss in the weights of a linear readout.

    For cross-entropy it is Σ_k p_k (1 − p_k) · (‖h‖² + 1), the 1 where the readout has a bias (Böhning 1992, equation 2).
    Here the second derivatives at the logits are taken of the task's own loss, so label smoothing, masks and means over
    tokens are in it, as long as the loss treats positions apart. Curvature around a sample tells how far a model has
    memorised it (Garg et al. 2024, arXiv 2307.05831, who take it in the inputs).

    Args:
        task, model: whose forget samples, under which model.

    Returns:
        ``example``; ``curvature`` in nats, per unit of weight squared: NaN where the readout is not one linear layer.
    """
    seen, head = view(task, model)
    forget = seen.split("forget")
    found = torch.full((len(forget),), torch.nan)
    if isinstance(seen, CachedTask):
        with one_thread():
            for positions, batch in forget.batches():
                batch = batch.to(device_of(head))
                sizes = batch.inputs.float().square().sum(-1) + (head.bias is not None)  # (c,) or (c, T)
                steep = _second_derivatives(seen, head(batch.inputs).detach(), batch)
                found[positions] = (steep * sizes).flatten(1).sum(1).cpu() if sizes.ndim > 1 else (steep * sizes).cpu()
    return pd.DataFrame({"example": forget.ids.numpy(), "curvature": found.double().numpy()})


def _second_derivatives(seen: Task, logits: Tensor, batch: Batch) -> Tensor:
    """(c,) or (c, T): the sum over classes of the loss's second derivatives at the logits (c, K) or (c, T, K)."""
    with torch.enable_grad():
        logits = logits.clone().requires_grad_()
        loss = seen.example_loss(lambda _: logits, batch).sum()
        (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
        total = torch.zeros_like(logits[..., 0])
        for k in range(logits.shape[-1]):  # an example's slope depends on its own logits only: a sum tells them apart
            total += torch.autograd.grad(slope[..., k].sum(), logits, retain_graph=True)[0][..., k]
    return total.detach()
