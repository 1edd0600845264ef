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
from ..tasks.evaluation import in_order, outputs, repeated
from ..tasks.outputs import check_probabilities, divergences, kl, log_probabilities, per_example, two_sided
from ..tasks.protocol import Batch, Task, offered
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
        found = self.means(reference, task, model)
        return {split: {name: value.item() for name, value in values.items()} for split, values in found.items()}

    def means(self, reference: Any, task: Task, model: nn.Module, copies: int = 1) -> dict[str, dict[str, Tensor]]:
        """{split: {metric: (copies,)}} of as many models as ``model`` is (see :func:`~imu_lab.tasks.evaluation.mean_metrics`)."""
        name, reference = name_of(self).replace("-", "_"), Reference.of(task, reference)
        each = {split: self.each(reference, task, model, split, copies) for split in offered(task).splits}
        return {split: {name: values.mean(1)} for split, values in each.items() if values.numel()}

    def each(self, reference: Any, task: Task, model: nn.Module, split: str, copies: int = 1) -> Tensor:
        """(copies, n) the distance of each example of a split."""
        check_probabilities(task)
        examples = task.split(split)
        known = [member.outputs(split, examples.ids) for member in reference.members] if len(examples) else []
        values = []
        for positions, batch, made in outputs(task, model, examples, alike=True, copies=copies):
            places = (slice(None), *map(slice, made.shape[1:]))  # a batch is as long as its longest example
            beside = [each[positions][places].to(made.device) for each in known]
            values.append((positions, self.against(task, made, beside, batch, copies).view(copies, -1)))
        return in_order(values, len(examples), axis=1) if values else torch.empty(copies, 0)

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
            return per_example(kl(logs, mine).flatten(0, 1))
        shares = logs.exp()
        certain = torch.where(shares == 0, 0.0, shares * logs).sum(-1).mean(0)
        shares = shares.mean(0)
        crossed = torch.where(shares == 0, 0.0, shares * mine).sum(-1)  # (copies, n, ...)
        return per_example((certain - crossed).flatten(0, 1))


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
        return per_example((kl(first, middle) + kl(second, middle)) / 2)


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
        return per_example(torch.eq(*likeliest).float().masked_fill(unknown, torch.nan))
