"""What is written down after each update: the task's metrics on every split, and each forget sample's own state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import name_of
from ..core.messages import near, warn
from ..features.readout import is_bare
from ..tasks.evaluation import are_averages, evaluate, mean_metrics, outcomes, outcomes_and_means
from ..tasks.protocol import Examples, Task, offered
from .heads import Heads
from .request import Update
from .snapshots import Snapshots, State, moving_state

TOGETHER = 64  # states measured at once, at most
ROOM = 2**20  # numbers in their weights together: more would leave the processor's cache
SplitMetrics = dict[str, dict[str, float]]  # {split: {metric: value}}
# What a run measures beside the task's own metrics; one with ``of_outputs(task, split)`` measures several heads at once.
Followed = Callable[[Task, nn.Module], SplitMetrics]


class Measurement(NamedTuple):
    """What is written down of one state: the metrics of each split, and (n, 2) loss and margin of each forget sample."""

    measured: SplitMetrics
    outcome: Tensor


class Recorder:
    """Collects a run while it happens; the tables are built once, at the end."""

    def __init__(
        self, task: Task, forget: Examples, follow: Iterable[Followed] = (), splits: Iterable[str] | None = None
    ) -> None:
        self.task, self.forget, self.follow = task, forget, tuple(follow)
        self.splits = [name for name in (offered(task).splits if splits is None else splits) if len(task.split(name))]
        self.steps: list[int] = []
        self.metrics: list[dict[str, dict[str, float]]] = []
        self.outcomes: list[Tensor] = []
        self.terms: list[dict[str, float]] = []
        self.pressure = np.zeros(len(forget))
        self.snapshots = Snapshots()

    def look(self, model: nn.Module) -> Measurement:
        """Measure a model, without writing it down.

        Raises:
            ValueError: two of what is measured have one name, so that one would stand in the place of the other.

        Warns:
            UserWarning: a metric gives values on a split that the task does not have, whose name is near that of one it has.
        """
        outcome = outcomes(self.task, model, self.forget)
        measured = {split: evaluate(self.task, model, split) for split in self.splits}
        measured.setdefault("forget", {})["loss"] = outcome[:, 0].mean().item()
        for metric in self.follow:
            who = name_of(getattr(metric, "metric", metric))
            for split, values in metric(self.task, model).items():
                if not self.steps and (meant := self._meant(split)):
                    warn(f"metric {who!r} gives values on {split!r}, which is no split of this task.{meant}")
                if both := list(measured.setdefault(split, {}).keys() & values.keys()):
                    raise ValueError(
                        f"metric {who!r} gives {both[0]!r} on {split!r}, which is measured there already, by the task or by "
                        "another metric; give the value a name of its own"
                    )
                measured[split] |= values
        return Measurement(measured, outcome)

    def _meant(self, split: str) -> str:
        """A question after the split that was probably meant; empty where this is one, or is near none."""
        known = {*offered(self.task).splits, "train"}
        if split in known or not (words := near(split, known, cutoff=0.75)):
            return ""
        try:
            self.task.split(split)  # a task may have more than a run follows, such as a source that is a whole split
        except Exception:  # a task of a user's own says in its own way what it does not have
            return words
        return ""

    def forget_loss(self, model: nn.Module) -> float:
        """What :meth:`look` tells as the loss of the forget set, and nothing else."""
        return outcomes(self.task, model, self.forget)[:, 0].mean().item()

    def at_once(self, model: nn.Module) -> int:
        """How many states of ``model`` are best measured together: several of a linear layer, where metrics are means.

        Of many examples a few at a time are put through all of them (see :func:`imu_lab.tasks.evaluation.outputs`), so their
        number decides nothing but what is kept of each forget sample.
        """
        means = are_averages(self.task) and all(getattr(metric, "of_outputs", None) for metric in self.follow)
        if not means or not is_bare(model):
            return 1
        return min(TOGETHER, max(1, ROOM // max(model.weight.numel(), len(self.forget))))

    def look_at_heads(self, states: Sequence[State]) -> list[Measurement]:
        """What :meth:`look` tells of a linear layer in each of these states, at a fraction of the calls."""
        heads = Heads(states)
        also = {split: [metric.of_outputs(self.task, split) for metric in self.follow] for split in self.splits}
        found, of_forget = outcomes_and_means(self.task, heads, self.forget, heads.copies, also.get("forget", ()))
        if "forget" not in self.splits:
            of_forget = {"loss": of_forget["loss"]}
        values: list[SplitMetrics] = [{} for _ in states]
        for split in dict.fromkeys([*self.splits, "forget"]):
            averaged = of_forget
            if split != "forget":
                averaged = mean_metrics(self.task, heads, self.task.split(split), heads.copies, also[split])
            for name, means in averaged.items():
                for measured, value in zip(values, means.tolist()):
                    measured.setdefault(split, {})[name] = value
        return [Measurement(measured, outcome) for measured, outcome in zip(values, found)]

    def record(self, step: int, model: nn.Module, keep: bool = False) -> SplitMetrics:
        """Measure the model after ``step`` updates, and ``keep`` what moves in it; returns {split: {metric: value}}."""
        seen = self.look(model)
        self.add(step, *seen, moving_state(model) if keep else None)
        return seen.measured

    def add(self, step: int, measured: SplitMetrics, outcome: Tensor, state: State | None = None) -> None:
        """Write down what was seen of a state, and keep the state itself if it is given."""
        self.steps.append(step)
        self.metrics.append(measured)
        self.outcomes.append(outcome)
        if state is not None:
            self.snapshots.add(step, state)

    def note(self, update: Update | None) -> None:
        """Keep what the method said of one update."""
        self.terms.append(dict(update.terms) if update is not None else {})
        if update is None or update.positions is None:
            self.pressure[:] = np.nan  # a method that does not tell who it pressed: unknown is not zero
        else:
            np.add.at(self.pressure, update.positions.numpy(), update.shares.cpu().numpy())

    def curve(self) -> pd.DataFrame:
        """Long table ``step, split, metric, value``."""
        rows = [
            (step, split, metric, value)
            for step, measured in zip(self.steps, self.metrics)
            for split, values in measured.items()
            for metric, value in values.items()
        ]
        return pd.DataFrame(rows, columns=["step", "split", "metric", "value"])

    def term_table(self) -> pd.DataFrame:
        """Long table ``step, term, value``; step k is the update that led to state k."""
        rows = [(step, term, value) for step, terms in enumerate(self.terms, 1) for term, value in terms.items()]
        return pd.DataFrame(rows, columns=["step", "term", "value"])

    def trajectory(self) -> pd.DataFrame:
        """Long table ``example, step, loss, confidence, margin``, by step and then in forget-set order."""
        states = torch.cat(self.outcomes).double().numpy()  # (steps * n, 2)
        count = len(self.forget)
        return pd.DataFrame(
            {
                "example": np.tile(self.forget.ids.numpy(), len(self.steps)),
                "step": np.repeat(self.steps, count),
                "loss": states[:, 0],
                "confidence": np.exp(-states[:, 0]),
                "margin": states[:, 1],
            }
        )

    def ledger(self) -> pd.DataFrame:
        """One row per forget sample: what it received and what became of it."""
        first, last = self.outcomes[0].double().numpy(), self.outcomes[-1].double().numpy()
        return pd.DataFrame(
            {
                "example": self.forget.ids.numpy(),
                "pressure": self.pressure,
                "loss_before": first[:, 0],
                "loss_after": last[:, 0],
                "confidence_before": np.exp(-first[:, 0]),
                "confidence_after": np.exp(-last[:, 0]),
                "margin_before": first[:, 1],
                "margin_after": last[:, 1],
                "time_to_forget": time_to_forget(torch.stack(self.outcomes)[:, :, 1].numpy(), np.asarray(self.steps)),
            }
        )


def time_to_forget(margins: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(n,) the first recorded update after which each margin stays negative; NaN where it is not so at the end.

    At 0 another class is level with the true one and none is ahead: right answers are counted without such ties
    (:mod:`imu_lab.tasks.cross_entropy`), and forgetting is not claimed of them either.

    Args:
        margins: (s, n) at each recorded update.
        steps: (s,) the update numbers.
    """
    remembered = ~(margins < 0)  # NaN margins count as remembered: nothing is known
    last = len(steps) - 1 - remembered[::-1].argmax(0)  # the last record at which it was still right
    first_forgotten = np.where(remembered.any(0), last + 1, 0)
    return np.where(first_forgotten < len(steps), steps[np.minimum(first_forgotten, len(steps) - 1)], np.nan)
