"""Training by a recipe: one loop of epochs, which can be left and taken up again."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..core.knobs import check, described, knob
from ..core.running import device_of, drawing_from, one_thread, seeded_states
from .evaluation import arranged, real_valued, takes_channels_last
from .networks.fresh import resting
from .protocol import Batch, Examples, Task, offered


@dataclass(frozen=True)
class Recipe:
    """How a task trains its models: an optimizer and how its learning rate moves."""

    epochs: int = knob(10, help="Passes over the training set.", valid="[1, inf)")
    lr: float = knob(0.1, help="Peak learning rate.", valid="(0, inf)")
    batch_size: int = knob(64, help="Examples per update.", valid="[1, inf)")
    momentum: float = knob(0.9, help="Nesterov momentum of SGD.", valid="[0, 1)")
    weight_decay: float = knob(5e-4, help="L2 penalty on all parameters.", valid="[0, inf)")
    optimizer: str = knob("sgd", help="How a gradient becomes a step.", choices=("sgd", "adamw"))
    schedule: str = knob("one-cycle", help="How the learning rate moves.", choices=("one-cycle", "constant"))
    augment: bool = knob(False, help="Shift by up to 4 pixels and mirror at random.")
    one_thread: bool = knob(True, help="Train on one core; right for small networks.")

    def __post_init__(self) -> None:
        check(self)


Recipe.__doc__ = f"{Recipe.__doc__}\n\nSettings:\n\n{described(Recipe)}\n"


def recipe_of(task: Task) -> Recipe:
    """How a task trains its models: its own recipe, or the default one."""
    return offered(task).recipe or Recipe()


class DivergedTraining(ArithmeticError):
    """The training loss became NaN or infinite."""


class Training:
    """One training by a recipe: it is made epoch by epoch, and can be left and taken up again without a trace.

    Args:
        task, model, examples: what is trained (in place), on what.
        recipe, seed: how; the seed is that of the order of batches and of all that the model draws.

    Attributes:
        epoch: how many epochs were made.
        updates: how many updates make up the whole training; ``made`` of them were made.
    """

    def __init__(self, task: Task, model: nn.Module, examples: Examples, recipe: Recipe, seed: int) -> None:
        self.task, self.model, self.examples, self.recipe, self.seed = task, model, examples, recipe, seed
        self.per_epoch = -(-len(examples) // recipe.batch_size)
        self.updates, self.made, self.epoch = recipe.epochs * self.per_epoch, 0, 0
        self._order, self._still = torch.Generator().manual_seed(seed), resting(model)
        self._optimizer, self._schedule = _optimizer(model, recipe, self.updates)
        self._channels_last = not recipe.one_thread and self._takes_channels_last()  # small networks gain nothing by it

    def _positions(self) -> torch.Tensor:
        """(n,) all examples in the order of the next epoch."""
        own = offered(self.task).training_order
        count = len(self.examples)
        return torch.randperm(count, generator=self._order) if own is None else own(self.examples, self._order)

    def _takes_channels_last(self) -> bool:
        few = self.examples.batch(slice(0, 1)).to(device_of(self.model))
        with drawing_from(seeded_states(self.seed)):
            return takes_channels_last(self.model, few.inputs)

    def __iter__(self) -> Iterator[int]:
        """Make the epochs that are left, yielding the number of updates made after each; the random state is left alone.

        Between updates the model may be in training mode; it is in eval mode after each epoch.

        Raises:
            DivergedTraining: the loss is not finite; the message names the epoch.
        """
        device = device_of(self.model)
        while self.epoch < self.recipe.epochs:
            positions = self._positions()
            draws = seeded_states(self.seed * 1_000_003 + self.epoch)
            for batch in self._batches(positions.split(self.recipe.batch_size)):
                if batch is not None:
                    with one_thread() if self.recipe.one_thread else nullcontext(), drawing_from(draws) as draws:
                        self._update(batch.to(device))
                self.made += 1
                if self.made % self.per_epoch:
                    yield self.made
            self.model.eval()
            self.epoch += 1
            yield self.made

    def _batches(self, parts: Iterable[torch.Tensor]) -> Iterator[Batch | None]:
        """The examples of each part; of a large network the next ones are read while an update is made."""
        if self.recipe.one_thread:
            yield from map(self._read, parts)
            return
        with ThreadPoolExecutor(1, "training data") as reader:
            waiting: deque[Future] = deque()
            for few in parts:
                waiting.append(reader.submit(self._read, few))
                if len(waiting) > 1:
                    yield waiting.popleft().result()
            yield from (each.result() for each in waiting)

    def _read(self, few: torch.Tensor) -> Batch | None:
        """The examples; None for a single one that is left over, which BatchNorm in training mode refuses."""
        left_over = len(few) == 1 and self._leaves_one_out()
        return None if left_over else self.examples.batch(few)

    def _update(self, batch: Batch) -> None:
        self.model.train()
        for module in self._still:
            module.eval()
        if self.recipe.augment:
            batch = batch._replace(inputs=_augmented(batch.inputs))
        if self._channels_last:
            batch = batch._replace(inputs=arranged(self.model, batch.inputs))
        with _precision(self.recipe, device_of(self.model)):
            own = offered(self.task).training_loss
            with _batch_means(self.recipe):
                loss = self.task.example_loss(self.model, batch).mean() if own is None else own(self.model, batch)
        if not torch.isfinite(loss):
            raise DivergedTraining(
                f"training diverged in epoch {self.epoch + 1}: the loss is {loss.item()}; lower lr={self.recipe.lr}"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()

    def state(self) -> dict[str, torch.Tensor]:
        """All that a training is after a whole epoch, as tensors that nobody writes to."""
        optimizer = {
            f"optimizer/{at}/{name}": torch.as_tensor(value)
            for at, each in self._optimizer.state_dict()["state"].items()
            for name, value in each.items()
            if value is not None
        }
        model = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        whole = {**model, **optimizer, "epoch": torch.tensor(self.epoch)}
        whole["tensors"] = torch.tensor(len(whole))  # parameters without a gradient have nothing in the optimizer
        return {name: value.detach().cpu().clone().contiguous() for name, value in whole.items()}

    def _check(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raise ValueError unless this is a whole state of this training: the tensors that :meth:`state` would give."""
        known = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        kept = {
            f"optimizer/{at}/{name}": torch.zeros(()) if name == "step" else value
            for at, value in enumerate(self.model.parameters())
            for name in _kept_of_each(self.recipe)
        }
        counts = {"epoch": torch.tensor(0), "tensors": torch.tensor(0)}
        check_tensors(state, known | {key: kept[key] for key in kept if key in state} | counts)
        if int(state["tensors"]) != len(state) - 1:
            raise ValueError(f"it holds {len(state) - 1} tensors and not {int(state['tensors'])}")
        if not 0 <= int(state["epoch"]) <= self.recipe.epochs:
            raise ValueError(f"it is of epoch {int(state['epoch'])} of {self.recipe.epochs}")

    def resume(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what :meth:`state` gave, exactly as if nothing had come between.

        Raises:
            ValueError: it is no whole state of this training; then nothing has changed.
        """
        self._check(state)
        held: dict[int, dict[str, Any]] = {}
        for key in [key for key in state if key.startswith("optimizer/")]:
            _, at, name = key.split("/")
            held.setdefault(int(at), {})[name] = state[key]
        prefix = len("model/")
        self.model.load_state_dict({key[prefix:]: value for key, value in state.items() if key.startswith("model/")})
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": held})
        self.epoch = int(state["epoch"])
        self.made = self.epoch * self.per_epoch
        for _ in range(self.epoch):
            self._positions()
        taken = self.made - (self.epoch if self._leaves_one_out() else 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that no step of the optimizer came before
            for _ in range(taken):
                self._schedule.step()

    def _leaves_one_out(self) -> bool:
        """Whether the last batch of an epoch would be a single example, which is left out."""
        return len(self.examples) % self.recipe.batch_size == 1 and len(self.examples) > 1  # never of batches of one


@contextmanager
def _batch_means(recipe: Recipe) -> Iterator[None]:
    """Say of a single example what torch says of BatchNorm's means over it."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "this network has a BatchNorm, which takes means over a batch, and a batch here holds a single example; train with a "
            f"recipe whose batch_size is 2 or more (it is {recipe.batch_size}), on two examples or more"
        ) from error


def epochs(task: Task, model: nn.Module, examples: Examples, recipe: Recipe, seed: int) -> Iterator[nn.Module]:
    """Train ``model`` in place, yielding it after each epoch; the global random state is left alone.

    Raises:
        DivergedTraining: the loss is not finite; the message names the epoch.
    """
    training = Training(task, model, examples, recipe, seed)
    for made in training:
        if made % training.per_epoch == 0:
            yield model


def _precision(recipe: Recipe, device: torch.device) -> AbstractContextManager:
    """Large networks are trained in bfloat16 where a GPU has it, which needs no scaling of the loss; else in their own."""
    mixed = device.type == "cuda" and not recipe.one_thread and torch.cuda.is_bf16_supported()
    return torch.autocast("cuda", torch.bfloat16) if mixed else nullcontext()


def _optimizer(model: nn.Module, recipe: Recipe, updates: int) -> tuple[Any, Any]:
    """The recipe's optimizer and learning-rate schedule for this many updates."""
    values, decay = model.parameters(), recipe.weight_decay
    if recipe.optimizer == "adamw":
        optimizer: Any = torch.optim.AdamW(values, recipe.lr, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(
            values, recipe.lr, recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0
        )
    if recipe.schedule == "constant":
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, updates + 1)


def _kept_of_each(recipe: Recipe) -> list[str]:
    """What the recipe's optimizer keeps of each parameter that has a gradient, by name."""
    only = nn.ParameterList([nn.Parameter(torch.zeros(1))])
    only[0].grad = torch.zeros(1)
    optimizer, _ = _optimizer(only, recipe, 1)
    optimizer.step()
    return [name for name, value in optimizer.state_dict()["state"].get(0, {}).items() if value is not None]


def learning_rates(recipe: Recipe, count: int) -> list[float]:
    """The mean learning rate of each epoch over ``count`` examples."""
    per_epoch = -(-count // recipe.batch_size)
    optimizer, schedule = _optimizer(nn.Linear(1, 1), recipe, recipe.epochs * per_epoch)
    rates = []
    for _ in range(recipe.epochs * per_epoch):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()  # without a gradient it moves nothing
        schedule.step()
    return torch.tensor(rates).view(recipe.epochs, per_epoch).mean(1).tolist()


def _augmented(inputs: Any) -> Any:
    """The inputs with each picture shifted and mirrored.

    Raises:
        ValueError: they hold no pictures, or several for each example.
    """
    found = real_valued(inputs)
    if found is None or found[0].ndim != 4:
        raise ValueError(
            "augment=True shifts and mirrors pictures, (n, channels, height, width), and this task's inputs are not one tensor "
            "of pictures; train with a recipe without it"
        )
    return found[1](shifted(found[0]))


def shifted(images: torch.Tensor, pixels: int = 4) -> torch.Tensor:
    """(n, c, h, w) images, each shifted by up to ``pixels`` and mirrored with probability one half."""
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, [pixels] * 4)
    down, right = (torch.randint(0, 2 * pixels + 1, (count, 1), device=images.device) for _ in "yx")
    rows = (torch.arange(height, device=images.device) + down)[:, None, :, None]
    columns = torch.arange(width, device=images.device) + right
    columns = torch.where(torch.rand(count, 1, device=images.device) < 0.5, columns.flip(1), columns)[:, None, None, :]
    which = torch.arange(count, device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[which, channels, rows, columns]


def check_tensors(given: Mapping[str, torch.Tensor], known: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError unless these are tensors of the same names and shapes: said before one of them is put in place."""
    if given.keys() != known.keys():
        raise ValueError(f"without {sorted(known.keys() - given.keys())}, with {sorted(given.keys() - known.keys())}")
    for name, value in known.items():
        if given[name].shape != value.shape or given[name].dtype != value.dtype:
            raise ValueError(
                f"{name} is {tuple(given[name].shape)} of {given[name].dtype}, not {tuple(value.shape)} of {value.dtype}"
            )
