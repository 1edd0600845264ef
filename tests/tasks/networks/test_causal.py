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
    assert model.network.dtype == torch.bfloat16 and not languages.is_tied(model.network) and languages.is_tied(network)
    assert loaded.codec.context == 96 and loaded.recipe.lr == 1e-5 and loaded.data_key != task.data_key
    assert torch.isfinite(loaded.example_loss(model, loaded.split("forget").batch())).all()
    with pytest.raises(ValueError, match="the model reads 20 "):
        config.max_position_embeddings = 20
        config.save_pretrained(tmp_path)
        pretrained.loaded_codec.cache_clear()
        languages.tiny(model=str(tmp_path))


def test_pairs_longer_than_a_sliding_window_are_refused(tmp_path: Any) -> None:
    """Within the window the mask of padded pairs is the model's own; beyond it, tokens would be seen that the model hides."""
    config = transformers.MistralConfig(
        vocab_size=tiny().codec.words, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=96, sliding_window=90, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    network = transformers.MistralForCausalLM(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer(eos_token="<end>").save_pretrained(tmp_path)
    task = languages.tiny(model=str(tmp_path), recipe=None)
    pair = task.split("forget").take(torch.tensor([0]))
    inputs, targets = pair.batch()
    tokens = torch.cat([inputs["prompt"], targets["tokens"][:, 1:]], 1)
    tokens = tokens[tokens != networks.PAD][None]
    count = int((targets["tokens"][:, 1:] != networks.PAD).sum())
    with torch.no_grad():
        logs = network(tokens).logits.log_softmax(-1)[0, -count - 1 : -1].gather(1, tokens[0, -count:, None])
    assert cases.close(task.losses(task.make_model(0).eval(), pair), -logs.mean()[None].double(), within=1e-5)
    config.sliding_window = 20
    config.save_pretrained(tmp_path)
    pretrained.loaded_codec.cache_clear()
    with pytest.raises(ValueError, match="the model reads 20 "):
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


class Hub:
    """Stands for a hub that tells a model's configuration; its weights must not be asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **sizes: Any) -> None:
        config = transformers.LlamaConfig(**{"num_hidden_layers": 1, "num_attention_heads": 2, **sizes})
        monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda name: config)
        monkeypatch.setattr(
            transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("weights are fetched")
        )


@pytest.mark.parametrize("dtype, each", [(torch.bfloat16, 2), (None, 4)])
def test_a_model_of_the_hub_is_measured_by_its_configuration_before_it_is_fetched(
    dtype: torch.dtype | None, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch, hidden_size=2**16, intermediate_size=2, vocab_size=100, dtype=dtype)
    monkeypatch.setattr(pretrained, "free_memory", lambda: 8 * 2**30)
    # In units of 2^16: four squares, three sides of the inner layer with two each, two vocabularies of 100, three norms.
    count = 4 * 2**32 + (3 * 2 + 2 * 100 + 3) * 2**16
    size = f"{each * count / 2**30:.1f}"
    with pytest.raises(
        MemoryError, match=f"the 17,194 M parameters of 'somebody/large' would take {size} GiB and 8.0 GiB"
    ):
        pretrained.loaded("somebody/large")


def test_without_a_network_a_name_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to the hub to load the files.\nCheck your internet connection.")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unreachable)
    for asked in (lambda: tiny(model="somebody/small"), lambda: pretrained.loaded("somebody/small")):
        with pytest.raises(
            FileNotFoundError, match="'somebody/small': it is no folder here, .*load the files. Give"
        ) as told:
            asked()
        assert "\n" not in str(told.value)


def saved(folder: Any, words: int, **settings: Any) -> str:
    """A small Llama with a tokenizer of 320 words at most."""
    config = transformers.LlamaConfig(
        vocab_size=words, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=96, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer(eos_token="<end>", **settings).save_pretrained(folder)
    return str(folder)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Any) -> None:
    words = tiny().codec.words
    with pytest.raises(
        ValueError, match=r"makes token \d+ of a train pair, and the model knows 280 tokens: they do not"
    ):
        tiny(model=saved(tmp_path / "few", 280))
    assert tiny(model=saved(tmp_path / "more", words + 64)).codec.known_words == words + 64


def test_weights_that_the_files_lack_are_not_drawn_at_random(tmp_path: Any) -> None:
    folder = saved(tmp_path, tiny().codec.words)
    transformers.LlamaForCausalLM.from_pretrained(folder).model.save_pretrained(folder)
    with pytest.raises(ValueError, match="lack 1 of the weights of a LlamaForCausalLM, such as 'lm_head.weight'"):
        pretrained.loaded(folder)


@pytest.mark.parametrize(
    "template, message",
    [
        ("{{ messages[0]['content'] | upper }}", "changes what a person says"),
        ("{{ messages[0]['content'] }} {{ messages[0]['content'] }}", "says it several times"),
        ("{{ raise_exception('no system message') }}", r"fails on one question of a user \(no system message\)"),
        ("{{ messages[0]['content'] }", "fails on one question of a user"),
    ],
)
def test_a_chat_template_that_no_question_fits_into_is_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"the tokenizer's chat template {message}.*set chat_template to None"):
        networks.codec(tokenizer(eos_token="<end>", chat_template=template), 64)


@pytest.mark.parametrize("single", ["$A <end>", "<end> $A <end>", "<end> $A"])
def test_what_a_tokenizer_adds_by_itself_stands_neither_in_nor_behind_a_prompt(single: str) -> None:
    from tokenizers import Tokenizer, processors

    plain = networks.codec(tokenizer(eos_token="<end>"), 64)
    own = Tokenizer.from_str(tiny().codec.tokenizer.backend_tokenizer.to_str())
    own.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<end>", 0)])
    adding = networks.codec(transformers.PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<end>"), 64)
    assert adding.prompts(["Who?"]) == plain.prompts(["Who?"]) and adding.answers(["I."]) == plain.answers(["I."])
    assert adding.answers(["I."])[0].count(0) == 1
