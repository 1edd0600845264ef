"""Students of two teachers: away from one, or towards one that knows nothing, and near to the model as given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice, repeat
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..core.running import device_of
from ..tasks.outputs import divergences
from ..tasks.protocol import Batch, Task
from .objectives import SCOPE, Objective, ObjectiveDescent, forget_batches, frozen_copy, retain_batches
from .request import Request
from .retain_based import joined, kl_terms, mean_divergence


@method("scrub")
@dataclass(frozen=True)
class Scrub(ObjectiveDescent):
    """In turns away from the model as given on the forget set, and near to it on the retain set.

    A pass over the forget set minimises −KL_T, then one over the retain set γ mean ℓ + α KL_T; after ``forget_passes`` of
    the former only the latter go on. KL_T = T² KL(softmax(z_0/T) ‖ softmax(z/T)), z_0 of the model as given, which never
    moves. At the model as given KL_T is flat, so the first pass over the forget set does next to nothing. A task's own
    learning rate stays as it is: the paper's falls, and its SCRUB+R goes back to the update whose forget error is nearest
    to that of unseen samples, which :func:`imu_lab.rewind` does for any method's run.

    Source: Kurmanji et al. 2023 (arXiv 2302.09880).
    """

    needs_retain: ClassVar[bool] = True
    follows_losses: ClassVar[bool] = False

    alpha: float = knob(
        0.5, help="α of the KL to the model as given, on the retain set.", valid="[0, inf)", range=(0, 2)
    )
    gamma: float = knob(1.0, help="γ of the loss on the retain set.", valid="[0, inf)", range=(0, 2))
    temperature: float = knob(4.0, help="T, by which logits are divided.", valid="(0, inf)", range=(1, 10))
    forget_passes: int = knob(3, help="So many passes over the forget set.", valid="[1, inf)", range=(1, 50))
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        first = frozen_copy(model, request)
        pressed, kept = forget_batches(self, model, request), retain_batches(self, model, request)
        for pressing in islice(self._turns(request), request.made, None):
            if pressing:
                positions, batch = next(pressed)
                yield Objective({"away": -self._softened(task, first, model, batch)[1]}, positions)
            else:
                batch = next(kept)
                outputs, apart = self._softened(task, first, model, batch)
                loss = task.example_loss(lambda _, made=outputs: made, batch).mean()
                yield Objective({"retain": self.gamma * loss, "retain_kl": self.alpha * apart})

    def _turns(self, request: Request) -> Iterator[bool]:
        """Whether an update takes a batch of the forget set, or one of the retain set: whole passes in turn."""
        passes = [ceil(len(examples) / self.batch_size) for examples in (request.forget, request.retain)]
        for done in count():
            yield from repeat(True, passes[0] if done < self.forget_passes else 0)
            yield from repeat(False, passes[1])

    def _softened(self, task: Task, first: nn.Module, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The model's logits, and the mean KL_T of a batch."""
        outputs, warm = model(batch.inputs), self.temperature
        with torch.no_grad():
            reference = first(batch.inputs)
        return outputs, warm**2 * divergences(task, outputs / warm, reference / warm, batch).mean()


@method("bad-teacher")
@dataclass(frozen=True)
class BadTeacher(ObjectiveDescent):
    """Towards a network that was never trained on the forget set, and towards the model as given on some of the retain set.

    L = s mean_B KL(fresh ‖ model)(forget) + (1 − s) mean_B KL(model as given ‖ model)(retain), s the forget set's share of the
    two, as where both are mixed in one batch. KL is summed over classes: the public code leaves torch's default, which divides
    by their number as well. The whole model moves, for a fresh network has features of its own.

    Source: Chundawat et al. 2023 (arXiv 2205.08096), with 0.3 of the retain set.
    """

    scope: ClassVar[str] = "all"
    needs_retain: ClassVar[bool] = True
    follows_losses: ClassVar[bool] = False

    share: float = knob(0.3, help="The share of the retain set that is used.", valid="(0, 1]", range=(0.05, 1.0))

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        some = torch.randperm(len(request.retain), generator=torch.Generator().manual_seed(request.seed))
        some = some[: ceil(self.share * len(some))].sort().values
        request = replace(request, retain=request.retain.take(some))
        forget_share = len(request.forget) / (len(request.forget) + len(some))
        fresh = frozen_copy(task.make_model(request.seed).to(device_of(model)))
        away = (
            Objective({"bad_teacher": forget_share * mean_divergence(task, fresh, model, batch)}, positions)
            for positions, batch in forget_batches(self, model, request)
        )
        return joined(away, kl_terms(self, task, model, frozen_copy(model, request), request, 1 - forget_share))
