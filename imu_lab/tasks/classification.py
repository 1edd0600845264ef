"""Classification: forget a class, a superclass or a subclass, a random share of the training set, or samples by hand."""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, fields, replace
from functools import cached_property, partial
from os.path import expanduser
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.messages import shown, unknown, warn
from ..core.running import (
    checked_seed,
    copied,
    device_of,
    fingerprint,
    full_precision,
    placed,
    same_tensors,
    seeded,
    tensors_of,
)
from . import cards, cross_entropy, sample_requests
from .evaluation import averages
from .networks import fresh
from .networks import images as networks
from .outputs import cross_entropy_derivative, derived
from .presets import fitted, preset
from .protocol import Abilities, Batch, Examples
from .sources import models, named
from .sources.labelled import Labelled
from .sources.supplied import Pairs, Supplied, supply
from .training import Recipe

SMALL = 100_000  # parameters up to which a user's network is quicker on one core than on several


def _is_cross_entropy(task: Any) -> bool:
    """Whether a task's loss is the one written here, and not a user's."""
    return getattr(task, "own_loss", None) is None


@dataclass(frozen=True)
class Classification:
    """Classify images or anything else; forget some samples. Exactly one of the ``forget_*`` settings is given.

    Attributes:
        data: ``"digits"``, ``"mnist"``, ``"fashion-mnist"``, ``"svhn"``, ``"cifar10"``, ``"cifar100"``, the path of an
            image folder, or what :meth:`from_data` made.
        forget_class: the class to forget, by number or name. The test split then holds the kept classes, and
            ``"test-forget"`` the unseen images of the forgotten class (leaving them out would hide what was forgotten).
        forget_fraction: forget this share of the training set, drawn at random by ``seed``.
        forget_indices: forget these training examples, by index or by a mask of True and False.
        seed: of the random request. It never moves an example between training and test.
        readout: the modules that influence and unlearning act on, by name; None for the last linear layer, ``"all"``
            for every parameter.
        architecture: ``"small-cnn"``, ``"resnet-20"``, ``"resnet-18"``, ``"vgg-16-bn"``, ``"small-vit"``, another name in
            ``imu_lab.tasks.networks.images`` or of a torchvision classifier; None for the data's own.
        recipe: how to train; None for the data's own, with smaller batches where the examples are few.
        image_size: resize the pictures of a folder.
        forget_superclass: forget the samples of a superclass, by name, from a model that names the fine classes.
        forget_subclass: forget the samples of a subclass, by name, from a model that names superclasses.
        level: ``"superclass"`` or ``"subclass"``: what the model names, of data with two levels; it can be written
            ``labels=``. A superclass request stands for ``"subclass"``, a subclass request for ``"superclass"``.
        test_fraction: the share of each class that is held out of a folder without a test part, under a fixed seed.
        device: where models are made, such as ``"cuda"``; None for the CPU.

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
    forget_superclass: str | None = None
    forget_subclass: str | None = None
    level: str | None = None
    test_fraction: float = 0.2
    device: str | None = None
    labels: InitVar[str | None] = None

    @full_precision()
    def __post_init__(self, labels: Any) -> None:
        if not callable(labels) and labels is not None:  # unasked, it is the method of that name
            object.__setattr__(self, "level", labels)
        self._settle_level(sample_requests.only_one({name: getattr(self, name) for name in sample_requests.WAYS}))
        object.__setattr__(self, "seed", checked_seed(self.seed))
        if not isinstance(self.data, Supplied):
            object.__setattr__(self, "data", expanduser(str(self.data)))
            own = preset(self.data)
            object.__setattr__(self, "architecture", self.architecture or own.architecture)
            networks.check(self.architecture)
            object.__setattr__(self, "recipe", self.recipe or fitted(own.recipe, len(self.labelled.train)))
        if self.forget_indices is not None:
            count, names = len(self.labelled.train), self.labelled.index
            object.__setattr__(self, "forget_indices", sample_requests.indices(self.forget_indices, count, names=names))
        if isinstance(self.readout, list):
            object.__setattr__(self, "readout", tuple(self.readout))
        chosen = sample_requests.chosen(
            len(self.labelled.train), self._group, self.forget_fraction, self.forget_indices, self.seed
        )
        object.__setattr__(self, "_forget", chosen)
        if self.emptied and self.forget_class is None and self.forget_superclass is None:
            warn(sample_requests.emptied(self.emptied, stay=self._group is None))
        if self.labelled.hashes is not None and (
            words := sample_requests.copied(self.labelled.hashes, chosen, self._rest)
        ):
            warn(words)

    def _settle_level(self, request: str) -> None:
        """What the model names, once it fits the request."""
        level = sample_requests.level(request, self.level)
        if isinstance(self.data, Supplied) and level:
            raise ValueError("data of your own have one level of labels; use forget_class= or forget_indices=")
        idle = [name for name in ("architecture", "image_size", "device") if getattr(self, name) is not None]
        if isinstance(self.data, Supplied) and idle:
            raise ValueError(f"{' and '.join(idle)} say nothing of a model and data of your own; leave them out")
        object.__setattr__(self, "level", None if level == "class" else level)

    @classmethod
    @full_precision()
    def from_data(
        cls,
        model: nn.Module,
        train: Any,
        test: Any,
        *,
        label: Any = None,
        classes: Sequence[Any] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        make_model: Callable | None = None,
        train_fn: Callable | None = None,
        device: Any = None,
        **request: Any,
    ) -> Classification:
        """A task around a model and data of your own. The model given is the original.

        Args:
            model: any classifier whose output is logits (n, K), or an object or dict that holds them as ``logits``; one
                logit tells two classes apart. Parameters that may not move (``requires_grad``) never do.
            train, test: ``(x, y)`` with ``x`` (n, ...) a tensor, array, frame or dict of such, kept by reference, and ``y``
                (n,) numbers from 0, words or categories; or a map-style dataset of ``(x_i, y_i)`` or of dicts.
            label: which member of a sample is the label, by position or name, where a sample has more than two.
            classes: the classes' names, in the order of the model's outputs; or with the outputs' numbers beside them, as in
                ``{0: "cat", 1: "dog"}`` or ``{"cat": 0, "dog": 1}``.
            loss: ``(outputs, targets) -> (n,)``, for anything but cross-entropy; targets are then what it takes, and where
                they name no classes the task's metric is this loss.
            make_model: makes a fresh model, for the retrained one: called with no argument under the seed, or with the
                seed if it takes one. Without it, a copy of ``model`` is re-initialised by each ``reset_parameters``.
            train_fn: ``(model, dataset, seed) -> model`` trains it; ``dataset`` yields ``(x_i, y_i)``. It is called
                each time that a retrained model is asked for, and what it makes is kept nowhere. None uses ``recipe``.
            device: where to run; None for the model's own.
            request: ``forget_class``, ``forget_fraction`` or ``forget_indices``, and any other setting of the task.

        Raises:
            TypeError, ValueError: data or a model that can be understood in two ways or in none, or that break what
                influence rests on; a bad request.
        """
        supplied = supply(
            model, train, test, label=label, classes=classes, loss=loss, make_model=make_model, train_fn=train_fn, device=device
        )  # fmt: skip
        small = sum(value.numel() for value in supplied.original.parameters()) <= SMALL
        request.setdefault("recipe", fitted(Recipe(one_thread=small), len(supplied.labelled.train)))
        return cls(supplied, **request)

    def with_request(self, examples: tuple[int, ...]) -> Classification:
        """The same task with these training samples to forget, by index, in place of its own request."""
        return replace(self, **dict.fromkeys(sample_requests.WAYS) | {"forget_indices": examples})

    @cached_property
    def labelled(self) -> Labelled:
        """The data behind the task, loaded at first use."""
        if isinstance(self.data, Supplied):
            return self.data.labelled
        return named.data_set(self.data, self.image_size, self.level or "class", self.test_fraction)

    @property
    def about(self) -> str:
        """One line: what the data, and a user's model, were understood to be, and how much of them is to be forgotten."""
        what = self.data.about if isinstance(self.data, Supplied) else self.labelled.about
        asked = f"to forget: {len(self._forget):,} of {len(self.labelled.train):,} training samples"
        gone = f", which leaves none of {sample_requests.some(self.emptied)}" if self.emptied else ""
        return f"{what}; {asked}{gone}"

    @cached_property
    def emptied(self) -> tuple[str, ...]:
        """The classes of which no training sample is left to keep."""
        if not self.classes:
            return ()
        labels, count = self.labelled.train_labels, len(self.classes)
        before, left = labels.bincount(minlength=count), labels[self._rest].bincount(minlength=count)
        return tuple(self.classes[k] for k in ((before > 0) & (left == 0)).nonzero().flatten().tolist())

    def __repr__(self) -> str:
        settings = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{type(self).__name__}({settings})\n{self.about}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the logits; none where targets are no classes."""
        return self.labelled.classes

    @property
    def answers(self) -> tuple[str, ...]:
        """What each of the model's outputs stands for: the classes."""
        return self.classes

    @property
    def data_key(self) -> str:
        """A digest of the data and of a user's loss: part of every checkpoint's name."""
        return self.data.data_key if isinstance(self.data, Supplied) else self.labelled.key

    @property
    def samples_key(self) -> str:
        """A digest of the data, whatever loss they are put to."""
        return self.labelled.key

    @property
    def code(self) -> str:
        """A digest of a user's functions as they are now; empty where there is no user's model."""
        return self.data.code if isinstance(self.data, Supplied) else ""

    @property
    def own_loss(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """A user's loss; None for cross-entropy."""
        return self.data.loss if isinstance(self.data, Supplied) else None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run follows: with a forgotten class, its unseen images apart."""
        return ("forget", "retain", "test") + (("test-forget",) if self._group is not None else ())

    @property
    def unlearning(self) -> Mapping[str, Any]:
        """This task's own defaults for a method's settings."""
        return {} if isinstance(self.data, Supplied) else preset(self.data).unlearning

    @property
    def forgotten_when(self) -> tuple[str, str]:
        """The metric that tells of forgetting: accuracy falls; where there are no classes, the loss rises."""
        return Abilities.forgotten_when if self.classes else ("loss", ">=")

    @property
    def goal(self) -> tuple[str, str, float] | None:
        """A class is forgotten when none of its samples is recognised; of others the retrained model has to say."""
        whole = self.forget_class is not None or self.forget_superclass is not None
        return ("accuracy", "<=", 0.0) if whole else None

    @property
    def forgotten(self) -> int | None:
        """The number of the forgotten class, None for a request of another kind."""
        return None if self.forget_class is None else self._group.number

    @cached_property
    def _group(self) -> sample_requests.Group | None:
        """Each training and each test sample's group and the one to forget; None for a request by samples."""
        wanted = self.forget_superclass if self.forget_superclass is not None else self.forget_subclass
        return sample_requests.group_of(self.labelled, self.forget_class, wanted)

    @full_precision()
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
        self.labelled.unchanged(thoroughly=False)
        return makers[name]()

    def unchanged(self) -> None:
        """Raise ValueError where data of a user's were edited after the task was made."""
        self.labelled.unchanged()

    @cached_property
    def _rest(self) -> Tensor:
        keep = torch.ones(len(self.labelled.train), dtype=torch.bool)
        keep[self._forget] = False
        return keep.nonzero().flatten()

    def _test(self, kept: bool) -> Examples:
        if self._group is None:
            mine = torch.full((len(self.labelled.test),), kept)
        else:
            mine = (self._group.test != self._group.number) == kept
        return self.labelled.test.take(mine.nonzero().flatten())

    def make_model(self, seed: int) -> nn.Module:
        """A fresh model under ``seed``; for a user's own model, ``make_model`` or each ``reset_parameters``.

        Raises:
            ValueError: a user's model has weights that nothing can re-initialise; or the architecture cannot take the pictures.
        """
        with seeded(seed):
            if not isinstance(self.data, Supplied):
                made = networks.build(self.architecture, len(self.classes), self.labelled.channels)
                networks.check_takes(made, self.architecture, self.labelled.train.batch(slice(0, 1)).inputs)
                return placed(made, self.device or "cpu")
            original, make_model = self.data.original, self.data.make_model
            if make_model is None:
                return self.data.prepared(fresh.reset(original)).to(device_of(original)).train()
            # A copy: a maker that gives one and the same model is not to find it trained the next time.
            made = copied(self.data.prepared(fresh.called(make_model, seed))).to(device_of(original))
        if same_tensors(made, original):
            raise ValueError(
                "make_model gave a model with the weights of the original, from which nothing can be retrained; let it make a new "
                "one, with weights that were never trained"
            )
        return made.train()

    def prepared(self, model: nn.Module) -> nn.Module:
        """A model as this task calls it: without wrappers, in single precision at least, asked for logits.

        Raises:
            TypeError, ValueError: it is no module, or its layers cannot be looked into.
        """
        return self.data.prepared(model) if isinstance(self.data, Supplied) else models.prepared(model)

    def trained(self, split: str, seed: int) -> nn.Module | None:
        """For a user's own model: the original as given, or what ``train_fn`` makes of a fresh one. None otherwise."""
        if not isinstance(self.data, Supplied):
            return None
        if split == "train":
            return copy.deepcopy(self.data.original)
        if self.data.train_fn is None:
            return None
        with seeded(seed):
            begun = self.make_model(seed)
            before = fingerprint(*tensors_of(begun))
            made = self.data.train_fn(begun, Pairs(self.split(split)), seed)
        if made is not None and not isinstance(made, nn.Module):
            raise TypeError(
                f"train_fn gives the trained model, or None where it trained the one given; it gave {shown(made)}"
            )
        if made is None and fingerprint(*tensors_of(begun)) == before:
            raise ValueError(
                "train_fn gave None and left the model as it was, so nothing is trained; let it return the trained model, or train "
                "the one given in place"
            )
        trained = begun if made is None else self.data.prepared(made)
        if same_tensors(trained, self.data.original):
            raise ValueError(
                f"train_fn gave the original itself, which was not trained on {split!r} alone; let it train the model that it is "
                "handed, on the data set that it is handed"
            )
        return trained.eval()

    @derived(cross_entropy_derivative, when=_is_cross_entropy, both=cross_entropy.with_derivative)
    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) cross-entropy in nats, or a user's own loss."""
        if self.own_loss is None:
            return cross_entropy.example_loss(self, forward, batch)
        return self.own_loss(forward(batch.inputs), batch.targets)

    @property
    def example_margin(self) -> Callable[[Callable[[Any], Tensor], Batch], Tensor] | None:
        """From ``forward`` and a batch to (n,) margins; None where targets are no classes, and nothing has a margin."""
        return partial(cross_entropy.example_margin, self) if self.classes else None

    def example_metrics(self, forward: Callable[[Any], Tensor], batch: Batch) -> dict[str, Tensor]:
        """``accuracy``; where targets are no classes, ``loss``."""
        if self.classes:
            return cross_entropy.example_metrics(self, forward, batch)
        return {"loss": self.example_loss(forward, batch)}

    @property
    def probabilities(self) -> bool:
        """Whether outputs are logits of classes: there are classes, and no own loss draws outputs to numbers."""
        return bool(self.classes) and not (isinstance(self.data, Supplied) and not self.data.logits)

    evaluate = averages

    def labels(self, examples: Any) -> list[str]:  # noqa: F811, for labels= is an argument and this is a question
        """The class names of training examples, by index."""
        return _words(self.classes, self.labelled.train_labels[_positions(examples)])

    def test_labels(self, examples: Any) -> list[str]:
        """The class names of test examples, by index."""
        return _words(self.classes, self.labelled.test_labels[_positions(examples)])

    def columns(self, examples: Any) -> dict[str, list[str]]:
        """The superclass or subclass of training examples, by index, of data with two levels; else nothing."""
        level = self.labelled.level
        return {} if level is None else {level.kind: _words(level.names, level.train[_positions(examples)])}

    def files(self, examples: Any) -> list[str]:
        """Where training examples came from, by index: paths within the data; empty words for data that are no files."""
        known = self.labelled.files
        return ["" if known is None else known[k] for k in _positions(examples).tolist()]

    def pictures(self, examples: Any, source: str = "train") -> np.ndarray | None:
        """uint8 (n, h, w, 3) of examples by index, of the training part by default; None for data that are no images."""
        found = self.labelled.pictures if source == "train" else self.labelled.test_pictures
        return None if found is None else found(_positions(examples).numpy())

    def card(self, example: int) -> str:
        """HTML of one training example: its picture, its label and its file.

        Raises:
            ValueError: there is no such example.
        """
        count = len(self.labelled.train)
        if not 0 <= example < count:
            raise ValueError(f"example {example} is not in the training set; it has 0 to {count - 1}")
        kind = "class" if self.classes else "target"
        words = f"example {int(example)}, {kind} {self.labels([example])[0]}"
        file = self.files([example])[0]
        words, pictures = f"{words}, {file}" if file else words, self.pictures([example])
        if pictures is None:
            return f"<p>{html.escape(words)}</p>"
        return cards.picture(pictures[0], f"example {int(example)}", words)


def _words(classes: Sequence[str], targets: Tensor) -> list[str]:
    """Class names, or targets that are none in a few figures."""
    if classes:
        return [classes[k] for k in targets.tolist()]
    return [", ".join(f"{value:.3g}" for value in row.flatten()[:4].tolist()) for row in targets]


def _positions(examples: Any) -> Tensor:
    """Indices as a tensor of their own: those of pandas are read-only, which torch does not like."""
    return examples.long() if isinstance(examples, Tensor) else torch.tensor(np.array(examples, dtype=np.int64))
