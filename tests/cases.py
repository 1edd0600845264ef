"""The tasks and models that tests run on, each made once in a session; and the one way in which tests compare numbers.

Nobody may change a task or a model. Add a task to ``TASKS`` and every contract is tested on it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import languages
import numpy as np
import pandas as pd
import pytest
import sequences
import torch
from PIL import Image
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import seeded
from imu_lab.tasks.protocol import Batch, Examples, Task

QUICK = imu.tasks.Recipe(epochs=3, lr=0.05, batch_size=64)

TASKS: dict[str, Callable[[], Task]] = {
    "toy": lambda: imu.tasks.Toy(),
    "digits class": lambda: imu.tasks.Classification("digits", forget_class=3, recipe=QUICK),
    "digits fraction": lambda: imu.tasks.Classification("digits", forget_fraction=0.02, seed=1, recipe=QUICK),
    "digits indices": lambda: imu.tasks.Classification("digits", forget_indices=(5, 3, 900, 41), recipe=QUICK),
    "person": lambda: imu.tasks.ReID("figures", forget_persons=(7,), recipe=QUICK),
    "sequence": lambda: sequences.tiny(),
    "language": lambda: languages.least(),
    "own data": lambda: own_data(forget_indices=[0, 7, 8, 30, 31]),
    "pictures": lambda: pictures("resnet-20"),
}

CHECKED = ("toy", "own data", "sequence")  # those of `make check`: one layer, BatchNorm and convolution, tokens

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


def every_task(*also: str) -> list[Any]:
    """The names of all tasks, as parameters: those that `make check` leaves to `make test` carry the mark ``full``.

    Args:
        also: further tasks that `make check` takes.
    """
    return [name if name in (*CHECKED, *also) else pytest.param(name, marks=pytest.mark.full) for name in TASKS]


@cache
def task(name: str) -> Task:
    """One of the tasks, made once."""
    return TASKS[name]()


@cache
def original(name: str) -> nn.Module:
    """Its original model, trained once."""
    return imu.train(task(name), "train")


@cache
def retrained(name: str) -> nn.Module:
    """Its retrained model, trained once."""
    return imu.train(task(name), "retain")


def frozen(model: nn.Module) -> dict[str, Any]:
    """All that must not change in a model: tensors, modes, requires_grad, gradients."""
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "training": {name: module.training for name, module in model.named_modules()},
        "requires_grad": {name: value.requires_grad for name, value in model.named_parameters()},
        "gradients": {name: value.grad for name, value in model.named_parameters()},
    }


def same(before: dict[str, Any], model: nn.Module) -> bool:
    """Whether a model is bit for bit what ``frozen`` saw."""
    after = frozen(model)
    return (
        before["state"].keys() == after["state"].keys()
        and all(torch.equal(value, after["state"][name]) for name, value in before["state"].items())
        and all(before[part] == after[part] for part in ("training", "requires_grad"))
        and all(after["gradients"][name] is value for name, value in before["gradients"].items())
    )


def relative(found: Any, expected: Any, of: float | None = None) -> float:
    """Largest difference over largest value: how far computed values are apart, whatever processor computed them.

    An entry is a sum of many; what a processor rounds away goes with the sum's largest terms, not with the entry. So the
    largest value decides for all of one quantity. NaN and infinities must stand in the same places.

    Args:
        found, expected: numbers, sequences, arrays, tensors, or pandas of numbers, of one shape; or one expected number
            for all.
        of: what the difference is measured against, where the values do not tell: a distance that is 0, for one.

    Returns:
        0.0 where all is equal; infinity where shapes, NaN or infinities differ, or where anything stands against zeros.
    """
    one, other = _both(found, expected)
    if one.shape != other.shape or not np.array_equal(_not_finite(one), _not_finite(other), equal_nan=True):
        return math.inf
    known = np.isfinite(other)
    largest = np.abs(other[known]).max(initial=0.0) if of is None else of
    difference = np.abs(one[known] - other[known]).max(initial=0.0)
    return float(difference / largest) if largest else (math.inf if difference else 0.0)


def close(found: Any, expected: Any, within: float = 1e-6, of: float | None = None) -> bool:
    """Assert that :func:`relative` is at most ``within``, and say where it is not; True, so that it reads in ``assert``.

    A frame or a dictionary holds several quantities: each column or entry is judged by its own largest value, and what
    is no number must be equal.
    """
    if isinstance(expected, pd.DataFrame):
        assert list(found.columns) == list(expected.columns) and found.index.equals(expected.index)
        found, expected = ({name: table[name] for name in table} for table in (found, expected))
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), f"has {list(found)}, not {list(expected)}"
        return all(_alike(found[name], expected[name], within, of, f"{name}: ") for name in expected)
    return _alike(found, expected, within, of, "")


def _alike(found: Any, expected: Any, within: float, of: float | None, about: str) -> bool:
    if isinstance(expected, pd.Series) and not pd.api.types.is_numeric_dtype(expected):
        assert pd.Series(found).equals(expected), f"{about}{list(found)} is not {list(expected)}"
        return True
    one, other = _both(found, expected)
    assert one.shape == other.shape, f"{about}shape {one.shape}, expected {other.shape}"
    apart = relative(one, other, of)
    if apart > within:
        with np.errstate(invalid="ignore"):
            difference = np.where(_not_finite(one) == _not_finite(other), np.abs(one - other), np.inf)
        at = np.unravel_index(np.argmax(np.nan_to_num(difference, nan=0.0, posinf=np.inf)), one.shape)
        place = f" at {[int(index) for index in at]}" if at else ""
        raise AssertionError(
            f"{about}{apart:.3g} of the largest value apart, {within:g} is allowed; "
            f"most{place}: {one[at]:.9g}, expected {other[at]:.9g}"
        )
    return True


def _both(found: Any, expected: Any) -> tuple[np.ndarray, np.ndarray]:
    one = _plain(found)
    return one, np.full(one.shape, float(expected)) if isinstance(expected, (int, float)) else _plain(expected)


def _plain(values: Any) -> np.ndarray:
    """As float64 NumPy."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double()
    elif isinstance(values, (list, tuple)):
        values = [_plain(value) for value in values]
    return np.asarray(values, dtype=np.float64)


def _not_finite(values: np.ndarray) -> np.ndarray:
    """NaN and infinities as they are, 0 for every number."""
    return np.where(np.isfinite(values), 0.0, values)


class ConvNet(nn.Module):
    """A small network with BatchNorm, dropout and a head of its own name."""

    def __init__(self, classes: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.narrow = nn.Linear(4, 6)
        self.classifier = nn.Linear(6, classes, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, h, w) to (n, classes)."""
        return self.classifier(torch.tanh(self.narrow(self.body(images).mean((2, 3)))))


def conv_net(seed: int = 0, bias: bool = True) -> nn.Module:
    """A :class:`ConvNet` whose running statistics are not the initial ones."""
    with seeded(seed):
        model = ConvNet(bias=bias)
        for _ in range(5):
            model(2 * torch.randn(16, 1, 5, 5) + 1)
    return model.eval()


def images(count: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Random pictures of three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return (torch.randn(count, 1, 5, 5, generator=generator) + labels[:, None, None, None]).to(dtype), labels


def own_data(model: nn.Module | None = None, dtype: torch.dtype = torch.float32, **request: Any) -> Task:
    """A task around a model and data of a user's own: 60 training pictures, 30 for testing."""
    model = (model if model is not None else conv_net()).to(dtype)
    if not {"forget_indices", "forget_class", "forget_fraction"} & set(request):
        request["forget_class"] = 1
    request.setdefault("recipe", imu.tasks.Recipe(epochs=2, lr=0.05, batch_size=16))
    return imu.tasks.Classification.from_data(model, images(60, 0, dtype), images(30, 1, dtype), **request)


@cache
def _folder_of_pictures(size: int) -> TemporaryDirectory:
    """18 pictures to train on and 9 to test on, of three classes that differ in colour; gone when the tests end."""
    root, chance = TemporaryDirectory(), np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 3)):
        for number, name in enumerate(("cat", "dog", "oak")):
            folder = Path(root.name, part, name)
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = chance.integers(0, 120, (size, size, 3)) + np.array([40 * number, 100 - 30 * number, 60])
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k}.png")
    return root


def pictures(architecture: str, size: int = 8, **settings: Any) -> Task:
    """A folder of pictures, one of whose classes is to go, and a network by its name."""
    recipe = imu.tasks.Recipe(epochs=2, lr=0.01, batch_size=6)
    asked = {"forget_class": "dog", "architecture": architecture, "recipe": recipe} | settings
    return imu.tasks.Classification(_folder_of_pictures(size).name, **asked)


class Attention(nn.Module):
    """One causal self-attention layer over tokens, written out, and a linear readout over the vocabulary."""

    def __init__(self, words: int = 7, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.mixing = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, words)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) to (n, T, words)."""
        hidden = self.embedding(tokens)
        query, key, value = self.mixing(hidden).chunk(3, -1)
        scores = query @ key.mT / query.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return self.head(hidden + scores.masked_fill(future, -torch.inf).softmax(-1) @ value)


@dataclass(frozen=True)
class Tokens:
    """Short sequences of tokens; the loss of one is the mean over its predicted tokens. Follows the protocol alone."""

    seed: int = 0
    count: int = 12
    length: int = 6
    readout: tuple[str, ...] | str | None = None
    dtype: torch.dtype = torch.float64

    def make_model(self, seed: int) -> nn.Module:
        """A fresh transformer."""
        with seeded(seed):
            return Attention().to(self.dtype).eval()

    def split(self, name: str) -> Examples:
        """The first half is to be forgotten, the second kept."""
        generator = torch.Generator().manual_seed(self.seed)
        tokens = torch.randint(7, (self.count, self.length), generator=generator)
        half = self.count // 2
        rows = {"forget": slice(0, half), "retain": slice(half, None)}.get(name, slice(None))
        return Examples.of(tokens[rows], tokens[rows], torch.arange(self.count)[rows])

    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) mean cross-entropy over the predicted tokens."""
        logits = forward(batch.inputs)[:, :-1]  # (n, T - 1, words)
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets[:, 1:].flatten(), reduction="none")
        return losses.unflatten(0, (len(batch.targets), -1)).mean(1)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """The mean loss, in nats per predicted token."""
        with torch.no_grad():
            return {"loss": self.example_loss(model, self.split(split).batch()).mean().item()}

    def card(self, example: int) -> str:
        """The tokens."""
        return str(self.split("train").batch(torch.tensor([example])).inputs.tolist())


def in_double(name: str) -> tuple[Task, nn.Module]:
    """A float64 twin of a task of ours: the same inputs, request and weights."""
    given, model = task(name), copy.deepcopy(original(name)).double()
    batch = given.split("train").batch()
    pairs = (batch.inputs.double(), batch.targets)
    test = given.split("test").batch()
    ids = given.split("forget").ids
    return (
        imu.tasks.Classification.from_data(model, pairs, (test.inputs.double(), test.targets), forget_indices=ids),
        model,
    )
