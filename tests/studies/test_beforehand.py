"""What is known beforehand: training retraced, held-out models, neighbours by hand, and curvature against the whole Hessian."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.features import view
from imu_lab.studies.beforehand import _nearest, curvature, features, held_out_confidence, learning_events


def test_learning_events_retrace_the_originals_own_training() -> None:
    task = cases.task("digits class")
    events = learning_events(task)
    margins = imu.unlearn(task, cases.original("digits class"), steps=0).samples["margin_before"].to_numpy()
    epochs = task.recipe.epochs
    assert ((events["first_learned"] <= epochs) == (margins >= 0)).all(), "right at the end is right in the original"
    assert events["training_events"].max() <= epochs // 2


@pytest.mark.full
def test_held_out_models_have_not_seen_the_sample() -> None:
    task = replace(cases.task("digits fraction"), forget_fraction=None, forget_indices=(10, 20, 30, 40))
    found = held_out_confidence(task, folds=2)
    assert found["example"].tolist() == [10, 20, 30, 40] and found["label_suspicion"].between(0, 1).all()
    with pytest.raises(ValueError, match="between 2 and the 4 forget samples, got 5"):
        held_out_confidence(task, folds=5)


def test_neighbours_by_hand() -> None:
    table = imu.neighbours(cases.task("toy"), cases.original("toy"), count=3)
    space = features(cases.task("toy"), cases.original("toy"))
    first = int(table["example"][0])
    distance = np.linalg.norm(space - space[first], axis=1)
    distance[first] = np.inf
    assert list(table["neighbours"][0]) == np.argsort(distance)[:3].tolist()
    assert table["nearest_distance"][0] == pytest.approx(distance.min(), rel=1e-4)
    assert all(set(row) <= set(range(40, 120)) for row in table["retain_neighbours"])
    assert ((table["retain_share"] * 3).round(6) % 1 == 0).all() and table["class_overlap"].isna().all()


def test_a_duplicate_is_found() -> None:
    space = np.array([[0.0], [0.0], [5.0], [9.0]])
    distances, found = _nearest(space, np.array([0, 1]), np.arange(4), 2)
    assert distances[:, 0].tolist() == [0, 0] and found[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize("twins", [3, 12])
def test_exact_duplicates_are_flagged_also_where_most_are(twins: int) -> None:
    chance = torch.Generator().manual_seed(0)
    points = torch.randn(60, 4, generator=chance)
    points[20 : 20 + twins] = points[:twins]  # retained twins of the first forget samples
    labels = torch.arange(60) % 3
    task = imu.tasks.Classification.from_data(
        torch.nn.Linear(4, 3), (points, labels), (points[:9] + 9, labels[:9]), forget_indices=range(20)
    )
    found = imu.neighbours(task, imu.train(task), count=3)
    for name in ("duplicate", "near_duplicate"):
        assert found[name].iloc[:twins].all() and not found[name].iloc[twins:].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits class", "sequence"])
def test_it_is_the_trace_of_the_whole_hessian(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    found = curvature(task, model)
    seen, head = view(task, model)
    forget = seen.split("forget")
    assert found["example"].tolist() == forget.ids.tolist()
    shapes = [value.shape for value in head.parameters()]
    flat = torch.cat([value.detach().flatten() for value in head.parameters()]).double()
    for at in (0, len(forget) - 1):
        batch = forget.batch(torch.tensor([at])).in_precision(torch.float64)

        def loss(vector, batch=batch):
            parts = [
                part.view(shape) for part, shape in zip(vector.split([s.numel() for s in shapes]), shapes, strict=True)
            ]
            return seen.example_loss(lambda inputs: torch.nn.functional.linear(inputs, *parts), batch).sum()

        hessian = torch.autograd.functional.hessian(loss, flat)
        assert cases.close(found["curvature"][at], hessian.trace(), within=1e-4, of=found["curvature"].max())


def test_for_cross_entropy_it_has_a_closed_form() -> None:
    seen, head = view(cases.task("digits class"), cases.original("digits class"))
    inputs = seen.split("forget").batch().inputs
    p = head(inputs).softmax(1).detach()
    wanted = (p * (1 - p)).sum(1) * (inputs.square().sum(1) + 1)
    found = curvature(cases.task("digits class"), cases.original("digits class"))["curvature"]
    assert cases.close(found, wanted, within=1e-3)


def test_a_sure_sample_is_flat_and_another_readout_has_none() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    found = curvature(task, model)["curvature"]
    confidence = imu.unlearn(task, model, steps=0).samples["confidence_before"]
    assert (found > 0).all() and found[confidence.argmax()] < found[confidence.argmin()]
    whole = imu.tasks.Classification("digits", forget_class=3, recipe=task.recipe, readout="all")
    assert curvature(whole, model)["curvature"].isna().all()


def test_columns_of_another_training_than_the_users_say_so() -> None:
    """Epochs cannot be asked of a function that trains from beginning to end."""
    task = cases.own_data(forget_indices=range(6))
    with_function = replace(task, data=replace(task.data, train_fn=lambda model, dataset, seed: model))
    for ask, column in ((learning_events, "training_events"), (held_out_confidence, "held_out_confidence")):
        with pytest.warns(UserWarning, match=f"{column} .* not by your train_fn"):
            ask(with_function)
        ask(task)  # without such a function the recipe is all that is known, and nobody is warned
