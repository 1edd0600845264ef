"""Several threads ask one session, as a panel's job and a notebook's cell do: each gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cases
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import copied, evaluating, hooked, own_modules
from imu_lab.features.gauss_newton import curvature_of
from imu_lab.tasks import Classification, Recipe

TIMES = 8


class Network(nn.Module):
    """Wide enough that two passes through it overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 64), nn.Tanh())
        self.head = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def task(**how: Any) -> Classification:
    """Points and labels at random, half of them to forget."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(1200, 64, generator=generator), torch.randint(0, 3, (1200,), generator=generator)
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, batch_size=256)
    data = (x[:1024], y[:1024]), (x[1024:], y[1024:])
    return Classification.from_data(Network().eval(), *data, forget_indices=range(512), recipe=recipe, **how)


def together(asks: dict[Any, Callable[[], Any]]) -> dict[Any, Any]:
    """What each answers, or raises, in a thread of its own, all at the same time."""
    found, start = {}, threading.Barrier(len(asks))

    def answer(name: Any) -> None:
        start.wait()
        try:
            found[name] = asks[name]()
        except Exception as error:
            found[name] = error

    threads = [threading.Thread(target=answer, args=(name,)) for name in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def check(found: dict[Any, Any], truth: dict[Any, Any]) -> None:
    """Each answer is the one that it is alone."""
    for name, values in found.items():
        if isinstance(values, Exception):
            raise values
        assert cases.close(values, truth[name], within=1e-4), name


@pytest.mark.few(1)
@pytest.mark.parametrize("readout", [None, "all"])
def test_influences_on_several_targets_are_those_of_one_thread(readout: str | None) -> None:
    given = task(readout=readout)
    original, targets = imu.train(given), ("retain", "test", "forget")
    truth = {name: imu.influence(given, original, target=name, cache=False).values for name in targets}
    for _ in range(TIMES):
        imu.clear_caches()
        asks = {name: lambda name=name: imu.influence(given, original, target=name).values for name in targets}
        check(together(asks), truth)


def test_products_with_a_networks_curvature_are_those_of_one_thread() -> None:
    given = task(readout="body.2")
    original, forget = imu.train(given), given.split("forget")
    size = sum(value.numel() for value in original.body[2].parameters())
    vectors = {seed: torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)}

    def ask(seed: int) -> Any:
        return curvature_of(given, original, forget).times(vectors[seed]).numpy()

    truth = {seed: ask(seed) for seed in vectors}
    for _ in range(TIMES):
        check(together({seed: lambda seed=seed: ask(seed) for seed in vectors}), truth)


def test_a_hook_answers_to_its_own_thread_alone() -> None:
    layer, seen = nn.Linear(2, 2), []
    with hooked([(layer, lambda _, given, made: seen.append(len(given[0])))]):
        layer(torch.zeros(3, 2))
        other = threading.Thread(target=layer, args=(torch.zeros(5, 2),))
        other.start()
        other.join()
    layer(torch.zeros(7, 2))
    assert seen == [3] and not layer._forward_hooks


@pytest.mark.parametrize("before", [False, True])
def test_a_copy_takes_no_passing_hook_along(before: bool) -> None:
    model, table = nn.Sequential(nn.Linear(2, 2)), "_forward_pre_hooks" if before else "_forward_hooks"
    kept = (model[0].register_forward_pre_hook if before else model[0].register_forward_hook)(lambda *_: None)
    with hooked([(model[0], lambda *_: None)], before=before):
        copies = copied(model), own_modules(model)
        assert len(getattr(model[0], table)) == 2
    for made in copies:
        assert list(getattr(made[0], table)) == [kept.id]
    assert copies[1][0].weight is model[0].weight and copies[0][0].weight is not model[0].weight


class Waiting:
    """A hook that, while it is copied, gives another thread the time to set one of its own."""

    def __init__(self) -> None:
        self.copying, self.asked = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> None:
        """Nothing."""

    def __deepcopy__(self, _: dict) -> Waiting:
        self.copying.set()
        self.asked.wait(0.1)
        return self


@pytest.mark.parametrize("before", [False, True])
def test_a_model_is_copied_while_others_ask_it(before: bool) -> None:
    """In the middle of its hooks' copying; a table that changes while it is read is an error."""
    model, waiting = nn.Linear(2, 2), Waiting()
    for hook in (waiting, lambda *_: None):  # the second is read after the other thread has asked
        (model.register_forward_pre_hook if before else model.register_forward_hook)(hook)

    def ask() -> None:
        assert waiting.copying.wait(10)
        with hooked([(model, lambda *_: None)], before=before):
            waiting.asked.set()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        made = copied(model)
    finally:
        asking.join()
    assert waiting.asked.is_set()
    assert len(made._forward_pre_hooks if before else made._forward_hooks) == 2


def test_a_model_in_eval_mode_is_not_touched_by_asking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    monkeypatch.setattr(nn.Module, "train", lambda *_: pytest.fail("its mode was set"))
    with evaluating(model):
        pass
    assert not any(module.training for module in model.modules())
