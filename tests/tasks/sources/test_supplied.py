"""Any classifier: what it puts out, what it says of itself and what it is wrapped in; right against a loop, or refused."""

from __future__ import annotations

import copy
import functools
import pickle
import types
import warnings
from collections.abc import Callable
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import googlenet

import imu_lab as imu
from imu_lab.tasks import Classification
from imu_lab.tasks.sources import models

PICTURES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 3
TEST = (PICTURES[:9] + 1, LABELS[:9])
QUICK = imu.tasks.Recipe(epochs=2, lr=0.01, batch_size=8)


class Net(nn.Module):
    """A backbone with BatchNorm and a head; ``answer`` makes of the logits what the model gives."""

    def __init__(
        self, classes: int = 3, answer: Callable[[nn.Module, Tensor], Any] = lambda self, logits: logits
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.middle = nn.Linear(6, 5)
        self.head = nn.Linear(5, classes)
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        """(n, 3, h, w) to whatever ``answer`` makes of (n, classes)."""
        return self.answer(self, self.head(torch.tanh(self.middle(self.body(x).mean((2, 3))))))


def net(classes: int = 3, seed: int = 0, **how: Any) -> Net:
    """The same weights each time, and running statistics that are not the initial ones."""
    torch.manual_seed(seed)
    made = Net(classes, **how)
    answer, made.answer = made.answer, lambda self, logits: logits
    for _ in range(4):
        made(2 * torch.randn(16, 3, 8, 8) + 1)
    made.answer = answer
    return made.eval()


def task(model: nn.Module, train: Any = (PICTURES, LABELS), test: Any = TEST, **given: Any) -> Classification:
    given.setdefault("recipe", QUICK)
    if not {"forget_class", "forget_indices"} & set(given):
        given["forget_indices"] = range(7)
    return Classification.from_data(model, train, test, **given)


def looped(
    model: nn.Module, ask: Callable, loss: Callable, targets: Tensor, names: tuple[str, ...] = ("head",)
) -> np.ndarray:
    """(7,) minus the product of each forget sample's gradient with their mean, one autograd call per sample.

    Only the parameters that may move, of these modules, take part.
    """
    chosen = [
        value for name, value in model.named_parameters()
        if value.requires_grad and (names == ("",) or name.startswith(tuple(f"{each}." for each in names)))
    ]  # fmt: skip
    rows = []
    for i in range(7):
        made = loss(ask(model, PICTURES[i : i + 1].to(next(model.parameters()).dtype)), targets[i : i + 1]).sum()
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(made, chosen)]))
    each = torch.stack(rows).double()
    return -(each @ each.mean(0)).numpy()


def agrees(found: imu.Influence, expected: np.ndarray, dtype: torch.dtype = torch.float32) -> None:
    assert np.abs(expected).max() > 1e-4
    assert np.abs(found.values - expected).max() <= cases.TOLERANCE[dtype] * np.abs(expected).max()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, targets, reduction="none")


# Outputs.


class Answer(dict):
    """A dict that is no plain dict."""


class Object:
    """Something that holds logits."""

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.hidden = logits, None


def as_dict(self: nn.Module, logits: Tensor) -> dict:
    return {"logits": logits, "other": 3}


def as_mapping(self: nn.Module, logits: Tensor) -> Answer:
    return Answer(logits=logits)


def as_object(self: nn.Module, logits: Tensor) -> Object:
    return Object(logits)


def auxiliary(self: nn.Module, logits: Tensor) -> Any:
    return Object(logits) if self.training else logits


ANSWERS = [as_dict, as_mapping, as_object, auxiliary]


@pytest.mark.few(2)
@pytest.mark.parametrize("dtype", list(cases.TOLERANCE))
@pytest.mark.parametrize("answer", ANSWERS)
def test_logits_in_what_a_model_answers_are_found(answer: Callable, dtype: torch.dtype) -> None:
    model = net(answer=answer, seed=ANSWERS.index(answer)).to(dtype)
    made = task(model)
    agrees(
        imu.influence(made, model, "gradient-dot"),
        looped(model, lambda m, x: models.logits_of(m(x)), cross_entropy, LABELS),
        dtype,
    )
    run = imu.unlearn(made, model, steps=2, lr=1e-3)
    whole = imu.unlearn(made, model, steps=2, lr=1e-3, cache=False)
    assert cases.relative(run.model.head.weight, whole.model.head.weight) < 1e-5
    assert type(run.model(PICTURES[:2].to(dtype))) is type(
        model(PICTURES[:2].to(dtype))
    )  # a user's own call gets it all
    assert not model._forward_hooks and not model._forward_pre_hooks
    retrained = imu.train(made, "retain")
    assert not torch.equal(retrained.head.weight, model.head.weight.float())
    assert "the logits of what the model answers" in made.about


def test_auxiliary_heads_are_left_out_in_training() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision speaks of its own initialisation
        model = googlenet(num_classes=3, aux_logits=True, init_weights=False).eval()
    large = torch.randn(6, 3, 64, 64), LABELS[:6]
    made = task(
        model, large, (large[0] + 1, large[1]), forget_indices=[0, 1], recipe=imu.tasks.Recipe(epochs=1, batch_size=6)
    )
    batch = made.split("train").batch()
    losses = made.example_loss(made.make_model(0), batch)
    assert losses.shape == (6,) and imu.influence(made, model, "gradient-dot").values.shape == (2,)


def flat(self: nn.Module, logits: Tensor) -> Tensor:
    return logits.squeeze(-1)


@pytest.mark.few(3)
@pytest.mark.parametrize("dtype", list(cases.TOLERANCE))
@pytest.mark.parametrize("given", [{}, {"answer": flat}], ids=["(n, 1)", "(n,)"])
@pytest.mark.parametrize(
    "truth", [LABELS > 0, (LABELS > 0).long(), np.where(LABELS > 0, "yes", "no")], ids=["bool", "int", "word"]
)
def test_one_logit_tells_two_classes_apart(truth: Any, given: dict, dtype: torch.dtype) -> None:
    model, numbers = net(1, **given).to(dtype), (LABELS > 0).to(dtype)
    made = task(model, (PICTURES.to(dtype), truth), (TEST[0].to(dtype), truth[:9]))
    bce = lambda z, y: nn.functional.binary_cross_entropy_with_logits(z.reshape(-1), y, reduction="none")  # noqa: E731
    agrees(imu.influence(made, model, "gradient-dot"), looped(model, lambda m, x: m(x), bce, numbers), dtype)
    with torch.no_grad():
        logits = model(PICTURES.to(dtype)).reshape(-1)
    batch, as_called = made.split("train").batch(), made.prepared(model)
    margins = made.example_margin(as_called, batch).detach()
    assert cases.close(margins, torch.where(numbers > 0, logits, -logits))
    right = ((logits > 0) == (numbers > 0)).double().mean().item()
    assert made.evaluate(model, "train")["accuracy"] == pytest.approx(right)
    reference = net(1, seed=5, **given).to(dtype)
    run = imu.unlearn(made, model, steps=3, lr=1e-3, reference=reference, follow=["kl-retrained"])
    with torch.no_grad():
        z, r = (each(PICTURES[:7].to(dtype)).reshape(-1).double() for each in (run.model, reference))
    p, q = z.sigmoid(), r.sigmoid()
    kl = (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean().item()
    assert run.value("forget", "kl_retrained") == pytest.approx(kl, rel=1e-3)


@pytest.mark.parametrize("estimator", ["fisher-diagonal", "exact", "self-influence", "gradient-norm"])
def test_two_logits_0_and_z_are_one_logit_z(estimator: str) -> None:
    """Estimators speak of the loss alone, so both forms of a binary classifier agree on their common parameters."""
    one, two = net(1), net(2)
    with torch.no_grad():
        two.load_state_dict({**one.state_dict(), "head.weight": torch.cat([0 * one.head.weight, one.head.weight]),
                             "head.bias": torch.cat([0 * one.head.bias, one.head.bias])})  # fmt: skip
    truth = (LABELS > 0).long()
    found = [
        imu.influence(
            task(m, (PICTURES, truth), (TEST[0], truth[:9]), readout=("middle",)), m, "fisher-diagonal"
        ).values
        for m in (one, two)
    ]
    assert cases.relative(*map(torch.tensor, found)) < 1e-3


@pytest.mark.parametrize("answer, classes, said", [
    (lambda self, z: z.softmax(1), 3, "rows that sum to 1.*goes into the softmax"),
    (lambda self, z: z.sigmoid(), 1, "between 0 and 1.*goes into the sigmoid"),
    (lambda self, z: z.sigmoid()[:, 0], 1, "between 0 and 1.*goes into the sigmoid"),
    (lambda self, z: (z, z), 3, r"it gave tuple; return the logits, alone or under the name 'logits'"),
    (lambda self, z: {"scores": z}, 3, "it gave dict; return the logits"),
    (lambda self, z: z[:, None], 3, r"for 2 inputs it gave \(2, 1, 3\)"),
    (lambda self, z: z.T, 3, r"it gave \(3, 2\)"),
    (lambda self, z: z / 0, 3, "no finite real numbers"),
    (lambda self, z: z.bfloat16(), 3, "computes in bfloat16 within itself"),
    (lambda self, z: 1 / 0, 3, "cannot take the inputs.*ZeroDivisionError"),
], ids=["softmax", "sigmoid", "flat sigmoid", "tuple", "dict", "axes", "transposed", "NaN", "half", "fault"])  # fmt: skip
@pytest.mark.parametrize("readout", [None, "all", ("head",)])
def test_outputs_that_are_no_logits_are_refused(answer: Callable, classes: int, said: str, readout: Any) -> None:
    truth = LABELS if classes > 1 else LABELS > 0
    with pytest.raises(ValueError, match=said) as caught:
        task(net(classes, answer=answer), (PICTURES, truth), (TEST[0], truth[:9]), readout=readout)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is None


# Types of inputs.


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float64, torch.float16, torch.bool])
def test_inputs_are_cast_to_the_models_precision(dtype: torch.dtype) -> None:
    model, given = net(), (PICTURES.abs() * 20).to(dtype)
    made = task(
        model, (given, LABELS), ((given[:9].float() + 1).to(dtype) if dtype != torch.bool else ~given[:9], LABELS[:9])
    )
    assert torch.equal(made.split("train").batch().inputs, given.float()) and "cast to float32" in made.about
    double = net().double()
    assert (
        task(double, (given, LABELS), (given[:9] * 0, LABELS[:9])).split("train").batch().inputs.dtype == torch.float64
    )


@pytest.mark.parametrize("given, words", [
    (PICTURES.permute(0, 2, 3, 1), r"it takes x.permute\(0, 3, 1, 2\), channels first"), (PICTURES[:, 0], "cannot take the inputs"),
])  # fmt: skip
def test_inputs_that_the_model_cannot_take_are_named_with_what_it_takes(given: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        task(net(), (given, LABELS), (given[:9] + 1, LABELS[:9]))


def test_tokens_stay_whole_numbers() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)).eval()
    for dtype in (torch.int64, torch.int32, torch.uint8):
        tokens = torch.randint(0, 9, (24, 3), generator=torch.Generator().manual_seed(0)).to(dtype)
        made = task(model, (tokens, LABELS), (8 - tokens[:9], LABELS[:9]))
        assert not made.split("train").batch().inputs.is_floating_point()
        assert imu.influence(made, model, "gradient-dot").values.shape == (7,)


# Losses.

WEIGHTS = torch.tensor([0.2, 1.0, 3.0])


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    log_p = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    return -((1 - log_p.exp()) ** 2) * log_p


def multi_label(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


def weighted(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, targets, WEIGHTS.to(logits), reduction="none")


REAL = torch.randn(24, generator=torch.Generator().manual_seed(3))
MANY = (torch.randn(24, 3, generator=torch.Generator().manual_seed(4)) > 0).float()
LOSSES = {
    "class weights": (3, LABELS, weighted, True),
    "smoothing": (3, LABELS, nn.CrossEntropyLoss(label_smoothing=0.2, reduction="none"), True),
    "focal": (3, LABELS, focal, True),
    "binary": (1, LABELS > 0, nn.BCEWithLogitsLoss(reduction="none"), True),
    "binary, real targets": (1, (LABELS > 0).float()[:, None], nn.BCEWithLogitsLoss(reduction="none"), False),
    "multi-label": (3, MANY, multi_label, False),
    "multi-label, truth values": (3, MANY > 0, multi_label, False),
    "regression": (1, REAL[:, None], nn.MSELoss(reduction="none"), False),
    "regression, flat targets": (1, REAL, nn.SmoothL1Loss(reduction="none"), False),
    "hinge": (3, LABELS, lambda z, y: nn.functional.multi_margin_loss(z, y, reduction="none"), True),
}


@pytest.mark.few(5)
@pytest.mark.parametrize("dtype", list(cases.TOLERANCE))
@pytest.mark.parametrize("outputs, targets, loss, classes", LOSSES.values(), ids=list(LOSSES))
def test_any_loss_of_a_sample_is_right(
    outputs: int, targets: Tensor, loss: Callable, classes: bool, dtype: torch.dtype
) -> None:
    model = net(outputs).to(dtype)
    made = task(model, (PICTURES, targets), (TEST[0], targets[:9]), loss=loss)
    real = targets.to(dtype) if outputs == 1 or not classes else targets
    real = real.reshape(-1, 1) if outputs == 1 else real
    expected = looped(model, lambda m, x: m(x), lambda z, y: loss(z, y).reshape(-1), real)
    agrees(imu.influence(made, model, "gradient-dot"), expected, dtype)
    agrees(imu.influence(made, model, "gradient-dot", cache=False), expected, dtype)
    metrics = made.evaluate(model, "test")
    assert set(metrics) == ({"accuracy"} if classes else {"loss"}) and np.isfinite(list(metrics.values())).all()
    assert bool(made.classes) is classes and made.forgotten_when[0] in metrics
    run = imu.unlearn(made, model, steps=2, lr=1e-3)
    assert np.isfinite(run.curve["value"]).all() and imu.train(made, "retain").head.weight.isfinite().all()
    assert made.card(0) and len(made.labels([0, 1])) == 2


def test_another_loss_is_another_task_and_another_checkpoint() -> None:
    model = net()
    made = [task(model, loss=each) for each in (None, weighted, focal, lambda z, y: weighted(z, y))]
    assert made[1] == made[3] and len({each.data_key for each in made}) == len(set(made)) == 3


@pytest.mark.parametrize("loss, said", [
    (nn.CrossEntropyLoss(), r"one number per sample, \(2,\), .* it gave \(\); use reduction='none'"),
    (lambda z, y: z, r"it gave \(2, 3\)"), (lambda z, y: 1.0, "it gave float"), ("cross-entropy", "must be a function.*got a str"),
    (lambda z, y: cross_entropy(z, y) / len(z), "another number alone than in a batch"),
    (lambda z, y: z.foo, "cannot take outputs .*AttributeError"), (lambda z, y: cross_entropy(z, y) / 0, "not finite"),
    (lambda z, y: cross_entropy(z.detach(), y), "cannot be differentiated"),
    (lambda z, y: 1.0 * (z.argmax(1) != y), "differentiated"),
], ids=["mean", "rows", "float", "word", "batch", "fault", "infinite", "detached", "count"])  # fmt: skip
def test_a_loss_that_is_not_each_samples_own_is_refused(loss: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task(net(), loss=loss)


def test_classes_are_asked_for_only_where_there_are_some() -> None:
    with pytest.raises(
        ValueError, match="targets are no classes; request samples with forget_fraction= or forget_indices="
    ):
        task(
            net(1),
            (PICTURES, REAL[:, None]),
            (TEST[0], REAL[:9, None]),
            loss=nn.MSELoss(reduction="none"),
            forget_class=0,
        )


def test_what_has_no_classes_has_no_divergence() -> None:
    made = task(net(1), (PICTURES, REAL[:, None]), (TEST[0], REAL[:9, None]), loss=nn.MSELoss(reduction="none"))
    for name in ("kl-retrained", "js-retrained", "agreement"):
        with pytest.raises(
            ValueError, match="no classes, .*so the outputs are no probabilities.*compare the loss instead"
        ):
            imu.unlearn(made, net(1), steps=1, lr=1e-3, reference=net(1, seed=2), follow=[name])


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A classifier by least squares: each output is drawn to 0 or 1, and the largest is the answer."""
    return ((outputs - nn.functional.one_hot(targets, 3)) ** 2).sum(1)


@pytest.mark.parametrize(("loss", "logits"), [(squared, False), (focal, True), (None, True)])
def test_classes_that_are_told_by_numbers_have_an_accuracy_and_no_divergence(loss: Any, logits: bool) -> None:
    made = task(net(3), loss=loss, recipe=imu.tasks.Recipe(epochs=1, lr=0.01))
    assert made.probabilities == logits
    run = imu.unlearn(made, net(3), steps=1, lr=1e-3, reference=imu.references(made, range(2)))
    found = set(run.curve["metric"])
    assert "accuracy" in found and ("kl_retrained" in found) == logits


@pytest.mark.few(4)
@pytest.mark.parametrize("estimator", ["exact", "kfac", "fisher-diagonal", "tracin"])
@pytest.mark.parametrize(
    "outputs, targets, loss", [(1, LABELS > 0, None), (1, REAL, nn.MSELoss(reduction="none")), (3, LABELS, focal)]
)
def test_one_logit_and_any_loss_have_curvature(outputs: int, targets: Tensor, loss: Any, estimator: str) -> None:
    """The closed form of the head agrees with the whole network's general one."""
    model = net(outputs).double()
    made = task(model, (PICTURES.double(), targets), (TEST[0].double(), targets[:9]), loss=loss)
    cached, whole = (torch.tensor(imu.influence(made, model, estimator, cache=cache).values) for cache in (True, False))
    assert cases.relative(cached, whole) < 1e-6


# What the model says of itself.


@pytest.mark.few(2)
@pytest.mark.parametrize("still, readout", [
    (["body", "middle"], None), (["body", "middle"], "all"), (["head.bias"], None), (["head.bias"], "all"),
    (["head.weight"], ("head",)), (["middle.weight", "body"], ("middle", "head")), (["body.1"], "all"),
])  # fmt: skip
def test_what_may_not_move_never_does(still: list[str], readout: Any) -> None:
    model = net()
    for name, value in model.named_parameters():
        value.requires_grad_(not name.startswith(tuple(still)))
    flags = {name: value.requires_grad for name, value in model.named_parameters()}
    made = task(model, readout=readout)
    names = ("",) if readout == "all" else readout or ("head",)
    agrees(imu.influence(made, model, "gradient-dot"), looped(model, lambda m, x: m(x), cross_entropy, LABELS, names))
    assert np.isfinite(imu.influence(made, model, "fisher-diagonal").values).all()
    retrained = imu.train(made, "retain")
    runs = [imu.unlearn(made, model, steps=2, lr=1e-2, method=name) for name in ("imu", "gradient-ascent", "fine-tune")]
    runs.append(imu.unlearn(made, model, steps=2, method="retrain"))
    for name, value in model.named_parameters():
        for other in (retrained, *(run.model for run in runs)):
            mine = other.get_parameter(name)
            assert mine.requires_grad is flags[name]
            if not flags[name]:
                assert torch.equal(mine, value), name
    assert not torch.equal(retrained.head.bias if flags["head.bias"] else retrained.head.weight,
                           model.head.bias if flags["head.bias"] else model.head.weight)  # fmt: skip
    assert "may not move: the retrained model keeps them" in made.about


def test_a_frozen_backbone_keeps_its_running_means_when_retrained() -> None:
    """The retrained model is another head on the same backbone, so what reaches the head is the same."""
    model = net()
    model.body.requires_grad_(False), model.middle.requires_grad_(False)
    retrained = imu.train(task(model), "retain")
    assert torch.equal(retrained.body(PICTURES), model.body(PICTURES))


def test_a_readout_that_may_not_move_is_refused() -> None:
    model = net()
    model.head.requires_grad_(False)
    with pytest.raises(ValueError, match=r"no parameter of the readout head may move.*requires_grad_\(True\)"):
        imu.influence(task(model), model)


def test_a_model_set_up_to_be_used_only_says_nothing_of_what_may_move() -> None:
    model = net()
    expected = imu.influence(task(model), model).values
    still = copy.deepcopy(model).requires_grad_(False)
    made = task(still)
    assert np.array_equal(imu.influence(made, still).values, expected) and "all may move" in made.about
    assert not torch.equal(imu.train(made, "retain").head.weight, model.head.weight)


# Each output its sample's own.


@pytest.mark.parametrize("make, said", [
    (lambda: nn.BatchNorm2d(3, track_running_stats=False), "looks across the batch"),
    (lambda: Across(), "looks across the batch"), (lambda: Draws(), "another output each time"),
    (lambda: Draws(0.0, 1e-4), "another output each time"),
], ids=["batch statistics", "a mean over samples", "dropout in eval mode", "a little noise"])  # fmt: skip
def test_an_output_that_is_not_the_samples_own_is_refused(make: Callable, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task(nn.Sequential(make(), net()).eval())


def test_dropout_that_happens_to_draw_alike_once_is_still_seen() -> None:
    """A few units are kept by chance alone in a share of all draws; what is asked twice more is not."""
    for seed in range(20):
        torch.manual_seed(seed)
        with pytest.raises(ValueError, match="another output each time"):
            task(nn.Sequential(nn.Flatten(), nn.Linear(192, 3), Draws(), nn.Linear(3, 3)).eval())


def test_a_model_that_needs_company_is_refused() -> None:
    class Needs(nn.Module):
        """BatchNorm of rows refuses a single one."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(192, track_running_stats=False), nn.Linear(192, 3)

        def forward(self, x: Tensor) -> Tensor:
            """(n, 3, 8, 8) to (n, 3)."""
            return self.head(self.norm(x.flatten(1)))

    with pytest.raises(ValueError, match="cannot take one sample alone"):
        task(Needs().eval())


class Across(nn.Module):
    """Takes the mean over samples away."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x - x.mean(0)


class Draws(nn.Module):
    """Drops out, or adds noise, without asking its mode."""

    def __init__(self, share: float = 0.5, noise: float = 0.0) -> None:
        super().__init__()
        self.share, self.noise = share, noise

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return nn.functional.dropout(x, self.share) + self.noise * torch.randn_like(x)


# Wrappers and precisions.


@pytest.mark.few(2)
@pytest.mark.parametrize("wrap", [
    torch.compile, nn.DataParallel, lambda m: torch.compile(nn.DataParallel(m)), lambda m: nn.DataParallel(torch.compile(m)),
    lambda m: (m.compile(), m)[1], lambda m: (setattr(m, "body", torch.compile(m.body)), m)[1],
], ids=["compile", "DataParallel", "both", "both, the other way", "compiled in place", "a part"])  # fmt: skip
def test_wrappers_are_taken_off(wrap: Callable) -> None:
    plain, wrapped = net(), wrap(net())
    made = task(wrapped)
    assert made.data == task(plain).data
    expected = imu.influence(task(plain), plain).values
    assert cases.relative(torch.tensor(imu.influence(made, wrapped).values), torch.tensor(expected)) < 1e-5
    run = imu.unlearn(made, wrapped, steps=2, lr=1e-3)
    assert type(run.model) is Net and made.evaluate(wrapped, "test") == made.evaluate(plain, "test")


def patched(model: Net, held: Callable) -> Net:
    """The model, a layer of which is called through a function that holds what it calls; in a copy, what the original calls."""
    model.middle.forward = lambda x: 2 * held(x)
    return model


@pytest.mark.parametrize("way", [functools.partial, types.MethodType])
def test_a_forward_that_a_copy_takes_along_is_taken(way: Callable) -> None:
    def forward(layer: nn.Linear, x: Tensor) -> Tensor:
        return nn.functional.linear(x, 2 * layer.weight, layer.bias)

    model, plain = net(), net()
    model.head.forward = way(forward, model.head)
    with torch.no_grad():
        plain.head.weight *= 2
    of_one, of_other = (imu.influence(task(each), each, "el2n").values for each in (model, plain))
    assert cases.relative(torch.tensor(of_one), torch.tensor(of_other)) < 1e-5


@pytest.mark.filterwarnings("ignore")  # torch's own words on what it has given up
@pytest.mark.parametrize("close, said", [
    (lambda m: torch.jit.trace(m, PICTURES[:2]), "scripted or traced; hand over the module it was made from"),
    (lambda m: nn.Sequential(torch.jit.trace(m, PICTURES[:2])), "its part '0' is scripted or traced"),
    (lambda m: m.to("meta"), "on torch's meta device, where tensors have no values"),
    (lambda m: torch.ao.quantization.quantize_dynamic(m, {nn.Linear}), "its part 'middle' is quantised"),
    (lambda m: nn.Sequential(nn.LazyLinear(3)), r"its part '0' is lazy, .*; call model\(inputs\) once"),
    (lambda m: patched(m, m.middle.forward), "its part 'middle' is called through a function that holds parts of the model"),
    (lambda m: patched(m, m.head), "write it as a method of the module's class"),
], ids=["traced", "a traced part", "meta", "quantised", "lazy", "another's forward", "another layer"])  # fmt: skip
def test_a_closed_model_is_refused_when_the_task_is_made(close: Callable, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task(close(net()))


@pytest.mark.filterwarnings("ignore")  # torch's own words on the older way
@pytest.mark.parametrize("readout", [None, "all"])
def test_weights_that_a_hook_computes_are_those_of_a_parametrization(readout: Any) -> None:
    older, newer = net(), net()
    nn.utils.weight_norm(older.head), nn.utils.parametrizations.weight_norm(newer.head)
    older(PICTURES[:2])  # leaves a computed weight in the module, which torch cannot copy
    old, new = task(older, readout=readout), task(newer, readout=readout)
    for estimator in ("fisher-diagonal", "gradient-norm"):
        values = [imu.influence(each, model, estimator).values for each, model in ((old, older), (new, newer))]
        assert cases.relative(*map(torch.tensor, values)) < 1e-5
    runs = [imu.unlearn(each, model, steps=3, lr=1e-2) for each, model in ((old, older), (new, newer))]
    assert cases.relative(*(run.model(PICTURES) for run in runs)) < 1e-5
    assert cases.relative(runs[0].model(PICTURES), older(PICTURES)) > 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_said_once(dtype: torch.dtype) -> None:
    half = net().to(dtype)
    with pytest.warns(UserWarning, match=f"the model is in {str(dtype)[6:]}; a copy in float32 is worked on"):
        made = task(half, (PICTURES.to(dtype), LABELS), (TEST[0].to(dtype), TEST[1]))
    single = copy.deepcopy(half).float()
    expected = imu.influence(task(single, (PICTURES.to(dtype).float(), LABELS)), single).values
    found = imu.influence(made, half).values  # and not a word more: warnings are errors here
    assert cases.relative(torch.tensor(found), torch.tensor(expected)) < 1e-5
    assert imu.unlearn(made, half, steps=1, lr=1e-3).model.head.weight.dtype == torch.float32


class Autocast(nn.Module):
    """Half precision within itself, and real numbers outside."""

    def __init__(self, out: type | None = None) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        """As the network inside."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x).float()


def test_autocast_is_refused_inside_and_without_effect_outside() -> None:
    with pytest.raises(ValueError, match="bfloat16 within itself"):
        task(Autocast())
    model = net()
    expected = imu.influence(task(model), model).values
    with torch.autocast("cpu", torch.bfloat16):
        found = imu.influence(task(model), model, cache=False).values
    assert cases.relative(torch.tensor(found), torch.tensor(expected)) < 1e-4


@pytest.mark.parametrize("given, error, said", [
    ("a model", TypeError, "expected a torch.nn.Module, got str"), (lambda x: x, TypeError, "got function"),
])  # fmt: skip
def test_what_is_no_module_is_refused(given: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        task(given)


# Several processes.


def with_workers(model: nn.Module, pairs: torch.utils.data.Dataset, seed: int) -> nn.Module:
    """A user's own training, whose data come from another process."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    model.train()
    loader = torch.utils.data.DataLoader(pairs, 8, num_workers=1, multiprocessing_context="spawn")
    for inputs, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model


@pytest.mark.slow
def test_a_users_training_may_load_in_another_process() -> None:
    model = net()
    model.answer = plain
    made = task(model, train_fn=with_workers)
    retrained = imu.train(made, "retain")
    assert retrained.head.weight.isfinite().all() and not torch.equal(retrained.head.weight, model.head.weight)


def plain(self: nn.Module, logits: Tensor) -> Tensor:
    return logits


def test_a_task_with_model_and_loss_can_be_pickled_and_copied() -> None:
    model = net(answer=as_dict)
    made = task(model, loss=weighted)
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert again == made and again.about == made.about
        expected = imu.influence(made, model, "gradient-dot").values
        assert np.array_equal(imu.influence(again, imu.train(again), "gradient-dot").values, expected)


def test_two_ways_to_a_fresh_model_are_two_tasks() -> None:
    """What was asked of the first must not answer for the second: weights, data and request are the same."""
    model = Net().eval()

    def made(begin: float, train_fn: Callable | None = None) -> Classification:
        def make_model() -> nn.Module:
            fresh = Net()
            nn.init.constant_(fresh.head.weight, begin)
            return fresh

        given = dict(forget_indices=[0, 1, 2], make_model=make_model, train_fn=train_fn)
        return Classification.from_data(model, (PICTURES, LABELS), TEST, **given)

    assert made(0.5) == made(0.5) and made(0.5) != made(0.25)
    assert made(0.5, lambda fresh, data, seed: fresh) != made(0.5)
    for begin in (0.5, 0.25):
        run = imu.unlearn(made(begin), model, method="eu-k", steps=1, lr=1e-9)
        assert cases.close(run.model.head.weight, torch.full((3, 5), begin), within=1e-6)


@pytest.mark.parametrize("device", ["tpu9", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_in_words(device: Any) -> None:
    with pytest.raises(
        ValueError, match=f"device={device!r} is none that models can be on here: .*; leave it out"
    ) as caught:
        task(net(), device=device)
    assert "\n" not in str(caught.value)
