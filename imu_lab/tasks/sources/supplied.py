"""A user's own model with a user's own data: what a task is made of, once both have passed the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.messages import with_article
from ...core.running import described, device_of, digest, evaluating, evenly, fingerprint, placed
from ..networks.fresh import check_makes, check_takes, frozen
from ..outputs import meets_numbers
from ..protocol import Batch, Examples
from . import gate, manners, models
from . import labels as naming
from .functions import code_of
from .held import Fetch, finite
from .labelled import Labelled

PROBE = 256  # samples that tell one loss function from another


@dataclass(frozen=True)
class OwnLoss:
    """A user's loss, called with outputs and targets in the form that it takes.

    Attributes:
        function: from outputs and targets to (n,).
        flat: whether it is handed one number per sample as (n,).
        form: ``"given"``, ``"real"`` (targets as real numbers) or ``"column"`` (the same as (n, 1)).
    """

    function: Callable[[Tensor, Tensor], Tensor]
    flat: bool = False
    form: str = "given"

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.form != "given":
            targets = targets.to(outputs.dtype)
        if self.form == "column":
            targets = targets[:, None]
        made = self.function(outputs[:, 0] if self.flat else outputs, targets)
        return made[:, 0] if isinstance(made, Tensor) and made.ndim == 2 and made.shape[1] == 1 else made


@dataclass(frozen=True)
class Supplied:
    """A user's own model and data. Equal when the contents are equal, and the code that makes further models."""

    key: str
    labelled: Labelled = field(compare=False, repr=False)
    original: nn.Module = field(compare=False, repr=False)
    manner: manners.Manner = field(compare=False, repr=False)
    make_model: Callable | None = field(default=None, compare=False, repr=False)
    train_fn: Callable | None = field(default=None, compare=False, repr=False)
    loss: OwnLoss | None = field(default=None, compare=False, repr=False)
    loss_key: str = field(default="", compare=False, repr=False)
    logits: bool = field(default=True, compare=False, repr=False)  # False where the loss draws outputs to numbers

    @property
    def data_key(self) -> str:
        """A digest of the data in the form in which the model gets them, and of what the loss does."""
        return digest(self.labelled.key, self.manner, self.loss_key)

    @property
    def code(self) -> str:
        """A digest of the functions that came with them, as they are now, for what one calls may be edited from cell to cell;
        empty where none came."""
        each = [code_of(given) for given in (self.make_model, self.train_fn, self.loss and self.loss.function)]
        return digest(*each) if any(each) else ""

    @cached_property
    def about(self) -> str:
        """One line: what the data and the model were understood to be."""
        parts = (self.labelled.about, self.cast, self.manner.said, frozen(self.original))
        return "; ".join(words for words in parts if words)

    @property
    def cast(self) -> str:
        """What inputs are cast to, in words; empty where they come as the model takes them."""
        fetched = self.labelled.train.fetch
        first, raw = fetched.inputs(slice(0, 1)), fetched.rows.get(slice(0, 1))
        kinds = [each.dtype for each in (first.values() if isinstance(first, dict) else [first])]
        given = [each.dtype for each in (raw.values() if isinstance(raw, dict) else [raw])]
        return "" if kinds == given else f"cast to {', '.join(dict.fromkeys(map(_plain, kinds)))}"

    def prepared(self, model: nn.Module) -> nn.Module:
        """A model as this task calls it (see :func:`imu_lab.tasks.sources.models.prepared`)."""
        return models.prepared(model, self.manner.adapted)


def supply(
    model: nn.Module,
    train: Any,
    test: Any,
    *,
    label: Any = None,
    classes: Sequence[Any] | None = None,
    loss: Callable | None = None,
    make_model: Callable | None = None,
    train_fn: Callable | None = None,
    device: Any = None,
) -> Supplied:
    """Model and data at the gate (see :meth:`imu_lab.tasks.Classification.from_data`).

    Raises:
        TypeError, ValueError: what came, what is taken and what to write.
    """
    if make_model is not None:
        check_makes(make_model)
    if train_fn is not None:
        check_takes(train_fn, "train_fn", "trains a model", "model", "dataset", "seed")
    original = models.own_copy(model)
    original = original if device is None else placed(original, device, "the model's own")
    accepts = models.parameters_of(original)
    parts = {where: gate.side(data, where, label, accepts) for where, data in (("train", train), ("test", test))}
    first = parts["train"].rows.get(slice(0, 2))
    finite(first, 0, "train")
    how, outputs = manners.manner(original, first)
    original = models.adapted(original) if how.adapted else original
    targets, names = _targets(parts, how, classes, loss, models.names_of_outputs(original))
    fetch = partial(Fetch, dtype=how.dtype, whole=how.whole, name=how.name)
    labelled = gate.together(parts, targets, names, fetch)
    batch = labelled.train.batch(slice(0, 2)).to(device_of(original))
    if names:
        manners.check_no_probabilities(outputs, lambda by: _outputs(original, batch, by))
    own = None if loss is None else _own_loss(loss, outputs, batch, how.flat)
    state = [part for name, value in original.state_dict().items() for part in (name, value)]
    moving = [name for name, value in original.named_parameters() if value.requires_grad]
    loss_key = _loss_key(own, how, labelled)
    ways = [code_of(each) for each in (make_model, train_fn)]
    key = fingerprint(labelled.key, described(original), how, *state, moving, loss_key, *(ways if any(ways) else ()))
    logits = (
        own is None or not names or not meets_numbers(lambda made: own(made, batch.targets), outputs, batch.targets)
    )
    return Supplied(key, labelled, original, how, make_model, train_fn, own, loss_key, logits)


def _plain(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _outputs(model: nn.Module, batch: Batch, scale: float) -> Tensor:
    """(m, K) of a batch whose real-valued inputs are scaled."""
    inputs = batch.inputs if isinstance(batch.inputs, dict) else {None: batch.inputs}
    scaled = {name: each * scale if each.is_floating_point() else each for name, each in inputs.items()}
    with torch.no_grad(), evaluating(model):
        return model(scaled if isinstance(batch.inputs, dict) else scaled[None])


def _targets(
    parts: dict[str, gate.Side],
    how: manners.Manner,
    classes: Sequence[Any] | None,
    loss: Callable | None,
    told: list[str] | None,
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """What the loss takes, by side, and the names of the classes; none where targets are no classes."""
    labels = {where: part.labels for where, part in parts.items()}
    count = max(2, how.outputs)  # one logit tells two classes apart
    if loss is None or classes is not None or _are_classes(labels, count):
        known = parts["train"].classes
        # Numbers mean what the data say of them, words what the outputs are called.
        if told is not None and len(told) == count:
            wordy = any(map(naming.words, labels.values()))
            mine = wordy and {each for part in labels.values() for each in part.tolist()} <= set(told)
            known = told if mine or known is None and not wordy else known
        return naming.numbered(labels, count, classes, known)
    for where, each in labels.items():
        if naming.words(each) and each.dtype.kind != "b":
            raise ValueError(f"{where} targets of {each.dtype.name} are no numbers that loss= could take")
    made = {where: torch.from_numpy(np.array(each)) for where, each in labels.items()}
    return {where: each.to(how.dtype) if each.is_floating_point() else each for where, each in made.items()}, ()


def _are_classes(labels: dict[str, np.ndarray], count: int) -> bool:
    """Whether targets beside a user's loss name classes: one word, truth value or number below the count for each sample."""
    if any(each.ndim != 1 or each.dtype.kind == "f" for each in labels.values()):
        return False
    numbers = all(each.dtype.kind in "iu" for each in labels.values())
    return not numbers or all(((each >= 0) & (each < count)).all() for each in labels.values())


def _own_loss(loss: Callable, outputs: Tensor, batch: Batch, flat: bool) -> OwnLoss:
    """The user's loss with the form of targets that it takes.

    Raises:
        ValueError: it takes none, or looks across samples.
    """
    if not callable(loss):
        raise ValueError(
            f"loss= must be a function (outputs, targets) -> (n,), got {with_article(type(loss).__name__)}"
        )
    single = outputs.shape[1] == 1 and batch.targets.ndim == 1
    forms = ("given", "real", "column") if single else ("given", "real")
    refused: list[ValueError] = []
    for form in forms:
        own = OwnLoss(loss, flat, form)
        try:
            manners.check_loss(own, outputs, batch)
            return own
        except ValueError as error:
            refused.append(error)
    raise next((each for each in refused if "cannot take" not in str(each)), refused[0])


def _loss_key(own: OwnLoss | None, how: manners.Manner, labelled: Labelled) -> str:
    """What a loss does to a few outputs and targets: two that do the same are the same."""
    if own is None:
        return ""
    targets = labelled.train_labels
    some = targets[evenly(PROBE, len(targets))]
    each = (
        torch.stack([targets[targets == value][0] for value in targets.unique()]) if labelled.classes else targets[:0]
    )
    asked = torch.cat([some, each])
    draw = torch.Generator().manual_seed(0)
    outputs = torch.randn(len(asked), how.outputs, generator=draw, dtype=torch.float64).to(how.dtype)
    with torch.no_grad():
        return fingerprint(own(outputs, asked).cpu())


class Pairs(torch.utils.data.Dataset):
    """A split as pairs (x_i, y_i), for a user's own training function; it can be sent to another process."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, position: int) -> tuple[Any, Tensor]:
        inputs, targets = self.examples.batch(torch.tensor([position]))
        if not isinstance(inputs, dict):
            return inputs[0], targets[0]
        row = {name: each[0] for name, each in inputs.items()}
        return row.get(models.SINGLE, row), targets[0]
