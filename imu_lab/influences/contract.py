"""What an estimator is asked, and the check of what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from ..core.messages import with_article
from ..core.registry import estimators
from ..core.running import real_numbers
from ..features.gradients import gradients_of
from ..tasks.protocol import Examples, Task


@estimators.contract
class Estimator:
    """How much each sample to forget supports the loss that is to rise: one number per sample.

    Register a frozen dataclass whose fields are its settings; inheriting from this class is not needed::

        @imu.estimator("loss")
        @dataclass(frozen=True)
        class Loss:
            def __call__(self, task, model, forget, target):
                with torch.no_grad():
                    return -task.example_loss(model, forget.batch())

        scores = imu.influence(task, original, "loss")

    Attributes:
        scope: ``"readout"`` where only the readout matters: the estimator is then handed the task as seen from its
            readout, whose inputs are cached features. ``"all"`` asks for the whole task and model.
        preconditioner: where the influence is −g_iᵀ M ḡ, a method ``preconditioner(task, model, forget)`` that gives the
            map from a gradient ḡ to M ḡ; :func:`imu_lab.influence_matrix` then knows it pair by pair. Else None.
    """

    scope: ClassVar[str] = "readout"
    preconditioner: ClassVar[Callable | None] = None

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor | np.ndarray:
        """(n,) influence of each of the n examples in ``forget`` on the mean loss of ``target``; negative means ascend.

        The ``model`` may not be changed. An estimator that asks the task for another split than the forget set, for a
        curvature over the training set for example, may do so, and runs with its weights say that they needed retain data.
        """
        raise NotImplementedError


class ByPreconditioner:
    """The base of influences −g_iᵀ M ḡ that are told by their ``preconditioner`` alone."""

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients, precondition = gradients_of(task, model), self.preconditioner(task, model, forget)
        return -gradients.along(forget, precondition(gradients.mean(target)))


def checked_influence(how: Any, given: Any, count: int) -> np.ndarray:
    """(n,) float64 what an estimator gave, once that is one finite number for each of ``count`` forget samples.

    Raises:
        ValueError: it is not.
    """
    expected = f"expected numbers of shape ({count},), one influence for each forget sample in its order"
    try:
        values = real_numbers(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"estimator {how!r} gave {with_article(type(given).__name__)} ({error}); {expected}") from None
    if given is None or values.shape != (count,):
        came = "None" if given is None else f"values of shape {values.shape}"
        raise ValueError(f"estimator {how!r} gave {came}; {expected}")
    if not np.isfinite(values).all():
        raise ValueError(
            f"estimator {how!r} gave {int((~np.isfinite(values)).sum())} of {count} values that are not finite; "
            "is the model's output finite?"
        )
    return values
