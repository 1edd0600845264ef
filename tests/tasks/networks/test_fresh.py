"""Fresh models of a user's architecture that torch resets in ways of its own."""

from __future__ import annotations

import torch
from torch import nn

from imu_lab.core.running import seeded
from imu_lab.tasks.networks import fresh


def test_attention_starts_anew_as_torch_begins_it() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(7.0)
    with seeded(0):
        made = fresh.reset(model)
    attention = made.layers[1].self_attn
    assert not attention.out_proj.bias.any() and not attention.in_proj_bias.any()
    bound = (6 / (8 + 24)) ** 0.5  # Xavier's
    assert 0.8 * bound < attention.in_proj_weight.abs().max() <= bound
    assert all((value != 7.0).all() for value in made.parameters()) and (model.layers[0].linear1.weight == 7.0).all()
    with seeded(0):
        assert all(torch.equal(*pair) for pair in zip(fresh.reset(model).parameters(), made.parameters()))
