"""The transformer: what it may see, its heads, and a readout that can be found."""

from __future__ import annotations

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.features import readout
from imu_lab.tasks.networks.transformer import Attention, Shape, Transformer


def model() -> Transformer:
    """A small one, the same each time."""
    torch.manual_seed(0)
    return Transformer(7, 6, Shape(16, 2, 4)).eval()


def test_a_prediction_sees_no_later_token() -> None:
    tokens = torch.randint(7, (3, 6), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 7
    before, after = model()(tokens), model()(changed)
    assert before.shape == (3, 6, 7)
    assert cases.close(before[:, :4], after[:, :4], within=1e-6) and cases.relative(before[:, 4:], after[:, 4:]) > 1e-3


def test_a_prediction_depends_on_the_past_and_on_the_place() -> None:
    tokens = torch.tensor([[1, 2, 3], [4, 2, 3], [2, 3, 3]])
    found = model()(tokens)
    assert all(cases.relative(found[0, 2], found[other, 2]) > 1e-3 for other in (1, 2))


def test_every_head_attends_in_its_own_way() -> None:
    torch.manual_seed(0)
    attention, x = Attention(8, 4), torch.randn(2, 5, 8)
    query, key, value = attention.mix(x).unflatten(-1, (3, 4, 2)).permute(2, 0, 3, 1, 4)
    rows = []
    for head in range(4):
        scores = query[:, head] @ key[:, head].mT / 2**0.5
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf).softmax(-1)
        rows.append(scores @ value[:, head])
    assert cases.close(attention(x), attention.out(torch.cat(rows, -1)), within=1e-6)
    with pytest.raises(ValueError, match="3 heads do not divide 8"):
        Attention(8, 3)


def test_the_readout_is_its_own_layer_with_a_bias() -> None:
    made, tokens = model(), torch.zeros(2, 6, dtype=torch.int64)
    assert readout.find(made, tokens) == "head" and made.head.bias is not None
    assert made.head.weight.data_ptr() != made.tokens.weight.data_ptr()


def test_a_seed_gives_the_same_model_and_leaves_the_global_state_alone() -> None:
    task, state = imu.tasks.Sequence("small"), torch.random.get_rng_state()
    first, second, other = task.make_model(3), task.make_model(3), task.make_model(4)
    assert torch.equal(first.head.weight, second.head.weight) and not torch.equal(first.head.weight, other.head.weight)
    assert torch.equal(torch.random.get_rng_state(), state)
