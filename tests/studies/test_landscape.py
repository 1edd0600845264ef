"""The plane of all samples: one for every model, with what each model says of each sample."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.figures import colour
from imu_lab.studies.landscape import GRID, PROJECTIONS, Landscape, Plane, project


@pytest.fixture(scope="module")
def run() -> imu.Run:
    return imu.unlearn(cases.task("digits class"), cases.original("digits class"), steps=10)


@pytest.fixture(scope="module")
def land(run: imu.Run) -> Landscape:
    return Landscape(run, context=200)


def test_the_forget_set_comes_first_and_context_is_limited(land: Landscape, run: imu.Run) -> None:
    count = len(run.samples)
    assert land.examples[:count].tolist() == run.samples["example"].tolist() and land.forgotten.sum() == count
    assert len(land.examples) == count + 200 == len(set(land.examples.tolist())) == len(land.places)
    assert set(land.labels[:count]) == {"3"} and "3" not in set(land.labels[count:])


def test_states_agree_with_the_trajectory_and_with_the_model(land: Landscape, run: imu.Run) -> None:
    for step in (0, 4, 10):
        rows = run.trajectory[run.trajectory["step"] == step]
        state = land.state(step)
        assert cases.close(state.confidence[land.forgotten], rows["confidence"], within=1e-5)
        images = run.task.split("train").batch(torch.as_tensor(land.examples)).inputs
        with torch.no_grad():
            assert np.array_equal(run.model_at(step)(images).argmax(1).numpy(), state.predicted)
        right = state.predicted == run.task.labelled.train_labels[land.examples].numpy()
        assert np.array_equal(right, state.margin >= 0)


def test_the_answer_to_one_sample_is_named(land: Landscape, run: imu.Run) -> None:
    for example in land.examples[[0, 5, -1]].tolist():
        images = run.task.split("train").batch(torch.as_tensor([example])).inputs
        for step in (0, 10):
            with torch.no_grad():
                likeliest = int(run.model_at(step)(images).argmax())
            row, state = land.position[example], land.state(step)
            expected = (run.task.classes[likeliest], state.confidence[row], state.margin[row])
            assert land.answer(example, step) == expected
    assert land.answer(land.examples[0], 0).answer == "3" != land.answer(land.examples[-1], 0).answer


def test_without_named_classes_an_answer_has_the_label_of_who_is_right(land: Landscape, run: imu.Run) -> None:
    other = land.of(replace(run, task=Nameless()))
    assert other.answer(land.examples[0], 0).answer == "3"
    toy = Landscape(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1))
    assert toy.answer(toy.examples[0], 0).answer.startswith("class "), "a task without names of any kind"
    bare = Landscape(replace(run, task=None, snapshots=None))
    assert bare.answer(bare.examples[0], 10).answer is None and np.isfinite(bare.answer(bare.examples[0], 10).margin)


class Nameless:
    """A task that tells no names."""


def test_the_border_is_that_of_the_readout_on_the_plane(land: Landscape, run: imu.Run) -> None:
    before, after = land.regions(0), land.regions(10)
    assert before.classes.shape == (GRID, GRID) and not np.array_equal(before.classes, after.classes)
    flat = land.space.mean(0) + land.places @ land._axes[1]
    head = run.model_at(0).get_submodule("classifier" if hasattr(run.model, "classifier") else land_head(run))
    with torch.no_grad():
        named = head(torch.as_tensor(flat, dtype=torch.float32)).argmax(1).numpy()
    column = np.abs(before.x[None] - land.places[:, :1]).argmin(1)
    row = np.abs(before.y[None] - land.places[:, 1:]).argmin(1)
    assert (before.classes[row, column] == named).mean() > 0.9


@pytest.mark.parametrize("flat", [True, False])
def test_there_is_a_border_where_the_plane_is_flat_whatever_it_is_called(
    flat: bool, run: imu.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mine(space: np.ndarray, seed: int, content: str) -> Plane:
        made = project(space)
        return Plane(made.places, "my own" if flat else "PCA, bent", made.axes if flat else None)

    monkeypatch.setitem(PROJECTIONS, "mine", mine)
    assert (Landscape(run, "mine").regions(0) is not None) == flat


def test_what_an_outline_holds(land: Landscape) -> None:
    x, y = land.places.T
    a, b = np.quantile(x, [0.21, 0.71]), np.quantile(y, [0.31, 0.91])  # between two of the 346 samples, on none
    box = np.array([(a[0], b[0]), (a[1], b[0]), (a[1], b[1]), (a[0], b[1])])
    wanted = (x > a[0]) & (x < a[1]) & (y > b[0]) & (y < b[1])
    assert np.array_equal(land.within(box), wanted) and 0 < wanted.sum() < len(x)
    assert np.array_equal(land.within(box[::-1]), wanted), "either way round"
    assert not land.within(np.concatenate([box, box])).any(), "even-odd: what is gone round twice is outside"
    corner = box[[0, 1, 3]]  # half of the box
    below = (y - b[0]) / (b[1] - b[0]) + (x - a[0]) / (a[1] - a[0]) < 1
    assert np.array_equal(land.within(corner), wanted & below)


def land_head(run: imu.Run) -> str:
    return run.settings["readout"][0]


def test_neighbours_are_near_and_never_oneself(land: Landscape) -> None:
    example = int(land.examples[0])
    near = land.nearest(example, 4)
    distances = np.linalg.norm(land.space - land.space[0], axis=1)
    assert example not in near and near == land.examples[np.argsort(distances)[1:5]].tolist()


def test_columns_live_and_kept(land: Landscape, run: imu.Run) -> None:
    assert np.array_equal(land.values("confidence", 4, run.samples), land.state(4).confidence)
    pressure = land.values("pressure", 4, run.samples)
    assert (
        np.array_equal(pressure[land.forgotten], run.samples["pressure"]) and np.isnan(pressure[~land.forgotten]).all()
    )
    with pytest.raises(imu.UnknownName, match="Did you mean 'pressure'"):
        land.values("presure", 4, run.samples)


def test_a_run_without_its_task_still_has_a_plane(run: imu.Run) -> None:
    land = Landscape(replace(run, task=None, snapshots=None))
    assert land.places.shape == (len(run.samples), 2) and land.regions(0) is None
    assert cases.close(land.state(4).confidence, run.trajectory.query("step == 4")["confidence"], within=1e-5)


@pytest.mark.parametrize("name", ["toy", "own data"])
def test_every_task_has_a_plane(name: str) -> None:
    run = imu.unlearn(cases.task(name), cases.original(name), steps=2)
    land = Landscape(run)
    assert np.isfinite(land.places).all() and np.isfinite(land.state(2).confidence).all()


@pytest.mark.full
def test_projections() -> None:
    space = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    assert project(space, "t-sne").places.shape == (30, 2)
    places, words, _ = project(space)
    from sklearn.decomposition import PCA

    assert cases.close(np.abs(places), np.abs(PCA(2).fit_transform(space)), within=1e-4)
    assert words.startswith("PCA") and cases.close(places.mean(0), 0, within=1e-5, of=abs(places).max())
    with pytest.raises(imu.UnknownName, match="t-sne"):
        Landscape(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1), projection="tsne")


def test_a_fork_is_its_parent_until_it_leaves() -> None:
    parent = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=8, lr=0.05)
    child = imu.fork(parent, 3, weights=None, lr=0.2, steps=4)
    assert child.kept_steps == list(range(8)) and child.events["steps"] == 7
    same = lambda run: run.trajectory.query("step <= 3")["loss"].to_numpy()  # noqa: E731
    assert np.array_equal(same(parent), same(child))
    assert cases.relative(*(each.series("forget", "loss")[4:8] for each in (parent, child))) > 1e-3
    assert torch.equal(child.model_at(7).state_dict()["2.weight"], child.model.state_dict()["2.weight"])
    assert torch.equal(child.model_at(3).state_dict()["2.weight"], parent.model_at(3).state_dict()["2.weight"])
    assert child.samples["margin_before"].equals(parent.samples["margin_before"])
    assert child.settings["forked"] == {"run": parent.label, "step": 3, "since": 0}
    assert child.label == f"{parent.label} · forked at 3"
    assert colour(child.label) != colour(parent.label)


def test_a_fork_that_changes_nothing_presses_as_its_parent_did() -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    parent = imu.unlearn(task, original, steps=10, momentum=0.0, batch_size=200)  # all in each
    child = imu.fork(parent, 4)
    assert cases.close(child.samples["pressure"], parent.samples["pressure"], within=1e-5)
    with pytest.raises(ValueError, match="forked="):
        imu.damage_by_sample(child)
    assert imu.collateral(child)["predicted"].isna().all()


def test_the_plane_of_a_run_without_its_task_is_named_rightly() -> None:
    from dataclasses import replace

    run = replace(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=3), task=None)
    assert Landscape(run).about.startswith("PCA of confidence curves")
