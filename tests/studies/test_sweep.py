"""A sweep: each row is the run that it names, what fails stops nothing, and what was made is made once, wherever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.studies.cells import Cell
from imu_lab.studies.comparison import passes
from imu_lab.studies.tuning import best_arm

TOY = imu.tasks.Toy()
METHODS = {"imu": {"lr": [0.1, 0.5]}, "delete": {"lr": [0.1, 0.5]}}
HOW: dict[str, Any] = {"seeds": (0, 1), "at_forget": 0.1, "steps": 30, "references": True, "jobs": 1}
COUNT = 2 * (2 + 4 + 4)  # seeds; doing nothing and retrained, the methods, the controls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    """A small sweep, whose runs are kept."""
    return imu.sweep(TOY, METHODS, folder=folder, **HOW)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cell]]:
    """The cells that are made, and not read."""
    cells: list[Cell] = []
    whole = Cell.made
    monkeypatch.setattr(Cell, "made", lambda cell, models: cells.append(cell) or whole(cell, models))
    yield cells


def one(table: pd.DataFrame, arm: str, seed: int = 1) -> pd.Series:
    return table[(table["arm"] == arm) & (table["seed"] == seed)].iloc[0]


def untimed(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["seconds", "run"])


def test_each_row_is_the_run_that_it_names(table: pd.DataFrame) -> None:
    assert len(table) == COUNT and (table["error"] == "").all()
    original = imu.train(TOY, seed=1)
    how = dict(seed=1, steps=30, stop_at=0.1, reference=imu.train(TOY, "retain", seed=1), follow=["kl-retrained"])
    scores = imu.influence(TOY, original)
    by_hand = {
        "imu (lr 0.5)": imu.unlearn(TOY, original, imu.intensity(scores), lr=0.5, **how),
        "uniform (lr 0.5)": imu.unlearn(TOY, original, lr=0.5, **how),
        "shuffled (lr 0.1)": imu.unlearn(TOY, original, imu.intensity(scores, "shuffled", seed=1), lr=0.1, **how),
        "delete (lr 0.1)": imu.unlearn(TOY, original, method="delete", lr=0.1, **how),
    }
    for arm, run in by_hand.items():
        row, expected = one(table, arm), imu.compare(run, at_forget=0.1).iloc[0]
        numbers = ["updates", "passes", "test accuracy", "test kl_retrained", "forget loss gap"]
        assert cases.close(row[numbers].astype(float), expected[numbers].astype(float)), arm
        saved = imu.load_run(row["run"])
        assert saved.curve.equals(run.curve) and saved.settings["seed"] == 1
        assert all((saved.model.state_dict()[key] == value).all() for key, value in run.model.state_dict().items())


def test_doing_nothing_and_the_retrained_model_stand_beside_their_costs(table: pd.DataFrame) -> None:
    nothing, retrained = one(table, "original"), one(table, "retrained")
    assert nothing["passes"] == 0 == nothing["updates"] and not nothing["reached"]
    epochs, share = imu.tasks.training.recipe_of(TOY).epochs, len(TOY.split("retain")) / len(TOY.split("train"))
    assert retrained["passes"] == pytest.approx(epochs * share) and retrained["needs"] == "retain data"
    assert imu.over_seeds(table, ["test kl_retrained"]).set_index("arm").loc["original", "seeds"] == 2


def test_a_pass_is_what_the_method_read_over_the_training_set() -> None:
    model, whole = imu.train(TOY), len(TOY.split("train"))
    forget = len(TOY.split("forget"))
    plain = imu.unlearn(TOY, model, steps=6, batch_size=16)  # 40 samples: batches of 16, 16 and 8
    assert forget == 40 and plain.terms.query("term == 'examples'")["value"].tolist() == [16, 16, 8] * 2
    assert [passes(plain, at) for at in (0, 2, 6)] == pytest.approx([0, 32 / whole, 80 / whole])
    both = imu.unlearn(TOY, model, method="gradient-difference", steps=3, batch_size=20)
    assert passes(both) == pytest.approx(3 * 40 / whole)  # 20 to forget and 20 to keep
    held = imu.unlearn(TOY, model, method="curvature-ascent", steps=1, batch_size=40, lr=0.1)
    assert passes(held) == pytest.approx(1 + forget / whole)  # the statistic takes a pass
    table = imu.compare([plain, both, held])
    assert table["passes"].tolist() == pytest.approx([*map(passes, (plain, both, held)), 0])


def test_a_method_that_reads_by_itself_is_counted_too() -> None:
    @dataclass(frozen=True)
    class Reads:
        scope = "all"
        needs_retain = True

        def __call__(self, task, model, request):
            while True:
                request.forget.batch()
                list(request.retain.batches(7))
                request.forget.take(np.array([1, 2])).batch([True, False])
                yield None

    run = imu.unlearn(TOY, imu.train(TOY), method=Reads(), steps=1)
    assert run.terms["value"].tolist() == [len(TOY.split("train")) + 1]


@dataclass(frozen=True)
class Breaks:
    """Fails where a cell fails: in the middle of its updates."""

    lr: float = imu.knob(0.1, help="None.", valid="(0, inf)")
    takes_weights = False

    def __call__(self, task, model, request):
        yield imu.Update({})
        if self.lr > 1:
            os._exit(3)
        raise ZeroDivisionError("no such thing")


@dataclass(frozen=True)
class Curious:
    """Asks for what it did not declare."""

    takes_weights = False

    def __call__(self, task, model, request):
        yield from imu.retain_batches(imu.Descent(), model, request)


def test_a_run_that_fails_is_told_in_its_row_and_tried_again(tmp_path: Path, made: list[Cell]) -> None:
    with imu.methods.temporarily("breaks", Breaks), imu.methods.temporarily("curious", Curious):
        how = HOW | {"seeds": [0], "controls": False, "folder": tmp_path, "references": False}
        with pytest.warns(UserWarning, match="2 of 4 runs of the sweep failed"):
            found = imu.sweep(TOY, ["breaks", "curious", "delete"], **how)
        assert one(found, "breaks", 0)["error"] == "ZeroDivisionError: no such thing"
        assert "needs_retain: ClassVar[bool] = True" in one(found, "curious", 0)["error"]
        assert not found["reached"].iloc[1:3].any() and found["updates"].iloc[1:3].isna().all()
        assert one(found, "delete", 0)["updates"] > 0 and imu.load_run(one(found, "delete", 0)["run"])
        del made[:]
        with pytest.warns(UserWarning, match="2 of 4"):
            imu.sweep(TOY, ["breaks", "curious", "delete"], **how)
    assert {cell.arm for cell in made} == {"breaks", "curious"}


def test_a_training_that_fails_is_told_in_the_rows_that_need_it() -> None:
    task = imu.tasks.Classification("digits", forget_class=3, recipe=imu.tasks.Recipe(epochs=1, lr=1e9))
    with pytest.warns(UserWarning, match="2 of 2 runs"):
        found = imu.sweep(task, "delete", seeds=[0], controls=False, jobs=1)
    assert found["error"].str.startswith("DivergedTraining: training diverged in epoch 1").all()


def test_what_was_made_is_read_and_a_row_without_its_run_is_made_again(
    folder: Path, table: pd.DataFrame, made: list[Cell], tmp_path: Path
) -> None:
    told: list[tuple[int, int, str]] = []
    again = imu.sweep(TOY, METHODS, folder=folder, progress=lambda *now: told.append(now), **HOW)
    assert not made and told == [(COUNT, COUNT, "read")]
    pd.testing.assert_frame_equal(again, table)
    Path(one(table, "delete (lr 0.1)")["run"]).unlink()
    mended = imu.sweep(TOY, METHODS, folder=folder, **HOW)
    assert [(cell.arm, cell.seed) for cell in made] == [("delete (lr 0.1)", 1)]
    pd.testing.assert_frame_equal(untimed(mended), untimed(table))
    assert {path.suffix for path in folder.iterdir()} == {".json", ".imu"}


@pytest.mark.full
def test_settings_are_chosen_on_seeds_that_are_not_reported() -> None:
    how = HOW | {"at_forget": None, "steps": 6}
    found = imu.sweep(TOY, METHODS, tuning=(7, 8), by=("forget loss", ">="), **how)
    tried, again = found.attrs["tuning"], imu.sweep(TOY, METHODS, **how | {"seeds": (7, 8)})
    assert set(found["seed"]) == {0, 1} and set(tried) == set(again["arm"]) - {"original", "retrained"}
    for method in ("imu", "delete", "uniform", "shuffled"):
        loss = again[again["method"] == method].groupby("arm")["forget loss"].mean()
        assert set(found.loc[found["method"] == method, "arm"]) == {loss.idxmax()} and len(loss) == 2
        assert all(tried[arm] == {"reached": 2, "forget loss": pytest.approx(mean)} for arm, mean in loss.items())
    pd.concat([found, found])  # pandas compares what stands in attrs
    with pytest.raises(ValueError, match="every method gets the same number of settings to try.*imu 2, delete 1"):
        imu.sweep(TOY, {"imu": {"lr": [0.1, 0.5]}, "delete": None}, tuning=[7], **how)
    with pytest.raises(ValueError, match=r"seeds \[1\] tune and report"):
        imu.sweep(TOY, METHODS, tuning=[1], **how)
    with pytest.raises(imu.UnknownName, match="column to choose a setting by: 'test kl_retraind'. Did you mean"):
        imu.sweep(TOY, METHODS, tuning=[7], by="test kl_retraind", **how)


def test_the_best_setting_reaches_its_goal_most_often_and_then_counts_what_it_cost() -> None:
    rows = [
        ("a", True, 9.0),
        ("a", True, 9.0),
        ("b", True, 1.0),
        ("b", False, np.nan),
        ("c", True, 5.0),
        ("c", True, 7.0),
    ]
    table = pd.DataFrame(rows, columns=["arm", "reached", "cost"])
    least, most = ("cost", "<="), ("cost", ">=")
    assert best_arm(table, ["a", "b", "c"], least) == "c" and best_arm(table, ["a", "c"], most) == "a"
    assert best_arm(table, ["a", "b", "c"], least, goal=False) == "b"
    assert best_arm(table, ["z", "a"], least, goal=True) == "a"
    with pytest.raises(ValueError, match="nobody can say which direction of 'cost' is good"):
        best_arm(table, ["a", "b"], "cost")


def test_the_best_gap_is_the_smallest_and_the_best_accuracy_the_largest() -> None:
    table = pd.DataFrame(
        {"arm": ["good", "bad"], "reached": True, "test accuracy": [0.9, 0.4], "test accuracy gap": [-0.01, -0.4]}
    )
    for by in ("test accuracy", "test accuracy gap"):
        assert best_arm(table, ["good", "bad"], by) == best_arm(table, ["bad", "good"], by) == "good"


def test_a_choice_by_a_distance_without_retrained_models_is_refused_before_work() -> None:
    with pytest.raises(ValueError, match="needs retrained models to choose by: say references=True"):
        imu.sweep(TOY, METHODS, seeds=[0], tuning=[7], progress=lambda *told: pytest.fail("work was begun"))


def test_steps_of_several_kinds_are_not_told_to_be_one() -> None:
    how = {"seeds": [0], "steps": 2, "controls": False, "jobs": 1}
    relative = imu.sweep(TOY, "imu", {"relative_steps": [True]}, step_norm=0.01, **how)
    assert relative["steps"].unique().tolist() == ["equal steps (‖Δθ‖ = 0.01 ‖θ₀‖)"]
    mixed = imu.sweep(TOY, "imu", {"step_norm": [0.01, 0.1]}, **how)
    assert mixed["steps"].unique().tolist() == ["steps as each setting says"]


def test_settings_cross_and_name_the_arms() -> None:
    how = {"seeds": [0], "steps": 1, "jobs": 1}
    found = imu.sweep(
        TOY, {"imu": {"rule": [("sqrt-clipped", {"quantile": 0.5}), "uniform"]}}, {"lr": [0.1, 0.2]}, **how
    )
    arms = found["arm"].tolist()
    assert not any("shuffled" in arm and "uniform" in arm for arm in arms), (
        "weights that are all alike cannot be shuffled"
    )
    assert arms[:3] == ["original", "imu (lr 0.1, rule sqrt-clipped quantile 0.5)", "imu (lr 0.1, rule uniform)"]
    assert found["method"].value_counts().to_dict() == {"imu": 4, "shuffled": 2, "uniform": 2, "original": 1}
    listed = imu.sweep(TOY, ["delete"], [{"lr": 0.1, "momentum": [0.0, 0.5]}, {"lr": 0.3}], controls=False, **how)
    assert listed["setting"].tolist() == ["", "lr 0.1, momentum 0", "lr 0.1, momentum 0.5", "lr 0.3"]
    named = imu.sweep(TOY, {"mine": {"method": "delete", "lr": np.array([0.1])}, "curvature-ascent": {}}, **how)
    assert named["method"].tolist() == ["original", "mine", "curvature-ascent", "uniform", "shuffled"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (dict(methods=[]), ValueError, "nothing to sweep: methods= names none"),
        (dict(methods={}), ValueError, "nothing to sweep"),
        (dict(methods="imu", seeds=[]), ValueError, "seeds= names no seed"),
        (dict(methods="imu", seeds=3), TypeError, "seeds is several seeds, such as range"),
        (dict(methods="imu", seeds=[0, 1, 0]), ValueError, "seeds has '0' more than once"),
        (dict(methods="imu", seeds=[-1]), ValueError, "a seed is a whole number"),
        (dict(methods=["imu", "delte"]), imu.UnknownName, "unknown method: 'delte'. Did you mean 'delete'.*Known: "),
        (dict(methods={"delte": {}}), imu.UnknownName, "unknown method: 'delte'"),
        (dict(methods=["imu", "imu"]), ValueError, "names 'imu' more than once"),
        (dict(methods=7), TypeError, "methods are names in imu.methods"),
        (dict(methods=[imu.methods.create("imu")]), TypeError, "a method is named as in imu.methods"),
        (dict(methods=["delete", "ssd"], settings={"lr": [1]}), TypeError, "method 'ssd' has no setting 'lr'.*It has: "),
        (dict(methods="imu", settings={"momentun": 0.9}), TypeError, "no setting 'momentun'. Did you mean 'momentum'"),
        (dict(methods="imu", settings={"lr": [0.1, -1]}), ValueError, "lr"),
        (dict(methods="imu", settings={"lr": []}), ValueError, "no value of 'lr' to try"),
        (dict(methods="imu", settings=[]), TypeError, "settings takes settings such as"),
        (dict(methods="imu", settings="lr"), TypeError, "settings takes settings such as"),
        (dict(methods={"imu": 0.1}), TypeError, "'imu' takes settings such as"),
        (dict(methods="delete", settings={"rule": "uniform"}), TypeError, "'delete' takes no weights, so rule='uniform'"),
        (dict(methods="imu", settings={"rule": "unifrom"}), imu.UnknownName, "unknown intensity rule: 'unifrom'"),
        (dict(methods={"original": {"method": "imu"}}), ValueError, "'original' is a row that stands in every sweep"),
        (dict(methods="imu", jobs=0), ValueError, "jobs"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused_before_any_work(
    given: dict, error: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imu_lab.studies.sweep.worked", lambda *_: pytest.fail("it went to work"))
    with pytest.raises(error, match=words):
        imu.sweep(TOY, **given)


SCRIPT = """
import sys, time
import imu_lab as imu
imu.sweep(imu.tasks.Toy(), {"imu": {"lr": [0.1, 0.5]}, "delete": {"lr": [0.1, 0.5]}}, seeds=(0, 1), at_forget=0.1, steps=30,
          references=True, jobs=1, folder=sys.argv[1], progress=lambda made, total, words: time.sleep(0.2))
"""


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path, made: list[Cell], table: pd.DataFrame) -> None:
    folder = tmp_path / "cells"
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 120
    while len(list(folder.glob("[!.]*.json"))) < 4 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.json")}
    assert 4 <= len(before) < COUNT, "it was killed half-way"
    found = imu.sweep(TOY, METHODS, folder=folder, **HOW)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.json")}
    assert len(made) == COUNT - len(before), "no run is repeated"
    assert len(after) == COUNT and after.items() >= before.items(), "and none is lost"
    pd.testing.assert_frame_equal(untimed(found), untimed(table))
    assert all(imu.load_run(path).steps[0] == 0 for path in found["run"])
    assert all("row" in json.loads(path.read_text()) for path in folder.glob("[!.]*.json"))


@pytest.mark.slow
def test_several_processes_make_the_same_table_and_one_that_ends_takes_no_other_along(table: pd.DataFrame) -> None:
    """``breaks`` is known here alone: the processes are told of it."""
    how = HOW | {"jobs": 2, "seeds": [0], "references": False}
    with imu.methods.temporarily("breaks", Breaks), pytest.warns(UserWarning, match="2 of 11 runs"):
        found = imu.sweep(TOY, {"breaks": {"lr": [2.0, 0.1]}, **METHODS}, **how)
    assert "the process that made it ended" in one(found, "breaks (lr 2)", 0)["error"]
    assert one(found, "breaks (lr 0.1)", 0)["error"] == "ZeroDivisionError: no such thing"
    for arm in ("imu (lr 0.5)", "delete (lr 0.1)", "shuffled (lr 0.1)", "original"):
        for name in ("updates", "passes", "reached", "forget loss", "test accuracy"):
            assert one(found, arm, 0)[name] == one(table, arm, 0)[name]


CLUSTER = """
import json, sys
import joblib
from distributed import Client, LocalCluster
import imu_lab as imu

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        def told(made, total, words):
            if made == 6:  # both are at work
                next(iter(cluster.workers.values())).process.process.kill()
                print("killed", flush=True)
        with joblib.parallel_config("dask"):
            table = imu.sweep(imu.tasks.Toy(), {"imu": {"lr": [0.1, 0.5]}, "delete": {"lr": [0.1, 0.5]}}, seeds=(0, 1),
                              at_forget=0.1, steps=30, references=True, folder=sys.argv[1], progress=told)
        table.to_parquet(sys.argv[2])
"""


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_makes_the_same_table(tmp_path: Path, table: pd.DataFrame) -> None:
    script, out = tmp_path / "cluster.py", tmp_path / "table.parquet"
    script.write_text(CLUSTER)
    # Not among these tests: dask's processes import the script again, and warn of what they left when they are killed.
    where = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    ran = subprocess.run(
        [sys.executable, script, tmp_path / "cells", out], env=where, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0 and "killed" in ran.stdout, ran.stderr[-2000:]
    found = pd.read_parquet(out)
    pd.testing.assert_frame_equal(untimed(found), untimed(table), check_dtype=False)
    assert len(list((tmp_path / "cells").glob("[!.]*.json"))) == COUNT


@pytest.mark.parametrize("how, said", [
    ({"steps": -1}, "steps must be a whole number >= 0, got -1"),
    ({"record_every": 0}, "record_every must be a whole number >= 1, got 0"),
    ({"step_norm": -1.0}, "length of an update is a number above 0.*got -1.0"),
    ({"step_norm": float("nan")}, "length of an update is a number above 0.*got nan"),
    ({"at_forget": "half"}, "at_forget must be a forget accuracy"),
    ({"at_forget": float("nan")}, "at_forget must be a forget accuracy"),
    ({"at_forget": "retrained"}, "needs the retrained model"),
    ({"at_forget": "nearest"}, "it needs references=True"),
    ({"at_forget": ("loss", "=>", 1.0), "references": True}, "at_forget must be a forget accuracy"),
])  # fmt: skip
@pytest.mark.parametrize("verb", ["sweep", "trial"])
def test_a_goal_or_a_schedule_that_is_none_is_refused_before_a_model_is_trained(
    verb: str, how: dict, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imu_lab.studies.work.train", lambda *_, **__: pytest.fail("it trained"))
    if verb == "trial":
        how = {
            "at_forget": 0.1,
            **{("step_norms" if name == "step_norm" else name): value for name, value in how.items()},
        }
        how |= {"step_norms": [how["step_norms"]]} if "step_norms" in how else {}
    with pytest.raises(ValueError, match=said):
        imu.sweep(TOY, ["imu"], seeds=[77], jobs=1, **how) if verb == "sweep" else imu.trial(TOY, {"a": {}}, **how)


def test_a_folder_that_cannot_be_written_to_is_refused_before_a_model_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imu_lab.studies.work.train", lambda *_, **__: pytest.fail("it trained"))
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere"):
        with pytest.raises(ValueError, match=f"folder={folder} cannot be written to .*name another folder"):
            imu.sweep(TOY, ["imu"], seeds=[77], jobs=1, folder=folder)


@pytest.mark.parametrize(
    "verb", [imu.pareto, imu.load_runs, imu.chosen_runs, lambda table: imu.over_seeds(table, ["seconds"])]
)
def test_what_reads_a_table_says_so(verb: Any) -> None:
    with pytest.raises(TypeError, match="takes a table, as imu.sweep gives it; got a list"):
        verb([1, 2])


@pytest.mark.parametrize("rates, arms", [
    ([0.1234567, 0.1234568], ["imu (lr 0.1234567)", "imu (lr 0.1234568)"]),
    ([0.1, np.float64(0.1)], ["imu (lr 0.1)"]),
    ([1, 1.0, np.int64(1)], ["imu (lr 1)"]),
    (np.array([1e-5, 2e-5]), ["imu (lr 1e-05)", "imu (lr 2e-05)"]),
])  # fmt: skip
def test_what_goes_by_one_name_is_one_setting(rates: Any, arms: list[str]) -> None:
    """Two settings under one name would be pooled as if they were seeds."""
    table = imu.sweep(TOY, "imu", {"lr": rates}, (0,), steps=2, jobs=1)
    assert not table.duplicated(["arm", "seed"]).any()
    mine = table[table["method"] == "imu"]
    assert mine["arm"].tolist() == arms and mine["forget loss"].nunique() == len(arms)


def test_a_saved_run_that_is_not_whole_is_made_again(tmp_path: Path, made: list[Cell]) -> None:
    how: dict[str, Any] = {"seeds": (0,), "steps": 2, "jobs": 1, "folder": tmp_path, "controls": False}
    table = imu.sweep(TOY, "imu", {"lr": 0.1}, **how)
    for path, left in zip(sorted(tmp_path.glob("*.imu")), (0, 0.5)):
        path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    again = imu.sweep(TOY, "imu", {"lr": 0.1}, **how)
    assert len(made) == 2 * len(table)
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), again.drop(columns="seconds"))
    assert [len(runs) for runs in imu.load_runs(again).values()] == [1, 1]


def test_seeds_that_share_an_original_are_told() -> None:
    """A model that was brought along has no other seed: doing nothing is the same model in every row."""
    task = cases.own_data(forget_indices=range(6))
    how: dict[str, Any] = {"at_forget": 0.5, "steps": 2, "jobs": 1}
    with pytest.warns(
        UserWarning, match="all 2 seeds begin from the one model .*: they differ in the order of batches .not even"
    ):
        table = imu.sweep(task, {"imu": {"lr": 0.1}}, seeds=(0, 1), **how)
    nothing = table[table["arm"] == "original"]
    assert len(nothing) == 2 and nothing["test accuracy"].nunique() == 1
    runs = table[table["arm"].str.startswith("imu")]
    assert runs["forget accuracy"].nunique(dropna=False) == 1, "one batch has one order"
    imu.sweep(task, {"imu": {"lr": 0.1}}, seeds=(0,), **how)  # one seed claims nothing
