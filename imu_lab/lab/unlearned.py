"""The unlearned model of a run, made when it is asked for; objects and no closures, so that a run can be pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
from torch import nn

from ..core.messages import in_brief, warn
from ..core.running import copied, state_of
from ..features import readout
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Task, offered, prepared


@dataclass(frozen=True, eq=False)
class Unlearned:
    """The original with what a run moved.

    Attributes:
        original: the whole model before the run.
        private: what the run worked on.
        name: of the layer in the original that ``private`` stands for; None where it stands for the whole.
    """

    original: nn.Module
    private: nn.Module
    name: str | None

    def __call__(self) -> nn.Module:
        """A model of its own, in eval mode; what may move is as it was in the original."""
        made = self.private if self.name is None else readout.graft(self.original, self.name, self.private)
        made = copied(made).eval()
        for name, value in self.original.named_parameters():
            made.get_parameter(name).requires_grad_(value.requires_grad)
        return made

    def packed(self) -> bytes:
        """Its state as safetensors."""
        return safetensors.torch.save(state_of(self()))


@dataclass(frozen=True, eq=False)
class Loaded:
    """The unlearned model of a run that was read from a file.

    Attributes:
        weights: its state as safetensors.
        task, model: what can make a model to hold them; None where there is none.
        made_on: the task of the run, in words.
        path: of the file.
        samples: the run's ledger, where ``task`` was given with its data; None where it was made again from settings.
    """

    weights: bytes
    task: Task | None
    model: nn.Module | None
    made_on: Any
    path: str
    samples: pd.DataFrame | None = None

    def __call__(self) -> nn.Module:
        """A model of its own, in eval mode.

        Raises:
            ValueError: nothing can make a model of that architecture, what there is is of another, or the file holds no weights.

        Warns:
            UserWarning: the weights fit, but the model's losses are not those that the run recorded.
        """
        if not self.weights:
            raise ValueError(
                f"the run in {self.path} was saved without its weights, so only its tables can be looked at"
            )
        if self.model is None and self.task is None:
            raise ValueError(
                f"the task of the run in {self.path} cannot be made again from its settings; pass load_run(path, task=...) or "
                f"model=... to get the model. It was made on {in_brief(self.made_on)}"
            )
        whole = None if self.model is None else copied(self.model)
        if whole is None and (trained := offered(self.task).trained) is not None:
            whole = trained("train", 0)
        whole = self.task.make_model(0) if whole is None else whole
        try:
            whole.load_state_dict(safetensors.torch.load(self.weights))
        except RuntimeError as error:  # torch lists every tensor
            raise ValueError(
                f"the weights of the run in {self.path} do not fit the {type(whole).__name__} that they are to go into: another "
                "architecture, or other classes; pass its task, or a model like that which was unlearned. The run was made on "
                f"{in_brief(self.made_on)}"
            ) from error
        self._beware_of_another(whole.eval())
        return whole

    def _beware_of_another(self, whole: nn.Module) -> None:
        """Warn where the model does something else with these weights: an activation, say, has no tensor that could tell."""
        forget = None if self.samples is None else self.task.split("forget")
        if forget is None or not np.array_equal(self.samples["example"], forget.ids):
            return
        before = self.samples["loss_after"].to_numpy(dtype=float)
        now = outcomes(self.task, prepared(self.task, whole), forget)[:, 0].double().cpu().numpy()
        if np.abs(now - before).mean() > 0.02 + 0.05 * np.abs(before).mean():  # False where the run ended with NaN
            warn(
                f"the weights of the run in {self.path} fit this {type(whole).__name__}, but its loss on the forget set is "
                f"{now.mean():.4g} nats, and the run's was {before.mean():.4g}: the model computes something else with them, "
                "such as by another activation, or the data are others; what is asked of run.model speaks of this model"
            )

    def packed(self) -> bytes:
        """Its state as safetensors."""
        return self.weights
