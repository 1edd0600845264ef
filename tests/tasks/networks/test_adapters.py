"""LoRA adapters: they alone move, their influence is that of one gradient after the other, and folders of them are read."""

from __future__ import annotations

from pathlib import Path

import cases
import pytest
import torch
from languages import tiny
from torch import nn

import imu_lab as imu
from imu_lab.tasks.networks import adapters

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
peft = pytest.importorskip("peft", reason="peft is not installed; it is in the extra llm")

SIZES = dict(n_embd=8, n_layer=2, n_head=2, n_positions=128, bos_token_id=0, eos_token_id=0)


def trained(network: nn.Module) -> nn.Module:
    """Adapters as training leaves them: fresh ones change nothing, and half of their gradients are zero."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.named_parameters():
        if "lora_B" in name:
            value.data = 0.3 * torch.randn(value.shape, generator=generator).to(value)
    return network.double().eval()


def gpt(task: imu.tasks.Language, tied: bool) -> nn.Module:
    """A small GPT-2 with trained adapters, as peft makes it."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=task.codec.words, tie_word_embeddings=tied, **SIZES)
    return trained(adapters.adapted(transformers.GPT2LMHeadModel(config), 2, seed=0))


def looped(network: nn.Module, task: imu.tasks.Language, chosen: list[nn.Parameter]) -> torch.Tensor:
    """(n, P) the gradient of each pair to be forgotten, one at a time by the network's own loss."""
    rows = []
    for at in task.split("forget").ids.tolist():
        pair = task.corpus.train[at]
        prompt, answer = task.codec.prompts([pair.question])[0], task.codec.answers([pair.answer])[0]
        labels = torch.tensor([[-100] * len(prompt) + answer])
        loss = network(input_ids=torch.tensor([prompt + answer]), labels=labels).loss
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, chosen)]))
    return torch.stack(rows)


@pytest.mark.parametrize("tied", [True, False])
def test_influence_of_adapters_is_that_of_one_gradient_after_the_other(tied: bool) -> None:
    task = tiny(readout="adapters")
    model = gpt(task, tied)
    chosen = [value for name, value in model.named_parameters() if "lora_" in name]
    rows = looped(model, task, chosen)
    expected = -(rows / (rows.square().mean(0) + 1e-2)) @ rows.mean(0)
    assert cases.close(imu.influence(task, model, damping=1e-2).values, expected, within=1e-6)
    assert cases.close(imu.influence(task, model, "gradient-dot").values, -rows @ rows.mean(0), within=1e-6)


@pytest.mark.full
def test_only_the_adapters_move() -> None:
    task = tiny(adapters=2)
    model = task.make_model(0).eval()
    assert task.readout == adapters.WHERE and {value.requires_grad for value in model.parameters()} == {True, False}
    run = imu.unlearn(task, model, steps=2, follow=(), record_every=2)
    after, before = run.model.state_dict(), model.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved and all("lora_" in name for name in moved)
    recipe = imu.tasks.Recipe(epochs=1, optimizer="adamw", batch_size=8)
    learned = imu.train(task, recipe=recipe).state_dict()
    assert {"lora_" in name for name, value in before.items() if not torch.equal(value, learned[name])} == {True}


def test_a_folder_of_adapters_gives_the_model_that_they_are_made_for_with_them(tmp_path: Path) -> None:
    task = tiny()
    config = transformers.GPT2Config(vocab_size=task.codec.words, **SIZES)
    base, folder = tmp_path / "base", tmp_path / "adapters"
    network = transformers.GPT2LMHeadModel(config)
    network.save_pretrained(base)
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=task.codec.tokenizer.backend_tokenizer, eos_token="<end>"
    )
    words.save_pretrained(base)
    made = trained(adapters.adapted(transformers.GPT2LMHeadModel.from_pretrained(base), 2, seed=0)).float()
    made.save_pretrained(folder)
    loaded = tiny(model=str(folder), readout="adapters", recipe=None)
    model = loaded.make_model(0).eval()
    batch = loaded.split("forget").batch()
    assert cases.close(model(batch.inputs), loaded.prepared(made)(batch.inputs), within=1e-5)
    assert imu.influence(loaded, model).values.std() > 0
    (folder / adapters.SETTINGS).write_text('{"base_model_name_or_path": null}')
    with pytest.raises(ValueError, match="does not say for which model these adapters are made"):
        adapters.base_of(str(folder))


def test_without_peft_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.tasks.networks.installed.find_spec", lambda name: None if name == "peft" else name)
    for given in ({"adapters": 4}, {"readout": "adapters"}):
        with pytest.raises(ImportError, match=r'adapters need peft, which cannot be imported here.*"imu_lab\[llm\]"'):
            tiny(**given)
    with pytest.raises(ValueError, match="adapters must be a whole number >= 1, got 0"):
        tiny(adapters=0)


def test_a_model_without_adapters_has_none_to_move() -> None:
    with pytest.raises(imu.UnknownName, match=r"unknown module: '\*.lora_A'"):
        imu.influence(tiny(readout="adapters"), tiny().make_model(0))
