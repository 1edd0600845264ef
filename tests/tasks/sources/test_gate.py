"""The gate for data: what is a sample, which member is its label, is it fixed, and is what is kept still the same?"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import datasets, transforms
from torchvision.models import resnet18
from torchvision.transforms import v2

import imu_lab as imu
from imu_lab.core.running import fingerprint, one_thread, tensors_of
from imu_lab.features import view
from imu_lab.tasks import Classification
from imu_lab.tasks.sources import gate, held
from imu_lab.tasks.sources.held import Kept

X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
OTHER = (X + 1, Y)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["train", "test"])
def test_values_that_are_not_finite_are_named_by_row(value: float, side: str) -> None:
    bad = X.clone()
    bad[4, 2] = value
    parts = [(bad, Y), OTHER] if side == "train" else [OTHER, (bad, Y)]
    with pytest.raises(ValueError, match=f"{side} input 4 holds NaN or infinite values"):
        gate.assembled(*parts, 3)


@pytest.mark.parametrize(("labels", "message"), [
    ([0, 1, 2, 0, 1, 3], r"train labels go from 0 to 3, but there are 3 classes, 0 to 2"),
    ([-1, 1, 2, 0, 1, 2], r"go from -1 to 2"),
    ([0.5, 1, 2, 0, 1, 2], "one integer per example, got torch.float32"),
    ([float("nan"), 1, 2, 0, 1, 2], "label.s. are missing, the first at sample 0"),
    ([[0], [1], [2], [0], [1], [2]], r"shape \(6, 1\)"),
    ([0, 1, 2], "6 inputs and 3 labels"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gate.assembled((X, torch.tensor(labels)), OTHER, 3)


def test_labels_of_other_types_become_integers() -> None:
    for labels in (Y.numpy().astype(np.uint8), Y.double(), Y.tolist()):
        made = gate.assembled((X, labels), OTHER, 3)
        assert made.train_labels.dtype == torch.int64 and torch.equal(made.train_labels, Y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.uint8])
def test_the_type_of_inputs_is_kept(dtype: torch.dtype) -> None:
    parts = ((given.abs().to(dtype), Y) for given in (9 * X, 7 - 9 * X))
    assert gate.assembled(*parts, 3).train.batch().inputs.dtype == dtype


def test_shared_inputs_warn() -> None:
    with pytest.warns(UserWarning, match="train and test share 2 identical inputs"):
        gate.assembled((X, Y), (torch.cat([X[:2], X[:3] + 1]), Y[:5]), 3)


def test_equal_content_has_an_equal_key_and_other_content_another() -> None:
    key = gate.assembled((X, Y), OTHER, 3).key
    assert gate.assembled((X.numpy().copy(), Y.tolist()), OTHER, 3).key == key
    moved = X.clone()
    moved[0, 0] += 1e-6
    keys = {
        gate.assembled((moved, Y), OTHER, 3).key,
        gate.assembled((X, Y.flip(0)), OTHER, 3).key,
        gate.assembled((X, Y), (X + 2, Y), 3).key,
        gate.assembled((X, Y), OTHER, 4).key,
        gate.assembled((X.flip(0), Y), OTHER, 3).key,
    }
    assert len(keys | {key}) == 6


def test_data_are_kept_by_reference_and_edits_are_noticed() -> None:
    for inputs, edit in ((X.numpy().copy(), 7.0), (X.clone(), 7.0), (X.t().clone().t(), 7.0)):
        made = gate.assembled((inputs, Y), OTHER, 3)
        made.unchanged()
        assert made.train.batch(slice(0, 2)).inputs.numpy().base is not None or isinstance(inputs, np.ndarray)
        before = inputs[3, 1].item()
        inputs[3, 1] = edit
        with pytest.raises(
            ValueError, match="the train inputs were edited after the task was made.*make the task again"
        ):
            made.unchanged()
        inputs[3, 1] = before  # taken back: nothing has happened
        made.unchanged()


LONG = np.random.default_rng(0).standard_normal((999, 5)).astype(np.float32)
SHARED = {
    "from_numpy": (lambda array: torch.from_numpy(array), lambda array, tensor: array),
    "as_tensor": (lambda array: torch.as_tensor(array), lambda array, tensor: array),
    "another shape": (lambda array: torch.from_numpy(array.ravel()).view(array.shape), lambda array, tensor: array),
    "seen by NumPy": (lambda array: torch.from_numpy(array).clone(), lambda array, tensor: tensor.numpy()),
    "data": (lambda array: torch.from_numpy(array).clone(), lambda array, tensor: tensor.data),
}


@pytest.mark.parametrize("made, edited", SHARED.values(), ids=list(SHARED))
def test_edits_that_a_tensor_does_not_count_are_noticed(made: Callable, edited: Callable) -> None:
    """A single entry of a row that is not among the few; inputs, members of several, and labels."""
    array, numbers = LONG.copy(), np.arange(999) % 3
    tensor, labels = made(array), made(numbers)
    frames = [(tensor, labels), {"x": tensor, "other": torch.from_numpy(LONG), "label": labels}]
    for given in frames:
        other = (
            {name: each[:9] + 1 for name, each in given.items()} if isinstance(given, dict) else (tensor[:9] + 1, Y[:9])
        )
        if isinstance(given, dict):
            other["label"] = Y[:9]
        task = gate.side(given, "train", None, ("x", "other"))
        kept = [Kept.of(task.rows, "train inputs"), *task.kept]
        for values in (edited(array, tensor), edited(numbers, labels)):
            before, count = values[4].copy() if isinstance(values, np.ndarray) else values[4].clone(), tensor._version
            values[4] = 1 - before
            assert tensor._version == count
            with pytest.raises(ValueError, match="edited after the task was made"):
                for each in kept:
                    each.unchanged()
            values[4] = before
        for each in kept:
            each.unchanged()


@pytest.mark.parametrize("ask", ["train", "influence", "view"])
def test_verbs_read_data_whole_however_long_it_takes(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "QUICK", -1.0)
    monkeypatch.setattr(held, "RARELY", 1e9)
    array = LONG.copy()
    net, data = (
        nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
        (torch.from_numpy(array), np.arange(999) % 3),
    )
    made = Classification.from_data(net, data, (LONG[:9] + 1, Y[[0] * 9]), forget_indices=range(9))
    verbs = {"train": lambda: imu.train(made), "influence": lambda: imu.influence(made, net)}
    verb = verbs.get(ask, lambda: view(made, net))
    verb()
    array[4, 2] += 1
    made.split("train")  # takes a few rows for all
    with pytest.raises(ValueError, match="the train inputs were edited"):
        verb()


def test_edited_labels_are_noticed() -> None:
    for labels in (Y.clone(), Y.numpy().copy()):
        made = gate.assembled((X, labels), OTHER, 3)
        labels[0] = 1
        with pytest.raises(ValueError, match="the train labels were edited"):
            made.unchanged()


class Pairs(torch.utils.data.Dataset):
    """A map-style dataset of pairs."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return X[row], int(Y[row])


def test_a_dataset_is_as_good_as_arrays() -> None:
    streamed, held = gate.assembled(Pairs(), OTHER, 3), gate.assembled((X, Y), OTHER, 3)
    assert streamed.key == held.key
    batch = streamed.train.take(torch.tensor([5, 0])).batch(slice(0, 2))
    assert torch.equal(batch.inputs, X[[5, 0]]) and batch.targets.tolist() == [2, 0]


# What is a sample.

TABLE = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
NUMBERS = torch.arange(30) % 3
WORDS = np.array(["cat", "dog", "cow"])[NUMBERS]


def net() -> nn.Module:
    """Four inputs, three classes."""
    return nn.Linear(4, 3)


def task(train: Any, test: Any = None, model: nn.Module | None = None, **given: Any) -> Classification:
    """A task around a small model; the test part is the training part plus one where none is given."""
    if not {"forget_indices", "forget_class", "forget_fraction"} & set(given):
        given["forget_indices"] = [0, 4]
    return Classification.from_data(model or net(), train, (TABLE + 1, NUMBERS) if test is None else test, **given)


class Made(Dataset):
    """Samples made of an input, a label and a position by a function."""

    def __init__(self, make: Callable, count: int = 30) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Any:
        return self.make(TABLE[i], int(NUMBERS[i]), i)


def pair(x: torch.Tensor, y: int, i: int) -> tuple:
    return x, y


def keyed(x: torch.Tensor, y: int, i: int) -> dict:
    return {"image": x, "label": y}


class Endless(IterableDataset):
    """Samples without an index."""

    def __iter__(self) -> Any:
        return iter([(TABLE[0], 0)])


def picture(x: torch.Tensor, y: int, i: int) -> tuple:
    return Image.new("L", (5, 4)), y


EMPTY_CELLS = pd.DataFrame({name: pd.array([1, None] * 15, dtype="Int64") for name in "abcd"})
COLOURED = pd.DataFrame(TABLE.numpy()).assign(colour="red")

SAME = {
    "tensors": ((TABLE, NUMBERS), {}),
    "lists": ([TABLE.tolist(), NUMBERS.tolist()], {}),
    "arrays": ((TABLE.numpy(), NUMBERS.numpy().astype(np.int32)), {}),
    "doubles": ((TABLE.double().numpy(), NUMBERS.double()), {}),
    "a frame": ((pd.DataFrame(TABLE.numpy()), pd.Series(NUMBERS.numpy(), dtype="Int64")), {}),
    "a mixed frame": ((pd.DataFrame(TABLE.numpy()).astype({0: "float64", 2: "Float32"}), NUMBERS), {}),
    "a frame with its label": (pd.DataFrame(TABLE.numpy()).assign(kind=NUMBERS.numpy()), {"label": "kind"}),
    "three members": ((TABLE, WORDS, NUMBERS), {"label": 2}),
    "the last of three": ((TABLE, WORDS, NUMBERS), {"label": -1}),
    "a TensorDataset": (TensorDataset(TABLE, NUMBERS), {}),
    "a dataset": (Made(pair), {}),
    "a dataset of dicts": (Made(keyed), {}),
    "a dataset of three": (Made(lambda x, y, i: (x, i, y)), {"label": 2}),
    "a list of samples": ([(x, int(y)) for x, y in zip(TABLE, NUMBERS)], {}),
    "one-element labels": (Made(lambda x, y, i: (x.numpy(), torch.tensor(y))), {}),
    "a subset": (Subset(ConcatDataset([Made(pair), Made(pair)]), range(30, 60)), {}),
    "columns": ({"picture": TABLE, "labels": NUMBERS}, {}),
}


@pytest.mark.parametrize("given, how", SAME.values(), ids=list(SAME))
def test_the_same_samples_in_any_form_are_the_same_task(given: Any, how: dict) -> None:
    test = None
    if "label" in how:
        test = Made(lambda x, y, i: (x + 1, WORDS[i], y)) if isinstance(how["label"], int) else pd.DataFrame(
            TABLE.numpy() + 1).assign(kind=NUMBERS.numpy())  # fmt: skip
    made = task(given, test, **how)
    batch = made.split("train").batch()
    assert cases.close(batch.inputs, TABLE, within=1e-6)
    assert batch.inputs.dtype == torch.float32 and torch.equal(batch.targets, NUMBERS)
    assert made.about.startswith("30 train and 30 test samples") and "3 classes: 0 (10), 1 (10), 2 (10)" in made.about
    assert made.about in repr(made)


REFUSED = {
    "three members": ((TABLE, WORDS, NUMBERS), {}, r"has 3 member\(s\): 0, 1, 2; say which one is the label with label="),
    "three in a sample": (Made(lambda x, y, i: (x, i, y)), {}, "has 3 member.*label=2"),
    "an unknown member": ((TABLE, NUMBERS), {"label": "y"}, "unknown member of a train sample for label=: 'y'.*Known: 0, 1"),
    "a position beyond": ((TABLE, NUMBERS), {"label": 5}, "unknown member of a train sample"),
    "a dict without a label": (Made(lambda x, y, i: {"a": x, "b": y}), {}, "a, b; say which one is the label"),
    "a dict of many": (Made(lambda x, y, i: {"a": x, "c": x, "label": y}), {}, r"'a', 'c' beside its label.*\(input, label\)"),
    "a loader": (DataLoader(TensorDataset(TABLE, NUMBERS)), {}, "hand over its dataset: train=loader.dataset"),
    "a stream": (Endless(), {}, "an Endless, whose samples have no index"),
    "a generator": (iter([(TABLE[0], 1)]), {}, "whose samples have no index"),
    "a path": ("some/folder", {}, r"is a path; a folder of pictures is Classification\('some/folder'"),
    "one tensor": (TABLE, {}, "one Tensor of shape .* without labels"),
    "nothing": (None, {}, "a NoneType, whose samples"),
    "a frame alone": (pd.DataFrame(TABLE.numpy()), {}, "name the column that is the label with label="),
    "a frame of words": ((COLOURED, NUMBERS), {}, "columns 'colour' hold no numbers.*get_dummies"),
    "a categorical column": (
        (pd.DataFrame(TABLE.numpy()).assign(size=pd.Categorical(WORDS)), NUMBERS), {}, "columns 'size' hold no numbers"),
    "words as inputs": ((WORDS, NUMBERS), {}, "inputs must be numbers, got an ndarray of str"),
    "ragged inputs": (([[1.0, 2.0], [1.0]] * 15, NUMBERS), {}, "rows of different shapes; give each .*pad_sequence"),
    "padded rows beside their lengths": (((TABLE, torch.arange(30)), NUMBERS), {}, "several inputs go as a dict by the names"),
    "a masked array": ((np.ma.masked_less(TABLE.numpy(), 0), NUMBERS), {}, "masked values; fill them"),
    "masked labels": ((TABLE, np.ma.masked_equal(NUMBERS.numpy(), 2)), {}, r"train label\(s\) are missing, the first at sample"),
    "a sparse tensor": ((TABLE.to_sparse(), NUMBERS), {}, r"sparse or quantised tensor; give x.to_dense\(\)"),
    "a picture": (Made(picture), {}, "is a picture of 5x4 pixels in mode L"),
    "an object": (Made(lambda x, y, i: (object(), y)), {}, "is an object; give tensors"),
    "one thing": (Made(lambda x, y, i: x), {}, "a train sample is a Tensor; a sample is a pair"),
    "mixed sizes": (Made(lambda x, y, i: (x[: 3 + i % 2], y)), {}, r"sample 0 is \(3,\), sample 1 is \(4,\); .*pad_sequence"),
    "pictures of two sizes": (Made(lambda x, y, i: (torch.zeros(1, 5 + i % 2, 5), y)), {}, "such as with a transform that resizes"),
    "a fault inside": (Made(lambda x, y, i: (x, {}[i])), {}, "train sample 0 cannot be read: KeyError: 0"),
    "a fault later": (Made(lambda x, y, i: (x, y if i < 20 else 1 / 0)), {}, "train sample .. cannot be read: ZeroDivisionError"),
    "not finite": (Made(lambda x, y, i: (x / (i - 9.0), y)), {}, "train input 9 holds NaN or infinite values"),
    "one label": ((TABLE, 3), {}, "train labels are 3; give one label for each sample"),
    "another order": ((pd.DataFrame(TABLE.numpy()), pd.Series(NUMBERS.numpy()).sample(frac=1, random_state=0)), {},
                      r"the same index in another order.*y.loc\[x.index\]"),
    "other rows": ((pd.DataFrame(TABLE.numpy()).drop(3), pd.Series(NUMBERS.numpy()).drop(8)), {},
                   r"different indexes, such as \[3, 8\] in one alone, .*Drop the same rows of both"),
    "complex numbers": ((TABLE.to(torch.complex64), NUMBERS), {}, "cannot take the inputs"),
    "an empty cell": ((EMPTY_CELLS, NUMBERS), {}, "train input 1 holds NaN"),
    "nothing in it": ((TABLE[:0], NUMBERS[:0]), {}, "the train part is empty"),
    "lengths": ((TABLE, NUMBERS[:7]), {}, "30 inputs and 7 labels"),
}  # fmt: skip


@pytest.mark.parametrize("given, how, message", REFUSED.values(), ids=list(REFUSED))
def test_what_can_be_no_sample_is_refused_in_words(given: Any, how: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        task(given, **how)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is None


def test_another_order_of_bytes_is_the_same_content() -> None:
    swapped = task((TABLE.numpy().astype(">f4"), NUMBERS.numpy().astype(">i8")))
    swapped.unchanged()
    assert (
        torch.equal(swapped.split("train").batch().inputs, TABLE)
        and swapped.data_key == task((TABLE, NUMBERS)).data_key
    )


def test_parts_of_another_scale_are_told() -> None:
    with pytest.warns(
        UserWarning, match="train inputs are of the size .* and test inputs of .*; were both scaled alike"
    ):
        task((TABLE, NUMBERS), (255 * TABLE + 1, NUMBERS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task((TABLE, NUMBERS), (3 * TABLE, NUMBERS)), task((TABLE, NUMBERS), (0 * TABLE, NUMBERS))


def test_labels_that_were_numbered_anew_are_taken_by_position() -> None:
    rows, labels, others = pd.DataFrame(TABLE.numpy()), pd.Series(NUMBERS.numpy()), range(5, 35)
    for x, y in ((rows.set_axis(others), labels), (rows, labels.set_axis(others))):
        assert torch.equal(task((x, y)).split("train").batch().targets, NUMBERS)


FRAME = pd.DataFrame(TABLE.numpy(), columns=list("abcd"))


@pytest.mark.parametrize("train, test, said", [
    (FRAME, FRAME[list("bacd")] + 1, r"in another order: 'a', 'b', 'c', 'd' and 'b', 'a', 'c', 'd'; give test\[train.columns\]"),
    (TABLE, torch.zeros(30, 5), r"no things of one kind: float32 \(4,\) and float32 \(5,\)"),
    (TABLE, (TABLE * 9).to(torch.uint8), "no things of one kind: float32 .* and uint8"),
])  # fmt: skip
def test_both_parts_are_of_one_kind(train: Any, test: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task((train, NUMBERS), (test, NUMBERS))


def test_categories_of_both_parts_are_the_same_classes() -> None:
    """Each part numbers its categories for itself; what counts is their names."""
    train, test = (pd.Series(pd.Categorical(WORDS, order)) for order in (["dog", "cow", "cat"], ["cat", "dog", "cow"]))
    made = task((TABLE, train), (TABLE + 1, test))
    assert made.classes == ("dog", "cow", "cat")
    assert made.labels(range(30)) == made.test_labels(range(30)) == WORDS.tolist()


@pytest.mark.parametrize("idle", [{"image_size": 8}, {"architecture": "resnet-20"}])
def test_settings_without_effect_are_refused(idle: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(idle))} say nothing of a model and data of your own"):
        task((TABLE, NUMBERS), **idle)


# Is it fixed.


class Crop(nn.Module):
    """A transform that draws, under a name that says so or not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.roll(int(torch.randint(0, 2, ())))


class RandomShift(Crop):
    """The same; its name says so."""


class Transformed(Made):
    """A dataset with a transform, as those of torchvision have one."""

    def __init__(self, transform: Callable) -> None:
        super().__init__(lambda x, y, i: (transform(x), y))
        self.transform = transform


@pytest.mark.parametrize(
    "inside", [lambda each: each, lambda each: Subset(each, range(30))], ids=["itself", "a subset"]
)
@pytest.mark.parametrize("kind, named", [(Crop, ""), (RandomShift, r" \(RandomShift\)")])
def test_a_sample_that_is_another_each_time_is_refused(kind: type, named: str, inside: Callable) -> None:
    with pytest.raises(ValueError, match=f"another each time it is read{named}, .*without augmentation.*recipe="):
        task(inside(Transformed(kind())))


def test_a_dataset_with_a_fixed_transform_is_taken() -> None:
    model = net()
    assert task(Transformed(nn.Identity()), model=model) == task(Made(pair), model=model)


EDITS = {
    "tensor": lambda x: ((x, NUMBERS), x.mul_),
    "array": lambda x: ((x.numpy(), NUMBERS), lambda by: x.numpy().__setitem__((0, 3), by)),
    "tensor, by its array": lambda x: ((x, NUMBERS), lambda by: x.numpy().__setitem__((0, 3), by)),
    "frame": lambda x: ((frame := pd.DataFrame(x.numpy()), NUMBERS), lambda by: frame.iloc.__setitem__((0, 3), by)),
    "frame, a column": lambda x: ((frame := pd.DataFrame(x.numpy()), NUMBERS), lambda by: frame.__setitem__(2, by)),
    "TensorDataset": lambda x: (TensorDataset(x, NUMBERS), x.mul_),
    "samples": lambda x: ([(row, int(y)) for row, y in zip(x, NUMBERS)], x.mul_),
}


@pytest.mark.parametrize("given", EDITS.values(), ids=list(EDITS))
def test_edits_are_noticed_when_a_split_is_asked_for(given: Callable) -> None:
    data, edit = given(TABLE.clone())
    made = task(data)
    made.split("train")
    edit(7.5)
    for ask in (made.unchanged, lambda: made.split("forget")):
        with pytest.raises(ValueError, match="edited after the task was made.*make the task again"):
            ask()


def test_data_are_not_copied() -> None:
    mine = TABLE.clone()
    assert task((mine, NUMBERS)).split("train").batch(slice(3, 5)).inputs.data_ptr() == mine[3:].data_ptr()


def test_a_task_of_a_users_own_can_be_pickled() -> None:
    for given in (
        (TABLE, WORDS),
        (TABLE.numpy(), WORDS),
        (pd.DataFrame(TABLE.numpy()), WORDS),
        TensorDataset(TABLE, NUMBERS),
    ):
        made = task(given, (TABLE + 1, WORDS if isinstance(given, tuple) else NUMBERS))
        again = pickle.loads(pickle.dumps(made))
        assert again == made and again.about == made.about
        assert torch.equal(again.split("forget").batch().inputs, made.split("forget").batch().inputs)


@pytest.mark.slow
def test_the_gate_costs_little_beside_one_pass_of_a_network() -> None:
    """At most a twentieth of one forward pass of a ResNet-18 over 3,000 pictures, in processor time.

    That is beside the copy of the model and its digest, which a task needs in any case. Two thirds of it are the four times
    that the model is asked, whatever the size of the data: three to see whether it draws, one for a sample alone.
    """
    model = resnet18(num_classes=3).eval()
    many = torch.randn(3000, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(many)) % 3

    def forward() -> None:
        with torch.no_grad():
            for few in many.split(64):
                model(few)

    def gate() -> None:
        Classification.from_data(model, (many, labels), (many[:9] + 1, labels[:9]), forget_indices=[0])

    def needed() -> None:
        fingerprint(*tensors_of(copy.deepcopy(model)))

    def taken(work: Callable) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    # In turns, and the least of them: what else the processor has to do comes and goes, and makes each seem longer.
    with one_thread():
        turns = [[taken(work) for work in (gate, needed, gate, needed, forward)] for _ in range(4)]
    gates, copies, again, once_more, passes = map(min, zip(*turns))
    assert min(gates, again) - min(copies, once_more) <= 0.05 * passes


@pytest.mark.full
def test_the_gate_holds_no_second_copy_of_the_data() -> None:
    """Asked of a process of its own, whose largest size is known: 128 MiB of data, and a quarter of that beside it."""
    said = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True, cwd=Path(imu.__file__).parents[1]
    )
    beside, data = map(int, said.stdout.split())
    assert beside < data / 4


MEASURED = """
import resource, torch, imu_lab as imu
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = torch.randn(30, 2048)
imu.tasks.Classification.from_data(torch.nn.Linear(2048, 3), (few, torch.arange(30) % 3), (few[:9] + 1, torch.arange(9) % 3), forget_class=0)
many, labels = torch.randn(16_384, 2048), torch.arange(16_384) % 3
before = peak()
task = imu.tasks.Classification.from_data(torch.nn.Linear(2048, 3), (many, labels), (many[:9] + 1, labels[:9]), forget_class=0)
task.split("forget")
print(peak() - before, many.nbytes)
"""  # noqa: E501


# What torchvision's data sets are known by.


class Unsaid:
    """A transform that says nothing of what it does."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor

    def __repr__(self) -> str:
        return "Unsaid()"


def digits(seed: int, steps: Callable, root: str = "") -> datasets.MNIST:
    """A data set of torchvision's as it is once its files are read; 24 random pictures of two kinds."""
    made = datasets.MNIST.__new__(datasets.MNIST)
    made.transform, made.target_transform, made.root = steps, None, root
    generator = torch.Generator().manual_seed(seed)
    made.data = torch.randint(0, 256, (24, 8, 8), dtype=torch.uint8, generator=generator)
    made.targets = torch.arange(24) % 2
    return made


@pytest.mark.parametrize("row", range(24))
def test_edits_of_what_torchvision_holds_are_noticed_in_any_row(row: int) -> None:
    parts = [digits(seed, transforms.ToTensor()) for seed in (0, 1)]
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    made = Classification.from_data(net, *parts, forget_indices=range(6))
    made.unchanged()
    for where, part in zip(("train", "test"), parts):
        part.data.numpy()[row, 3, 3] ^= 1
        with pytest.raises(ValueError, match=f"samples of the {where} part were edited"):
            made.unchanged()
        part.data.numpy()[row, 3, 3] ^= 1
    made.unchanged()


TELL_NOTHING = {
    "Lambda": lambda factor: transforms.Lambda(lambda x: x * factor),
    "Lambda of v2": lambda factor: v2.Lambda(lambda x: x * factor),
    "of a user's own": Unsaid,
}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", ["files", "memory"])
@pytest.mark.parametrize("make", TELL_NOTHING.values(), ids=list(TELL_NOTHING))
def test_transforms_that_print_alike_make_other_data(make: Callable, kind: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(12):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")

    def side(part: str, how: Callable) -> Dataset:
        steps = transforms.Compose([transforms.ToTensor(), how])
        if kind == "files":
            return datasets.ImageFolder(str(tmp_path / part), steps)
        return digits(len(part), steps, str(tmp_path))

    def of(train: float, test: float) -> Classification:
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2) if kind == "files" else nn.Linear(64, 10))
        parts = side("train", make(train)), side("test", make(test))
        return Classification.from_data(net, *parts, forget_indices=range(6))

    plain, same, others = of(1, 1), of(1, 1), (of(-3, -3), of(1, -3), of(-3, 1))
    assert plain.data_key == same.data_key
    assert len({plain.data_key, *(each.data_key for each in others)}) == 4
    net = others[0].make_model(0)
    imu.influence(plain, net)
    found = [imu.influence(others[0], net, cache=cache).values for cache in (True, False)]
    assert cases.close(found[0], found[1], within=1e-3)


@pytest.mark.parametrize("elsewhere", [False, pytest.param(True, marks=pytest.mark.full)])
def test_pictures_have_the_same_key_in_every_process(elsewhere: bool, tmp_path: Path) -> None:
    """Python tells of a function, such as the one that opens pictures, where it lies in memory: each time elsewhere."""
    for at, folder in enumerate(("train/a", "train/b", "test/a", "test/b")):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(4 * at + i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    here, again = ({"__name__": "__main__", "folder": str(tmp_path)} for _ in "ab")
    exec(KEYED, here)
    if elsewhere:
        said = subprocess.run([sys.executable, "-c", f"folder = {str(tmp_path)!r}\n{KEYED}print(place, key)"],
                              capture_output=True, text=True, check=True, cwd=Path(imu.__file__).parents[1])  # fmt: skip
        again |= zip(("place", "key"), said.stdout.split())
    else:
        exec(KEYED, again)
    assert again["place"] != here["place"] and again["key"] == here["key"]


KEYED = """
def opened(path):
    from PIL import Image
    return Image.open(path).convert("RGB")
import torch, imu_lab as imu
from torchvision import datasets, transforms
torch.manual_seed(0)
sides = [datasets.ImageFolder(f"{folder}/{part}", transforms.ToTensor(), loader=opened) for part in ("train", "test")]
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
place, key = hex(id(opened)), imu.tasks.Classification.from_data(net, *sides, forget_indices=[1]).data_key
"""
