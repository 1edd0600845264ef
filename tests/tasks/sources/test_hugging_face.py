"""Models of Hugging Face, made of a config: asked with tensors or with dicts, through influence, a run, a file and retraining."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.tasks import training

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

PICTURES = torch.randn(30, 3, 16, 16, generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(1, 40, (30, 7), generator=torch.Generator().manual_seed(1))
MASK = (torch.arange(7) < torch.arange(30)[:, None] % 5 + 3).long()
LABELS = torch.arange(30) % 3
FEW = imu.tasks.Recipe(epochs=1, lr=0.01, batch_size=8)


def vit() -> nn.Module:
    """A vision transformer of two small layers."""
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=4, num_labels=3
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def resnet() -> nn.Module:
    """A residual network of two small stages."""
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3, layer_type="basic"
    )
    return transformers.ResNetForImageClassification(config)


def bert() -> nn.Module:
    """A reader of words."""
    config = transformers.DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=32, num_labels=3,
                                           max_position_embeddings=8)  # fmt: skip
    return transformers.DistilBertForSequenceClassification(config)


class Samples(torch.utils.data.Dataset):
    """Dict samples, as ``datasets`` gives them."""

    def __init__(self, inputs: dict[str, Tensor]) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {**{name: value[i].numpy() for name, value in self.inputs.items()}, "labels": int(LABELS[i]), "idx": i}


READ = {"input_ids": WORDS, "attention_mask": MASK}
CASES = {
    "ViT, tensors": (vit, (PICTURES, LABELS), {"pixel_values": PICTURES}),
    "ViT, a processor's dict": (
        vit,
        (transformers.BatchFeature({"pixel_values": PICTURES}), LABELS),
        {"pixel_values": PICTURES},
    ),
    "ViT, dict samples": (vit, Samples({"pixel_values": PICTURES}), {"pixel_values": PICTURES}),
    "ResNet, tensors": (resnet, (PICTURES, LABELS), {"pixel_values": PICTURES}),
    "ResNet, columns": (resnet, {"pixel_values": PICTURES.numpy(), "labels": LABELS}, {"pixel_values": PICTURES}),
    "words, a tokenizer's dict": (bert, (transformers.BatchEncoding(READ), LABELS), READ),
    "words, dict samples": (bert, Samples(READ), READ),
}


def looped(model: nn.Module, inputs: dict[str, Tensor]) -> np.ndarray:
    """Minus the product of each forget sample's readout gradient with their mean, by one autograd call each."""
    rows = []
    for i in range(6):
        made = model(**{name: value[i : i + 1] for name, value in inputs.items()}).logits
        loss = nn.functional.cross_entropy(made, LABELS[i : i + 1])
        rows.append(
            torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.classifier.parameters()))])
        )
    each = torch.stack(rows)
    return -(each @ each.mean(0)).numpy()


def first_nine(data: Any) -> Any:
    """The first samples of data in any of these forms."""
    if isinstance(data, Samples):
        return torch.utils.data.Subset(data, range(9))
    if isinstance(data, tuple):
        return tuple(map(first_nine, data))
    return data[:9] if isinstance(data, Tensor | np.ndarray) else {name: value[:9] for name, value in data.items()}


@pytest.mark.few(2)
@pytest.mark.parametrize("make, data, inputs", CASES.values(), ids=list(CASES))
def test_a_model_goes_through_influence_a_run_a_file_and_retraining(
    make: Any, data: Any, inputs: dict, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    test = first_nine(data)
    with pytest.warns(UserWarning, match="share 9 identical inputs"):
        task = imu.tasks.Classification.from_data(model, data, test, forget_indices=range(6), recipe=FEW)
    expected = looped(model, inputs)
    for cache in (True, False):
        found = imu.influence(task, model, "gradient-dot", cache=cache).values
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
    run = imu.unlearn(task, model, steps=2, lr=1e-3)
    run.save(tmp_path / "run.imu")
    again = imu.load_run(tmp_path / "run.imu", task=task)
    few = {name: value[:2] for name, value in inputs.items()}
    assert type(run.model) is type(model) and torch.equal(again.model(**few).logits, run.model(**few).logits)
    assert not torch.equal(run.model(**few).logits, model(**few).logits)
    retrained = imu.train(task, "retain")
    assert retrained(**few).logits.shape == (2, 3)
    assert not torch.equal(*(next(each.classifier.parameters()) for each in (retrained, model)))
    assert len(imu.resistance(imu.unlearn(task, model, steps=2, lr=1e-3, reference=retrained))) == 6
    assert not model._forward_hooks and "the logits of what the model answers" in task.about


def test_the_whole_network_has_its_gradients_too() -> None:
    torch.manual_seed(0)
    model = vit().eval()
    task = imu.tasks.Classification.from_data(
        model, (PICTURES, LABELS), (PICTURES[:9] + 1, LABELS[:9]), forget_indices=range(6), readout="all"
    )
    rows = []
    for i in range(6):
        loss = nn.functional.cross_entropy(model(PICTURES[i : i + 1]).logits, LABELS[i : i + 1])
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]))
    each = torch.stack(rows)
    found = torch.tensor(imu.influence(task, model, "gradient-dot").values)
    assert cases.relative(found, -(each @ each.mean(0))) < 1e-3


def test_names_that_the_model_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match="the members 'a', 'b' beside its label, and the model takes 'pixel_values'"):
        imu.tasks.Classification.from_data(
            vit(), ({"a": PICTURES, "b": PICTURES}, LABELS), (PICTURES, LABELS), forget_class=0
        )


class Plain(nn.Module):
    """The same network, asked with a tensor and answering with one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 3)."""
        return self.inner(pictures).logits


def test_what_looks_at_the_pictures_themselves_finds_them_whatever_name_they_go_by() -> None:
    """A step along the gradient at the input, and augmentation in training: as for a network that takes a tensor."""
    pictures = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels, recipe = torch.arange(24) % 3, imu.tasks.Recipe(epochs=1, lr=0.01, batch_size=8, augment=True)
    torch.manual_seed(0)
    made = vit().eval()
    states = []
    for model in (made, Plain(made).eval()):
        task = imu.tasks.Classification.from_data(
            model, (pictures[:18], labels[:18]), (pictures[18:], labels[18:]), forget_class=0, recipe=recipe
        )
        original = imu.train(task)
        how = {"method": "boundary-shrink", "scope": "all", "steps": 2, "lr": 0.01, "momentum": 0.0}
        states += [imu.unlearn(task, original, **how).model.state_dict()]
        trained = training.Training(task, copy.deepcopy(original), task.split("retain"), recipe, 0)
        for _ in trained:
            pass
        states += [trained.model.state_dict()]
    for one, other in zip(states[:2], states[2:]):
        assert all(cases.close(other[f"inner.{key}"], value, within=1e-5) for key, value in one.items())
    before = made.state_dict()
    assert all(any(not torch.equal(each[key], value) for key, value in before.items()) for each in states[:2])


@pytest.mark.parametrize("words", [False, True])
def test_classes_are_called_what_the_model_calls_its_outputs(words: bool) -> None:
    """Sorted, as words are numbered that nothing is known of, they would stand for other outputs."""
    names = {0: "sport", 1: "arts", 2: "news"}
    model = bert()
    model.config.id2label = names
    labels = np.array([names[int(each)] for each in LABELS]) if words else LABELS
    made = imu.tasks.Classification.from_data(model, (WORDS, labels), (WORDS.flip(1), labels), forget_class="arts")
    assert made.classes == ("sport", "arts", "news")
    assert torch.equal(made.split("train").batch().targets, LABELS)
    own = imu.tasks.Classification.from_data(
        model, (WORDS, labels), (WORDS.flip(1), labels), classes=["news", "sport", "arts"], forget_class="arts"
    )
    assert own.classes == ("news", "sport", "arts"), "what is written down beats what the model says"
    other = np.array(["b", "c", "a"])[LABELS]
    silent = imu.tasks.Classification.from_data(bert(), (WORDS, other), (WORDS.flip(1), other), forget_class="a")
    assert silent.classes == ("a", "b", "c")
