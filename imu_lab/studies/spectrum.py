"""In which directions the answers bend, and where the forget gradient lies among them: why a turned step does less damage.

With eigenvectors u of G and v of S, the products u ⊗ v are the directions of the readout in which the curvature S ⊗ G is
s·g. At an optimum little of a mean gradient needs to be where the curvature is; a plain step goes wherever the gradient does,
a turned one, divided by (s/s̄ + ρ)(g/ḡ + ρ), where other answers change least.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import check
from ..core.running import one_thread
from ..core.taken import a_record
from ..features import readout, view
from ..features.kronecker import by_matrix, inverse, output_inverse
from ..features.statistics import Statistics, collect, linear_gradients
from ..features.targets import Target, target_examples
from ..influences.curvature import CurvatureInfluence
from ..tasks.protocol import Task, own_data_key, prepared

FLAT = 1e-9  # of the mean eigenvalue: below it a direction counts as flat, for rounding leaves no zeros
LOWEST = -10  # the power of ten that stands for all of those


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The curvature S ⊗ G of a readout direction by direction, and how a gradient and its turned step are spread over them.

    Attributes:
        table: ``curvature, relative, gradient, step``, one row per direction, largest curvature first: the eigenvalue
            s·g, the same in units of the mean eigenvalue s̄·ḡ, and the share of the squared length of the mean gradient, and
            of the step that ``curvature-ascent`` makes of it, along the direction.
        settings: ρ, whose curvature and whose gradient.
    """

    table: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def by_decade(self) -> pd.DataFrame:
        """``from, to, directions, gradient, step``: shares of what lies between two powers of ten of relative curvature.

        The smallest comes first; what is flat, below 1e-9, counts from 0. Powers that hold nothing are left out.
        """
        relative = np.maximum(self.table["relative"].to_numpy(), FLAT / 10)
        power = np.where(relative < FLAT, LOWEST, np.floor(np.log10(relative))).astype(int)
        rows = self.table.assign(directions=1 / max(1, len(self.table)))
        table = rows.groupby(power)[["directions", "gradient", "step"]].sum()
        powers = table.index.to_numpy(float)
        edges = {"from": np.where(powers == LOWEST, 0.0, 10.0**powers), "to": 10.0 ** (powers + 1)}
        return pd.concat([pd.DataFrame(edges), table.reset_index(drop=True)], axis=1)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Spectrum({len(self)} directions, curvature of {self.settings.get('curvature')}, ρ = {self.settings.get('rho')})"


def curvature_spectrum(
    task: Task,
    model: nn.Module,
    *,
    rho: float = 0.1,
    curvature: str = "train",
    target: Target = "forget",
    statistics: Statistics | None = None,
) -> Spectrum:
    """The eigenvalues of S ⊗ G, and how much of the forget set's mean gradient lies along each of its directions.

    Args:
        task, model: whose readout; one linear layer that produces the output.
        rho: ρ of the step that is compared with the gradient.
        curvature: ``"train"`` or ``"forget"``, the examples whose curvature it is.
        target: whose mean gradient; see :func:`imu_lab.influence`.
        statistics: that of the training set, where it was made already.

    Raises:
        ValueError: another readout, a loss that is no cross-entropy, a statistic of another model; or
            ρ = 0 and S has no inverse.
    """
    how = check(CurvatureInfluence(rho=rho, curvature=curvature))
    if statistics is not None:
        if curvature != "train":
            raise ValueError(f"a statistic is of the training set, and curvature={curvature!r} asks for another")
        words = "the statistic that imu.statistics(task, model) gives"
        a_record(statistics, "curvature_spectrum", Statistics, words)
        statistics.check(prepared(task, model), readout.resolve(task, model), own_data_key(task))
    seen, head = view(task, model)
    with one_thread():
        gradients, forget = linear_gradients(seen, head), seen.split("forget")
        if statistics is None:
            examples = forget if curvature == "forget" else seen.split("train")
            statistics = collect(seen, head, examples, how.parts)
        mean = gradients.mean(target_examples(seen, target, forget))
        table = _along(statistics.S, statistics.G, _joined(mean), rho)
    about = {"rho": rho, "curvature": curvature, "target": target if isinstance(target, str) else repr(target)}
    return Spectrum(table, about)


def _joined(gradient: dict[str, Tensor]) -> Tensor:
    """(K, D) the bias as the last column, in double precision."""
    kept: list[Tensor] = []
    by_matrix(gradient, lambda whole: kept.append(whole) or whole)
    return kept[0].double().cpu()


def _along(inputs: Tensor, outputs: Tensor, gradient: Tensor, rho: float) -> pd.DataFrame:
    (s, along), (g, across) = torch.linalg.eigh(inputs), torch.linalg.eigh(outputs)
    s, g = s.clamp_min(0), g.clamp_min(0)
    parts = across.T @ gradient @ along  # (K, D)
    solved = output_inverse(torch.diag(g), rho).diagonal()[:, None] * inverse(torch.diag(s), rho).diagonal()
    turned = parts * solved
    sizes = g[:, None] * s
    columns = {
        "curvature": sizes,
        "relative": sizes / (g.mean() * s.mean()),
        "gradient": parts.square() / parts.square().sum(),
        "step": turned.square() / turned.square().sum(),
    }
    table = pd.DataFrame({name: values.flatten().numpy() for name, values in columns.items()})
    return table.sort_values("curvature", ascending=False, kind="stable", ignore_index=True)
