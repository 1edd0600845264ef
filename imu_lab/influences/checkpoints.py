"""Points on a path through weight space, each with the learning rate at which it was left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..core.records import Run
from ..core.running import digest
from ..tasks.protocol import Task
from ..tasks.training import Recipe, epochs, learning_rates

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoints:
    """Some checkpoints; equal when their contents are."""

    key: str
    held: tuple[tuple[State, float], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, given: Any) -> Checkpoints:
        """From pairs (state dict, learning rate), or bare state dicts, which then count alike.

        Raises:
            TypeError: something that is neither.
        """
        if isinstance(given, Checkpoints):
            return given
        held = tuple(_pair(each) for each in given)
        parts = [part for state, rate in held for item in (*state.items(), ("rate", rate)) for part in item]
        return cls(digest(*parts), held)

    def checked(self, model: nn.Module) -> list[tuple[State, float]]:
        """The pairs, once each of them fits the model.

        Raises:
            ValueError: a checkpoint has other names or shapes than the model.
        """
        known = model.state_dict()
        for number, (state, _) in enumerate(self.held):
            strange = [key for key in state if key not in known or known[key].shape != state[key].shape]
            if strange or not state:
                there = f"{tuple(known[strange[0]].shape)}" if strange and strange[0] in known else "nothing"
                said = (
                    f"{strange[0]!r} is {tuple(state[strange[0]].shape)}, the model has {there}" if strange else "empty"
                )
                raise ValueError(
                    f"checkpoint {number} is of another architecture than this {type(model).__name__}: {said} there "
                    f"({len(strange)} of {len(state)} tensors differ). Give state dicts of the same model"
                )
        return list(self.held)

    def every(self, count: int) -> Checkpoints:
        """Each ``count``-th of them, so that the last is among them."""
        return Checkpoints.of(self.held[::-1][::count][::-1])

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[tuple[State, float]]:
        return iter(self.held)


def _pair(given: Any) -> tuple[State, float]:
    state, rate = given if isinstance(given, (tuple, list)) and len(given) == 2 else (given, 1.0)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TypeError(f"a checkpoint is a (state dict, learning rate) pair; got {type(state).__name__}")
    return state, float(rate)


def checkpoints(
    source: Run | Task, every: int = 1, *, split: str = "train", seed: int = 0, recipe: Recipe | None = None
) -> Checkpoints:
    """Checkpoints for ``tracin``: of an unlearning run, or of a task's training, which is run for them.

    Args:
        source: a run, whose recorded updates are used; or a task.
        every: take each k-th recorded update, or each k-th epoch; the last is always taken.
        split, seed, recipe: of the training, as in :func:`imu_lab.train`.
    """
    found = _of_run(source) if isinstance(source, Run) else _of_training(source, split, seed, recipe)
    return Checkpoints.of(found).every(every)


def _of_run(run: Run) -> Iterable[tuple[State, float]]:
    rate = (run.settings.get("settings") or {}).get("lr", 1.0)
    return [(state, rate) for state in (run.snapshots.kept if run.snapshots is not None else {}).values()]


def _of_training(task: Task, split: str, seed: int, recipe: Recipe | None) -> Iterable[tuple[State, float]]:
    recipe = recipe or getattr(task, "recipe", None) or Recipe()
    examples, model = task.split(split), task.make_model(seed)
    rates = learning_rates(recipe, len(examples))
    for rate, trained in zip(rates, epochs(task, model, examples, recipe, seed)):
        yield {name: value.detach().clone() for name, value in trained.state_dict().items()}, rate
