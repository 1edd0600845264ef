"""Requests, splits and a user's own model: what is refused, and what is kept as it is."""

from __future__ import annotations

import copy

import cases
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks import Classification


def digits(**request: object) -> Classification:
    return Classification("digits", **request)


def test_forgetting_a_class_parts_train_and_test() -> None:
    task = cases.task("digits class")
    assert set(task.split("forget").batch().targets.tolist()) == {3}
    assert 3 not in task.split("retain").batch().targets and 3 not in task.split("test").batch().targets
    assert set(task.split("test-forget").batch().targets.tolist()) == {3}
    assert len(task.split("test")) + len(task.split("test-forget")) == 360
    assert task.splits == ("forget", "retain", "test", "test-forget") and task.forgotten == 3


def test_a_class_by_name_is_the_class_by_number() -> None:
    assert torch.equal(digits(forget_class="7").split("forget").ids, digits(forget_class=7).split("forget").ids)


def test_a_fraction_is_random_by_seed_and_rounded() -> None:
    task = digits(forget_fraction=0.1)
    assert len(task.split("forget")) == round(0.1 * 1437)
    assert torch.equal(task.split("forget").ids, digits(forget_fraction=0.1).split("forget").ids)
    assert not torch.equal(task.split("forget").ids, digits(forget_fraction=0.1, seed=1).split("forget").ids)
    assert len(task.split("test")) == 360 and len(task.split("test-forget")) == 0 and task.forgotten is None


def test_indices_may_come_as_any_sequence_and_are_kept_in_rising_order() -> None:
    for given in ([5, 2], torch.tensor([2, 5]), (5, 2)):
        assert digits(forget_indices=given).split("forget").ids.tolist() == [2, 5]


@pytest.mark.parametrize(("request_", "error", "message"), [
    ({}, ValueError, "give one of forget_class=, forget_fraction=, forget_indices=.*got none"),
    ({"forget_class": 1, "forget_fraction": 0.1}, ValueError, "got 'forget_class', 'forget_fraction'"),
    ({"forget_class": 10}, ValueError, "no class 10; the classes are 0 to 9"),
    ({"forget_class": -1}, ValueError, "no class -1"),
    ({"forget_class": 2.5}, ValueError, "no class 2.5"),
    ({"forget_class": "three"}, imu.UnknownName, "unknown class: 'three'.* Known: 0, 1"),
    ({"forget_fraction": 0}, ValueError, "strictly between 0 and 1, got 0"),
    ({"forget_fraction": 1}, ValueError, "strictly between 0 and 1, got 1"),
    ({"forget_fraction": -0.5}, ValueError, "got -0.5"),
    ({"forget_fraction": float("nan")}, ValueError, "got nan"),
    ({"forget_fraction": 1e-6}, ValueError, "forget set is empty"),
    ({"forget_fraction": 0.99999}, ValueError, "forgets all 1437 .*something must be left"),
    ({"forget_indices": ()}, ValueError, "forget set is empty"),
    ({"forget_indices": (0, 1437)}, ValueError, r"\[1437\] are not in the training set; it has 0 to 1436"),
    ({"forget_indices": (-1,)}, ValueError, r"\[-1\] are not in the training set"),
    ({"forget_indices": (4, 9, 4)}, ValueError, r"repeats \[4\]"),
    ({"forget_indices": tuple(range(1437))}, ValueError, "forgets all 1437"),
    ({"forget_class": 1, "architecture": "small_cnn"}, imu.UnknownName, "Did you mean 'small-cnn'"),
    ({"forget_class": 1, "architecture": "resnet-19"}, imu.UnknownName, "unknown architecture: 'resnet-19'.*vgg16_bn"),
])  # fmt: skip
def test_a_bad_request_is_refused(request_: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        digits(**request_)


def test_an_unknown_split_is_refused_with_those_that_exist() -> None:
    with pytest.raises(imu.UnknownName, match="unknown split: 'forgot'. Did you mean 'forget'.*test-forget"):
        cases.task("digits class").split("forgot")


def test_accuracy_margin_and_loss_by_hand() -> None:
    task = cases.task("digits class")
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 5.0]])
    batch = imu.tasks.Batch(None, torch.tensor([0, 1]))
    assert task.example_margin(lambda _: logits, batch).tolist() == [1.0, -4.0]
    expected = [-torch.log_softmax(row, 0)[k] for row, k in zip(logits, (0, 1))]
    assert cases.close(task.example_loss(lambda _: logits, batch), torch.stack(expected), within=1e-5)


def test_accuracy_counts_each_example_once_however_it_is_batched() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    batch = task.split("retain").batch()
    with torch.no_grad():
        expected = (model(batch.inputs).argmax(1) == batch.targets).double().mean().item()
    assert task.evaluate(model, "retain") == {"accuracy": pytest.approx(expected)}


def test_evaluating_leaves_the_model_usable_for_training() -> None:
    """A model that keeps a table from its first forward pass can still be trained after an evaluation."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.table = nn.Linear(25, 3), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.table is None:
                self.table = torch.ones(3) * 2
            return self.layer(x.flatten(1)) * self.table

    task, model = cases.own_data(forget_class=0), Keeps()
    task.evaluate(model, "test")
    task.example_loss(model, task.split("forget").batch()).sum().backward()
    assert model.layer.weight.grad is not None
    given = Keeps()
    imu.unlearn(cases.own_data(given, forget_class=0, readout=("layer",)), given, steps=2)


def test_the_card_shows_picture_and_label() -> None:
    task = cases.task("digits class")
    card = task.card(int(task.split("forget").ids[0]))
    assert "data:image/png;base64," in card and "class 3" in card


def test_a_card_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"example 99999 is not in the training set; it has 0 to \d+"):
        cases.task("digits class").card(99999)


def test_labels_and_pictures_by_index() -> None:
    task = cases.task("digits class")
    ids = task.split("forget").ids[:3]
    assert task.labels(ids) == ["3"] * 3
    shown = task.pictures(ids)
    assert shown.shape == (3, 8, 8, 3) and shown.dtype.name == "uint8" and shown.max() == 255


def test_read_only_indices_are_welcome() -> None:
    """Columns of pandas tables are read-only; torch warns when it gets one."""
    ids = cases.task("digits class").split("forget").ids.numpy().copy()
    ids.flags.writeable = False
    task = cases.task("digits class")
    assert len(task.labels(ids)) == len(task.pictures(ids)) == len(ids)


# A user's own model and data.


def test_the_given_model_is_the_original_and_is_left_alone() -> None:
    model = cases.conv_net().train().requires_grad_(False)
    before = cases.frozen(model)
    task = cases.own_data(model)
    original = imu.train(task, "train")
    assert cases.same(before, model)
    assert original is not model and not original.training
    assert all(torch.equal(value, before["state"][name]) for name, value in original.state_dict().items())


def test_equal_contents_make_equal_tasks() -> None:
    assert cases.own_data() == cases.own_data() and hash(cases.own_data()) == hash(cases.own_data())
    changed = cases.conv_net()
    with torch.no_grad():
        changed.classifier.bias[0] += 1e-6
    assert cases.own_data(changed) != cases.own_data()
    assert cases.own_data(forget_class=0) != cases.own_data(forget_class=2)


class Shaped(nn.Module):
    """A model whose output has a given shape after the first axis."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.layer = shape, nn.Linear(25, 12)

    def forward(self, x: torch.Tensor) -> object:
        out = self.layer(x.flatten(1))
        return {"scores": out} if not self.shape else out.reshape(*self.shape)


@pytest.mark.parametrize(
    ("shape", "got"),
    [((), "dict"), ((-1,), r"\(24,\)"), ((-1, 3, 4), r"\(2, 3, 4\)"), ((-1, 4), r"\(6, 4\)")],
    ids=["a dict", "flat", "three axes", "other count"],
)
def test_a_model_whose_output_is_not_n_by_k_is_refused(shape: tuple, got: str) -> None:
    with pytest.raises(ValueError, match=rf"logits \(n, K\); for 2 inputs it gave {got}"):
        cases.own_data(Shaped(*shape))


def test_labels_beyond_the_models_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="train labels go from 0 to 2, but there are 2 classes"):
        cases.own_data(cases.ConvNet(classes=2))


def test_a_fresh_model_is_reset_module_by_module() -> None:
    task = cases.own_data()
    fresh, given = task.make_model(1).state_dict(), imu.train(task, "train").state_dict()
    changed = {name for name in fresh if not torch.equal(fresh[name], given[name])}
    assert changed >= {"body.0.weight", "narrow.weight", "classifier.weight", "body.1.running_mean"}
    assert torch.equal(fresh["body.1.running_mean"], torch.zeros(4))


class Raw(nn.Module):
    """A model with a parameter that nothing can re-initialise."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(25))
        self.layer = nn.Linear(25, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1) * self.scale)


def test_weights_that_cannot_be_reset_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"the model \(Raw\) has weights but no reset_parameters\(\).*make_model="):
        imu.train(cases.own_data(Raw()), "retain")


@pytest.mark.parametrize("maker", [Raw, lambda seed: Raw()], ids=["no argument", "the seed"])
def test_make_model_gives_the_fresh_model(maker: object) -> None:
    task = cases.own_data(Raw(), make_model=maker)
    first, again, other = (task.make_model(seed).layer.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_maker_that_gives_the_original_is_no_maker_of_fresh_models() -> None:
    """Neither the object nor a copy of it; and what it is made of stays as it was."""
    model = cases.own_data().make_model(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for maker in (lambda: model, lambda: copy.deepcopy(model)):
        with pytest.raises(ValueError, match="make_model gave a model with the weights of the original"):
            imu.train(cases.own_data(model, make_model=maker, recipe=imu.tasks.Recipe(epochs=1)), "retain")
    with pytest.raises(ValueError, match="train_fn gave the original itself, which was not trained on 'retain' alone"):
        imu.train(cases.own_data(model, train_fn=lambda *_: model), "retain")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_maker_that_gives_one_and_the_same_model_gives_it_untrained() -> None:
    def add_one(model, dataset, seed):
        model.classifier.bias.data += 1e-3

    one = cases.own_data().make_model(3)
    task = cases.own_data(make_model=lambda: one, train_fn=add_one)
    first, second = (imu.train(task, "retain").classifier.bias for _ in "12")
    assert torch.equal(first, one.classifier.bias + 1e-3) and torch.equal(second, first)


@pytest.mark.filterwarnings("ignore:.*no gold standard")
def test_train_fn_trains_a_fresh_model_on_the_retain_pairs() -> None:
    seen = {}

    def train(model: nn.Module, pairs: torch.utils.data.Dataset, seed: int) -> None:
        seen.update(count=len(pairs), labels={int(pairs[i][1]) for i in range(len(pairs))}, seed=seed)
        nn.init.zeros_(model.classifier.bias)

    model = imu.train(cases.own_data(train_fn=train), "retain", seed=4)
    assert seen == {"count": 40, "labels": {0, 2}, "seed": 4}
    assert not model.training and not model.classifier.bias.any()


@pytest.mark.parametrize(
    "given, said",
    [
        ({"make_model": nn.Linear(2, 2)}, "make_model is a module; give a function that makes one"),
        ({"make_model": 3}, "make_model must be a function that makes one; got 3"),
        (
            {"make_model": lambda width, depth: None},
            r"make_model is called with \(seed\); the function given takes \(width, depth\)",
        ),
        (
            {"train_fn": lambda m, d: m},
            r"train_fn is called with \(model, dataset, seed\); the function given takes \(m, d\)",
        ),
        (
            {"train_fn": lambda dataset, model, seed: model},
            r"called with \(model, dataset, seed\), in this order; .* \(dataset, model",
        ),
        ({"train_fn": nn.Linear(2, 2)}, "train_fn is a module; give a function that trains a model"),
    ],
)
def test_functions_that_could_not_be_called_are_refused_before_anything_is_trained(given: dict, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        cases.own_data(**given)


def test_a_training_that_did_nothing_is_told() -> None:
    with pytest.raises(ValueError, match="train_fn gave None and left the model as it was"):
        imu.train(cases.own_data(train_fn=lambda *_: None), "retain")
    with pytest.raises(
        TypeError, match="train_fn gives the trained model, or None where it trained the one given; it gave 'a'"
    ):
        imu.train(cases.own_data(train_fn=lambda *_: "a"), "retain")


def test_a_dataset_works_as_well_as_arrays() -> None:
    inputs, labels = cases.images(60, 0)
    pairs = torch.utils.data.TensorDataset(inputs, labels)
    task = Classification.from_data(cases.conv_net(), pairs, cases.images(30, 1), forget_class=1)
    expected = imu.influence(cases.own_data(), cases.conv_net()).values
    assert cases.close(imu.influence(task, cases.conv_net()).values, expected)


def test_a_large_network_of_a_user_runs_on_all_cores() -> None:
    data = torch.randn(20, 300), torch.arange(20) % 2
    for hidden, one_thread in ((10, True), (400, False)):
        network = torch.nn.Sequential(torch.nn.Linear(300, hidden), torch.nn.Linear(hidden, 2))
        task = Classification.from_data(network, data, (data[0] + 1, data[1]), forget_indices=[0])
        assert task.recipe.one_thread is one_thread
