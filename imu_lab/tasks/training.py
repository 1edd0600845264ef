"""Training, with checkpoints: the original and the retrained model come from one recipe and are trained once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from tqdm.auto import tqdm

from ..core import storage
from ..core.knobs import check, knob
from ..core.running import device_of, digest, evaluating, one_thread, seeded, tensors_of
from .protocol import Examples, Task, offered

# Part of every checkpoint's key: raise it when training would give other weights for the same recipe.
VERSION = 3

FRESH = "what the fresh model made of a few examples"  # beside the weights of a checkpoint
FEW = 8

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


def epochs(task: Task, model: nn.Module, examples: Examples, recipe: Recipe, seed: int) -> Iterator[nn.Module]:
    """Train ``model`` in place, yielding after each epoch; the global random state is left alone.

    Raises:
        DivergedTraining: the loss is not finite; the message names the epoch.
    """
    order = torch.Generator().manual_seed(seed)
    optimizer, schedule = _optimizer(model, recipe, updates=recipe.epochs * -(-len(examples) // recipe.batch_size))
    device = device_of(model)
    for epoch in range(recipe.epochs):
        with one_thread() if recipe.one_thread else nullcontext(), seeded(seed * 1_000_003 + epoch):
            model.train()
            for positions in torch.randperm(len(examples), generator=order).split(recipe.batch_size):
                if len(positions) == 1 and len(examples) > 1:
                    continue  # BatchNorm in train mode refuses a batch of one
                _update(task, model, examples.batch(positions).to(device), recipe, optimizer, epoch)
                schedule.step()
            model.eval()
        yield model


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


def _update(task: Task, model: nn.Module, batch: Any, recipe: Recipe, optimizer: Any, epoch: int) -> None:
    if recipe.augment:
        batch = batch._replace(inputs=shifted(batch.inputs))
    loss = task.example_loss(model, batch).mean()
    if not torch.isfinite(loss):
        raise DivergedTraining(
            f"training diverged in epoch {epoch + 1}: the loss is {loss.item()}; lower lr={recipe.lr}"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


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
    forget set. The key is the data of the split, the recipe, the architecture and the seed, so a new request retrains
    only ``"retain"``.

    Args:
        task: anything that follows the task protocol.
        split: the name of the split to train on.
        seed: of the fresh weights and the order of batches.
        recipe: replaces the task's own.
        progress: called with (epochs done, epochs in all); what it raises ends the training, and nothing is kept. None
            shows a bar for work longer than two seconds.

    Returns:
        The model in eval mode.

    Raises:
        DivergedTraining: the loss became NaN or infinite.
        TypeError: the recipe is none.
    """
    own = offered(task).trained
    if own is not None and recipe is None:
        given = own(split, seed)
        if given is not None:
            return given
    recipe = recipe or recipe_of(task)
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe must be an imu_lab.tasks.Recipe, got {recipe!r}; give its fields, as in Recipe(epochs=5)"
        )
    model = task.make_model(seed)
    path, examples = _checkpoint(task, split, seed, recipe, model), task.split(split)
    fresh = _answer(model, examples)
    if path is not None and _restored(model, path, fresh):
        return model.eval()
    hidden = {"disable": True} if progress else {"delay": 2, "leave": False}
    with tqdm(total=recipe.epochs, desc=f"training on {split}", unit="epoch", **hidden) as bar:
        for done, _ in enumerate(epochs(task, model, examples, recipe, seed), 1):
            bar.update()
            if progress:
                progress(done, recipe.epochs)
    if path is not None:
        storage.write_whole(path, safetensors.torch.save(_state(model) | {FRESH: fresh}))
    return model.eval()


def _checkpoint(task: Task, split: str, seed: int, recipe: Recipe, fresh: nn.Module) -> Path | None:
    """Where this training is kept; None for a task that cannot tell its data by content."""
    data = offered(task).data_key
    if data is None:
        return None
    examples = task.split(split)
    key = digest(data, examples.source, examples.ids, repr(fresh), *tensors_of(fresh), asdict(recipe), seed, VERSION)
    return storage.data_folder() / "checkpoints" / f"{key}.safetensors"


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _answer(model: nn.Module, examples: Examples) -> torch.Tensor:
    """What a model makes of a few examples, as one vector: equal weights under other code give another."""
    inputs = examples.batch(slice(0, FEW)).to(device_of(model)).inputs
    with torch.no_grad(), evaluating(model):
        made = model(inputs)
    made = made if isinstance(made, torch.Tensor) else next(iter(made.values()))
    return made.detach().cpu().flatten().clone()


def _restored(model: nn.Module, path: Path, fresh: torch.Tensor) -> bool:
    """Whether the checkpoint was there, whole, and trained from a model that did what the fresh one does.

    A damaged one is named, set aside and trained again.
    """
    if not path.exists():
        return False
    try:
        state = safetensors.torch.load(path.read_bytes())
        known = state.pop(FRESH)
        if known.shape != fresh.shape or not torch.allclose(
            known, fresh, rtol=1e-3, atol=1e-3 * float(fresh.abs().max())
        ):
            return False  # the code around these weights has changed since
        model.load_state_dict(state)
        return True
    except (safetensors.SafetensorError, RuntimeError, OSError, KeyError) as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning("checkpoint %s is damaged (%s); kept as %s, training again", path, error, aside.name)
        return False
