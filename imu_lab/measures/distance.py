"""How far a model is from another one, usually the retrained model: the gold standard is to be like it.

Each is a registered metric with one value, whose name is the metric's with an underscore. A run follows those that its
task names in ``follows``, or that ``follow=`` names, at every recorded update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.registry import metric, name_of
from ..tasks.evaluation import OfOutputs, in_order, outputs, repeated
from ..tasks.outputs import (
    check_probabilities,
    divergences,
    expected,
    kl,
    log_probabilities,
    per_counting,
    two_sided,
)
from ..tasks.protocol import Batch, Positions, Task, offered
from .reference import Reference


@dataclass(frozen=True)
class Distance:
    """What all distances share: both models' outputs on each split, side by side, a batch at a time."""

    needs_reference: ClassVar[bool] = True
    takes_several: ClassVar[bool] = True

    def __call__(self, task: Task, model: nn.Module, reference: Any = None) -> dict[str, dict[str, float]]:
        """{split: {metric: value}} on every split that a run of the task follows.

        Args:
            task, model: the whole task and model, or both as seen from the readout.
            reference: a whole model, a :class:`~imu_lab.measures.reference.Reference` that keeps its outputs, or several of
                them (:class:`~imu_lab.References`), of whose distances it is the mean.
        """
        name, reference = self._named, Reference.of(task, reference)
        each = {split: self.each(reference, task, model, split) for split in offered(task).splits}
        return {split: {name: values.cpu().double().mean().item()} for split, values in each.items() if len(values)}

    def each(self, reference: Any, task: Task, model: nn.Module, split: str) -> Tensor:
        """(n,) the distance of each example of a split."""
        measure, examples = self.of_outputs(reference, task, split), task.split(split)
        parts = (
            (positions, measure(positions, batch, made, 1)[self._named])
            for positions, batch, made in outputs(task, model, examples, alike=True)
        )
        return in_order(parts, len(examples))

    def of_outputs(self, reference: Any, task: Task, split: str) -> OfOutputs:
        """What tells the distance of each example from a batch of outputs (see :data:`~imu_lab.tasks.evaluation.OfOutputs`)."""
        check_probabilities(task)
        ids, members = task.split(split).ids, Reference.of(task, reference).members
        known = [member.outputs(split, ids) for member in members] if len(ids) else []

        def measure(positions: Positions, batch: Batch, made: Tensor, copies: int) -> dict[str, Tensor]:
            check_probabilities(task, made[: len(made) // copies], batch)
            places = (slice(None), *map(slice, made.shape[1:]))  # a batch is as long as its longest example
            beside = [each[positions][places].to(made.device) for each in known]
            return {self._named: self.against(task, made, beside, batch, copies)}

        return measure

    @property
    def _named(self) -> str:
        return name_of(self).replace("-", "_")

    def against(self, task: Task, made: Tensor, references: list[Tensor], batch: Batch, copies: int) -> Tensor:
        """(copies · n,) the mean distance to several references (n, ..., K), model by model."""
        rows = [each.repeat(copies, *[1] * (each.ndim - 1)) if copies > 1 else each for each in references]
        batch = repeated(batch, copies)
        return torch.stack([self.between(task, made, each, batch) for each in rows]).mean(0)

    def between(self, task: Task, made: Tensor, reference: Tensor, batch: Batch) -> Tensor:
        """(n,) the distance of each example, from logits (n, ..., K)."""
        raise NotImplementedError


CLOSER = "low everywhere; 0 is the retrained model"


@metric("kl-retrained", unit="nats per prediction", good=CLOSER, title="KL to the retrained model", goal=0.0)
@dataclass(frozen=True)
class KLRetrained(Distance):
    """KL(retrained ‖ model), the mean over predictions.

    Σ_k q_k log(q_k / p_k), q the retrained model's probabilities, p the model's; first over the tokens of an example.
    """

    def between(self, task: Task, made: Tensor, reference: Tensor, batch: Batch) -> Tensor:
        """(n,) KL(reference ‖ model)."""
        return divergences(task, made, reference, batch)

    def against(self, task: Task, made: Tensor, references: list[Tensor], batch: Batch, copies: int) -> Tensor:
        """The mean without a copy of the references for each model: mean_r Σ q_r log q_r − Σ (mean_r q_r) log p.

        Of one reference, Σ q (log q − log p): the difference is taken first, which keeps its digits where the two are close.
        """
        if offered(task).example_divergence is not None:
            return super().against(task, made, references, batch, copies)
        logs = torch.stack([log_probabilities(each) for each in references])  # (r, n, ..., K)
        mine = log_probabilities(made)
        mine = mine.view(copies, -1, *mine.shape[1:])
        if len(logs) == 1:
            return per_counting(task, kl(logs, mine).flatten(0, 1), made[: mine.shape[1]], batch)
        shares = logs.exp()
        certain = expected(shares, logs).mean(0)
        crossed = expected(shares.mean(0), mine)  # (copies, n, ...)
        return per_counting(task, (certain - crossed).flatten(0, 1), made[: mine.shape[1]], batch)


@metric(
    "js-retrained",
    unit="nats per prediction",
    good=CLOSER,
    title="Jensen-Shannon divergence to the retrained model",
    goal=0.0,
)
@dataclass(frozen=True)
class JSRetrained(Distance):
    """½ KL(p ‖ m) + ½ KL(q ‖ m), m half-way between model and retrained model; at most log 2.

    Unlike KL it stays finite where one of the two gives an answer the probability 0.
    """

    def between(self, task: Task, made: Tensor, reference: Tensor, batch: Batch) -> Tensor:
        """(n,) Jensen-Shannon divergence."""
        first, second = log_probabilities(made), log_probabilities(reference)
        middle = torch.logaddexp(first, second) - torch.log(torch.tensor(2.0))
        return per_counting(task, (kl(first, middle) + kl(second, middle)) / 2, made, batch)


@metric(
    "agreement",
    unit="share of predictions",
    good="high everywhere; 1 is full agreement",
    title="agreement with the retrained model",
    goal=1.0,
)
@dataclass(frozen=True)
class Agreement(Distance):
    """Share of predictions whose likeliest answer is the retrained model's."""

    def between(self, task: Task, made: Tensor, reference: Tensor, batch: Batch) -> Tensor:
        """(n,) share of agreement; NaN where either gives NaN."""
        likeliest = (two_sided(each).argmax(-1) for each in (made, reference))
        unknown = made.isnan().any(-1) | reference.isnan().any(-1)
        return per_counting(task, torch.eq(*likeliest).float().masked_fill(unknown, torch.nan), made, batch)
