"""The joint allocation of a model as it is, as a record beside those of the rules."""

from __future__ import annotations

from torch import nn

from ..core.records import Intensity
from ..core.registry import methods
from ..core.running import one_thread
from ..features.statistics import Statistics
from ..tasks.protocol import Task
from ..unlearning.request import Request, even_weights
from .handed import handed
from .session import Session


def joint_intensity(
    task: Task,
    model: nn.Module,
    *,
    rho: float = 0.1,
    curvature: str = "train",
    factors: str = "both",
    shuffled: bool = False,
    seed: int = 0,
    statistics: Statistics | None = None,
) -> Intensity:
    """Each forget sample's share of the pressure when all are weighed together: that of ``joint-ascent``'s first update.

    >>> plot_intensity(joint_intensity(task, original))  # beside imu.plot_intensity(imu.intensity(scores))

    It can be handed to a method that takes weights, where it stays as it is while ``joint-ascent`` solves anew.

    Args:
        task, model: whose forget set, under which model.
        rho, curvature, factors: see ``joint-ascent``.
        shuffled: the control: the same weights, handed to the wrong samples, by ``seed``.
        statistics: of the training set, from :func:`imu_lab.statistics`; None computes it where it is needed.

    Returns:
        Weights that sum to 1. The column ``influence`` is −g_iᵀ ḡ, that of ``gradient-dot``: the gain of a sample as the
        allocation sees it, with the sign of an influence.

    Raises:
        UnknownName, ValueError: a wrong setting, a readout that is not one linear layer, a loss without this curvature, or a
            statistic of another model.
    """
    asked = {"rho": rho, "curvature": curvature, "factors": factors, "shuffled": shuffled}
    how = methods.create("joint-ascent", **asked)
    session = Session(task, model)
    held, origin = handed(how, statistics, session)
    seen, readout = session.view()
    forget = seen.split("forget")
    request = Request(forget, even_weights(forget), seed=seed, statistics=held)
    with one_thread():
        shares = how.allocated(seen, readout, request)
    scores, weights = session.influence("gradient-dot"), shares.cpu().numpy()
    settings = {
        "rule": "joint, shuffled" if shuffled else "joint",
        "settings": asked | {"seed": seed},
        "influence": dict(scores.settings),
        **origin,
    }
    return Intensity(scores.frame.assign(selected=weights > 0, weight=weights), scores.context, settings)
