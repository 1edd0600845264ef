"""Rows exchanged by id: tensors and dicts of them, those rows alone, and the examples themselves left as they are."""

from __future__ import annotations

from typing import Any

import cases
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.tasks.protocol import Batch, Examples
from imu_lab.tasks.variants.replaced import replaced

X, Y = torch.arange(24.0).reshape(6, 4), torch.arange(6)
IDS = torch.tensor([50, 10, 40, 20, 30, 60])
NEW = torch.tensor([20, 50])  # at positions 3 and 0
SHAPES = {
    "a tensor": lambda values: values,
    "a dict": lambda values: {"one": values, "two": 2 * values.long()},
    "a dict in a dict": lambda values: {"one": {"two": values, "three": values + 1}},
}


def flat(value: Any) -> list[Tensor]:
    """The tensors of a value, one after the other."""
    return [value] if isinstance(value, Tensor) else [each for member in value.values() for each in flat(member)]


@pytest.mark.parametrize("inputs", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("targets", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("changes", ["inputs", "targets", "both"])
def test_those_rows_and_no_others_are_exchanged(inputs: Any, targets: Any, changes: str) -> None:
    given = Batch(inputs(X), targets(Y))
    before = [each.clone() for each in flat(given.inputs) + flat(given.targets)]
    new = Batch(inputs(-X[:2] - 1), targets(-Y[:2] - 1))
    new = {"inputs": new._replace(targets=None), "targets": new._replace(inputs=None), "both": new}[changes]
    examples = Examples(IDS, lambda at: _picked(given, at))
    made = replaced(examples, NEW, lambda: new).batch(torch.tensor([1, 0, 3]))
    for name in ("inputs", "targets"):
        other = getattr(new, name)
        for k, (values, old) in enumerate(zip(flat(getattr(made, name)), flat(getattr(given, name)), strict=True)):
            expected = old[[1, 0, 3]].clone()
            if other is not None:
                expected[1:] = flat(other)[k][[1, 0]]
            assert torch.equal(values, expected) and values.dtype == old.dtype
    assert all(torch.equal(*pair) for pair in zip(before, flat(given.inputs) + flat(given.targets), strict=True))


def _picked(value: Any, at: Tensor) -> Any:
    if isinstance(value, Batch):
        return Batch(_picked(value.inputs, at), _picked(value.targets, at))
    return value[at] if isinstance(value, Tensor) else {name: _picked(each, at) for name, each in value.items()}


def test_inputs_of_any_kind_are_left_alone_where_only_targets_change() -> None:
    examples = Examples(IDS, lambda at: Batch(("any", "thing"), Y[at]))
    made = replaced(examples, NEW, lambda: Batch(None, torch.tensor([8, 9]))).batch(torch.arange(6))
    assert made.inputs == ("any", "thing") and made.targets.tolist() == [9, 1, 2, 8, 4, 5]


class Sum(nn.Module):
    """A network of two inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(left + right)))


def test_samples_of_several_members_are_relabelled_and_doubled() -> None:
    draw = torch.Generator().manual_seed(0)
    pairs = [torch.randn(60, 4, generator=draw), torch.randn(60, 4, generator=draw)]
    columns = lambda rows, shift: {  # noqa: E731
        "left": pairs[0][rows] + shift, "right": pairs[1][rows], "label": torch.arange(60)[rows] % 3,
    }  # fmt: skip
    parts = columns(slice(None), 0), columns(slice(0, 30), 1)
    torch.manual_seed(0)
    task = imu.tasks.Classification.from_data(Sum(), *parts, forget_indices=range(10))
    whole = imu.tasks.Classification.from_data(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)),
        *((part["left"] + part["right"], part["label"]) for part in parts),
        forget_indices=range(10),
    )
    model = task.make_model(0).eval()
    same = nn.Sequential(model.body, nn.Tanh(), model.head)
    for change in ({"flip": [2]}, {"double": [2, 5]}, {"flip": [2], "double": [2]}):
        curves = []
        for given, net in ((task, model), (whole, same)):
            run = imu.unlearn(given, net, steps=3, lr=0.1)
            plain, other = (each.curve["value"].to_numpy() for each in (run, imu.what_if(run, **change)))
            assert abs(other - plain).max() > 1e-4
            curves.append(other)
        assert cases.close(*curves, within=1e-4), "the sum of two inputs is as good as the two"
