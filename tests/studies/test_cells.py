"""The cells of a trial: a cell is a run and a comparison by hand; it is kept, and made once, whatever happens between."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cases
import numpy as np
import pandas as pd
import pytest
import torch

import imu_lab as imu
from imu_lab.core.memo import Memo
from imu_lab.core.running import same_tensors
from imu_lab.studies import ground_truth
from imu_lab.studies.cells import Cell, Models, sources
from imu_lab.studies.statistics import spearman
from imu_lab.unlearning.recorder import Recorder

TOY = imu.tasks.Toy()
SEEDS = (0, 1, 2)
ARMS = {"uniform": {"rule": "uniform"}, "curvature": {"method": "curvature-ascent", "rule": "uniform", "rho": 0.3}}
HOW = {"at_forget": 0.1, "step_norms": (0.1,), "seeds": SEEDS, "steps": 60, "references": True}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A small trial beside retrained models."""
    return imu.trial(TOY, ARMS, alike="uniform", **HOW)


def one(table: pd.DataFrame, arm: str, seed: int) -> pd.Series:
    return table[(table["arm"] == arm) & (table["seed"] == seed)].iloc[0]


def by_hand(seed: int, **about: object) -> imu.Run:
    return imu.unlearn(
        TOY, imu.train(TOY, seed=seed), seed=seed, stop_at=0.1, step_norm=0.1, steps=60, follow=["kl-retrained"],
        reference=imu.train(TOY, "retain", seed=seed), **about,
    )  # fmt: skip


def test_a_cell_is_a_run_and_a_comparison_by_hand(table: pd.DataFrame) -> None:
    assert table["arm"].unique().tolist() == ["original", "retrained", *ARMS] and len(table) == 4 * len(SEEDS)
    runs = {"uniform": by_hand(1), "curvature": by_hand(1, method="curvature-ascent", rho=0.3)}
    for arm, run in runs.items():
        row, expected = one(table, arm, 1), imu.compare(run, at_forget=0.1).iloc[0]
        assert row["reached"] and row["updates"] == expected["updates"] and row["needs"] == expected["needs"]
        numbers = [name for name in expected.index if name.split(" ")[0] in ("forget", "retain", "test")]
        assert len(numbers) > 9 and cases.close(row[numbers].astype(float), expected[numbers].astype(float))
    mine, other = (run.samples["margin_after"].to_numpy() for run in runs.values())
    assert cases.close(one(table, "curvature", 1)["alike"], spearman(mine, other))
    assert cases.close(one(table, "uniform", 1)["alike"], 1.0)


def test_distances_are_to_the_own_seed_and_to_the_others_and_the_floor_is_that_of_the_references(
    table: pd.DataFrame,
) -> None:
    references = imu.references(TOY, SEEDS)
    others = [
        by_hand(1).model if arm == "uniform" else imu.train(TOY, split, seed=1)
        for arm, split in (("uniform", ""), ("original", "train"), ("retrained", "retain"))
    ]
    for arm, model in zip(("uniform", "original", "retrained"), others):
        found = imu.metrics.create("kl-retrained")(TOY, model, references.without(1))
        assert cases.close(one(table, arm, 1)["test others"], found["test"]["kl_retrained"], 1e-5)
    retrained = table[table["arm"] == "retrained"]
    assert cases.close(retrained["test others"].mean(), references.noise_floor["test"], 1e-5)
    assert (retrained["test kl_retrained"].abs() < 1e-6).all() and (
        table["needs"][:2] == ["nothing", "retain data"]
    ).all()


@pytest.mark.full
def test_what_fresh_heads_say_stands_beside_their_goal() -> None:
    task = cases.task("digits class")
    found = imu.trial(task, {"a": {}}, at_forget=0.5, seeds=(0,), steps=40, references=True, heads=True, lr=1e-2)
    original, reference = cases.original("digits class"), cases.retrained("digits class")
    run = imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), steps=40, stop_at=0.5, lr=1e-2)
    row = one(found, "a", 0)
    for each in imu.head_only(run, reference=reference).itertuples():
        named = f"{each.split} {each.measure}"
        assert (row[named], row[f"{named} goal"]) == (each[4], each.goal)
        assert one(found, "original", 0)[named] == each.original and one(found, "retrained", 0)[named] == each.goal


@pytest.mark.full
def test_a_goal_that_is_never_reached_says_how_near_it_came() -> None:
    found = imu.trial(
        TOY, {"slow": {"rule": "uniform"}}, **HOW | {"step_norms": (1e-4,), "at_forget": ("loss", ">=", 9)}
    )
    row = one(found, "slow", 0)
    run = imu.unlearn(TOY, imu.train(TOY, seed=0), seed=0, step_norm=1e-4, steps=60)
    assert not row["reached"] and np.isnan(row["updates"]) and np.isnan(row["test accuracy"])
    assert row["goal"] == "forget loss >= 9" and cases.close(row["came_to"], run.series("forget", "loss").max())
    assert row["verdict"] == "never got there" and not one(found, "original", 0)["reached"]


@pytest.mark.full
def test_the_goal_may_be_the_retrained_models_loss_or_the_nearest_point() -> None:
    found = imu.trial(TOY, {"a": {}}, **HOW | {"at_forget": ("loss", ">=", "retrained"), "seeds": (0, 1)})
    loss = imu.unlearn(TOY, imu.train(TOY, "retain", seed=1), steps=0).value("forget", "loss")
    assert one(found, "a", 1)["goal"] == f"forget loss >= {loss:.4g}"
    found = imu.trial(TOY, {"a": {"rule": "uniform"}}, **HOW | {"at_forget": "nearest", "seeds": (0, 1)})
    run = imu.unlearn(
        TOY, imu.train(TOY, seed=1), seed=1, step_norm=0.1, steps=60, reference=imu.train(TOY, "retain", seed=1),
        follow=["kl-retrained"],
    )  # fmt: skip
    path, row = run.series("forget", "kl_retrained"), one(found, "a", 1)
    assert row["updates"] == path.idxmin() and cases.close(row["forget kl_retrained"], path.min())
    assert 0 < row["updates"] < 60 and row["reached"]
    found = imu.trial(TOY, {"a": {}}, **HOW | {"at_forget": "forgotten", "seeds": (0, 1)})
    assert one(found, "a", 0)["goal"] == "forget accuracy <= 0"
    with pytest.raises(ValueError, match='at_forget="retrained" needs the retrained model'):
        imu.trial(TOY, {"a": {}}, at_forget=("loss", ">=", "retrained"), seeds=(0,))
    with pytest.raises(ValueError, match="needs references=True"):
        imu.trial(TOY, {"a": {}}, at_forget="nearest", seeds=(0,))


def test_an_arm_that_cannot_serve_has_a_row_that_says_why() -> None:
    task = imu.tasks.Toy(readout="all")
    found = imu.trial(task, {"joint": {"method": "joint-ascent"}, "a": {}}, at_forget=0.1, seeds=(0,), steps=20, lr=0.1)
    assert "one linear layer" in one(found, "joint", 0)["refused"] and not one(found, "joint", 0)["reached"]
    assert one(found, "a", 0)["updates"] > 0
    with pytest.raises(ValueError, match="one linear layer"):
        imu.trial(task, {"joint": {"method": "joint-ascent"}}, at_forget=0.1, seeds=(0,), steps=20)
    with pytest.raises(ValueError, match="'original' names an arm that stands in every trial"):
        imu.trial(TOY, {"original": {}}, **HOW)
    with pytest.raises(imu.UnknownName, match="unknown arm to be alike: 'unifrom'. Did you mean 'uniform'"):
        imu.trial(TOY, ARMS, alike="unifrom", **HOW)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cell]]:
    """The cells that are made, and not read."""
    cells: list[Cell] = []
    whole = Cell.made
    monkeypatch.setattr(Cell, "made", lambda cell, models: cells.append(cell) or whole(cell, models))
    yield cells


@pytest.mark.full
def test_what_was_made_is_read_and_only_what_is_missing_or_damaged_is_made(
    tmp_path: Path, made: list[Cell], table: pd.DataFrame
) -> None:
    first = imu.trial(TOY, ARMS, alike="uniform", folder=tmp_path, **HOW)
    assert len(made) == len(first) == len(list(tmp_path.iterdir()))
    told: list[tuple[int, int, str]] = []
    again = imu.trial(TOY, ARMS, alike="uniform", folder=tmp_path, progress=lambda *x: told.append(x), **HOW)
    assert len(made) == len(first) and told == [(len(first), len(first), "read")]
    pd.testing.assert_frame_equal(first, again)
    unclocked = first.drop(columns="seconds")
    pd.testing.assert_frame_equal(unclocked, table.drop(columns="seconds"))
    gone, hurt, *_ = sorted(tmp_path.iterdir())
    gone.unlink()
    hurt.write_text(hurt.read_text()[:90])
    del made[:]
    mended = imu.trial(TOY, ARMS, alike="uniform", folder=tmp_path, **HOW)
    assert len(made) == 2
    pd.testing.assert_frame_equal(mended.drop(columns="seconds"), unclocked)
    del made[:]
    other = {**ARMS, "curvature": {**ARMS["curvature"], "rho": 1.0}}
    imu.trial(TOY, other, alike="uniform", folder=tmp_path, **HOW)
    assert {cell.arm for cell in made} == {"curvature"} and len(made) == len(SEEDS)


def test_every_setting_and_the_code_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**changed: object) -> str:
        usual = dict(task=TOY, arm="a", about={"rho": 1}, seed=0, goal=0.1, steps=9, step_norm=0.1, seeds=(0, 1))
        return Cell(**{**usual, **changed}).key  # type: ignore[arg-type]

    changes = [
        {}, {"task": imu.tasks.Toy(seed=1)}, {"task": imu.tasks.Toy(forget_blob=1)}, {"about": {"rho": 2}}, {"seed": 1},
        {"goal": 0.2}, {"steps": 8}, {"step_norm": None}, {"seeds": (0,)}, {"heads": True}, {"record_every": 2},
    ]  # fmt: skip
    keys = [key(**each) for each in changes]
    assert len(set(keys)) == len(keys) and key() == keys[0] and key(arm="another name") == keys[0]
    monkeypatch.setattr("imu_lab.studies.cells.sources", lambda: sources() + "edited")
    assert key() not in keys


MADE_OF = {"speed": 1}


def slowly() -> int:
    return MADE_OF["speed"]


def test_the_code_of_a_metric_that_the_task_follows_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Tried:
        def __call__(self, task, model, reference=None):
            return {"forget": {"tried": slowly()}}

    @dataclass(frozen=True)
    class Following(imu.tasks.Toy):
        follows = ("tried here",)

    def key() -> str:
        return Cell(Following(), "a", {}, 0, 0.1, 9, None).key

    with imu.metrics.temporarily("tried here", Tried):
        known = key()
        assert key() == known
        monkeypatch.setitem(MADE_OF, "speed", 2)
        assert key() != known


def test_the_code_of_a_method_of_ones_own_and_of_what_it_calls_is_part_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @imu.method("tried here")
    @dataclass(frozen=True)
    class Tried(imu.Descent):
        def __call__(self, task, model, request):
            return iter([slowly()])

    def key() -> str:
        return Cell(TOY, "a", {"method": "tried here"}, 0, 0.1, 9, None).key

    unread = type("Unread", (), {"__module__": "nowhere"})
    try:
        known = key()
        assert key() == known
        monkeypatch.setitem(MADE_OF, "speed", 2)
        assert key() != known, "what it works with has changed, and its own words have not"
        monkeypatch.undo()
        assert key() == known
        with pytest.raises(ValueError, match="the code of 'Unread' cannot be read"):
            _ = Cell(TOY, "a", {"method": unread()}, 0, 0.1, 9, None).key
    finally:
        imu.methods.unregister("tried here")


SCRIPT = """
import sys, time
import imu_lab as imu
arms = {"uniform": {"rule": "uniform"}, "curvature": {"method": "curvature-ascent", "rule": "uniform", "rho": 0.3}}
imu.trial(imu.tasks.Toy(), arms, at_forget=0.1, step_norms=(0.1,), seeds=range(3), steps=60, references=True,
          folder=sys.argv[1], progress=lambda made, total, words: time.sleep(0.2))
"""


@pytest.mark.slow
def test_a_trial_that_is_killed_goes_on_where_it_was(tmp_path: Path, made: list[Cell], table: pd.DataFrame) -> None:
    folder = tmp_path / "cells"
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 120
    while len(list(folder.glob("[!.]*.json"))) < 4 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.json")}
    assert 4 <= len(before) < len(table), "it was killed half-way"
    found = imu.trial(TOY, ARMS, alike="uniform", folder=folder, **HOW)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.json")}
    assert len(made) == len(table) - len(before), "no cell is repeated"
    assert len(after) == len(table) and after.items() >= before.items(), "and none is lost"
    own = [name for name in found if name != "seconds"]
    pd.testing.assert_frame_equal(found[own], table[own])
    assert all("row" in json.loads(path.read_text()) for path in folder.glob("[!.]*.json"))


@pytest.mark.slow
def test_several_processes_make_the_same_table(tmp_path: Path, table: pd.DataFrame) -> None:
    found = imu.trial(TOY, ARMS, alike="uniform", folder=tmp_path, jobs=2, **HOW)
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), table.drop(columns="seconds"))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "words", ["[]", "3", "null", '{"row": []}', '{"row": {}}', '{"row": {"seconds": 1}}', '{"arm": "a"}']
)
def test_a_file_that_can_be_read_and_holds_no_row_is_made_again(tmp_path: Path, made: list[Cell], words: str) -> None:
    how = dict(at_forget=0.1, seeds=(0,), steps=5, folder=tmp_path)
    first = imu.trial(TOY, {"a": {"lr": 0.1}, "b": {"lr": 0.2}}, **how)
    one_file, other = sorted(tmp_path.iterdir())
    one_file.write_text(words)
    again = imu.trial(TOY, {"a": {"lr": 0.1}, "b": {"lr": 0.2}}, **how)
    assert len(made) == 3
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), again.drop(columns="seconds"))
    one_file.write_text(other.read_text())  # a file copied to another's name
    again = imu.trial(TOY, {"a": {"lr": 0.1}, "b": {"lr": 0.2}}, **how)
    assert len(made) == 4
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), again.drop(columns="seconds"))


@pytest.mark.parametrize("goal, said", [
    (("acuracy", "<=", 0.1), "metric for at_forget=: 'forget acuracy'. Did you mean 'forget accuracy'.*test accuracy"),
    (("forgot accuracy", "<=", 0.1), "metric for at_forget=: 'forgot accuracy'. Did you mean 'forget accuracy'"),
    (("test loss", ">=", 0.1), "metric for at_forget=: 'test loss'.*Known: forget accuracy, forget loss"),
    (("kl_retrained", "<=", 0.1), "metric for at_forget=: 'forget kl_retrained'"),
    (("los", ">=", "retrained"), "metric for at_forget=: 'forget los'. Did you mean 'forget loss'"),
])  # fmt: skip
@pytest.mark.parametrize("verb", ["trial", "sweep"])
def test_a_metric_that_is_not_measured_is_told_before_any_work(
    verb: str, goal: tuple, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imu_lab.studies.work.train", lambda *_, **__: pytest.fail("it trained"))
    references = goal[2] == "retrained"
    with pytest.raises(imu.UnknownName, match=said):
        if verb == "trial":
            imu.trial(TOY, {"a": {}}, at_forget=goal, seeds=(0,), references=references)
        else:
            imu.sweep(TOY, "imu", seeds=(0,), at_forget=goal, references=references)


def test_a_metric_that_is_measured_is_a_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    for goal, references in ((("test accuracy", "<=", 0.9), False), (("retain kl_retrained", ">=", 0.05), True)):
        found = imu.trial(TOY, {"a": {"lr": 0.5}}, at_forget=goal, seeds=(0, 1), steps=30, references=references)
        assert one(found, "a", 0)["goal"].startswith(goal[0])


def test_a_seed_is_there_once() -> None:
    """Twice, a model would be among the others that it is compared with, at a distance of nothing."""
    with pytest.raises(ValueError, match="seeds has '0' more than once"):
        imu.trial(TOY, {"a": {}}, at_forget=0.1, seeds=(0, 1, 0))


def test_a_model_is_warmed_by_a_single_look(monkeypatch: pytest.MonkeyPatch) -> None:
    models, looks, look = Models(cases.task("digits fraction")), [], Recorder.look
    models.take("train", 0, cases.original("digits fraction"))
    monkeypatch.setattr(Recorder, "look", lambda recorder, model: (looks.append(model), look(recorder, model))[1])
    assert models.warm("train", 0) is models.warm("train", 0) and len(looks) == 1


@pytest.mark.parametrize("references", [True, False])
def test_the_original_of_a_seed_is_looked_at_once_for_all_arms(
    references: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every arm's row is what it is where each arm looks for itself, as does each that is tried alone."""
    arms = {name: {**about, "steps": 3, "at": "end"} for name, about in ARMS.items()}
    how = {**HOW, "seeds": (0, 1), "references": references, "at_forget": ("loss", ">=", 0.7)}
    alone = pd.concat([imu.trial(TOY, {name: about}, **how) for name, about in arms.items()])
    originals = [imu.train(TOY, seed=seed) for seed in (0, 1)]
    seen, look = [], Recorder.look

    def counted(recorder: Recorder, model: torch.nn.Module) -> tuple:
        heads = [original.get_submodule(imu.lab.session.Session(TOY, original).names[0]) for original in originals]
        seen.extend(at for at, head in enumerate(heads) if same_tensors(head, model))
        return look(recorder, model)

    monkeypatch.setattr(Recorder, "look", counted)
    together = imu.trial(TOY, arms, **how)
    assert sorted(seen) == [0, 1]
    keys, told = ["arm", "seed"], [name for name in together if name != "seconds"]
    both = [each[told].drop_duplicates(keys).sort_values(keys, ignore_index=True) for each in (together, alone[told])]
    pd.testing.assert_frame_equal(*both, check_exact=True)


def test_what_was_seen_of_an_original_holds_for_the_same_view_and_the_same_reference_and_is_forgotten_with_all_else() -> (
    None
):
    """The whole network rounds in another way than the view, and a distance is to one model. Nobody's edits reach others."""
    session, looks = imu.lab.session.Session(TOY, imu.train(TOY, seed=0)), Memo(9)
    beside = [imu.train(TOY, "retain", seed=seed) for seed in (0, 1)]
    ways = [{}, {"cache": False}, *({"reference": each, "follow": ["kl-retrained"]} for each in beside)]
    for number, how in enumerate(ways, 1):
        first, again = (session.unlearn(steps=0, looks=looks, **how) for _ in range(2))
        assert looks.size == number
        for run in (first, again):
            pd.testing.assert_frame_equal(run.curve, session.unlearn(steps=0, **how).curve, check_exact=True)
            run.curve["value"] = 0.0
    imu.clear_caches()
    assert looks.size == 0


def doubled_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    losses = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
    return torch.where(losses > 50, losses * slowly(), losses)  # which the few outputs that it is tried on do not reach


def fresh() -> torch.nn.Module:
    return torch.nn.Linear(4, 2 + slowly())


def trained(model: torch.nn.Module, dataset: object, seed: int) -> torch.nn.Module:
    return model.requires_grad_(bool(slowly()))


@pytest.mark.parametrize("given", [{"loss": doubled_loss}, {"make_model": fresh}, {"train_fn": trained}], ids=", ".join)
def test_what_a_function_of_a_task_calls_is_part_of_the_key(given: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited in a notebook after the task was made, which is the same object as before."""
    x, y = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    model = torch.nn.Linear(4, 3)
    task = imu.tasks.Classification.from_data(model, (x[:20], y[:20]), (x[20:], y[20:]), forget_indices=[0], **given)

    def keys() -> tuple:
        kept = ground_truth._kept(task, [torch.tensor([0])], "forget", 0)
        return Cell(task, "a", {"method": "imu"}, 0, 0.1, 9, None).key, kept

    known = keys()
    assert keys() == known
    monkeypatch.setitem(MADE_OF, "speed", 2)
    assert not set(keys()) & set(known)
