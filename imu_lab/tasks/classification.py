"""Image classification: forget a class, a random share of the training set, or samples picked by hand."""

from __future__ import annotations

import copy
import html
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.messages import listed, unknown
from ..core.running import device_of, evaluating, seeded
from . import cards
from .evaluation import averages
from .networks import images as networks
from .outputs import cross_entropy_derivative, derived, log_probabilities
from .protocol import Batch, Examples
from .sources import images as sources
from .training import Recipe

REQUESTS = ("forget_class", "forget_fraction", "forget_indices")
SMALL = 100_000  # parameters up to which a user's network is quicker on one core than on several


@dataclass(frozen=True)
class Preset:
    """What goes with a data set: its network, how to train it, and settings at which its forgetting can be watched."""

    architecture: str
    recipe: Recipe
    unlearning: Mapping[str, Any] = field(default_factory=dict)


PRESETS = {
    "digits": Preset("small-cnn", Recipe(epochs=12, lr=0.05, weight_decay=5e-3), {"lr": 1e-3, "batch_size": 64}),
    "folder": Preset(
        "resnet-20", Recipe(epochs=8, lr=0.2, batch_size=128, augment=True, one_thread=False), {"lr": 1e-3}
    ),
}


@dataclass(frozen=True)
class Supplied:
    """A user's own model and data (see :meth:`Classification.from_data`). Equal when the contents are equal."""

    key: str
    labelled: sources.Labelled = field(compare=False, repr=False)
    original: nn.Module = field(compare=False, repr=False)
    make_model: Callable | None = field(default=None, compare=False, repr=False)
    train_fn: Callable | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Classification:
    """Classify images; forget some of them. Exactly one of the ``forget_*`` settings is given.

    Attributes:
        data: ``"digits"``, the path of an image folder, or what :meth:`from_data` made.
        forget_class: the class to forget, by number or name. The test split then holds the kept classes, and
            ``"test-forget"`` the unseen images of the forgotten class (leaving them out would hide what was forgotten).
        forget_fraction: forget this share of the training set, drawn at random by ``seed``.
        forget_indices: forget these training examples, by index.
        seed: of the random request. It never moves an example between training and test.
        readout: the modules that influence and unlearning act on, by name; None for the last linear layer, ``"all"``
            for every parameter.
        architecture: a name in ``imu_lab.tasks.networks.images`` or of a torchvision classifier; None for the data's own.
        recipe: how to train; None for the data's own.
        image_size: resize the pictures of a folder.

    Raises:
        ValueError: no request or several, an empty forget or retain set, an unknown class, an index out of range or
            repeated, a fraction outside (0, 1), or unusable data (each says which).
    """

    data: str | Supplied = "digits"
    forget_class: int | str | None = None
    forget_fraction: float | None = None
    forget_indices: tuple[int, ...] | None = None
    seed: int = 0
    readout: tuple[str, ...] | str | None = None
    architecture: str | None = None
    recipe: Recipe | None = None
    image_size: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, Supplied):
            object.__setattr__(self, "data", str(self.data))
            preset = PRESETS.get(self.data, PRESETS["folder"])
            object.__setattr__(self, "architecture", self.architecture or preset.architecture)
            object.__setattr__(self, "recipe", self.recipe or preset.recipe)
        if self.forget_indices is not None:
            object.__setattr__(self, "forget_indices", tuple(int(i) for i in np.asarray(self.forget_indices).ravel()))
        if isinstance(self.readout, list):
            object.__setattr__(self, "readout", tuple(self.readout))
        requests = [name for name in REQUESTS if getattr(self, name) is not None]
        if len(requests) != 1:
            raise ValueError(f"give one of forget_class=, forget_fraction=, forget_indices=; got {listed(requests)}")
        object.__setattr__(self, "_forget", self._chosen())

    @classmethod
    def from_data(
        cls,
        model: nn.Module,
        train: Any,
        test: Any,
        *,
        make_model: Callable | None = None,
        train_fn: Callable | None = None,
        device: Any = None,
        **request: Any,
    ) -> Classification:
        """A task around a model and data of your own. The model given is the original.

        Args:
            model: any classifier that maps a batch of inputs to logits (n, K).
            train, test: ``(x, y)`` with ``x`` (n, ...) of any dtype, kept as it is, and ``y`` (n,) in 0..K-1; or a
                map-style dataset of ``(x_i, y_i)``.
            make_model: makes a fresh model, for the retrained one: called with no argument under the seed, or with the
                seed if it takes one. Without it, a copy of ``model`` is re-initialised by each ``reset_parameters``.
            train_fn: ``(model, dataset, seed) -> model`` trains it; ``dataset`` yields ``(x_i, y_i)``. None uses
                ``recipe``.
            device: where to run; None for the model's own.
            request: ``forget_class``, ``forget_fraction`` or ``forget_indices``, and any other setting of the task.

        Raises:
            ValueError: outputs that are not (n, K), labels outside 0..K-1, NaN or infinite inputs, a bad request.
        """
        original = copy.deepcopy(model).eval().requires_grad_(True)
        original = original if device is None else original.to(device)
        labelled = sources.arrays(train, test, _classes(original, train))
        state = [part for name, value in original.state_dict().items() for part in (name, value)]
        supplied = Supplied(sources.digest(labelled.key, repr(model), *state), labelled, original, make_model, train_fn)
        small = sum(value.numel() for value in original.parameters()) <= SMALL
        request.setdefault("recipe", Recipe(one_thread=small))
        return cls(supplied, **request)

    def with_request(self, examples: tuple[int, ...]) -> Classification:
        """The same task with these training samples to forget, by index, in place of its own request."""
        return replace(self, **dict.fromkeys(REQUESTS) | {"forget_indices": examples})

    @cached_property
    def labelled(self) -> sources.Labelled:
        """The data behind the task, loaded at first use."""
        if isinstance(self.data, Supplied):
            return self.data.labelled
        return sources.digits() if self.data == "digits" else sources.folder(self.data, self.image_size)

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the logits."""
        return self.labelled.classes

    @property
    def answers(self) -> tuple[str, ...]:
        """What each of the model's outputs stands for: the classes."""
        return self.classes

    @property
    def data_key(self) -> str:
        """A digest of the data: part of every checkpoint's name."""
        return self.labelled.key

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run follows: with a forgotten class, its unseen images apart."""
        return ("forget", "retain", "test") + (("test-forget",) if self.forget_class is not None else ())

    @property
    def unlearning(self) -> Mapping[str, Any]:
        """This task's own defaults for a method's settings."""
        return {} if isinstance(self.data, Supplied) else PRESETS.get(self.data, PRESETS["folder"]).unlearning

    @property
    def forgotten(self) -> int | None:
        """The number of the forgotten class, None for a request by samples."""
        return None if self.forget_class is None else self._class_number()

    def _class_number(self) -> int:
        given, classes = self.forget_class, self.classes
        if isinstance(given, str):
            if given not in classes:
                raise unknown("class", given, classes)
            return classes.index(given)
        if not 0 <= int(given) < len(classes) or int(given) != given:
            raise ValueError(f"no class {given}; the classes are 0 to {len(classes) - 1}: {', '.join(classes)}")
        return int(given)

    def _chosen(self) -> Tensor:
        """The training indices to forget, in rising order."""
        labels = self.labelled.train_labels
        if self.forget_class is not None:
            chosen = (labels == self._class_number()).nonzero().flatten()
        elif self.forget_fraction is not None:
            chosen = self._random_share(len(labels))
        else:
            chosen = _checked_indices(self.forget_indices, len(labels))
        if not len(chosen):
            raise ValueError("the forget set is empty: the request matches no training example")
        if len(chosen) == len(labels):
            raise ValueError(f"the request forgets all {len(labels)} training examples; something must be left to keep")
        return chosen

    def _random_share(self, count: int) -> Tensor:
        share = self.forget_fraction
        if not 0 < share < 1:
            raise ValueError(f"forget_fraction must lie strictly between 0 and 1, got {share}")
        chosen = np.random.default_rng(self.seed).choice(count, size=round(share * count), replace=False)
        return torch.as_tensor(np.sort(chosen), dtype=torch.int64)

    def split(self, name: str) -> Examples:
        """``"train"``, ``"forget"``, ``"retain"``, ``"test"`` (kept classes) or ``"test-forget"``."""
        makers = {
            "train": lambda: self.labelled.train,
            "forget": lambda: self.labelled.train.take(self._forget),
            "retain": lambda: self.labelled.train.take(self._rest),
            "test": lambda: self._test(kept=True),
            "test-forget": lambda: self._test(kept=False),
        }
        if name not in makers:
            raise unknown("split", name, makers)
        return makers[name]()

    @cached_property
    def _rest(self) -> Tensor:
        keep = torch.ones(len(self.labelled.train_labels), dtype=torch.bool)
        keep[self._forget] = False
        return keep.nonzero().flatten()

    def _test(self, kept: bool) -> Examples:
        labels = self.labelled.test_labels
        forgotten = self.forgotten
        mine = torch.full_like(labels, kept, dtype=torch.bool) if forgotten is None else (labels != forgotten) == kept
        return self.labelled.test.take(mine.nonzero().flatten())

    def make_model(self, seed: int) -> nn.Module:
        """A fresh model under ``seed``; for a user's own model, ``make_model`` or each ``reset_parameters``.

        Raises:
            ValueError: a user's model has weights that nothing can re-initialise.
        """
        with seeded(seed):
            if not isinstance(self.data, Supplied):
                return networks.build(self.architecture, len(self.classes), self.labelled.channels)
            if self.data.make_model is not None:
                return _called(self.data.make_model, seed).to(device_of(self.data.original))
            return _reset(self.data.original)

    def trained(self, split: str, seed: int) -> nn.Module | None:
        """For a user's own model: the original as given, or what ``train_fn`` makes of a fresh one. None otherwise."""
        if not isinstance(self.data, Supplied):
            return None
        if split == "train":
            return copy.deepcopy(self.data.original)
        if self.data.train_fn is None:
            return None
        with seeded(seed):
            fresh = self.make_model(seed)
            made = self.data.train_fn(fresh, _Pairs(self.split(split)), seed)
        return (fresh if made is None else made).eval()

    @derived(cross_entropy_derivative)
    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) cross-entropy in nats."""
        return nn.functional.nll_loss(log_probabilities(forward(batch.inputs)), batch.targets, reduction="none")

    def example_margin(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) true logit minus the largest other: negative means misclassified."""
        logits = forward(batch.inputs)
        truth = batch.targets[:, None]
        return (logits.gather(1, truth) - logits.scatter(1, truth, -torch.inf).amax(1, keepdim=True)).squeeze(1)

    def example_metrics(self, forward: Callable[[Any], Tensor], batch: Batch) -> dict[str, Tensor]:
        """``accuracy``: whether no other logit reaches the true one. A tie is no knowledge, and counts as wrong."""
        logits = forward(batch.inputs)
        truth = logits.gather(1, batch.targets[:, None])
        # Numbers, not booleans, for torch counts those one by one: ten times faster than argmax over few classes.
        reached = torch.ge(logits, truth, out=torch.empty_like(logits))
        return {"accuracy": reached.sum(1) == 1}

    evaluate = averages

    def labels(self, examples: Any) -> list[str]:
        """The class names of training examples, by index."""
        return [self.classes[k] for k in self.labelled.train_labels[_positions(examples)].tolist()]

    def test_labels(self, examples: Any) -> list[str]:
        """The class names of test examples, by index."""
        return [self.classes[k] for k in self.labelled.test_labels[_positions(examples)].tolist()]

    def pictures(self, examples: Any) -> np.ndarray | None:
        """uint8 (n, h, w, 3) of training examples by index; None for data that are no images."""
        return None if self.labelled.pictures is None else self.labelled.pictures(_positions(examples).numpy())

    def card(self, example: int) -> str:
        """HTML of one training example: its picture and its label.

        Raises:
            ValueError: there is no such example.
        """
        if not 0 <= example < len(self.labelled.train_labels):
            raise ValueError(
                f"example {example} is not in the training set; it has 0 to {len(self.labelled.train_labels) - 1}"
            )
        label = self.classes[int(self.labelled.train_labels[example])]
        words, pictures = f"example {int(example)}, class {label}", self.pictures([example])
        if pictures is None:
            return f"<p>{html.escape(words)}</p>"
        return cards.picture(pictures[0], f"example {int(example)}", words)


def _positions(examples: Any) -> Tensor:
    """Indices as a tensor of their own: those of pandas are read-only, which torch does not like."""
    return examples.long() if isinstance(examples, Tensor) else torch.tensor(np.array(examples, dtype=np.int64))


def _checked_indices(given: tuple[int, ...], count: int) -> Tensor:
    outside = [i for i in given if not 0 <= i < count]
    if outside:
        raise ValueError(f"forget_indices {outside[:5]} are not in the training set; it has 0 to {count - 1}")
    values, counts = np.unique(np.asarray(given, dtype=np.int64), return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"forget_indices repeats {values[counts > 1][:5].tolist()}; name each example once")
    return torch.as_tensor(values)


def _classes(model: nn.Module, train: Any) -> int:
    """K, from the model's output on two training inputs."""
    inputs = (
        train[0][:2]
        if isinstance(train, (tuple, list))
        else torch.stack([torch.as_tensor(train[i][0]) for i in (0, 1)])
    )
    inputs = (inputs if isinstance(inputs, Tensor) else torch.as_tensor(np.asarray(inputs))).to(device_of(model))
    with torch.no_grad(), evaluating(model):
        outputs = model(inputs)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(inputs):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"the model must map (n, ...) inputs to logits (n, K); for {len(inputs)} inputs it gave {got}")
    return outputs.shape[1]


def _called(make_model: Callable, seed: int) -> nn.Module:
    """The fresh model, from a maker that takes no argument or the seed."""
    try:
        inspect.signature(make_model).bind()
    except TypeError:
        return make_model(seed)
    return make_model()


def _reset(model: nn.Module) -> nn.Module:
    """A copy with every module re-initialised; refused when some weights have no ``reset_parameters``."""
    fresh = copy.deepcopy(model)
    for name, module in fresh.named_modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif list(module.parameters(recurse=False)):
            raise ValueError(
                f"module {name or 'the model'} ({type(module).__name__}) has weights but no reset_parameters(), "
                "so a fresh model cannot be made; pass make_model= to from_data"
            )
    return fresh.train()


class _Pairs(torch.utils.data.Dataset):
    """A split as pairs (x_i, y_i), for a user's own training function."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.examples.batch(torch.tensor([position]))
        return inputs[0], targets[0]
