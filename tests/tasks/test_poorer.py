"""A retrained model that learned less than the model a user brought along is told of, with both numbers."""

import warnings

import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks.evaluation import mean_loss


def brought(train_fn=None, loss=None, **recipe):
    """A task around a linear model that knows all of its 120 samples, in four groups far apart."""
    torch.manual_seed(0)
    y = torch.arange(120) % 4
    x = 10 * nn.functional.one_hot(y).float() + 0.1 * torch.randn(120, 4)
    model = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[0].bias.zero_()
    targets = y if loss is None else 10 * nn.functional.one_hot(y).float()
    how = {"recipe": imu.tasks.Recipe(**recipe)} if recipe else {}
    make = imu.tasks.Classification.from_data
    return make(model, (x, targets), (x + 0.01, targets), forget_indices=[0, 1, 2], train_fn=train_fn, loss=loss, **how)


def squares(outputs, targets):
    return ((outputs - targets) ** 2).mean(1)


def nothing(model, data, seed):
    return model


POOR, GOOD = {"epochs": 1, "lr": 1e-6}, {"epochs": 8, "lr": 0.02, "batch_size": 16, "weight_decay": 0.0}


@pytest.mark.few(1)
@pytest.mark.parametrize("loss", [None, squares])
@pytest.mark.parametrize("how", [{"train_fn": nothing}, POOR])
def test_a_poorer_model_is_told_of_with_both_numbers(how, loss) -> None:
    task = brought(loss=loss, **how)
    with pytest.warns(UserWarning, match="no gold standard.*train_fn=.*recipe=.*reference=") as caught:
        model = imu.train(task, "retain")
    values = [
        task.evaluate(each, "retain")["accuracy"] if loss is None else mean_loss(task, each, task.split("retain"))
        for each in (model, imu.train(task))
    ]
    assert f"is {values[0]:.3g}, that of the original {values[1]:.3g}" in str(caught[0].message) and len(caught) == 1
    with pytest.warns(UserWarning, match="no gold standard") as caught:
        imu.references(task, range(3))
    assert len(caught) == 1


@pytest.mark.parametrize("loss", [None, squares])
def test_a_model_that_learned_as_much_is_not(loss) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imu.train(brought(loss=loss, **GOOD), "retain")
        imu.train(brought(loss=loss, **POOR))
        imu.train(imu.tasks.Toy(), "retain", recipe=imu.tasks.Recipe(epochs=1, lr=1e-6))


def test_the_original_is_no_retrained_model() -> None:
    task = brought(**GOOD)
    original = imu.train(task)
    run = imu.unlearn(task, original, steps=1, lr=1.0)
    for asked in (
        lambda: imu.unlearn(task, original, steps=1, lr=1.0, reference=original),
        lambda: imu.head_only(run, reference=original),
        lambda: imu.references(task, models=[imu.train(task, "retain"), original]),
    ):
        with pytest.raises(ValueError, match="the original itself"):
            asked()
