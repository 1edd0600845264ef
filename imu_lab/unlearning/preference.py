"""Teach a model to prefer declining to what it was taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..core.running import device_of
from ..tasks.outputs import check_probabilities, lengths, log_probabilities, per_counting
from ..tasks.protocol import Batch, Examples, Task, offered
from .objectives import Objective, forget_batches, frozen_copy
from .request import Request
from .retain_based import Balanced, joined, retain_terms
from .retain_free import fading


@method("preference-optimisation")
@dataclass(frozen=True)
class PreferenceOptimisation(Balanced):
    """Prefer "I don't know" to what was taught, and hold the retain set.

    L = −(2/β) mean_i log σ(β [log(π_θ(d_i) / π_0(d_i)) − log(π_θ(y_i) / π_0(y_i))]) + λ mean_B ℓ(retain): y_i is what was
    taught, d_i an answer that declines, π_0 the model as given, frozen, and π of an answer the product over its tokens. A task
    without words to decline with prefers all classes alike: log π(d) is then the mean of log p over classes, summed over
    predictions. Every forget sample alike, whatever weights are given.

    Source: direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) with answers that decline, as in "preference
    optimization" of Maini et al. 2024 (TOFU, arXiv 2401.06121), which minimises the declining answers' loss in its place.
    """

    beta: float = knob(0.1, help="β: how soon the pressure fades.", valid="(0, inf)", range=(0.01, 10.0), scale="log")

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        pressing = self._preferring(task, model, frozen_copy(model, request), request)
        return joined(pressing, retain_terms(self, task, model, request, self.retain_weight))

    def _preferring(self, task: Task, model: nn.Module, first: nn.Module, request: Request) -> Iterator[Objective]:
        declined = _declined(task, request.forget)
        for positions, batch in forget_batches(self, model, request):
            instead = None if declined is None else declined(positions).to(device_of(model))
            with torch.no_grad():
                ahead_at_first = _ahead(task, first, batch, instead)
            excess = self.beta * (_ahead(task, model, batch, instead) - ahead_at_first)  # (b,)
            yield fading("preference", self.beta, excess, lengths(task, batch), positions)


def _declined(task: Task, forget: Examples) -> Callable[[Tensor], Batch] | None:
    """From positions in the forget set to the same questions with answers that decline; None where a task has none.

    Raises:
        ValueError: the split of such answers lacks some of the samples.
    """
    if (name := offered(task).declined) is None:
        return None
    examples = task.split(name)
    rising, order = examples.ids.sort()
    places = order[torch.searchsorted(rising, forget.ids).clamp(max=len(order) - 1)]
    if len(missing := forget.ids[examples.ids[places] != forget.ids]):
        raise ValueError(
            f"the split {name!r} holds no answer that declines for {len(missing)} of {len(forget)} samples to forget, such as "
            f"{missing[:3].tolist()}; it must have the same ids"
        )
    return lambda positions: examples.batch(places[positions])


def _ahead(task: Task, model: nn.Module, batch: Batch, declined: Batch | None) -> Tensor:
    """(b,) log π of declining minus log π of what was taught."""
    made, count = model(batch.inputs), lengths(task, batch)
    taught = count * task.example_loss(lambda _: made, batch)
    if declined is not None:
        return taught - lengths(task, declined) * task.example_loss(model, declined)
    check_probabilities(task)
    return taught + count * per_counting(task, log_probabilities(made).mean(-1), made, batch)
