"""All samples in one plane, the same for every model of a run, and what each of these models predicts for them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..core.memo import remembered
from ..core.messages import unknown
from ..core.records import Run
from ..core.running import device_of, evaluating, one_thread
from ..features import view
from ..features.cache import ReadoutTask
from ..features.pooled import pooled
from ..tasks.evaluation import outcomes
from ..tasks.outputs import two_sided
from ..tasks.protocol import Examples, labels_of, offered

CONTEXT = 4_000  # retained samples shown around the forget set; all forget samples are
GRID = 112  # cells along each side of the map of regions


class Predictions(NamedTuple):
    """What one model predicts for every shown sample: (n,) confidence in its label, margin, and the likeliest class."""

    confidence: np.ndarray
    margin: np.ndarray
    predicted: np.ndarray


class OnePrediction(NamedTuple):
    """What one model predicts for one sample: the likeliest class by name (None where it has none), confidence and margin."""

    answer: str | None
    confidence: float
    margin: float


class Regions(NamedTuple):
    """Which class the readout predicts at each point of the plane: (g,) places across and up, (g, g) class numbers."""

    x: np.ndarray
    y: np.ndarray
    classes: np.ndarray


class Plane(NamedTuple):
    """A plane with the points in it.

    Attributes:
        places: (n, 2) of the points.
        about: how it was made, in words.
        axes: (d,) the mean of the points and (2, d) the directions across and up, where it lies flat in their space.
    """

    places: np.ndarray
    about: str
    axes: tuple[np.ndarray, np.ndarray] | None = None


class Landscape:
    """The samples of a run in one plane.

    The features are the readout's inputs, so they are the same for every model of the run: the points do not move, only the
    border does. A run without its task has no features, and in one that moves the backbone they change with every update;
    then the plane is made of the forget samples' confidence curves, and has no border.

    Args:
        run: any run, a loaded one too.
        projection: ``"pca"``, ``"t-sne"`` (slow), or ``"umap"`` where that package is installed.
        context: how many retained samples to show at most, drawn by ``seed``.

    Attributes:
        examples: (n,) ids of training samples, the forget set first.
        forgotten: (n,) whether each is to be forgotten.
        labels: (n,) label names; empty where there are none.
        places: (n, 2) in the plane.
        about: how the plane was made, in words.
    """

    def __init__(self, run: Run, projection: str = "pca", context: int = CONTEXT, seed: int = 0) -> None:
        if projection not in PROJECTIONS:
            raise unknown("projection", projection, PROJECTIONS)
        self.run, self._seed = run, seed
        has_features = run.task is not None and run.kept_steps and not run.moves_backbone
        self._view = view(run.task, run.model_at(0)) if has_features else None
        self._choose(context)
        what = "confidence curves" if self._view is None else "the readout's inputs"
        self.places, self.about, self._axes = project(self.space, projection, seed, what)
        self.state = remembered(256)(self._state)

    @property
    def linear(self) -> bool:
        """Whether the readout is one linear layer on cached features, so that every answer takes milliseconds."""
        return self._view is not None and isinstance(self._view[0], ReadoutTask)

    def _choose(self, context: int) -> None:
        """Choose the samples to show, and get their features."""
        self.forget = self.run.samples["example"].to_numpy()
        if self._view is None:
            curves = self.run.trajectory.pivot(index="example", columns="step", values="confidence")
            self.examples, self.space = self.forget, curves.loc[self.forget].to_numpy(dtype=np.float32)
            self.labels = self.run.samples["label"].astype(str).to_numpy()
        else:
            task = self._view[0]
            ids, forget = task.split("train").ids.numpy(), self.forget
            kept = np.intersect1d(task.split("retain").ids.numpy(), ids)
            if len(kept) > context:
                kept = np.sort(np.random.default_rng(self._seed).choice(kept, context, replace=False))
            self.examples = np.concatenate([forget, kept])
            order = np.argsort(ids, kind="stable")
            self._at = order[np.searchsorted(ids, self.examples, sorter=order)]
            self.space = pooled(*self._view)[self._at]
            self.labels = np.asarray(labels_of(self.run.task, self.examples))
        self.forgotten = np.arange(len(self.examples)) < len(self.forget)

    def of(self, run: Run) -> Landscape:
        """The same plane under another run on the same task and original, with the same forget set."""
        other = copy.copy(self)
        other.run = run
        other.state = remembered(256)(other._state)
        return other

    @property
    def steps(self) -> np.ndarray:
        """The recorded updates."""
        return np.sort(self.run.trajectory["step"].unique())

    @cached_property
    def position(self) -> dict[int, int]:
        """From an example to its row."""
        return {int(example): row for row, example in enumerate(self.examples)}

    def _state(self, step: int) -> Predictions:
        """What the model after update ``step`` predicts; NaN for retained samples where that would take long."""
        confidence, margin = (np.full(len(self.examples), np.nan) for _ in "cm")
        predicted = np.full(len(self.examples), -1)
        head = self._head(step)
        if head is None:
            rows = self.run.trajectory[self.run.trajectory["step"] == step].set_index("example").loc[self.forget]
            confidence[self.forgotten], margin[self.forgotten] = rows["confidence"], rows.get("margin", np.nan)
            return Predictions(confidence, margin, predicted)
        shown = self._shown
        with one_thread():
            measured = outcomes(self._view[0], head, shown).double().numpy()
            if self._flat:
                with torch.no_grad(), evaluating(head):
                    logits = head(torch.from_numpy(self.space).to(device_of(head)))
                predicted = two_sided(logits).argmax(1).cpu().numpy()
        return Predictions(np.exp(-measured[:, 0]), measured[:, 1], predicted)

    def lost(self, step: int) -> np.ndarray:
        """(n,) which of the samples to keep were right before the first update and are wrong after this one."""
        start, now = self.state(int(self.steps[0])), self.state(int(step))
        return ~self.forgotten & (start.margin > 0) & (now.margin < 0)

    def answer(self, example: int, step: int) -> OnePrediction:
        """What the model after update ``step`` predicts for one shown sample."""
        row, state = self.position[int(example)], self.state(int(step))
        # Without a margin the outputs are not classes.
        has_class = state.predicted[row] >= 0 and np.isfinite(state.margin[row])
        name = self.class_name(int(state.predicted[row])) if has_class else None
        return OnePrediction(name, float(state.confidence[row]), float(state.margin[row]))

    def class_name(self, number: int) -> str:
        """The name of a class: the task's, else the label of samples that the original gets right, else its number."""
        names = offered(self.run.task).answers
        if number < len(names):
            return str(names[number])
        start = self.state(int(self.steps[0]))
        right = np.flatnonzero((start.predicted == number) & (start.margin > 0) & (self.labels != ""))
        return str(self.labels[right[0]]) if len(right) else f"class {number}"

    @cached_property
    def _shown(self) -> Examples:
        return self._view[0].split("train").take(torch.as_tensor(self._at))

    @cached_property
    def _flat(self) -> bool:
        """Whether the readout maps each sample's features, as they are here, to one row of logits."""
        return self.linear and self._view[0].split("forget").batch(slice(0, 1)).inputs.ndim == 2

    def _head(self, step: int) -> nn.Linear | None:
        """The readout after that update; None where it does not answer within milliseconds."""
        if not self.linear or step not in self.run.kept_steps:
            return None
        head = copy.deepcopy(self._view[1])
        weights = self.run.snapshots.kept[step]
        state = {key: next(value for name, value in weights.items() if name.endswith(key)) for key in head.state_dict()}
        head.load_state_dict(state)
        return head

    def regions(self, step: int) -> Regions | None:
        """The border in the plane that PCA lays through the mean feature; None for another projection or readout.

        This is a section of the space, not a projection: a sample far from the plane may be on the other side.
        """
        logits = self.logits_of_the_plane(step)
        if logits is None:
            return None
        (low_x, low_y), (high_x, high_y) = self.places.min(0), self.places.max(0)
        x, y = np.linspace(low_x, high_x, GRID), np.linspace(low_y, high_y, GRID)
        origin, across, up = logits
        classes = (origin + x[None, :, None] * across + y[:, None, None] * up).argmax(2)
        return Regions(x, y, classes)

    def logits_of_the_plane(self, step: int) -> np.ndarray | None:
        """(3, classes): the logits at the middle of the plane, and by how much they change per unit across and up.

        The readout is linear, so these three rows tell the logits at every point. None where there is no border.
        """
        head = self._head(step) if self._flat and self._axes is not None else None
        if head is None:
            return None
        mean, axes = self._axes
        corners = torch.as_tensor(np.stack([mean, *(mean + axes)]), dtype=torch.float32, device=device_of(head))
        with one_thread(), torch.no_grad():
            origin, *ends = two_sided(head(corners)).double().cpu().numpy()
        return np.stack([origin, *(end - origin for end in ends)])

    def nearest(self, example: int, count: int = 6) -> list[int]:
        """The other shown samples whose features are nearest."""
        row = self.position[int(example)]
        distances = np.square(self.space - self.space[row]).sum(1)
        distances[row] = np.inf
        count = min(count, len(distances) - 1)
        near = np.argpartition(distances, count - 1)[:count] if count else np.empty(0, int)
        return self.examples[near[np.argsort(distances[near], kind="stable")]].tolist()

    def within(self, corners: np.ndarray) -> np.ndarray:
        """(n,) whether each sample lies inside the outline through (m, 2) places of the plane (even-odd rule)."""
        (x, y), inside = self.places.T, np.zeros(len(self.places), dtype=bool)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            level = (y0 > y) != (y1 > y)  # a ray to the right meets this side; never so for a level side
            inside[level] ^= x[level] < x0 + (y[level] - y0) * (x1 - x0) / (y1 - y0)
        return inside

    def values(self, column: str, step: int, table: pd.DataFrame) -> np.ndarray:
        """(n,) a quantity of every sample: a live one at this update, or a column of the ledger (NaN for retained)."""
        if column in Predictions._fields:
            return np.asarray(getattr(self.state(int(step)), column), dtype=float)
        if column not in table:
            raise unknown("column to colour by", column, [*Predictions._fields, *table.columns])
        column_values = np.full(len(self.examples), np.nan)
        column_values[self.forgotten] = table.set_index("example")[column].loc[self.forget].astype(float)
        return column_values


def project(space: np.ndarray, projection: str = "pca", seed: int = 0, content: str = "the readout's inputs") -> Plane:
    """(n, d) points in a plane; ``content`` describes the points."""
    if min(space.shape) < 2:
        return Plane(np.column_stack([np.resize(space[:, 0], len(space)), np.zeros(len(space))]), "one feature")
    return PROJECTIONS[projection](space, seed, content)


def _pca(space: np.ndarray, seed: int, content: str) -> Plane:
    mean, axes, kept = principal_plane(space)
    return Plane((space - mean) @ axes.T, f"PCA of {content}, {100 * kept:.0f} % of the variance", (mean, axes))


def _t_sne(space: np.ndarray, seed: int, content: str) -> Plane:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(space) - 1) / 3)
    return Plane(TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(space), "t-SNE")


def _umap(space: np.ndarray, seed: int, content: str) -> Plane:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError('projection="umap" needs: pip install umap-learn') from error
    return Plane(UMAP(random_state=seed).fit_transform(space), "UMAP")


# From (n, d) points, a seed and what the points are.
Projection = Callable[[np.ndarray, int, str], Plane]
PROJECTIONS: dict[str, Projection] = {"pca": _pca, "t-sne": _t_sne, "umap": _umap}


def principal_plane(space: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(d,) the mean, (2, d) the directions of most variance, and their share of it; scikit-learn's PCA(2), signs too.

    Written out because importing scikit-learn takes longer than all the rest of the explorer.
    """
    mean = space.mean(0, dtype=np.float64)
    centred = space - mean
    sizes, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, ::-1][:, :2].T
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return mean, axes * np.sign(largest), float(sizes[::-1][:2].sum() / max(sizes.sum(), 1e-300))
