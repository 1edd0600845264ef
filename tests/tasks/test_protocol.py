"""Examples keep their order, their ids and their targets, however they are held."""

from __future__ import annotations

import pickle

import cases
import pytest
import torch

from imu_lab.tasks.protocol import Batch, Examples, Task, labels_of, offered


@pytest.fixture
def examples() -> Examples:
    """Ten examples whose ids are not their positions."""
    return Examples.of(torch.arange(20.0).reshape(10, 2), torch.arange(10), torch.arange(100, 110))


def test_a_batch_holds_the_asked_positions(examples: Examples) -> None:
    batch = examples.batch(torch.tensor([7, 2]))
    assert batch.inputs.tolist() == [[14, 15], [4, 5]] and batch.targets.tolist() == [7, 2]
    assert len(examples.batch().targets) == len(examples) == 10


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_batches_cover_everything_once_in_order(examples: Examples, size: int) -> None:
    parts = list(examples.batches(size))
    assert torch.equal(torch.cat([batch.targets for _, batch in parts]), torch.arange(10))
    assert [positions.start for positions, _ in parts] == list(range(0, 10, size))
    assert all(positions.stop - positions.start == len(batch.targets) for positions, batch in parts)


def test_taking_twice_keeps_ids_and_rows_together(examples: Examples) -> None:
    chosen = examples.take(torch.tensor([9, 4, 0])).take(torch.tensor([2, 0]))
    assert chosen.ids.tolist() == [100, 109]
    assert chosen.batch().targets.tolist() == [0, 9]
    assert chosen.batch(slice(1, 2)).inputs.tolist() == [[18, 19]]


def test_dict_batches_are_cut_and_moved_whole() -> None:
    inputs = {"tokens": torch.arange(6).reshape(3, 2), "mask": torch.ones(3, 2)}
    examples = Examples.of(inputs, {"next": torch.arange(3)})
    batch = examples.batch(torch.tensor([2])).to(torch.device("meta"))
    assert len(examples) == 3 and batch.inputs["tokens"].shape == (1, 2)
    assert {value.device.type for value in (*batch.inputs.values(), *batch.targets.values())} == {"meta"}
    assert Batch(["kept"], None).to(torch.device("meta")) == (["kept"], None)


@pytest.mark.parametrize("name", cases.TASKS)
def test_every_task_follows_the_protocol(name: str) -> None:
    task = cases.task(name)
    assert isinstance(task, Task)
    assert set(offered(task).splits) >= {"forget", "retain", "test"}
    assert hash(task) == hash(cases.TASKS[name]()) and task == cases.TASKS[name]()
    assert isinstance(task.card(0), str) and task.card(0)


@pytest.mark.parametrize("name", cases.TASKS)
def test_forget_and_retain_part_the_training_set(name: str) -> None:
    """No forget sample lies outside the training set of the original model."""
    task = cases.task(name)
    train, forget, retain = (task.split(split) for split in ("train", "forget", "retain"))
    assert sorted([*forget.ids.tolist(), *retain.ids.tolist()]) == train.ids.tolist()
    everything, mine = (part.batch().inputs for part in (train, forget))
    inputs = [(mine[key], everything[key]) for key in mine] if isinstance(mine, dict) else [(mine, everything)]
    for chosen, whole in inputs:
        wide = whole[forget.ids]
        assert torch.equal(chosen, wide[:, : chosen.shape[1]])
        assert not len(wide[:, chosen.shape[1] :].unique()) > 1, (
            "pairs are cut to the longest: no more than padding is left"
        )
    assert {forget.source, retain.source, train.source} == {"train"} and task.split("test").source == "test"


@pytest.mark.parametrize("name", cases.TASKS)
def test_fresh_models_depend_on_the_seed_alone(name: str) -> None:
    task, state = cases.task(name), torch.get_rng_state()
    first, again, other = (task.make_model(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(state, torch.get_rng_state())


def test_labels_are_the_tasks_own_or_empty() -> None:
    task = cases.task("digits class")
    ids = task.split("test").ids[:3]
    assert labels_of(task, ids, "test") == list(task.test_labels(ids))
    assert labels_of(task, ids) == list(task.labels(ids))
    assert labels_of(object(), ids) == labels_of(task, ids, "elsewhere") == ["", "", ""]


@pytest.mark.parametrize("name", cases.TASKS)
def test_a_task_and_its_examples_survive_pickling(name: str) -> None:
    """They travel to another process, whichever way they were taken."""
    task = cases.task(name)
    again = pickle.loads(pickle.dumps(task))
    assert again == task and hash(again) == hash(task)
    for split in offered(task).splits:
        given = task.split(split).in_precision(torch.float64)
        for sent in (pickle.loads(pickle.dumps(given)), again.split(split).in_precision(torch.float64)):
            assert torch.equal(sent.ids, given.ids)
            assert all(cases.close(one, other, within=0) for one, other in zip(sent.batch()[:2], given.batch()[:2]))
