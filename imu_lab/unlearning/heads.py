"""Several states of one linear readout as one module: what each says of the same inputs, by a single matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..features.readout import product
from .snapshots import State


class Heads(nn.Module):
    """S linear layers of one shape that read the same inputs.

    Args:
        states: ``weight`` (K, d) and, if it has one, ``bias`` (K,) of each.

    Attributes:
        copies: S.
    """

    def __init__(self, states: Sequence[State]) -> None:
        super().__init__()
        self.copies = len(states)
        weight = torch.stack([state["weight"] for state in states], 1)  # (K, S, d)
        self.weight = nn.Parameter(weight.flatten(0, 1), requires_grad=False)
        biases = [state["bias"] for state in states if "bias" in state]
        self.bias = nn.Parameter(torch.stack(biases, 1).flatten(), requires_grad=False) if biases else None

    def forward(self, inputs: Tensor) -> Tensor:
        """(S · n, ..., K) the outputs for inputs (n, ..., d), head after head."""
        made = product(inputs, self.weight, self.bias).movedim(-1, 0)  # (K · S, n, ...)
        return made.view(-1, self.copies * len(inputs), *inputs.shape[1:-1]).movedim(0, -1)
