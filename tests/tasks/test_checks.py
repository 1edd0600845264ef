"""What a task promises is checked in words: each broken member is named, and a task that keeps the protocol passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn
from user_tasks import Composed, Own, not_frozen

import imu_lab as imu
from imu_lab.core.running import seeded
from imu_lab.tasks import Batch, Examples


@pytest.mark.filterwarnings("ignore:split.'test'. shares")  # those of users here test what they were trained on
@pytest.mark.few(4)
@pytest.mark.parametrize("task", [
    *cases.TASKS.values(), cases.Tokens, Own, Composed,
    lambda: imu.tasks.Augmented(cases.task("digits class"), torch.nn.Identity()),
    lambda: imu.tasks.Planted(cases.task("digits class"), "flipped"),
])  # fmt: skip
def test_tasks_that_keep_the_protocol_pass_and_are_left_alone(task: Callable[[], Any]) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    if isinstance(task(), cases.Tokens):
        with pytest.raises(
            ValueError, match="(?s)forgotten_when names the metric that tells of forgetting, 'accuracy'.*'loss'"
        ):
            imu.check_task(task())
        return
    assert imu.check_task(task()) is None
    assert torch.equal(states[0], torch.get_rng_state()) and np.array_equal(states[1], np.random.get_state()[1])


DRAWS = torch.Generator().manual_seed(0)


def broken(**members: Any) -> Any:
    """A task some of whose members break their promise."""
    return dataclass(frozen=True)(type("Broken", (Own,), members))()


def split_of(**splits: Any) -> Callable:
    """A ``split`` that gives other examples for some names."""
    return lambda self, name: splits[name](Own.split(self, name)) if name in splits else Own.split(self, name)


def noisy(examples: Examples) -> Examples:
    """Examples that are drawn anew each time."""
    return Examples(
        examples.ids,
        lambda at: (lambda b: Batch(b.inputs + torch.rand(1, generator=DRAWS), b.targets))(examples.batch(at)),
    )


def one_number() -> nn.Module:
    """A model with a single output."""
    with seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(25, 1))


FAULTS: dict[str, tuple[Any, str]] = {
    "no card": (lambda: broken(card=None), r"card is missing; it is a method, card\(example: int\) -> str"),
    "a split that is a batch": (
        lambda: broken(split=split_of(forget=lambda e: e.batch())),
        r"split\('forget'\) must give imu.tasks.Examples",
    ),
    "an empty forget set": (lambda: broken(split=split_of(forget=lambda e: e.take([]))), r"split\('forget'\) is empty"),
    "an id twice": (
        lambda: broken(split=split_of(forget=lambda e: e.take([0, 0, 1]))),
        r"split\('forget'\) has an id twice",
    ),
    "forgotten and kept": (lambda: broken(split=split_of(retain=lambda e: Own().split("train"))), "share ids, such as"),
    "neither forgotten nor kept": (
        lambda: broken(split=split_of(forget=lambda e: e.take([0, 1]))),
        "together must be split.'train'., by id",
    ),
    "drawn anew": (
        lambda: broken(split=split_of(forget=noisy)),
        r"split\('forget'\) gave other values asked again; a data set must be fixed",
    ),
    "rows missing": (
        lambda: broken(
            split=split_of(
                test=lambda e: Examples(e.ids, lambda at: Batch(e.batch(at).inputs[:1], e.batch(at).targets))
            )
        ),
        r"the inputs of split\('test'\) must have one row per example; for 5 examples the shape is \(1, 1, 5, 5\)",
    ),
    "no module": (
        lambda: broken(make_model=lambda self, seed: len),
        "make_model must give a torch.nn.Module; it gave builtin_function",
    ),
    "another model each time": (
        lambda: broken(make_model=lambda self, seed: cases.conv_net(int(torch.randint(9**9, (1,), generator=DRAWS)))),
        r"make_model\(0\) gave other weights when asked again",
    ),
    "random state moved": (
        lambda: broken(make_model=lambda self, seed: (torch.rand(1), cases.conv_net())[1]),
        "make_model moved torch's global random state",
    ),
    "a readout that is not there": (
        lambda: Own(readout=("clasifier",)),
        "readout names a module that is not there: 'clasifier'. Did you mean 'classifier'",
    ),
    "numbers taken for logits": (
        lambda: broken(
            make_model=lambda self, seed: one_number(),
            readout="1",
            forgotten_when=("loss", ">="),
            example_loss=lambda self, f, b: (f(b.inputs)[:, 0] - b.targets) ** 2,
            evaluate=lambda self, model, split: {"number": 1.0},
        ),
        "draws each output to a number, so they are no logits of classes.*write probabilities = False",
    ),
    "a mean loss": (
        lambda: broken(example_loss=lambda self, f, b: nn.functional.cross_entropy(f(b.inputs), b.targets)),
        r"example_loss must give one loss per example, shape \(5,\); it gave shape \(\)",
    ),
    "a loss in company": (
        lambda: broken(example_loss=lambda self, f, b: Own.example_loss(self, f, b) / len(b.targets)),
        "gives an example another loss alone than in company",
    ),
    "a loss without a graph": (
        lambda: broken(example_loss=lambda self, f, b: Own.example_loss(self, f, b).detach()),
        "example_loss cannot be differentiated",
    ),
    "a loss that raises": (
        lambda: broken(example_loss=lambda self, f, b: {}["label"]),
        "example_loss raised KeyError: 'label'",
    ),
    "a loss that changes the batch": (
        lambda: broken(
            example_loss=lambda self, f, b: (
                Own.example_loss(self, f, b._replace(targets=b.targets.clone())) + 0 * b.inputs.add_(1).sum()
            )
        ),
        "example_loss changed the batch",
    ),
    "a metric without a name": (
        lambda: broken(evaluate=lambda self, m, s: 0.5),
        "must give numbers by name, such as {'accuracy': 0.9}; it gave 0.5",
    ),
    "a metric that is a tensor": (
        lambda: broken(evaluate=lambda self, m, s: {"accuracy": torch.ones(3)}),
        "must give numbers by name",
    ),
    "no accuracy": (
        lambda: broken(evaluate=lambda self, m, s: {"error": 0.5}),
        r"'accuracy', which evaluate\(model, 'forget'\) does not give; it gives 'error'",
    ),
    "a metric by chance": (
        lambda: broken(evaluate=lambda self, m, s: {"accuracy": float(torch.rand(1, generator=DRAWS))}),
        "gave other numbers when asked again",
    ),
    "a card of bytes": (
        lambda: broken(card=lambda self, example: b"<p>"),
        "card must give HTML as a str; it gave bytes",
    ),
    "a margin per class": (
        lambda: broken(example_margin=lambda self, f, b: f(b.inputs)),
        r"example_margin must give one number per example, shape \(5,\); it gave shape \(5, 3\)",
    ),
    "labels that are numbers": (lambda: broken(labels=lambda self, ids: list(ids)), "labels must give one str per id"),
    "one label": (lambda: broken(labels=lambda self, ids: ["a"]), "labels must give one str per id; for 5 ids it gave"),
    "pictures that are floats": (
        lambda: broken(pictures=lambda self, ids: np.zeros((len(ids), 8, 8, 3))),
        r"pictures must give uint8 \(n, h, w, 3\)",
    ),
    "pictures of test samples that are floats": (
        lambda: broken(
            pictures=lambda self, ids, source="train": np.zeros(
                (len(ids), 8, 8, 3), float if source == "test" else np.uint8
            )
        ),
        r"pictures must give uint8 \(n, h, w, 3\)",
    ),
    "a recipe that is a dict": (lambda: broken(recipe={"epochs": 3}), "recipe must be an imu.tasks.Recipe; it is dict"),
    "a metric that nobody knows": (
        lambda: broken(follows=("kl-retraned",)),
        "follows names a metric that is not registered: 'kl-retraned'. Did you mean 'kl-retrained'",
    ),
    "an outcome without comparison": (
        lambda: broken(forgotten_when="accuracy"),
        "forgotten_when must be a metric and a comparison",
    ),
    "more answers than outputs": (lambda: broken(answers=("a", "b")), "answers names 2 outputs; the model has 3"),
    "another request": (
        lambda: broken(with_request=lambda self, ids: self),
        r"with_request\(\(0, 1\)\) must give the task with these samples",
    ),
    "means of nothing": (
        lambda: broken(evaluate=imu.tasks.averages),
        "evaluate = averages takes the means of example_metrics",
    ),
    "not frozen": (not_frozen, "a task must be a frozen dataclass.*Loose is not frozen"),
}


@pytest.mark.few(8)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_named_in_one_sentence(fault: str) -> None:
    task, said = FAULTS[fault]
    with pytest.raises(ValueError, match=f"(?s)does not keep the task protocol:.*{said}") as told:
        imu.check_task(task())
    lines = str(told.value).splitlines()[1:]
    assert lines and all(line.startswith("- ") for line in lines) and len(lines) <= 3, lines


def test_several_faults_are_told_at_once() -> None:
    task = broken(card=lambda self, example: 3, labels=lambda self, ids: [1], evaluate=lambda self, model, split: None)
    with pytest.raises(ValueError) as told:
        imu.check_task(task)
    assert all(member in str(told.value) for member in ("card must", "labels must", "evaluate(model, 'forget') must"))


@pytest.mark.filterwarnings("default")
def test_test_samples_that_are_training_samples_are_told() -> None:
    with pytest.warns(
        UserWarning,
        match=r"split\('test'\) shares 40 samples with split\('forget'\) and split\('retain'\), such as \[0",
    ):
        imu.check_task(Own())
    some = broken(split=split_of(test=lambda examples: examples.take(torch.arange(12, 20))))
    with pytest.warns(
        UserWarning, match=r"split\('test'\) shares 8 samples with split\('retain'\), such as \[12, 13, 14\]"
    ):
        imu.check_task(some)


def test_an_empty_split_is_told_as_such() -> None:
    def split(self: Own, name: str) -> Examples:
        inputs, labels = self.data()
        return (
            Own.split(self, name)
            if name != "forget"
            else Examples.of(inputs[torch.tensor([])], labels[torch.tensor([])])
        )

    with pytest.raises(
        ValueError, match=r"- split\('forget'\) is empty, or its rows are no whole numbers: torch.tensor\(\[\]\)"
    ):
        imu.check_task(broken(split=split))
    nothing = split_of(forget=lambda examples: examples.take(torch.arange(0)))
    with pytest.raises(ValueError, match=r"- split\('forget'\) is empty\n?"):
        imu.check_task(broken(split=nothing))
