"""What is known of a sample before unlearning: how the model learned it, its neighbours, and the curvature of its loss."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import check_count
from ..core.memo import remembered
from ..core.messages import warn
from ..core.running import device_of, one_thread
from ..features import view
from ..features.cache import ReadoutTask
from ..features.pooled import features
from ..tasks import training
from ..tasks.announced import announced
from ..tasks.around import innermost
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Batch, Task, offered, original_ids
from ..tasks.sources.supplied import Supplied
from ..unlearning.recorder import time_to_forget
from .resistance import forgetting_events


def learning_events(task: Task, seed: int = 0) -> pd.DataFrame:
    """When the model learned each forget sample: the original is trained once more, and measured after every epoch.

    Args:
        task: trained by its recipe, also where a user gave a ``train_fn`` of their own.
        seed: of the weights and batches; the original's own seed retraces its training.

    Returns:
        ``example``; ``training_events``, how often it went from right to wrong between epochs (Toneva et al. 2019);
        ``first_learned``, the epoch from which it stayed right, epochs + 1 for never.
    """
    _beware_of_another_training(task, "training_events and first_learned")
    return _events(task, seed).copy()


def _beware_of_another_training(task: Task, columns: str) -> None:
    """Say which columns tell of models that were not trained as the user's own was."""
    own = getattr(innermost(task), "data", None)
    if isinstance(own, Supplied) and own.train_fn is not None:
        recipe = training.recipe_of(task)
        warn(
            f"{columns} tell of models that are trained by a recipe of {recipe.epochs} epochs of {recipe.optimizer}, not by your "
            "train_fn, which tells nothing of single epochs; in explain_resistance training=False leaves such columns out"
        )


@remembered(8)
def _events(task: Task, seed: int) -> pd.DataFrame:
    recipe = training.recipe_of(task)
    forget, model = task.split("forget"), task.make_model(seed)
    with announced(1) as models:
        epochs = models.epochs(task, model, task.split("train"), recipe, seed)
        margins = np.stack([outcomes(task, each, forget)[:, 1].numpy() for each in epochs])  # (epochs, n)
    # Learning is time-to-forget with the sign turned.
    first = time_to_forget(-margins - 1e-12, np.arange(1, len(margins) + 1))
    frame = {"example": forget.ids.numpy(), "training_events": forgetting_events(margins)}
    return pd.DataFrame(frame | {"first_learned": np.where(np.isnan(first), len(margins) + 1, first)})


def models_to_train(task: Task, folds: int, seed: int) -> int:
    """How many models :func:`learning_events` and :func:`held_out_confidence` would train that are not known yet."""
    return (0 if _events.knows(task, seed) else 1) + (0 if _held_out.knows(task, folds, seed) else folds)


def held_out_confidence(task: Task, folds: int = 3, seed: int = 0) -> pd.DataFrame:
    """Confidence in each forget sample of a model that was trained without it.

    One model is trained per fold, on the whole training set without one ``folds``-th of the forget set.

    Args:
        task: its recipe and data.
        folds: how many models to train; with more of them, each misses fewer samples.
        seed: of the folds, the weights and the batches.

    Returns:
        ``example``; ``held_out_confidence``, the probability of its label; ``label_suspicion``, σ(−margin): above one
        half, a model that has not seen the sample finds another label likelier.

    Raises:
        ValueError: fewer than two folds, or more than there are forget samples.
    """
    if not 2 <= folds <= len(task.split("forget")):
        raise ValueError(f"folds must lie between 2 and the {len(task.split('forget'))} forget samples, got {folds}")
    _beware_of_another_training(task, "held_out_confidence and label_suspicion")
    return _held_out(task, folds, seed).copy()


@remembered(8)
def _held_out(task: Task, folds: int, seed: int) -> pd.DataFrame:
    from scipy.special import expit  # half a second to import

    forget = task.split("forget")
    unique, owner = torch.unique(original_ids(task, forget.ids), return_inverse=True)
    order = torch.randperm(len(unique), generator=torch.Generator().manual_seed(seed))
    measured = torch.empty(len(forget), 2, dtype=torch.float64)
    with announced(folds):
        for fold in order.tensor_split(folds):
            positions = torch.isin(owner, fold).nonzero().flatten()  # with all its copies
            out = forget.take(positions)
            measured[positions] = outcomes(task, trained_without(task, out.ids, seed), out).double()
    confidence, margin = np.exp(-measured[:, 0].numpy()), measured[:, 1].numpy()
    return pd.DataFrame(
        {"example": forget.ids.numpy(), "held_out_confidence": confidence, "label_suspicion": expit(-margin)}
    )


def trained_without(task: Task, out: Tensor, seed: int) -> nn.Module:
    """A model trained from fresh weights on all training examples but those with the ids ``out``."""
    train, model = task.split("train"), task.make_model(seed)
    rest = train.take((~torch.isin(train.ids, out)).nonzero().flatten())
    with announced(1) as models:
        for _ in models.epochs(task, model, rest, training.recipe_of(task), seed):
            pass
    return model


NEAR = 0.25  # of the median distance to the nearest sample: closer than that counts as a near-duplicate


def neighbours(task: Task, model: nn.Module, count: int = 10) -> pd.DataFrame:
    """The nearest other training samples of each forget sample, by Euclidean distance of features.

    Args:
        task, model: the model's features are compared.
        count: how many neighbours.

    Returns:
        ``example``; ``neighbours`` and ``retain_neighbours``, tuples of ids, nearest first; ``nearest_distance``;
        ``retain_distance``, to the nearest retained sample; ``retain_share``, the share of neighbours that are retained
        (entanglement); ``class_overlap``, the share with another label (NaN without labels); ``duplicate``, whether one of
        them has exactly the same features; ``near_duplicate``, whether the nearest is no farther than a quarter of the median
        nearest distance.
    """
    ids = task.split("train").ids.numpy()
    count, points = check_count("count", count, 1), features(task, model)
    forgotten = np.isin(ids, task.split("forget").ids.numpy())
    kept = np.isin(ids, task.split("retain").ids.numpy())
    distances, near = _nearest(points, np.flatnonzero(forgotten), np.arange(len(ids)), count)
    to_retain, near_retain = _nearest(points, np.flatnonzero(forgotten), np.flatnonzero(kept), count)
    names = offered(task).labels
    labels = None if names is None else np.asarray(names(ids))
    overlap = np.nan if labels is None else (labels[near] != labels[forgotten][:, None]).mean(1)
    table = pd.DataFrame(
        {
            "example": ids[forgotten],
            "neighbours": [tuple(row.tolist()) for row in ids[near]],
            "retain_neighbours": [tuple(row.tolist()) for row in ids[near_retain]],
            "nearest_distance": distances[:, 0],
            "retain_distance": to_retain[:, 0],
            "retain_share": kept[near].mean(1),
            "class_overlap": overlap,
            "duplicate": (points[near] == points[forgotten][:, None]).all(2).any(1),
            "near_duplicate": distances[:, 0] <= NEAR * np.median(distances[:, 0]),
        }
    )
    return table.set_index("example").loc[task.split("forget").ids.numpy()].reset_index()


def _nearest(space: np.ndarray, rows: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(m, k) distances and positions of the nearest other points ``among`` these, for each of the ``rows``."""
    from sklearn.neighbors import NearestNeighbors

    count = min(count, len(np.setdiff1d(among, rows[:1])))
    index = NearestNeighbors(n_neighbors=min(count + 1, len(among))).fit(space[among])
    distances, places = index.kneighbors(space[rows])
    places = among[places]
    itself = places == rows[:, None]  # ties may put a duplicate before the sample itself
    itself[~itself.any(1), -1] = True  # where it is not among them, the farthest goes
    shape = (len(rows), places.shape[1] - 1)
    return distances[~itself].reshape(shape), places[~itself].reshape(shape)


def curvature(task: Task, model: nn.Module) -> pd.DataFrame:
    """The trace of the Hessian of each forget sample's loss in the weights of a linear readout.

    For cross-entropy it is Σ_k p_k (1 − p_k) · (‖h‖² + 1), the 1 where the readout has a bias (Böhning 1992, equation 2).
    Here the second derivatives at the logits are taken of the task's own loss, so label smoothing, masks and means over
    tokens are in it, as long as the loss treats positions apart. Curvature around a sample tells how far a model has
    memorised it (Garg et al. 2024, arXiv 2307.05831, who take it in the inputs).

    Args:
        task, model: the forget samples of the task, under this model.

    Returns:
        ``example``; ``curvature`` in nats, per unit of weight squared: NaN where the readout is not one linear layer.
    """
    viewed, head = view(task, model)
    forget = viewed.split("forget")
    traces = torch.full((len(forget),), torch.nan)
    if isinstance(viewed, ReadoutTask):
        with one_thread():
            for positions, batch in forget.batches():
                batch = batch.to(device_of(head))
                sizes = batch.inputs.float().square().sum(-1) + (head.bias is not None)  # (c,) or (c, T)
                second = _second_derivatives(viewed, head(batch.inputs).detach(), batch)
                traces[positions] = (second * sizes).reshape(len(sizes), -1).sum(1).cpu()
    return pd.DataFrame({"example": forget.ids.numpy(), "curvature": traces.double().numpy()})


def _second_derivatives(task: Task, logits: Tensor, batch: Batch) -> Tensor:
    """(c,) or (c, T): the sum over classes of the loss's second derivatives at the logits (c, K) or (c, T, K)."""
    with torch.enable_grad():
        logits = logits.clone().requires_grad_()
        loss = task.example_loss(lambda _: logits, batch).sum()
        (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
        total = torch.zeros_like(logits[..., 0])
        for k in range(logits.shape[-1]):  # an example's slope depends on its own logits only: a sum tells them apart
            total += torch.autograd.grad(slope[..., k].sum(), logits, retain_graph=True)[0][..., k]
    return total.detach()
