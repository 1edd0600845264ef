"""Influence under a Kronecker-factored Fisher of the head: correlations between inputs, and between classes, count."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features.gradients import LinearGradients, Preconditioner
from ..features.kronecker import by_matrix, kronecker_inverse, with_ones
from ..features.statistics import linear_gradients
from ..tasks.protocol import Examples, Task
from .contract import ByPreconditioner


@estimator("kfac")
@dataclass(frozen=True)
class KroneckerFisher(ByPreconditioner):
    """I_i = −g_iᵀ (S ⊗ A + λ)⁻¹ ḡ, A = mean a aᵀ of the head's inputs, S = mean δ δᵀ of its errors over the forget set.

    Positions of a sequence that enter its loss count as samples of their own (S then sums over them). The damping is exact, not
    split between the factors: both are diagonalised.

    Source: K-FAC (Martens & Grosse 2015, arXiv 1503.05671), with the empirical Fisher's errors.
    """

    damping: float = knob(1e-2, help="λ, added to the Fisher.", valid="(0, inf)", range=(1e-6, 1e2), scale="log")

    def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Preconditioner:
        """From a gradient to (S ⊗ A + λ)⁻¹ of it; of a readout that is one linear layer alone."""
        gradients = linear_gradients(task, model, "kfac needs", ". Use fisher-diagonal, which serves any readout")
        inputs, errors = _factors(gradients, forget)
        inverse = kronecker_inverse(errors, inputs, self.damping)
        return lambda gradient: by_matrix(gradient, inverse)


def _factors(gradients: LinearGradients, examples: Examples) -> tuple[Tensor, Tensor]:
    """A (d+1, d+1) or (d, d) without a bias, and S (K, K)."""
    inputs: Tensor | float = 0.0
    errors: Tensor | float = 0.0
    rows = 0
    for _, delta, given in gradients.factors(examples):
        bias = gradients.model.get_submodule(gradients.name).bias is not None
        wide, flat = delta.flatten(0, -2), with_ones(given.flatten(0, -2), bias)
        if delta.ndim > 2:
            flat = flat[(wide != 0).any(1)]  # without what enters no loss, such as padding
        inputs, errors, rows = inputs + flat.T @ flat, errors + wide.T @ wide, rows + len(flat)
    return inputs / rows, errors / len(examples)
