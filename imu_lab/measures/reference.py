"""The model to compare with, usually the retrained one, and what is known of it: its outputs, computed once, its metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.messages import kind_of, warn
from ..core.running import fingerprint, same_tensors, tensors_of
from ..tasks.checkpoints import TrainedOn, trained_on
from ..tasks.evaluation import in_order, outcomes, outputs
from ..tasks.outputs import check_loss_of_logits
from ..tasks.protocol import Task, offered
from ..tasks.sources.functions import own_code
from ..unlearning.recorder import Recorder, SplitMetrics
from .contract import Beside

FEW = 2  # examples that tell whether outputs are logits


class Reference:
    """A whole model beside the task, with its outputs on each split kept.

    A run works on cached features, which a whole model cannot read; it is measured against these outputs, row by row.

    Attributes:
        digest: of the model's tensors, as they were when this was made.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self.task, self.model, self.digest = task, model, fingerprint(*tensors_of(model))
        self._outputs: dict[str, tuple[Tensor, Tensor]] = {}
        self._measured: dict[tuple[Any, ...], SplitMetrics] = {}
        self._confidence: np.ndarray | None = None
        _beware_of_another_request(task, self.digest)

    @classmethod
    def of(cls, task: Task, given: Any) -> Any:
        """The reference given (or several: :class:`~imu_lab.References`), or one around a model.

        Raises:
            ValueError: there is none.
            TypeError: it is something else.
        """
        if given is None:
            raise ValueError('no model to compare with; pass reference=imu.train(task, "retain")')
        if isinstance(given, nn.Module):
            return cls(task, given)
        if not isinstance(getattr(given, "members", None), tuple):
            raise TypeError(
                f"reference is a retrained model or imu.references(task); got {kind_of(given)}. Several models of your own: "
                "imu.references(task, models=[...])"
            )
        return given

    def __getstate__(self) -> dict[str, Any]:
        """Without what it measured by metrics of some run: those of a function's own cannot be pickled, and it may be shared."""
        return {**vars(self), "_measured": {}}

    @property
    def members(self) -> tuple[Reference, ...]:
        """The models that a distance is the mean over: this one."""
        return (self,)

    def outputs(self, split: str, ids: Tensor) -> Tensor:
        """(n, ...) the model's outputs on a split, on the CPU.

        Args:
            ids: (n,) of the examples that the caller compares with, in order.

        Raises:
            ValueError: the split holds other examples here.
        """
        if split not in self._outputs:
            self._outputs[split] = self._computed(split)
        mine, outputs = self._outputs[split]
        if not torch.equal(mine, ids):
            raise ValueError(
                f"the retrained model was measured on {len(mine)} examples of {split!r}, and these are {len(ids)} others; "
                "was it made for another task?"
            )
        return outputs

    def _computed(self, split: str) -> tuple[Tensor, Tensor]:
        examples = self.task.split(split)
        made = ((at, made.cpu()) for at, _, made in outputs(self.task, self.model, examples, alike=True))
        found = in_order(made, len(examples))
        if offered(self.task).example_divergence is None and len(found):
            check_loss_of_logits(self.task, found[:FEW], examples.batch(slice(0, FEW)))
        return examples.ids, found

    def measured(self, metrics: tuple[Any, ...]) -> SplitMetrics:
        """{split: {metric: value}} of the model itself, its own task's metrics and these, measured once."""
        key = (metrics, own_code(map(type, metrics)))
        if key not in self._measured:
            self._measured[key] = measured(self.task, self.model, metrics, self)
        return self._measured[key]

    @property
    def confidence(self) -> np.ndarray:
        """(n,) the model's confidence in each forget sample's label, computed once."""
        if self._confidence is None:
            losses = outcomes(self.task, self.model, self.task.split("forget"))[:, 0]
            self._confidence = np.exp(-losses.double().numpy())
        return self._confidence


def measured(task: Task, model: nn.Module, metrics: Iterable[Any], reference: Any) -> SplitMetrics:
    """{split: {metric: value}} a task's metrics of a model, and these metrics of it beside a reference."""
    follow = [Beside(metric, reference) for metric in metrics]
    return Recorder(task, task.split("forget"), follow).look(model).measured


def _beware_of_another_request(task: Task, fingerprint: str) -> None:
    """Warn where a model is known to be retrained, on these data, for another request than this task's."""
    known = trained_on(fingerprint)
    mine = TrainedOn.of(task, "retain") if known else None
    if mine is None or mine in known or not (others := [each for each in known if each.data == mine.data]):
        return
    warn(
        f"the reference was retrained for another request: on {others[0].count} samples, which are not the {mine.count} that this "
        'task keeps, so that a distance to it is none to the goal; pass reference=imu.train(task, "retain")'
    )


def refuse_original(members: Iterable[Reference], original: nn.Module | None, given: str = "reference=") -> None:
    """Raise ValueError where a model to compare with is the original itself, tensor by tensor."""
    if original is not None and any(same_tensors(member.model, original) for member in members):
        raise ValueError(
            f'{given} has the original itself, to which nothing is a distance; pass the retrained model, imu.train(task, "retain")'
        )


def refuse_broken(measured: SplitMetrics) -> None:
    """Raise ValueError where a model to compare with, of which this was measured, says nothing of what is to forget."""
    loss = measured.get("forget", {}).get("loss", 0.0)
    if loss != loss:
        raise ValueError(
            "the loss of the retrained model on the samples to forget is NaN, so nothing can be compared with it; its training "
            "diverged"
        )


def check_answers(task: Task, outputs: Any, which: str = "this model") -> None:
    """Make sure that a model answers what the task asks: a checkpoint of other classes would be read by the wrong names.

    Raises:
        ValueError: it has another number of outputs than the task has answers; one logit tells two apart.
    """
    names = offered(task).answers
    fitting = {len(names), 1} if len(names) == 2 else {len(names)}
    if not names or not isinstance(outputs, Tensor) or outputs.shape[-1] in fitting:
        return
    few = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    raise ValueError(
        f"{which} has {outputs.shape[-1]} outputs, and the task has {len(names)} answers ({few}): it was made for other classes. "
        "Pass a model of this task, such as imu.train(task), or describe yours with imu.tasks.Classification.from_data(model, ...)"
    )
