"""Models with checkpoints: the original and the retrained model come from one recipe and are trained once."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import nn
from tqdm.auto import tqdm

from ..core import storage
from ..core.beside import prepare_figures
from ..core.memo import Memo
from ..core.running import checked_seed, described, device_of, digest, evaluating, fingerprint, state_of, tensors_of
from .poorer import beware_of_poorer
from .protocol import Examples, Task, check_unchanged, offered, own_data_key
from .training import DivergedTraining, Recipe, Training, check_tensors, recipe_of

# Part of every checkpoint's key: raise it when training would give other weights for the same recipe. How pictures lie in
# memory changes rounding alone, as another processor does.
VERSION = 3

FRESH = "what the fresh model made of a few examples"  # beside the weights of a checkpoint
FEW = 8
EVERY = 10.0  # seconds after which an unfinished training is written down again, at the end of an epoch

log = logging.getLogger(__name__)


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
    trained: the retrained one is made by your ``train_fn``, else by ``recipe``. What ``train_fn`` makes is not kept, for
    nobody here can tell whether it would do the same again: hold on to it, and hand it on with ``reference=``. The key is
    the data of the split, the recipe, the architecture and the seed, so a new request retrains only ``"retain"``.

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
    check_unchanged(task)
    seed = checked_seed(seed)
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
        # A training that moves nothing leaves equal models.
        _TRAINED.put(key, (_TRAINED.get(key) or frozenset()) | {found})
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
    with unfinished.kept(), tqdm(total=training.updates, initial=training.made, unit="update", **hidden) as bar:
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
    def kept(self) -> Iterator[None]:
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
    how = (described(fresh), *tensors_of(fresh), asdict(recipe), seed, VERSION, *still)
    how += ("one by one",) if recipe.batch_size == 1 else ()  # earlier versions left all of them out
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
