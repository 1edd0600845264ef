"""captum's influence functions, as comparators for ours: the Hessian's inverse by eigenvectors, all or Arnoldi's.

captum.influence works on ``(inputs, label)`` pairs, moves the weights of the model it is given, leaves its mode alone
and seeds the global generator. Here it gets a copy in eval mode, a whole batch as the "label", so that a task's loss
sees all it wants, and the random state is put back.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader, Dataset

from ..core.knobs import knob
from ..core.registry import estimator
from ..core.running import copied, device_of, seeded
from ..features import readout
from ..tasks.protocol import Batch, Examples, Task

NAIVE_LIMIT = 6_000  # parameters: a Hessian of 288 MB in double precision

DAMPING = {"help": "λ, added to the mean Hessian.", "valid": "(0, inf)", "range": (1e-6, 1e2), "scale": "log"}
PROJECTION = {"help": "Eigenvectors to keep; off for all.", "valid": "[1, inf)", "range": (1, 500), "optional": True}
TOLERANCE = {"help": "Drop eigenvalues of the mean Hessian + λ below this.", "valid": "(0, 1)", "scale": "log"}


@estimator("naive")
@dataclass(frozen=True)
class NaiveHessian:
    """I_i = −g_iᵀ (H + λ)⁻¹ ḡ, H the mean Hessian over the forget set, by captum from its eigenvectors.

    Equals ``exact`` on a linear readout; elsewhere the Hessian has a part that Gauss-Newton leaves out. Negative
    curvature is dropped, and everything below ``tolerance``. ``projection`` keeps the largest eigenvalues only.

    Source: Koh & Liang 2017 (arXiv 1703.04730); captum's NaiveInfluenceFunction, which sums the Hessian and adds its
    regulariser to the sum: λ is multiplied by the number of samples here, and the result too.
    """

    damping: float = knob(1e-2, **DAMPING)
    projection: int | None = knob(None, **PROJECTION)
    tolerance: float = knob(1e-8, **TOLERANCE)

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend.

        Raises:
            ValueError: more parameters than a Hessian can be built for.
        """
        from captum.influence._core.influence_function import NaiveInfluenceFunction

        count = _count(task, model)
        if count > NAIVE_LIMIT:
            raise ValueError(
                f"naive builds the Hessian of {count:,} parameters, {count**2 * 8 / 2**30:.1f} GiB; it serves up to "
                f"{NAIVE_LIMIT:,}. Use arnoldi, or exact, which solves by conjugate gradients"
            )
        return _scores(
            NaiveInfluenceFunction, self, task, model, forget, target, projection_dim=int(self.projection or count)
        )


@estimator("arnoldi")
@dataclass(frozen=True)
class ArnoldiHessian:
    """I_i = −g_iᵀ (H + λ)⁻¹ ḡ on the Krylov subspace of the Hessian, by captum's Arnoldi iteration.

    Source: Schioppa et al. 2022 (arXiv 2112.03052); captum's ArnoldiInfluenceFunction. Its stopping tolerance of 0.1
    ends at once on a well-fitted model; and where it stops it drops the direction found last, which of a few samples may be a
    large one. Ours is below rounding, so that the iteration goes on to the end.
    """

    damping: float = knob(1e-2, **DAMPING)
    projection: int | None = knob(None, **PROJECTION)
    steps: int = knob(
        200, help="Products with the Hessian, the size of the subspace.", valid="[2, inf)", range=(10, 500)
    )
    stop: float = knob(1e-30, help="Stop when a new direction is shorter than this.", valid="(0, 1)", scale="log")
    tolerance: float = knob(1e-8, **TOLERANCE)
    seed: int = knob(0, help="Of the vector that the iteration starts from.", valid="[0, inf)", range=(0, 20))

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction

        steps = min(self.steps, _count(task, model) + 1)
        settings = {"projection_dim": int(self.projection or steps), "arnoldi_dim": steps, "arnoldi_tol": self.stop}
        return _scores(ArnoldiInfluenceFunction, self, task, model, forget, target, seed=self.seed, **settings)


def _scores(
    kind: type, how: Any, task: Task, model: nn.Module, forget: Examples, target: Examples, **settings: Any
) -> Tensor:
    """(n,) minus the products of captum's embeddings of each example with that of the target's mean."""
    copied, count = private(model), len(forget)
    names = readout.resolve(task, model)
    layers = None if readout.ALL in names else list(names)
    with undisturbed():
        try:
            judge = kind(
                copied,
                loader(forget, copied),
                copied.state_dict(),
                checkpoints_load_func=lambda *_: 1.0,
                layers=layers,
                loss_fn=Loss(task, "none"),
                hessian_reg=how.damping * count,
                hessian_inverse_tol=how.tolerance * count,
                **settings,
            )
        except Exception as error:  # captum raises bare Exceptions
            if type(error) is not Exception:
                raise
            raise ValueError(f"{how.name} found no curvature to invert ({error}); use a smaller stop or more damping")
        each = judge.compute_intermediate_quantities(loader(forget, copied))
        whole = judge.compute_intermediate_quantities(loader(target, copied), aggregate=True).flatten()
    return -(each @ whole).detach() * (count / len(target))


def _count(task: Task, model: nn.Module) -> int:
    return sum(value.numel() for value in readout.parameters(model, readout.resolve(task, model)).values())


class Loss(nn.Module):
    """A task's loss as captum wants it: called with outputs and label, with a ``reduction`` that says how it sums."""

    def __init__(self, task: Task, reduction: str) -> None:
        super().__init__()
        self.task, self.reduction = task, reduction

    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(n,) the losses, or their sum."""
        losses = self.task.example_loss(lambda _: outputs, batch)
        return losses.sum() if self.reduction == "sum" else losses


class _Pairs(Dataset):
    """Examples whose "label" is the whole batch, on a device and in a precision."""

    def __init__(self, examples: Examples, model: nn.Module) -> None:
        self.examples, self.device = examples.in_precision(next(model.parameters()).dtype), device_of(model)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, positions: list[int]) -> tuple[Any, Batch]:
        batch = self.examples.batch(torch.tensor(positions)).to(self.device)
        return batch.inputs, batch


def loader(examples: Examples, model: nn.Module) -> DataLoader:
    """The examples in order, a chunk at a time."""
    return DataLoader(_Pairs(examples, model), batch_size=examples.chunk, collate_fn=lambda pair: pair)


def private(model: nn.Module) -> nn.Module:
    """A copy in eval mode and double precision: captum's eigenvectors lose their way in single."""
    return copied(model).eval().double().requires_grad_(True)


class DrawnOnTheCPU(TorchFunctionMode):
    """Random vectors like others come from the CPU's generator: of one seed, a GPU draws others."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The answer of a function of torch."""
        if func is torch.randn_like:
            return torch.randn(args[0].shape, dtype=args[0].dtype).to(args[0].device)
        return func(*args, **(kwargs or {}))


@contextmanager
def undisturbed() -> Iterator[None]:
    """captum seeds the global generator, which is put back afterwards, draws where the model is, and warns about its own
    use of torch."""
    with seeded(0), DrawnOnTheCPU(), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=f"captum|{__name__}")  # captum calls torch through DrawnOnTheCPU
        yield
