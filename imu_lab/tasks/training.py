"""Training, with checkpoints: the original and the retrained model come from one recipe and are trained once."""

from __future__ import annotations

import logging
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import nn
from tqdm.auto import tqdm

from ..core import storage
from ..core.beside import prepare_figures
from ..core.knobs import check, knob
from ..core.memo import Memo
from ..core.messages import kind_of
from ..core.running import (
    device_of,
    digest,
    drawing_from,
    evaluating,
    fingerprint,
    one_thread,
    seeded_states,
    state_of,
    tensors_of,
)
from .evaluation import arranged, takes_channels_last
from .networks.fresh import resting
from .poorer import beware_of_poorer
from .protocol import Batch, Examples, Task, check_unchanged, offered, own_data_key

# Part of every checkpoint's key: raise it when training would give other weights for the same recipe. How pictures lie in
# memory changes rounding alone, as another processor does.
VERSION = 3

FRESH = "what the fresh model made of a few examples"  # beside the weights of a checkpoint
FEW = 8
EVERY = 10.0  # seconds after which an unfinished training is written down again, at the end of an epoch

log = logging.getLogger(__name__)


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
        """The examples; None for a single one beside others, which BatchNorm in training mode refuses."""
        return self.examples.batch(few) if len(few) > 1 or len(self.examples) == 1 else None

    def _update(self, batch: Batch) -> None:
        self.model.train()
        for module in self._still:
            module.eval()
        if self.recipe.augment:
            batch = batch._replace(inputs=shifted(batch.inputs))
        if self._channels_last:
            batch = batch._replace(inputs=arranged(self.model, batch.inputs))
        with _precision(self.recipe, device_of(self.model)):
            own = offered(self.task).training_loss
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
        return len(self.examples) % self.recipe.batch_size == 1 and len(self.examples) > 1


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


def train(
    task: Task,
    split: str = "train",
    seed: int = 0,
    recipe: Recipe | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """A model of ``task`` trained on ``split``, from the checkpoint cache when it was trained before.

    ``"train"`` gives the original model, ``"retain"`` the retrained one: the same recipe from fresh weights without the
    forget set. Of a model that you brought along (``from_data``) the original is yours, and nobody here knows how it was
    trained: the retrained one is made by your ``train_fn``, else by ``recipe``. The key is the data of the split, the
    recipe, the architecture and the seed, so a new request retrains only ``"retain"``.

    Args:
        task: anything that follows the task protocol.
        split: the name of the split to train on.
        seed: of the fresh weights and the order of batches.
        recipe: replaces the task's own.
        progress: called with (updates made, updates in all) after each; what it raises ends the training. None shows a bar
            for work longer than two seconds.

    A training that was interrupted goes on from its last whole epoch when it is asked for again, and ends in the very same
    model. A checkpoint that cannot be written costs a warning, never the model.

    Returns:
        The model in eval mode.

    Raises:
        DivergedTraining: the loss became NaN or infinite.
        TypeError: the recipe is none, or the task.
        ValueError: data that a user holds were edited after the task was made.

    Warns:
        UserWarning: a retrained model is clearly worse than the model brought along on what it was trained on, by the
            task's headline metric.
    """
    if not hasattr(task, "make_model"):
        raise TypeError(f"train takes a task, such as imu.tasks.Classification(...); got {kind_of(task)}")
    check_unchanged(task)
    own = offered(task).trained
    if own is not None and recipe is None:
        given = own(split, seed)
        if given is not None:
            if split != "train":
                beware_of_poorer(task, split, given, seed, "train_fn")
            return _known_as(given, task, split)
    recipe = recipe or recipe_of(task)
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe must be an imu_lab.tasks.Recipe, got {recipe!r}; give its fields, as in Recipe(epochs=5)"
        )
    model = _trained(task, split, seed, recipe, progress)
    beware_of_poorer(task, split, model, seed, f"a recipe of {recipe.epochs} epochs of {recipe.optimizer}")
    return _known_as(model, task, split)


class TrainedOn(NamedTuple):
    """What a model was trained on: which data, by their key, and which of them, by a digest of their source and ids."""

    data: str
    rows: str
    count: int

    @classmethod
    def of(cls, task: Task, split: str) -> TrainedOn | None:
        """A split of a task; None where the task cannot tell its data by content."""
        data, examples = own_data_key(task), task.split(split)
        return None if data is None else cls(data, digest(examples.source, examples.ids), len(examples))


_TRAINED: Memo[frozenset[TrainedOn]] = Memo(256)  # by a model's tensors: of models that were trained without something


def _known_as(model: nn.Module, task: Task, split: str) -> nn.Module:
    """The model itself, of which it is known from now on what it was trained on."""
    if split != "train" and (found := TrainedOn.of(task, split)) is not None:
        key = fingerprint(*tensors_of(model))
        _TRAINED.put(
            key, (_TRAINED.get(key) or frozenset()) | {found}
        )  # a training that moves nothing leaves equal models
    return model


def trained_on(fingerprint: str) -> frozenset[TrainedOn]:
    """What the model with these tensors was trained on, as far as :func:`train` gave it and knows its data."""
    return _TRAINED.get(fingerprint) or frozenset()


def _trained(
    task: Task, split: str, seed: int, recipe: Recipe, progress: Callable[[int, int], None] | None
) -> nn.Module:
    """The model of this recipe, found on disk or trained, in eval mode."""
    model = task.make_model(seed)
    path, examples = _checkpoint(task, split, seed, recipe, model), task.split(split)
    fresh = _answer(task, model, examples)
    if path is not None and _restored(model, path, fresh):
        return model.eval()
    training, unfinished = Training(task, model, examples, recipe, seed), _Unfinished(path, fresh)
    unfinished.take_up(training)
    hidden = {"disable": True} if progress else {"delay": 2, "leave": False}
    words = f"training on {split}"
    prepare_figures()
    with unfinished.kept(training), tqdm(total=training.updates, initial=training.made, unit="update", **hidden) as bar:
        bar.set_description(words, refresh=False)
        for made in training:
            unfinished.note(training)
            bar.update(made - bar.n)
            bar.set_description(
                f"{words}, epoch {min(training.epoch + 1, recipe.epochs)} of {recipe.epochs}", refresh=False
            )
            if progress:
                progress(made, training.updates)
    _write(path, state_of(model) | {FRESH: fresh})
    unfinished.remove()
    return model.eval()


def is_known(task: Task, split: str = "train", seed: int = 0) -> bool:
    """Whether :func:`train` would find this model, and train nothing."""
    own = offered(task).trained
    if own is not None and split == "train" and own(split, seed) is not None:
        return True
    path = _checkpoint(task, split, seed, recipe_of(task), task.make_model(seed))
    return path is not None and path.exists()


class _Unfinished:
    """What there is of a training that has not ended, beside where its checkpoint will be."""

    def __init__(self, path: Path | None, fresh: torch.Tensor) -> None:
        self.path = None if path is None else path.with_suffix(".unfinished")
        self._fresh, self._state, self._written = fresh, None, time.monotonic()

    def take_up(self, training: Training) -> None:
        """Go on from the last whole epoch that was kept, if there is one of the same fresh model."""
        if self.path is None or not self.path.exists():
            return
        try:
            state = safetensors.torch.load(self.path.read_bytes())
            if same_answer(state.pop(FRESH), self._fresh):
                training.resume(state)
        except (safetensors.SafetensorError, RuntimeError, OSError, KeyError, ValueError) as error:
            log.warning("the unfinished training %s is damaged (%s); training from the start", self.path, error)

    def note(self, training: Training) -> None:
        """After each update: remember a whole epoch, and write it down every few seconds."""
        if self.path is None or training.made % training.per_epoch:
            return
        self._state = training.state() if training.epoch < training.recipe.epochs else None
        if time.monotonic() - self._written > EVERY:
            self._write()

    @contextmanager
    def kept(self, training: Training) -> Iterator[None]:
        """Whatever ends the training within, its last whole epoch is written down."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, DivergedTraining):
                self._write()
            raise

    def _write(self) -> None:
        if self._state is not None:
            _write(self.path, self._state | {FRESH: self._fresh})
            self._written = time.monotonic()

    def remove(self) -> None:
        """The training has ended."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _write(path: Path | None, state: Mapping[str, torch.Tensor]) -> None:
    """Keep these tensors; where that cannot be, say so and go on without."""
    if path is None:
        return
    try:
        storage.write_whole(path, safetensors.torch.save(dict(state)))
    except OSError as error:
        warnings.warn(
            f"the checkpoint {path} could not be written ({error}); the model is unharmed, but will be trained again in "
            "another session. Free some space, or set IMU_LAB_DATA to a folder that can be written",
            stacklevel=3,
        )


def _checkpoint(task: Task, split: str, seed: int, recipe: Recipe, fresh: nn.Module) -> Path | None:
    """Where this training is kept; None for a task that cannot tell its data by content."""
    data = own_data_key(task)
    if data is None:
        return None
    examples = task.split(split)
    still = [name for name, value in fresh.named_parameters() if not value.requires_grad]
    how = (repr(fresh), *tensors_of(fresh), asdict(recipe), seed, VERSION, *still)
    key = digest(data, examples.source, examples.ids, *how)
    return storage.data_folder() / "checkpoints" / f"{key}.safetensors"


def _answer(task: Task, model: nn.Module, examples: Examples) -> torch.Tensor:
    """What a model makes of a few examples and the task of that, as one vector: equal weights under other code, or for another
    loss, give another."""
    batch = examples.batch(slice(0, FEW)).to(device_of(model))
    with torch.no_grad(), evaluating(model):
        made = model(batch.inputs)
        losses = task.example_loss(lambda _: made, batch)
    made = made if isinstance(made, torch.Tensor) else next(iter(made.values()))
    return torch.cat([made.detach().flatten().double(), losses.detach().flatten().double()]).cpu()


def same_answer(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two answers to the same few examples differ by rounding alone, on whatever processor."""
    return first.shape == second.shape and torch.allclose(
        first, second, rtol=1e-3, atol=1e-3 * float(second.abs().max())
    )


def check_tensors(given: Mapping[str, torch.Tensor], known: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError unless these are tensors of the same names and shapes: said before one of them is put in place."""
    if given.keys() != known.keys():
        raise ValueError(f"without {sorted(known.keys() - given.keys())}, with {sorted(given.keys() - known.keys())}")
    for name, value in known.items():
        if given[name].shape != value.shape or given[name].dtype != value.dtype:
            raise ValueError(
                f"{name} is {tuple(given[name].shape)} of {given[name].dtype}, not {tuple(value.shape)} of {value.dtype}"
            )


def _restored(model: nn.Module, path: Path, fresh: torch.Tensor) -> bool:
    """Whether the checkpoint was there, whole, and trained from a model that did what the fresh one does.

    A damaged one is named, set aside and trained again.
    """
    if not path.exists():
        return False
    try:
        state = safetensors.torch.load(path.read_bytes())
        if not same_answer(state.pop(FRESH), fresh):
            return False  # the code around these weights has changed since
        check_tensors(state, model.state_dict())
        model.load_state_dict(state)
        return True
    except (safetensors.SafetensorError, RuntimeError, OSError, KeyError, ValueError) as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning("checkpoint %s is damaged (%s); kept as %s, training again", path, error, aside.name)
        return False
