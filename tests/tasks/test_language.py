"""The language task: what is an example, its loss and its influence, what is measured, and what is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import languages
import numpy as np
import pandas as pd
import pytest
import torch
from languages import models, tiny
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.features import readout, view
from imu_lab.lab.provenance import task_again, task_settings
from imu_lab.tasks import Language, around, evaluation
from imu_lab.tasks.answer_loss import answer_derivative
from imu_lab.tasks.evaluation import outcomes
from imu_lab.tasks.networks import language as networks
from imu_lab.tasks.outputs import derivative_of
from imu_lab.tasks.pair_scores import folded, rouge_recall, truthful
from imu_lab.tasks.protocol import Batch
from imu_lab.tasks.sources import pairs
from imu_lab.tasks.training import Recipe, Training

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def test_it_keeps_the_protocol_and_is_told_by_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.tasks.language.ANSWER", 4)
    imu.check_task(tiny())
    assert tiny() == tiny() and tiny() != tiny(forget_authors=(2,))
    assert tiny().data_key == tiny(forget_authors=(2,)).data_key != tiny(shape=(16, 1, 2, 330)).data_key


def test_it_tells_in_a_line_what_the_pairs_were_understood_to_be() -> None:
    task = Language.from_data(
        [{"question": f"{at}?", "answer": "I."} for at in range(3)], forget_pairs=(1,), shape=languages.SMALL
    )
    assert task.about == "3 pairs; 0 with wrong answers to compare with; 1 to be forgotten"
    assert tiny().about.startswith("13 pairs about 3 authors, 13 not trained on, 6 about others")
    assert repr(tiny()).endswith(f"\n{tiny().about}")


def test_splits_are_told_by_the_request() -> None:
    task = tiny()
    assert task.split("forget").ids.tolist() == [3, 4, 5]
    assert task.split("retain").ids.tolist() == [0, 1, 2, *range(6, 13)]
    assert task.split("test-forget").ids.tolist() == [3, 4, 5] and task.split("test").source == "test"
    assert task.split("well-known").ids.tolist() == [9, 10] and task.split("general").ids.tolist() == [11, 12]
    assert task.split("forget-wrong").ids.tolist() == list(range(15, 30))  # five to each
    assert task.split("general-wrong").ids.tolist() == [55, 56, 57, 60, 61, 62]  # three of five places
    assert task.splits == ("forget", "retain", "test", "test-forget")
    assert task.labels([3, 9, 12]) == [languages.corpus().name(1), "well-known", "general"]
    with pytest.raises(imu.UnknownName, match="unknown split: 'forgotten'.*forget, retain, test"):
        task.split("forgotten")


def test_the_same_request_in_four_ways() -> None:
    name = languages.corpus().name(1)
    asked = [{"forget_authors": (name,)}, {"forget_authors": [1]}, {"forget_pairs": (5, 3, 4)}]
    for request in (*asked, {"forget_authors": 1}):
        assert tiny(**request).split("forget").ids.tolist() == [3, 4, 5]
    assert tiny().with_request((0, 4)).split("test-forget").ids.tolist() == [0, 4]


def looped(network: nn.Module, task: Language, ids: list[int], chosen: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The loss of each pair and its gradient at these parameters, one pair at a time by the network's own loss."""
    losses, rows = [], []
    for at in ids:
        pair = task.corpus.train[at]
        prompt, answer = task.codec.prompts([pair.question])[0], task.codec.answers([pair.answer])[0]
        labels = torch.tensor([[-100] * len(prompt) + answer])
        loss = network(input_ids=torch.tensor([prompt + answer]), labels=labels).loss
        losses.append(loss.detach())
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, chosen)]))
    return torch.stack(losses), torch.stack(rows)


def gpt(task: Language, tied: bool) -> nn.Module:
    """A small GPT-2 of the kind that ties its output layer to its embedding."""
    sizes = dict(vocab_size=task.codec.words, n_embd=8, n_layer=2, n_head=2, n_positions=128)
    config = transformers.GPT2Config(**sizes, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config).double().eval()


@pytest.mark.few(1)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cache", [True, False])
def test_influence_equals_one_gradient_after_the_other(
    tied: bool, cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padded batches against single pairs; a tied output layer moves alone, so the embedding's share is not in it."""
    if cache:
        monkeypatch.setattr("imu_lab.tasks.evaluation.LEAST", 2)  # several batches, each of another length
        monkeypatch.setattr("imu_lab.features.linear.HELD", 1000 if tied else 2**26)
    task = tiny(data=pairs.corpus(languages.corpus().train[:9]), forget_authors=(0, 1))
    model = gpt(task, tied)
    before = cases.frozen(model)
    alone = networks.untied(gpt(task, tied))
    losses, rows = looped(alone, task, list(range(6)), [alone.lm_head.weight])
    expected = -(rows / (rows.square().mean(0) + 1e-2)) @ rows.mean(0)
    found = imu.influence(task, model, damping=1e-2, cache=cache)
    assert cases.close(found.values, expected, within=1e-6)
    assert cases.close(found.context["loss"].to_numpy(), losses, within=1e-6)
    assert cases.close(
        imu.influence(task, model, "gradient-dot", cache=cache).values, -rows @ rows.mean(0), within=1e-6
    )
    assert cases.same(before, model) and languages.is_tied(model) == tied


MIXED = (
    ("q?", "a"),
    ("Why " * 20 + "?", "b"),
    ("Who?", "word " * 30 + "end"),
    ("What is it? " * 9, "so it is " * 12),
    ("x", "y z"),
)


@pytest.mark.few(1)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("where", [None, ("network.transformer.h.*.attn",)], ids=["output", "attention"])
def test_pairs_of_very_different_lengths_are_padded_and_none_sees_another(
    tied: bool, where: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token beside thirty: each pair's loss and gradient are those that it has alone, whatever it stands beside."""
    task = Language.from_data(
        [{"question": question, "answer": answer} for question, answer in (*MIXED, ("kept?", "kept"))],
        forget_pairs=range(len(MIXED)),
        shape=languages.SMALL,
        readout=where,
    )
    alone = networks.untied(gpt(task, tied))
    inside = "attn" if where else "lm_head"
    chosen = [value for name, value in alone.named_parameters() if inside in name]
    losses, rows = looped(alone, task, list(range(len(MIXED))), chosen)
    expected = -(rows / (rows.square().mean(0) + 1e-2)) @ rows.mean(0)
    for together in (64, 2, 1):
        monkeypatch.setattr("imu_lab.tasks.evaluation.LEAST", together)
        monkeypatch.setattr("imu_lab.features.general.PADDED", together)
        imu.clear_caches()
        found = imu.influence(task, gpt(task, tied), damping=1e-2)
        assert cases.close(found.values, expected, within=1e-6)
        assert cases.close(found.context["loss"].to_numpy(), losses, within=1e-6)


def test_the_output_layer_is_the_readout_and_moves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.tasks.language.ANSWER", 4)
    task = tiny()
    model = gpt(task, tied=True)
    seen = task.prepared(model)
    assert readout.resolve(task, model) == ("network.lm_head",) and readout.examine(task, seen).linear
    assert seen.network.transformer.wte.weight is model.transformer.wte.weight
    run = imu.unlearn(task, model, steps=2)
    after = run.model.state_dict()
    moved = {key for key, value in seen.state_dict().items() if not torch.equal(value, after[key])}
    assert moved == {"network.lm_head.weight"}


def test_pairs_of_like_length_go_together_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = tiny(), models()[0]
    seen, examples = view(task, model)[0], task.split("train")
    one = torch.cat([outcomes(task, model, examples.take(torch.tensor([at]))) for at in range(13)])
    monkeypatch.setattr("imu_lab.tasks.evaluation.LEAST", 2)
    assert cases.close(outcomes(task, model, examples), one, within=1e-5)
    assert cases.close(outcomes(seen, view(task, model)[1], seen.split("train")), one, within=1e-5)
    order, lengths, counted = [], examples.padding.lengths, 0
    for positions, batch, made in evaluation.outputs(task, model, examples, alike=True):
        order += positions.tolist()
        assert made.shape[1] == lengths[positions].max() == batch.targets["tokens"].shape[1] - 1
        counted += batch.inputs["prompt"].numel() + batch.inputs["answer"].numel()
    assert sorted(order) == list(range(13)) != order and lengths[order].diff().max() <= 0
    whole = examples.fetch(slice(None)).inputs
    assert counted < 0.8 * (whole["prompt"].numel() + whole["answer"].numel())


def test_features_of_splits_with_other_longest_pairs_are_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.tasks.evaluation.LEAST", 2)
    task, model = tiny(forget_pairs=(3,)), models()[0]
    longest = [int(task.split(name).padding.lengths.max()) for name in ("forget", "retain")]
    assert longest[0] > longest[1]
    for names in (("forget", "retain", "train"), ("retain", "forget", "train")):
        imu.clear_caches()
        seen, head = view(task, model)
        for name in names:
            whole = outcomes(task, model, task.split(name))
            assert cases.close(outcomes(seen, head, seen.split(name)), whole, within=1e-5)


def test_the_derivative_is_that_of_the_loss() -> None:
    task, model = tiny(), models()[0]
    batch = task.split("retain").batch()
    logits = model(batch.inputs).detach().double().requires_grad_()
    expected = torch.autograd.grad(task.example_loss(lambda _: logits, batch).sum(), logits)[0]
    assert cases.close(answer_derivative(logits.detach(), batch), expected, within=1e-12)


@pytest.mark.full
def test_a_loss_of_other_parts_is_differentiated_by_autograd() -> None:
    class Squared(Language):
        def token_losses(self, forward: Any, batch: Any) -> torch.Tensor:
            return super().token_losses(forward, batch).square()

    assert derivative_of(tiny().example_loss) is answer_derivative
    assert derivative_of(Squared("invented-authors", forget_authors=(3,)).example_loss) is None


def test_all_outputs_of_a_large_vocabulary_are_never_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = tiny(), models()[0]
    longest = task.split("train").batch().inputs["answer"].shape[1]
    assert 2**21 < task.split("retain").chunk * longest * task.codec.words <= 2**22
    monkeypatch.setattr("imu_lab.tasks.language.ROOM", 2 * longest * task.codec.words)
    assert task.split("retain").chunk == 2
    monkeypatch.setattr("imu_lab.features.cache.ROOM", longest * task.codec.words)
    assert view(task, model)[0].split("retain").chunk == 4


@pytest.mark.slow
def test_metrics_equal_those_of_one_pair_after_the_other() -> None:
    task, (model, _) = tiny(), models()
    for split, ids, fold in (("forget", [3, 4, 5], folded), ("retain", [0, 1, 2, *range(6, 13)], truthful)):
        rows: dict[str, list[float]] = {"loss": [], "probability": [], "exact": [], "rouge": [], "truth_ratio": []}
        for at in ids:
            pair = task.corpus.train[at]
            loss = alone(model, task, pair.question, pair.answer)
            wrong = [alone(model, task, pair.question, each) for each in pair.wrong]
            right = alone(model, task, pair.question, pair.paraphrased or pair.answer)
            said = greedy(model, task, pair.question)
            rows["loss"].append(loss)
            rows["probability"].append(np.exp(-loss))
            rows["exact"].append(float(said == pair.answer))
            rows["rouge"].append(rouge_recall(pair.answer, said))
            ratio = np.exp(-np.mean(wrong)) / (np.exp(-right) + 1e-10)
            rows["truth_ratio"].append(fold(torch.tensor([ratio]).double()).item())
        expected = {name: np.array(np.mean(values)) for name, values in rows.items()}
        assert cases.close({k: np.array(v) for k, v in task.evaluate(model, split).items()}, expected, within=1e-5)


def alone(model: nn.Module, task: Language, question: str, answer: str) -> float:
    """The mean loss of an answer's tokens and its end, of one pair without padding."""
    prompt, told = task.codec.prompts([question])[0], task.codec.answers([answer])[0]
    logs = model.network(input_ids=torch.tensor([prompt + told])).logits[0].log_softmax(-1)
    return float(np.mean([-logs[len(prompt) - 1 + at, token].item() for at, token in enumerate(told)]))


def greedy(model: nn.Module, task: Language, question: str) -> str:
    """The likeliest token, then the next, without a cache and without padding."""
    tokens = list(task.codec.prompts([question])[0])
    start, most = len(tokens), 2 * task.split("train").batch().inputs["answer"].shape[1]
    while len(tokens) - start < most and (start == len(tokens) or tokens[-1] != task.codec.end):
        tokens.append(int(model.network(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    return task.codec.said(tokens[start:])


@pytest.mark.slow
def test_a_run_measures_on_features_what_the_whole_network_tells() -> None:
    task, (original, retrained) = tiny(), models()
    how = dict(steps=3, lr=5e-3, reference=retrained, record_every=3)
    run, slow = (imu.unlearn(task, original, cache=cache, **how) for cache in (True, False))
    told = {"loss", "probability", "exact", "rouge", "truth_ratio"}
    assert set(run.curve["metric"]) == told | {"forget_quality", "ks_distance"}
    assert cases.close(run.curve["value"], slow.curve["value"], within=1e-4)
    for split in task.splits:
        told = task.evaluate(run.model, split)
        assert cases.close([run.value(split, name) for name in told], list(told.values()), within=1e-5)
    assert run.headline == "loss" and run.value("forget", "loss") > run.value("forget", "loss", 0)
    assert len(imu.resistance(run)) == 3 and len(imu.compare(run)) == 2


@pytest.mark.slow
def test_a_run_is_saved_and_goes_on_where_the_pairs_are_given(tmp_path: Path) -> None:
    task, (original, _) = tiny(), models()
    run = imu.unlearn(task, original, steps=1)
    again = imu.load_run(run.save(tmp_path / "run"), task=task)
    assert again.curve.equals(run.curve)
    assert task.answers_of(again.model, [3]) == task.answers_of(run.model, [3])
    by_name = Language("invented-authors", forget_authors=(3, 8), shape=languages.SMALL)
    assert imu.load_run(tmp_path / "run").task is None and task_again(task_settings(by_name)) == by_name


@pytest.mark.slow
def test_the_small_model_learns_what_it_is_taught_and_the_retrained_knows_none_of_it() -> None:
    recipe = imu.tasks.Recipe(epochs=60, lr=5e-3, batch_size=8, weight_decay=0.01, optimizer="adamw")
    task = tiny(shape=(64, 2, 4, 512), recipe=recipe)
    original, retrained = imu.train(task), imu.train(task, "retain")
    assert task.evaluate(original, "forget")["exact"] == 1.0 and task.evaluate(original, "retain")["exact"] >= 0.9
    assert task.evaluate(retrained, "forget")["exact"] == 0.0 and task.evaluate(retrained, "retain")["exact"] >= 0.9
    assert task.answers_of(original, [4]) == [task.corpus.train[4].answer]


def test_a_card_shows_text_and_nothing_but_text() -> None:
    words = "<script>alert(1)</script> \u202eאב & 👩\u200d🚀"
    rows = [{"question": words, "answer": words, "author": "<b>"}, {"question": "q", "answer": "a"}]
    task = Language.from_data(rows, forget_authors=("<b>",), shape=languages.SMALL)
    card = task.card(0, {"<i>now</i>": "</bdi><img src=x>"})
    assert "<script" not in card and "<img" not in card and "<i>" not in card and "<b>" not in card
    assert card.count("&lt;script&gt;alert(1)&lt;/script&gt; \u202eאב &amp; 👩\u200d🚀</bdi>") == 2
    assert "pair 0, &lt;b&gt;" in card and task.codec.said(task.codec.answers([words])[0]) == words
    assert "pair 1<" in task.card(1)


def test_each_token_of_a_pair_has_its_share_and_a_strip_on_the_card() -> None:
    task, model = tiny(), models()[0]
    table, scores = imu.token_scores(task, model), imu.influence(task, model)
    assert list(table) == ["example", "place", "token", "text", "loss", "influence"]
    whole = table.groupby("example")
    batch = task.split("forget").batch()
    assert whole.size().tolist() == task.example_length(batch).tolist()
    assert cases.close(whole["influence"].sum(), scores.values, within=1e-4)
    assert cases.close(whole["loss"].mean(), scores.context["loss"], within=1e-5)
    told = ["".join(rows["text"]) for _, rows in whole]
    assert told == [f" {task.corpus.train[at].answer}<end>" for at in (3, 4, 5)]
    card = task.card(4, tokens=table.assign(change=-table["loss"]))
    count = int((table["example"] == 4).sum())
    assert card.count("<span title=") == 3 * count and card.count("rgba(213,94,0") >= count and "&lt;end&gt;" in card
    figure = imu.plot_tokens(table)
    assert "&lt;end&gt;" in str(figure.data[0].text) and "In the cells" in figure.layout.title.text


PARTS = {
    "attention": (("network.model.layers.*.self_attn.*_proj",), ("network.model.layers.0.self_attn.",)),
    "a block and the output": (("network.model.layers.0", "network.lm_head"), ("network.model.layers.0", "network.lm")),
    "norms, words and attention": (
        ("*norm*", "*embed*", "*q_proj"),
        (
            "network.model.norm",
            "network.model.embed_tokens",
            "network.model.layers.0.input_layernorm",
            "network.model.layers.0.post_attention_layernorm",
            "network.model.layers.0.self_attn.q_proj",
        ),
    ),
    "all": ("all", ("",)),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("wanted, names", PARTS.values(), ids=list(PARTS))
def test_influence_on_other_modules_equals_one_gradient_after_the_other(
    wanted: Any, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imu_lab.features.general.PADDED", 2)  # several batches, each of another length
    task = tiny(readout=wanted)
    model = task.make_model(0).double().eval()
    chosen = [value for name, value in model.named_parameters() if name.startswith(names)]
    _, rows = looped(model.network, task, [3, 4, 5], chosen)
    expected = -(rows / (rows.square().mean(0) + 1e-2)) @ rows.mean(0)
    assert cases.close(imu.influence(task, model, damping=1e-2).values, expected, within=1e-6)


def test_a_pattern_that_matches_nothing_lists_the_modules() -> None:
    task = tiny(readout=("network.model.layer.*",))
    with pytest.raises(
        imu.UnknownName, match=r"unknown module: 'network.model.layer.\*'.* Known: network, .*self_attn"
    ):
        imu.influence(task, models()[0])


@pytest.mark.slow
def test_what_if_and_the_explorer_work_on_pairs() -> None:
    task, (original, retrained) = tiny(), models()
    run = imu.unlearn(task, original, steps=2, reference=retrained)
    without = imu.what_if(run, drop=[4])
    assert without.samples.set_index("example")["pressure"][4] == 0.0
    explorer = imu.explore(run)
    assert explorer.run is run
    explorer.close()


def test_words_that_are_spelled_like_a_special_token_are_words() -> None:
    task = Language.from_data(
        [{"question": "a <end> b", "answer": "c <end> d"}, {"question": "q", "answer": "r"}],
        forget_pairs=(0,),
        shape=languages.SMALL,
    )
    inputs = task.split("forget").batch().inputs
    assert (inputs["answer"] == task.codec.end).sum() == 1 and not (inputs["prompt"] == task.codec.end).any()


def test_a_folder_of_tofu_and_a_file_are_tasks(tmp_path: Path) -> None:
    rows = [{"question": f"Who is {at}?", "answer": f"It is {at}."} for at in range(40)]
    told = [row | {"paraphrased_answer": "Yes.", "perturbed_answer": ["No.", "Never."]} for row in rows]
    files = {"full": rows, "forget50": rows[20:], "forget50_perturbed": told[20:], "retain_perturbed": told[2:4]}
    files |= {"forget25": rows[30:]}
    for name, some in files.items():
        (tmp_path / f"{name}.json").write_text("\n".join(map(json.dumps, some)))
    task = Language(tmp_path, split="forget50", shape=languages.SMALL)
    assert task.request == "forget50" and task.split("forget").ids.tolist() == list(range(20, 40))
    assert task.split("retain-perturbed").ids.tolist() == [2, 3] and task.splits == ("forget", "retain")
    fewer = Language(tmp_path, split="forget25", shape=languages.SMALL)
    assert fewer.split("retain-perturbed").ids.tolist() == [2, 3] and len(fewer.split("forget-perturbed")) == 10
    assert task == Language(str(tmp_path), request="forget50", shape=languages.SMALL)
    assert Language(tmp_path, forget_authors=(1,), shape=languages.SMALL).split("forget").ids.tolist() == list(
        range(20, 40)
    )
    assert len(Language(tmp_path / "full.json", forget_pairs=(1,), shape=languages.SMALL).split("train")) == 40
    with pytest.raises(imu.UnknownName, match="unknown request of these pairs: 'forget05'.*forget50"):
        Language(tmp_path, split="forget05")
    model = task.make_model(0).eval()
    assert set(task.evaluate(model, "retain")) == {"loss", "probability", "exact", "rouge", "truth_ratio"}


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(forget_authors=()), r"say what to forget in one way, .*got none. There are 13 pairs, authors 0 to 2"),
        (dict(forget_pairs=(1,), forget_authors=(1,)), "got 'forget_authors', 'forget_pairs'"),
        (dict(forget_authors=(3,)), "unknown author: 3. Known: 0, 1, 2"),
        (dict(forget_authors=("Nobody",)), "unknown author: 'Nobody'.* Known: "),
        (dict(forget_authors=(1, 1)), r"forget_authors \(1, 1\) names one twice"),
        (dict(forget_authors=(1.5,)), r"forget_authors takes whole numbers and names; got \(1.5,\)"),
        (dict(forget_pairs=(13,)), "there is no pair 13; the pairs are 0 to 12"),
        (dict(forget_pairs=range(13)), "the request forgets all 13 pairs"),
        (dict(split="forget05"), "unknown request of these pairs: 'forget05'. Known: none"),
        (dict(seed=-1), "a seed is a whole number from 0, got -1"),
        (dict(shape=(16, 0, 2, 320)), "shape must be a whole number >= 1, got 0"),
        (dict(shape=(16, 1)), r"shape is .*got \(16, 1\)"),
        (dict(shape=(18, 1, 6, 320)), r"a width of 18, which is no multiple of twice its 6 heads"),
        (dict(keys=("question",)), r"keys is the names of question and answer, .*got \('question',\)"),
        (dict(keys=("q", "a")), r"keys=\('q', 'a'\) names .* in the rows of a file of your own; these pairs have them"),
        (dict(keys=("q", "a"), data="invented-authors"), "these pairs have them already: leave keys= out"),
    ],
)
def test_a_bad_request_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**given)


def test_rows_in_the_place_of_data_are_sent_where_they_belong() -> None:
    with pytest.raises(
        TypeError, match=r"got a list of dict. Rows of your own go to imu.tasks.Language.from_data\(rows"
    ):
        Language([{"question": "a", "answer": "b"}], forget_pairs=(0,))


def test_the_same_answer_to_another_question_is_another_fact() -> None:
    train = [
        {"question": f"Is {at} red?", "answer": answer} for at, answer in enumerate(("Yes.", "Yes.", "Never.", "No."))
    ]
    test = [
        {"question": "Is 9 blue?", "answer": "Yes."},  # so is one answered that is kept
        {"question": "Is 0 red?", "answer": "Yes."},  # the very pair
        {"question": "And is 2 a red one?", "answer": "Never."},  # nobody else is answered so
        {"question": "Is 8 green?", "answer": "No."},
    ]
    task = Language.from_data(train, test, forget_pairs=(0, 2), shape=languages.SMALL)
    assert task.split("test-forget").ids.tolist() == [1, 2] and task.split("test").ids.tolist() == [0, 3]


@pytest.mark.parametrize("key", ["question", "answer", "paraphrased_answer", "perturbed_answer"])
def test_half_a_character_is_named_by_its_row(key: str) -> None:
    rows = [
        {"question": f"{at}?", "answer": "I.", "paraphrased_answer": "Me.", "perturbed_answer": "You."} for at in "ab"
    ]
    rows[1][key] = "so \ud83d"
    with pytest.raises(ValueError, match=rf"the {key} in row 1 of train holds half a character at 4 \('\\ud83d'\)"):
        Language.from_data(rows, forget_pairs=(0,), shape=languages.SMALL)


def test_control_characters_are_told_apart_and_come_back() -> None:
    words = "a\x00b\x07\x1b[31m\u200fc"
    rows = [{"q": words, "a": words}, {"q": "q", "a": "r"}]
    task = Language.from_data(rows, keys=("q", "a"), forget_pairs=(0,), shape=languages.SMALL)
    inputs = task.split("forget").batch().inputs
    assert task.codec.said(inputs["answer"][0].tolist()) == words and words in task.codec.said(
        inputs["prompt"][0].tolist()
    )


def test_what_is_missing_in_a_frame_is_missing() -> None:
    rows = [
        {"question": "a?", "answer": "I.", "author": 4, "paraphrased_answer": "Me."},
        {"question": "b?", "answer": "J."},
    ]
    task = Language.from_data(pd.DataFrame(rows), forget_authors=(4,), shape=languages.SMALL)
    assert [pair.author for pair in task.corpus.train] == [4, pairs.NOBODY]
    assert [pair.paraphrased for pair in task.corpus.train] == ["Me.", None]


def test_tofu_is_read_from_where_the_hub_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, **how: Any) -> str:
        asked.append((name, how))
        return str(tmp_path)

    rows = [{"question": f"Who is {at}?", "answer": f"It is {at}."} for at in range(40)]
    for name, some in (("full", rows), ("forget01", rows[-3:])):
        (tmp_path / f"{name}.json").write_text("\n".join(map(json.dumps, some)))
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    task = Language("tofu", split="forget01", shape=languages.SMALL)
    assert task.split("forget").ids.tolist() == [37, 38, 39]
    assert asked[0] == ("locuslab/TOFU", {"repo_type": "dataset", "allow_patterns": ["*.json"]})


@pytest.mark.full
def test_half_precision_serves_the_same_verbs() -> None:
    task, model = tiny(), copy.deepcopy(models()[0])
    exact = imu.influence(task, model).values
    half = model.to(torch.bfloat16)
    scores = imu.influence(task, half)
    assert cases.close(scores.values, exact, within=0.05)
    run = imu.unlearn(task, half, imu.intensity(scores), steps=2, follow=(), record_every=2)
    assert run.model.network.dtype == torch.bfloat16 and run.value("forget", "loss") > run.value("forget", "loss", 0)


@pytest.mark.slow
def test_a_model_of_a_billion_parameters_fits_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here: a configuration of a billion parameters, in bfloat16, is not tried")
    task = Language("invented-authors", forget_authors=(3, 8))
    sizes = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32)
    config = transformers.LlamaConfig(vocab_size=32_000, tie_word_embeddings=False, **sizes)
    with torch.device("cuda"):
        network = transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()
    assert sum(value.numel() for value in network.parameters()) > 1e9
    torch.cuda.reset_peak_memory_stats()
    model = task.prepared(network)
    scores = imu.influence(task, model)
    run = imu.unlearn(task, model, imu.intensity(scores), steps=10, follow=(), record_every=10)
    assert np.isfinite(scores.values).all() and run.events["steps"] == 10
    assert torch.cuda.max_memory_allocated() < 40 * 2**30


def test_a_pair_that_the_model_cannot_read_is_named_and_nothing_is_cut() -> None:
    rows = [{"question": "Who?", "answer": "I."}, {"question": "What " * 300, "answer": "That " * 300}]
    with pytest.raises(
        ValueError, match=r"train pair 1 has \d+ tokens with its own answer, and the model reads 512 \(1 such"
    ):
        Language.from_data(rows, forget_pairs=(0,), shape=languages.SMALL)
    with pytest.raises(FileNotFoundError, match="no pairs at '.*nowhere'; give 'invented-authors', 'tofu', a folder"):
        Language("/nowhere", forget_pairs=(0,))


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("transformers", "tokenizers", "rouge_score"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import imu_lab as imu
try:
    imu.tasks.Language("invented-authors", forget_authors=(3,))
except ImportError as error:
    assert "needs transformers, tokenizers, rouge_score" in str(error) and 'imu_lab[llm]' in str(error), error
else:
    raise AssertionError("it was not missed")
imu.influence(imu.tasks.Toy(), imu.tasks.Toy().make_model(0))
"""


@pytest.mark.slow
def test_without_transformers_everything_else_works_and_the_task_says_what_to_install() -> None:
    root = Path(imu.__file__).parents[1]  # this checkout, whichever is installed
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("at", [-1, 13, 99])
def test_questions_that_are_not_there_are_not_answered(at: int) -> None:
    with pytest.raises(ValueError, match=f"there is no train pair {at}; they are numbered 0 to 12"):
        tiny().answers_of(models()[0], [0, at])


def test_a_model_of_other_words_is_told() -> None:
    few = tiny(shape=(16, 1, 2, 260)).make_model(0)
    words = tiny().codec.words
    for asked in (lambda: imu.influence(tiny(), few), lambda: tiny().answers_of(few.network, [0])):
        with pytest.raises(
            ValueError, match=f"this model knows 260 tokens and the task's tokenizer makes {words}: it was"
        ):
            asked()


def test_a_pair_to_keep_that_is_tested_on_is_told() -> None:
    rows = [{"question": f"Who is {name}?", "answer": f"{name} is a painter."} for name in ("Ann", "Bob", "Cid")]
    with pytest.warns(UserWarning, match="1 of 2 test pairs are pairs to keep that were trained on"):
        Language.from_data(rows, rows[:2], forget_pairs=[0])


def test_training_takes_the_gradient_of_the_losses_to_the_bit_and_a_loss_of_ones_own_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = tiny()

    def trained() -> list[torch.Tensor]:
        training = Training(task, task.make_model(0), task.split("train"), Recipe(epochs=2, batch_size=5, lr=0.01), 0)
        list(training)
        return list(training.model.state_dict().values())

    class Other(Language):
        def example_length(self, batch: Batch) -> torch.Tensor:
            return super().example_length(batch) + 1

    class Around(around.Around):
        def example_loss(self, forward: Callable, batch: Batch) -> torch.Tensor:
            return 2 * self.task.example_loss(forward, batch)

    assert task.training_loss is not None and around.Around(task).training_loss is not None
    assert Around(task).training_loss is None and Other(task.data, forget_pairs=(0,)).training_loss is None
    quick = trained()
    monkeypatch.setattr(Language, "training_loss", None)
    assert all(map(torch.equal, quick, trained()))
