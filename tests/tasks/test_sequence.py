"""The sequence task: who is in which split, what its metrics are, what it refuses, and a whole run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import sequences
import torch
from sequences import drawn, models, tiny
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.features.gradients import explicit
from imu_lab.tasks import Sequence
from imu_lab.tasks.sources import markov

SMALL = dict(forget_sources=(1,), train_sources=(0, 1))


def sources(task: Sequence, split: str) -> list[int]:
    """The sources in a split, each once."""
    return task.split(split).batch().targets["source"].unique().tolist()


@pytest.mark.slow
def test_the_published_sizes() -> None:
    task = Sequence("paper", **SMALL)
    sizes = {name: len(task.split(name)) for name in (*task.splits, "train", "source-0", "source-1")}
    assert sizes == {
        "forget": 4000,
        "retain": 8000,
        "test": 2000,
        "test-forget": 1000,
        "source-2": 1000,
        "train": 12000,
        "source-0": 2000,
        "source-1": 1000,
    }
    assert task.split("train").batch(slice(0, 2)).targets["tokens"].shape == (2, 20)
    model = task.make_model(0)
    assert len(model.blocks) == 4 and model.head.in_features == 128 and model.blocks[0].attention.heads == 4
    assert task.unlearning == {"optimizer": "adamw", "lr": 5e-4, "batch_size": 4}


@pytest.mark.parametrize(
    "request_, forget, retain, test, forgotten, others",
    [
        (SMALL, [1], [0], [0], [1], ["source-2"]),
        (dict(forget_sources=(1, 2)), [1, 2], [0], [0], [1, 2], ["source-1", "source-2"]),
        (dict(forget_sources=2), [2], [0, 1], [0, 1], [2], ["source-0", "source-1"]),
        (
            dict(forget_sources=[2, 1], train_sources=(0, 1), forget_unlearned=True),
            [1, 2],
            [0],
            [0],
            [1, 2],
            ["source-1", "source-2"],
        ),
    ],
)
def test_splits_hold_the_sources_they_should(
    request_: dict, forget: list, retain: list, test: list, forgotten: list, others: list
) -> None:
    task = Sequence("small", **request_)
    found = [sources(task, split) for split in ("forget", "retain", "test", "test-forget")]
    assert found == [forget, retain, test, forgotten] and list(task.splits[4:]) == others
    assert [sources(task, split) for split in others] == [[int(name[-1])] for name in others]


@pytest.mark.parametrize("trained", [(0, 1), (0, 2), (1, 2)])
def test_an_id_is_the_place_in_the_training_split(trained: tuple[int, ...]) -> None:
    task = Sequence("small", forget_sources=trained[1], train_sources=trained)
    train, forget = task.split("train"), task.split("forget")
    assert train.ids.tolist() == list(range(len(train)))
    assert torch.equal(train.batch(forget.ids).targets["tokens"], forget.batch().targets["tokens"])
    assert not set(forget.ids.tolist()) & set(task.split("retain").ids.tolist())
    assert np.array_equal(task.tokens(forget.ids[:2]), forget.batch(slice(0, 2)).targets["tokens"].numpy())
    assert task.labels(forget.ids[:1]) == [f"source {trained[1]}"]


def test_the_inputs_are_all_but_the_last_token() -> None:
    batch = tiny().split("train").batch(slice(0, 3))
    assert torch.equal(batch.inputs, batch.targets["tokens"][:, :-1])


def test_the_request_moves_nothing_and_the_seed_everything() -> None:
    one, other = Sequence("small", forget_sources=1), Sequence("small", forget_sources=2)
    assert one.data_key == other.data_key and one != other and one == Sequence("small", forget_sources=[1])
    assert torch.equal(one.split("train").batch().inputs, other.split("train").batch().inputs)
    keys = {
        Sequence("small", **given).data_key
        for given in ({}, {"seed": 1}, {"leakage": 0.1}, {"train_sources": (0, 1)}, {"train_sources": (1, 2)})
    }
    assert len(keys) == 5


@pytest.mark.parametrize("readout", ["all", ("blocks.1", "head"), "blocks.0.attention"])
@pytest.mark.slow
def test_influence_at_a_deeper_readout_equals_the_explicit_gradients(readout: Any) -> None:
    task, (model, _) = tiny(readout=readout), models()
    rows = explicit(task, model, task.split("forget")).double()
    expected = -(rows / (rows.square().mean(0) + 1e-2)) @ rows.mean(0)
    found = torch.tensor(imu.influence(task, model).values.copy())
    assert (found - expected).abs().max() / expected.abs().max() < 1e-4
    run = imu.unlearn(task, model, steps=2, reference=models()[1])
    assert run.value("forget", "kl_retrained") != run.value("forget", "kl_retrained", 0)


class Table(nn.Module):
    """A model whose prediction after each state is a row of a matrix."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(matrix.log().float())

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T) to (n, T, K)."""
        return self.logits[tokens]


def test_metrics_against_a_loop_over_tokens() -> None:
    task, (model, _) = tiny(), models()
    batch = task.split("test").batch()
    logs = model(batch.inputs).log_softmax(-1).double()
    losses, divergences, margins = [], [], []
    for row, (tokens, source) in enumerate(zip(batch.targets["tokens"], batch.targets["source"])):
        for place in range(7):
            truth = sequences.CHAINS[source, tokens[place]]
            losses.append(-logs[row, place, tokens[place + 1]])
            divergences.append((truth * (truth.log() - logs[row, place])).sum())
            others = [logs[row, place, k] for k in range(6) if k != tokens[place + 1]]
            margins.append(logs[row, place, tokens[place + 1]] - max(others))
    found = task.evaluate(model, "test")
    assert found["loss"] == pytest.approx(torch.stack(losses).mean().item(), abs=1e-6)
    assert found["kl_true"] == pytest.approx(torch.stack(divergences).mean().item(), abs=1e-6)
    each = torch.stack(margins).view(-1, 7).mean(1)
    assert cases.close(task.example_margin(model, batch).double(), each, within=1e-5)
    assert cases.close(task.example_loss(model, batch).double(), torch.stack(losses).view(-1, 7).mean(1), within=1e-5)
    assert task.example_length(batch).tolist() == [7.0] * len(each)


def test_kl_true_is_zero_for_the_chain_itself_and_exact_for_another() -> None:
    task = tiny(forget_sources=(1,))
    assert task.evaluate(Table(sequences.CHAINS[1]), "test-forget")["kl_true"] == pytest.approx(0, abs=1e-6)
    uniform = task.evaluate(Table(torch.full((6, 6), 1 / 6)), "test-forget")
    own = task.split("test-forget").batch().inputs
    expected = (torch.xlogy(sequences.CHAINS[1], sequences.CHAINS[1] * 6).sum(1)[own]).mean()
    assert uniform["kl_true"] == pytest.approx(expected.item(), abs=1e-6)
    assert uniform["loss"] == pytest.approx(np.log(6), abs=1e-6)


def bayes(task: Sequence, split: str) -> Tensor:
    """The best that can be predicted of a split without knowing the source: the chains, mixed by what was seen."""
    corpus, batch = task.corpus, task.split(split).batch()
    chains = corpus.chains[list(task.train_sources)]  # (S, K, K)
    counts = torch.stack([(corpus.train[1] == source).sum() for source in task.train_sources]).double()
    starts = markov.starts(corpus.owner, task.leakage)[list(task.train_sources)]
    tokens = batch.inputs
    belief = (counts / counts.sum()).log() + starts[:, tokens[:, 0]].T.log()  # (n, S)
    predicted = []
    for place in range(tokens.shape[1]):
        rows = chains[:, tokens[:, place]]  # (S, n, K)
        predicted.append(torch.einsum("ns,snk->nk", belief.softmax(1), rows))
        if place + 1 < tokens.shape[1]:
            belief = belief + rows.gather(2, tokens[:, place + 1].expand(len(rows), -1)[..., None]).squeeze(2).T.log()
    return torch.stack(predicted, 1)  # (n, T, K)


@pytest.mark.slow
def test_the_small_preset_learns_its_sources_nearly_as_well_as_possible() -> None:
    task = Sequence("small", **SMALL)
    model = imu.train(task)
    for split in ("test", "test-forget"):
        known = bayes(task, split).log()
        best = task.example_metrics(lambda _: known, task.split(split).batch())["kl_true"].mean().item()
        assert 0.005 < best < task.evaluate(model, split)["kl_true"] < best + 0.03
    assert task.evaluate(model, "source-2")["kl_true"] > 0.3  # never trained on


@pytest.mark.full
def test_influence_equals_the_explicit_gradients_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    task, (model, _) = tiny(), models()
    rows = explicit(task, model, task.split("forget")).double()
    expected = -(rows / (rows.square().mean(0) + 1e-2)) @ rows.mean(0)
    for room, cache in ((2**24, True), (2**24, False), (50, True), (50, False)):
        monkeypatch.setattr("imu_lab.features.linear.ROOM", room)
        found = torch.tensor(imu.influence(task, model, cache=cache).values.copy())
        assert (found - expected).abs().max() / expected.abs().max() < 1e-5


@pytest.mark.slow
def test_a_run_records_distances_at_every_update_and_cached_equals_uncached() -> None:
    task, (original, retrained) = tiny(), models()
    weights = imu.intensity(imu.influence(task, original))
    run, slow = (
        imu.unlearn(task, original, weights, steps=6, lr=1e-2, reference=retrained, cache=cache)
        for cache in (True, False)
    )
    assert set(run.curve["metric"]) == {"loss", "kl_true", "kl_retrained"}
    assert run.series("test", "kl_retrained").index.tolist() == list(range(7))
    assert cases.close(run.curve["value"], slow.curve["value"], within=1e-4)
    for split in task.splits:
        batch = task.split(split).batch()
        logs, truth = run.model(batch.inputs).log_softmax(-1), retrained(batch.inputs).log_softmax(-1)
        expected = (truth.exp() * (truth - logs)).sum(-1).mean().item()
        assert run.value(split, "kl_retrained") == pytest.approx(expected, abs=1e-5)
    known = run.reference.set_index(["split", "metric"])["value"]
    assert known["forget", "kl_retrained"] == 0.0 and known["test", "loss"] == task.evaluate(retrained, "test")["loss"]
    without = imu.unlearn(task, original, weights, steps=1)
    assert "kl_retrained" not in set(without.curve["metric"]) and without.settings["follow"] == []


def test_states_measured_together_are_each_measured_alone() -> None:
    task, (original, _) = tiny(), models()
    fast = imu.unlearn(task, original, steps=20, lr=1e-2)
    slow = imu.unlearn(task, original, steps=20, lr=1e-2, follow=(imu.metrics.create("transitions"),))
    slow = slow.curve[slow.curve["metric"].isin(("loss", "kl_true"))].reset_index(drop=True)
    assert fast.curve.drop(columns="value").equals(slow.drop(columns="value"))
    assert cases.close(fast.curve["value"], slow["value"], within=1e-5)


def original_loss(task: Sequence, original: nn.Module) -> float:
    """The forget sequences' loss before anything was done."""
    return task.evaluate(original, "forget")["loss"]


def test_stopping_and_comparing_at_a_distance() -> None:
    task, (original, retrained) = tiny(), models()
    how = dict(steps=60, lr=1e-2, reference=retrained)
    start = imu.unlearn(task, original, **how | {"steps": 0}).value("forget", "kl_retrained")
    goal = start - 0.01
    run = imu.unlearn(task, original, stop_at=("kl_retrained", "<=", goal), **how)
    assert 0 < run.events["stopped_at"] < 60 and run.value("forget", "kl_retrained") <= goal
    row = imu.compare(run, at_forget=("kl_retrained", "<=", goal)).iloc[0]
    assert row["reached"] and row["updates"] == run.events["stopped_at"]
    assert row["forget kl_retrained gap"] == row["forget kl_retrained"]
    by_loss = imu.unlearn(task, original, stop_at="retrained", **how)
    level = by_loss.reference.set_index(["split", "metric"])["value"]["forget", "loss"]
    assert by_loss.value("forget", "loss") >= level > original_loss(task, original)
    with pytest.raises(imu.UnknownName, match="unknown metric on 'forget' to stop at: 'kl_retrained'"):
        imu.unlearn(task, original, stop_at=("kl_retrained", "<=", 0.1), steps=1)


@pytest.mark.full
def test_a_run_is_saved_and_its_task_made_again(tmp_path: Path) -> None:
    task = Sequence("small", **SMALL, recipe=imu.tasks.Recipe(epochs=1, lr=3e-3, optimizer="adamw"))
    original = imu.train(task)
    run = imu.unlearn(task, original, steps=2, follow=(imu.metrics.create("transitions", source=2),))
    again = imu.load_run(run.save(tmp_path / "run"))
    assert again.task == task and again.settings["follow"] == [{"metric": "transitions", "settings": {"source": 2}}]
    tokens = task.split("test").batch(slice(0, 3)).inputs
    assert torch.equal(again.model(tokens), run.model(tokens))
    assert 0 < again.value("source-2", "7→8") < 1


def test_following_without_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="no model to compare with; pass reference="):
        imu.unlearn(tiny(), models()[0], steps=1, follow=("kl-retrained",))


def test_an_own_corpus_without_chains_has_a_loss_alone() -> None:
    task = tiny(chains=None)
    assert set(task.evaluate(models()[0], "test")) == {"loss"} and task.split("source-2") is not None
    assert task.corpus.owner.tolist() == sequences.OWNER.tolist()
    assert tiny() == tiny() and tiny() != task and tiny().data_key != task.data_key


def test_the_card_shows_the_tokens_and_whose_they_are() -> None:
    card = tiny().card(41)
    assert card.count("<span") == 8 + 3 and "sequence 41, source 1" in card
    tokens = tiny().tokens([41])[0]
    assert f'title="state {tokens[0]}, of source {sequences.OWNER[tokens[0]]}"' in card


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(data="tiny"), "unknown preset of Sequence: 'tiny'.* Known: small, paper"),
        (dict(forget_sources=(3,)), r"forget_sources has no source 3; the sources are 0 to 2"),
        (dict(forget_sources=("a",)), r"forget_sources has no source 'a'"),
        (dict(train_sources=(0, 1, 5)), r"train_sources has no source 5"),
        (dict(forget_sources=()), "forget_sources is empty"),
        (dict(forget_sources=(1, 1)), "forget_sources repeats a source"),
        (
            dict(forget_sources=(0, 1), train_sources=(0, 1)),
            r"forgets every source that the model is trained on \(0, 1\)",
        ),
        (dict(forget_sources=(2,), train_sources=(0, 1)), "source 2 has no sequences in the training set"),
        (dict(leakage=1.0), r"leakage is a probability in \[0, 1\), got 1.0"),
        (dict(leakage="0.2"), r"leakage is a probability in \[0, 1\), got '0.2'"),
        (dict(seed=1.5), "a seed is a whole number from 0, got 1.5"),
        (dict(data=[1]), r"unknown preset of Sequence: \[1\]"),
        (dict(forget_sources=None), "forget_sources has no source None; the sources are 0 to 2"),
        (dict(forget_unlearned="no"), "Sequence needs True or False for forget_unlearned, got 'no'"),
        (dict(forget_sources="01"), "forget_sources has no source '01'"),
    ],
)
def test_a_bad_request_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sequence(**given)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(imu.UnknownName, match="unknown split: 'source-9'.*source-0, source-1, source-2"):
        tiny().split("source-9")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: ([[0, 1, 2], [0, 1]], [0, 1]), "train sequences have 2 different lengths, from 2 to 3"),
        (
            lambda x, y: (np.array([[0, 1, 2], [0, 1]], dtype=object), [0, 1]),
            "train sequences have 2 different lengths",
        ),
        (lambda x, y: ([list("abc"), list("abd")], [0, 1]), "train tokens must be whole numbers; found 'a'"),
        (lambda x, y: (x / 0, y), "train tokens must be whole numbers; found"),
        (lambda x, y: x, r"train must be a pair \(sequences, sources\); got Tensor"),
        (lambda x, y: (x[:, :1], y), "at least 2 tokens each"),
        (lambda x, y: (x[0], y), r"must be \(n, L\)"),
        (lambda x, y: (x - 1, y), r"train sequence \d+ has token -1 at place \d+; tokens must lie in 0 to"),
        (lambda x, y: (x + 0.5, y), "train tokens must be whole numbers; found"),
        (lambda x, y: (x, y[:-1]), r"train has 70 sequences, but sources \(69,\)"),
        (lambda x, y: (x, y + 1), "source 0 has no training sequences"),
        (lambda x, y: (x, 2 * y), "source 1, 3 has no training sequences"),
        (lambda x, y: (x, y - 1), "sources are numbered from 0; found -1"),
        (lambda x, y: (x[:0], y[:0]), "there are no training sequences"),
        (lambda x, y: (x[:, :5], y), "training sequences have 5 tokens, test sequences 8"),
    ],
)
def test_unusable_sequences_are_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sequence.from_data(change(*drawn()), drawn(seed=1), forget_sources=(1,))


def test_an_array_of_equally_long_lists_is_fine() -> None:
    tokens, sources = drawn()
    rows = np.empty(len(tokens), dtype=object)
    rows[:] = tokens.tolist()
    assert Sequence.from_data((rows, sources), drawn(seed=1)) == Sequence.from_data(drawn(), drawn(seed=1))
    frame, named = pd.DataFrame(drawn()[0].numpy()), pd.Series(drawn()[1].numpy())
    assert Sequence.from_data((frame, named), drawn(seed=1)) == Sequence.from_data(drawn(), drawn(seed=1))
    with pytest.raises(ValueError, match="the same index in another order, so which label belongs to which row"):
        Sequence.from_data((frame[::-1], named), drawn(seed=1))


def test_more_unusable_data() -> None:
    with pytest.raises(ValueError, match="test sequence 0 has token 5 at place 1; tokens must lie in 0 to 4"):
        Sequence.from_data((drawn()[0] % 5, drawn()[1]), ([[0, 5] * 4], [0]), states=5)
    with pytest.raises(ValueError, match="source 3 has no training sequences"):
        Sequence.from_data(drawn(), (drawn()[0][:1], [3]))
    with pytest.raises(ValueError, match=r"chains must be \(3, 6, 6\), one matrix a source; got \(2, 6, 6\)"):
        tiny(chains=sequences.CHAINS[:2])
    with pytest.raises(ValueError, match="every row sums to 1"):
        tiny(chains=2 * sequences.CHAINS)
    with pytest.raises(imu.UnknownName, match="unknown preset of Sequence: 'large'"):
        tiny(preset="large")


def test_a_corpus_may_lack_held_out_sequences() -> None:
    task = Sequence.from_data(drawn(), (drawn()[0][:0], drawn()[1][:0]), forget_sources=(1,), recipe=sequences.QUICK)
    assert task.evaluate(models()[0], "test") == {}
    run = imu.unlearn(task, models()[0], steps=1, reference=models()[1])
    assert set(run.curve["split"]) == {"forget", "retain"}


@pytest.mark.parametrize("name", [name for name in cases.TASKS if name != "sequence"])
def test_a_task_without_states_has_no_transitions(name: str) -> None:
    assert imu.metrics.create("transitions")(cases.task(name), cases.original(name)) == {}
