"""What a metric is asked, and the check of what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Number
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from ..core import quantities
from ..core.knobs import name_of
from ..core.messages import shown
from ..core.registry import metrics
from ..core.running import only_looked_at
from ..tasks.evaluation import OfOutputs
from ..tasks.protocol import Task


@metrics.contract
class Metric:
    """What is measured of a model beside the task's own metrics, at each recorded update of a run.

    Register a frozen dataclass whose fields are its settings; inheriting from this class is not needed. The decorator
    takes the unit, which direction is good, and a title, for axes and tables; all three may be left out::

        @imu.metric("mean-loss", unit="nats", good="on forget: high; elsewhere: low")
        @dataclass(frozen=True)
        class MeanLoss:
            def __call__(self, task, model, reference):
                with torch.no_grad():
                    losses = {name: task.example_loss(model, task.split(name).batch()) for name in ("forget", "test")}
                return {name: {"mean_loss": loss.mean().item()} for name, loss in losses.items()}

        run = imu.unlearn(task, original, follow=["mean-loss"])

    Attributes:
        needs_reference: whether it compares with the retrained model. Where the task follows such a metric and there is
            no retrained model, the metric is left out.
        takes_several: whether it makes its own mean over several retrained models (``reference.members``). Any other metric
            is called for each of them, and the mean of its values is recorded.
    """

    needs_reference: ClassVar[bool] = False
    takes_several: ClassVar[bool] = False

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> Mapping[str, Mapping[str, float]]:
        """{split: {name: number}}; the names are those under which a run's curve holds the values.

        Args:
            task, model: the whole task and model, or both as seen from the readout.
            reference: the retrained model with its outputs (:class:`~imu_lab.measures.reference.Reference`), or None; for a
                metric that ``takes_several``, it may be :class:`~imu_lab.References`.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Beside:
    """A metric with the reference settled: a function of a task and a model, as a recorder follows it."""

    metric: Any
    reference: Any

    def __call__(self, task: Task, model: nn.Module) -> dict[str, dict[str, float]]:
        """{split: {name: number}} of one model."""
        return measure(self.metric, task, model, self.reference)

    @property
    def of_outputs(self) -> Callable[[Task, str], OfOutputs] | None:
        """From a task and a split to what is told by the outputs alone, example by example; None where not offered."""
        return partial(self.metric.of_outputs, self.reference) if hasattr(self.metric, "of_outputs") else None


def measure(metric: Any, task: Task, model: nn.Module, reference: Any = None) -> dict[str, dict[str, float]]:
    """{split: {name: number}} what a metric answers, once it has that form; from here on its values have a meaning.

    Beside several retrained models it is the mean over them.

    Raises:
        TypeError: it gave something else; the message shows what, and what is expected.
        ValueError: it changed the model.
    """
    members = getattr(reference, "members", (reference,))
    with only_looked_at(model, f"metric {name_of(metric)!r}"):
        if len(members) == 1 or metrics.declared(metric, "takes_several"):
            return _checked(metric, metric(task, model, reference if len(members) > 1 else members[0]))
        each = [_checked(metric, metric(task, model, member)) for member in members]
    return {
        split: {name: float(np.mean([one[split][name] for one in each])) for name in values}
        for split, values in each[0].items()
    }


def _checked(metric: Any, found: Any) -> dict[str, dict[str, float]]:
    """What a metric gave as plain numbers."""
    name = name_of(metric)
    expected = f'{{split: {{name: number}}}}, such as {{"forget": {{"{name.replace("-", "_")}": 0.5}}}}'
    if not isinstance(found, Mapping) or not all(isinstance(values, Mapping) for values in found.values()):
        raise TypeError(f"metric {name!r} must return {expected}; it gave {shown(found)}")
    for split, values in found.items():
        if wrong := [key for key, value in values.items() if not _is_number(value)]:
            raise TypeError(
                f"metric {name!r} must return {expected}; under {split!r} {wrong[0]!r} is {shown(values[wrong[0]])}, "
                "which is no number"
            )
    quantities.declare_values(name, dict.fromkeys(key for values in found.values() for key in values))
    return {str(split): {str(key): float(value) for key, value in values.items()} for split, values in found.items()}


def _is_number(value: Any) -> bool:
    """Whether it is one real number: Python's, NumPy's, or a tensor's only value."""
    if isinstance(value, (Tensor, np.ndarray)):
        return value.ndim == 0 and not (value.is_complex() if isinstance(value, Tensor) else np.iscomplexobj(value))
    return isinstance(value, Number) and not isinstance(value, complex)
