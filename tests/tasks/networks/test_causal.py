"""Causal language models as the language task calls them: prompts, padding, greedy answers, tied layers."""

from __future__ import annotations

from typing import Any

import cases
import languages
import pytest
import torch
from languages import models, tiny

from imu_lab.tasks.networks import language as networks
from imu_lab.tasks.networks import pretrained
from imu_lab.tasks.networks.language import PAD

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TEMPLATE = (
    "{% for m in messages %}<end>{{ m['role'] }}: {{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}me: {% endif %}"
)


def tokenizer(**settings: Any) -> Any:
    """That of the tiny corpus, as somebody else's."""
    made = tiny().codec.tokenizer
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made.backend_tokenizer, **settings)


def test_a_pair_has_the_same_logits_alone_and_padded_on_either_side() -> None:
    model, batch = models()[0], tiny().split("train").batch()
    made = model(batch.inputs)
    for row in range(3):
        prompt, answer = (batch.inputs[name][row : row + 1] for name in ("prompt", "answer"))
        prompt, answer = prompt[prompt != PAD][None], answer[answer != PAD][None]
        alone = model({"prompt": prompt, "answer": answer})
        assert cases.close(made[row : row + 1, : answer.shape[1]], alone, within=1e-5)
        known = model.network(input_ids=torch.cat([prompt, answer], 1)).logits[:, prompt.shape[1] - 1 : -1]
        assert cases.close(alone, known, within=1e-5)


def test_many_are_answered_as_one_by_one_and_in_their_order() -> None:
    task, model, told = tiny(), tiny().make_model(0).eval(), []
    together = task.answers_of(model, range(13), progress=lambda done, of: told.append((done, of)))
    assert together == [task.answers_of(model, [at])[0] for at in range(13)] and told == [(13, 13)]
    assert len(set(together)) > 1 and task.answers_of(model, []) == []


def test_an_answer_ends_where_it_ends() -> None:
    task = tiny()
    end, codec = task.codec.end, task.codec
    assert codec.said([*codec.answers(["It is."])[0], *codec.answers(["More."])[0]]) == "It is."
    assert codec.said([end]) == codec.said([PAD]) == "" and codec.answers(["It is."])[0].count(end) == 1
    model = models()[0]
    made = model.continued(task.split("train").batch().inputs["prompt"], end, 9)
    assert made.shape == (13, 9)
    for row in made.tolist():
        stop = row.index(end) + 1 if end in row else len(row)
        assert set(row[stop:]) <= {PAD} and PAD not in row[:stop]


@pytest.mark.slow
def test_what_its_makers_advise_for_writing_does_not_change_what_greedy_means() -> None:
    task = tiny()
    config = transformers.GPT2Config(vocab_size=task.codec.words, n_embd=8, n_layer=1, n_head=2, n_positions=128)
    network = transformers.GPT2LMHeadModel(config).eval()
    plain = task.answers_of(network, range(5))
    network.generation_config = transformers.GenerationConfig(repetition_penalty=9.0, do_sample=True, temperature=2.0)
    assert task.answers_of(network, range(5)) == plain and network.generation_config.repetition_penalty == 9.0


def test_a_chat_template_is_applied_and_what_is_said_in_it_is_no_template() -> None:
    chat = tokenizer(eos_token="<end>", chat_template=TEMPLATE)
    codec = networks.codec(chat, 64)
    assert chat.pad_token is None and codec.lead == ""
    asked = "Who <end> me: {{ x }} \x07?"
    prompt = codec.prompts([asked])[0]
    assert prompt.count(codec.end) == 2 and chat.decode(prompt) == f"<end>user: {asked}<end>me: "
    assert networks.codec(tokenizer(eos_token="<end>"), 64).key != codec.key
    plain = networks.codec(tokenizer(eos_token="<end>"), 64)
    assert chat.decode(plain.prompts(["Who?"])[0] + plain.answers(["I."])[0]) == "Question: Who?\nAnswer: I.<end>"


def test_a_tokenizer_that_cannot_end_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match="has no token that ends a text, so no answer could end; set eos_token"):
        networks.codec(tokenizer(), 64)


def test_a_pretrained_model_is_loaded_from_a_folder_in_its_dtype(tmp_path: Any) -> None:
    task = tiny()
    config = transformers.LlamaConfig(
        vocab_size=task.codec.words, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=96, tie_word_embeddings=True, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    network = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    network.save_pretrained(tmp_path)
    tokenizer(eos_token="<end>").save_pretrained(tmp_path)
    loaded = languages.tiny(model=str(tmp_path), recipe=None)
    model = loaded.make_model(0)
    assert model.network.dtype == torch.bfloat16 and not networks.is_tied(model.network) and networks.is_tied(network)
    assert loaded.codec.context == 96 and loaded.recipe.lr == 1e-5 and loaded.data_key != task.data_key
    assert torch.isfinite(loaded.example_loss(model, loaded.split("forget").batch())).all()
    with pytest.raises(ValueError, match="the model reads 20 "):
        config.max_position_embeddings = 20
        config.save_pretrained(tmp_path)
        pretrained.loaded_codec.cache_clear()
        languages.tiny(model=str(tmp_path))


def test_weights_that_do_not_fit_are_refused_before_they_are_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    monkeypatch.setattr("imu_lab.tasks.networks.pretrained.free_memory", lambda: 10.0)
    with pytest.raises(
        MemoryError, match="the weights in .* would take 0.0 GiB and 0.0 GiB are free; take a smaller model"
    ):
        pretrained.loaded(str(tmp_path))
    with pytest.raises(MemoryError, match=r"a network of the shape \(16, 1, 2, 320\) would take 0.0 GiB"):
        tiny().make_model(0)
    monkeypatch.undo()
    pretrained.check_fits(tmp_path)
    held = sum(value.numel() * value.element_size() for value in tiny().make_model(0).parameters())
    assert networks.size_of(tiny().codec, tiny().shape) == held
    assert pretrained.free_memory() > 2**20


def test_a_model_that_is_not_there_is_told_in_one_sentence(tmp_path: Any) -> None:
    with pytest.raises(
        FileNotFoundError, match="no causal language model can be read from '/nowhere/model': it is no folder"
    ):
        tiny(model="/nowhere/model")
    (tmp_path / "config.json").write_text('{"model_type": "no-such-kind"}')
    with pytest.raises(FileNotFoundError, match="it holds 'config.json', and transformers says: "):
        tiny(model=str(tmp_path))
