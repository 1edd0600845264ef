"""Runs side by side, at the end and at equal forgetting."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.core.quantities import describe
from imu_lab.core.records import Run
from imu_lab.studies.comparison import usual_step


def made(forget: list[float], test: list[float], reference: bool = True, every: int = 1, **settings: object) -> Run:
    """A run with these accuracies at each recorded update."""
    rows = [
        (every * k, split, "accuracy", value)
        for k, pair in enumerate(zip(forget, test))
        for split, value in zip(("forget", "test"), pair)
    ]
    known = [("forget", "accuracy", 0.1), ("test", "accuracy", 0.8)] if reference else []
    empty = pd.DataFrame()
    return Run(
        curve=pd.DataFrame(rows, columns=["step", "split", "metric", "value"]),
        samples=empty,
        trajectory=empty,
        terms=empty,
        reference=pd.DataFrame(known, columns=["split", "metric", "value"]),
        settings={"method": "imu", "seed": 5, **settings},
        events={"steps": every * (len(forget) - 1)},
    )


def test_the_last_updates_by_hand() -> None:
    row, _ = imu.compare(made([1.0, 0.5, 0.2], [0.9, 0.9, 0.7])).to_dict("records")
    assert (row["run"], row["seed"], row["updates"], row["reached"]) == ("imu", 5, 2, True)
    assert row["forget accuracy"] == 0.2 and row["test accuracy"] == 0.7
    assert row["forget accuracy change"] == pytest.approx(-0.8)
    assert row["test accuracy change"] == pytest.approx(-0.2)
    assert row["forget accuracy gap"] == pytest.approx(0.1) and row["test accuracy gap"] == pytest.approx(-0.1)


def test_equal_forgetting_takes_each_runs_first_update_that_meets_it() -> None:
    slow = made([1.0, 0.8, 0.5, 0.3, 0.0], [0.9, 0.89, 0.88, 0.87, 0.5])
    fast = made([1.0, 0.2, 0.4, 0.0], [0.9, 0.7, 0.6, 0.5])
    table = imu.compare([slow, fast], at_forget=0.3).head(2)
    assert table["updates"].tolist() == [3, 1]
    assert table["test accuracy"].tolist() == [0.87, 0.7] and table["forget accuracy"].tolist() == [0.3, 0.2]


def test_a_run_that_never_gets_there_has_no_numbers() -> None:
    table = imu.compare([made([1.0, 0.9], [0.9, 0.9]), made([1.0, 0.0], [0.9, 0.8])], at_forget=0.5)
    assert table["reached"].tolist() == [False, True, False]
    assert table.loc[0, ["forget accuracy", "test accuracy", "test accuracy gap", "updates"]].isna().all()


def test_two_settings_of_one_method_have_two_names_and_two_seeds_have_one() -> None:
    slow, fast = ({"settings": {"lr": lr, "momentum": 0.9}} for lr in (0.01, 0.1))
    runs = [made([1.0, 0.5], [0.9, 0.9], **how) for how in (slow, fast, slow | {"seed": 6})]
    table = imu.compare(runs)
    assert table["run"].tolist() == ["imu (lr 0.01)", "imu (lr 0.1)", "imu (lr 0.01)", "original"]
    assert table["seed"].tolist()[:3] == [5, 5, 6]
    assert imu.compare(runs[:1])["run"].tolist() == ["imu", "original"]
    assert len(imu.plot_comparison(table).layout.yaxis.ticktext) == 3, "seeds of one setting share a row of the figure"


@pytest.mark.parametrize("at_forget", [None, 0.3, 0.0, 1.0])
def test_doing_nothing_stands_in_the_last_row(at_forget: float | None) -> None:
    runs = [made([1.0, 0.8, 0.2], [0.9, 0.7, 0.6]), made([0.7, 0.4], [0.5, 0.4])]
    table = imu.compare(runs, at_forget=at_forget)
    row = table.iloc[-1]
    assert len(table) == 3 and row["run"] == "original" and row["updates"] == 0 and pd.isna(row["seed"])
    assert row["forget accuracy"] == 1.0 and row["test accuracy"] == 0.9
    assert row["forget accuracy change"] == row["test accuracy change"] == 0
    assert row["forget accuracy gap"] == pytest.approx(0.9) and row["test accuracy gap"] == pytest.approx(0.1)
    assert row["reached"] == (at_forget in (None, 1.0)), "it has forgotten nothing"
    assert table["seed"].tolist()[:2] == [5, 5] and not len(imu.compare([]))


def test_equal_in_another_metric() -> None:
    run = made([1.0, 0.9, 0.8], [0.9, 0.85, 0.7], every=10)
    assert imu.compare(run, at_forget=("test accuracy", "<", 0.9))["updates"].tolist() == [10, 0]


def test_without_a_reference_there_are_no_gaps_but_numbers() -> None:
    row, _ = imu.compare(made([1.0, 0.5], [0.9, 0.8], reference=False)).to_dict("records")
    assert row["forget accuracy"] == 0.5 and np.isnan(row["forget accuracy gap"])


def test_a_metric_that_is_not_there_is_named() -> None:
    with pytest.raises(imu.UnknownName, match="metric to compare at: 'forget loss'.* Known: .*forget accuracy"):
        imu.compare(made([1.0], [1.0]), at_forget=("loss", ">=", 1))


def test_real_and_loaded_runs_compare_alike(tmp_path) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    runs = imu.unlearn(task, model, steps=5, seeds=range(3), reference=cases.retrained("toy"))
    loaded = [imu.load_run(run.save(tmp_path / f"{k}.imu")) for k, run in enumerate(runs)]
    pd.testing.assert_frame_equal(imu.compare(runs), imu.compare(loaded))
    assert imu.compare(runs)["seed"].tolist()[:3] == [0, 1, 2]
    values = [run.value("forget", "accuracy") for run in runs] + [runs[0].value("forget", "accuracy", 0)]
    assert imu.compare(runs)["forget accuracy"].tolist() == values


@pytest.mark.parametrize("metric", ["accuracy", "identity_accuracy"])
def test_the_usual_step_looks_at_the_updates_while_something_was_remembered(metric: str) -> None:
    run = made([1.0, 0.5, 0.0, 0.0], [0.9] * 4)
    curve = run.curve.replace({"metric": {"accuracy": metric}})
    terms = pd.DataFrame({"step": [1, 2, 3], "term": "update_norm", "value": [1.0, 3.0, 100.0]})
    told = replace(run, curve=curve, terms=terms, settings={"forgotten_when": [metric, "<="]})
    assert usual_step(told) == 2.0


def beside(
    forget: list[float], test: list[float], floor: tuple[float, float] | None, metric: str = "kl_retrained"
) -> Run:
    """A run with these distances at its updates; the floor on both splits where there are several references."""
    run = made(forget, test, compared_with={"digests": ["a", "b"] if floor else ["a"]})
    levels = floor or (describe(metric).goal,) * 2
    known = [("forget", metric, levels[0]), ("test", metric, levels[1])]
    reference = pd.DataFrame(known, columns=["split", "metric", "value"])
    return replace(run, curve=run.curve.assign(metric=metric), reference=reference)


def test_a_run_that_is_farther_than_doing_nothing_is_told_in_words() -> None:
    uniform = beside([0.037, 0.05], [0.005, 0.038], floor=(0.02, 0.012))
    curvature = beside([0.037, 0.01], [0.005, 0.01], floor=(0.02, 0.012))
    table = imu.compare([uniform, curvature])
    assert table["verdict"].tolist() == [
        "forget: farther than doing nothing (0.05 against 0.037, a difference inside the noise floor (0.02)); "
        "test: farther than doing nothing (0.038 against 0.005)",
        "forget: nearer than doing nothing (0.01 against 0.037); "
        "test: farther than doing nothing (0.01 against 0.005, a difference inside the noise floor (0.012))",
        "forget: 0.037, outside the noise floor (0.02); test: 0.005, inside the noise floor (0.012)",
    ]
    assert table["test kl_retrained floor"].tolist() == [0.012] * 3
    assert table["test kl_retrained gap"].tolist() == pytest.approx([0.026, -0.002, -0.007])
    assert table.columns[-1] == "verdict"


def test_beside_one_retrained_model_there_is_no_floor() -> None:
    table = imu.compare(beside([0.3, 0.3], [0.1, 0.2], floor=None))
    assert table["verdict"].tolist() == [
        "forget: as far as doing nothing (0.3 against 0.3); test: farther than doing nothing (0.2 against 0.1)",
        "forget: 0.3; test: 0.1",
    ]
    assert not any(name.endswith("floor") for name in table)
    assert "verdict" not in imu.compare(made([1.0, 0.5], [0.9, 0.8])), "accuracy is no distance"


def test_an_agreement_is_farther_where_it_is_lower() -> None:
    table = imu.compare(beside([0.9, 0.7], [0.95, 0.96], floor=(0.94, 0.98), metric="agreement"))
    assert table["verdict"].tolist() == [
        "forget: farther than doing nothing (0.7 against 0.9); "
        "test: nearer than doing nothing (0.96 against 0.95, a difference inside the noise floor (0.98))",
        "forget: 0.9, outside the noise floor (0.94); test: 0.95, outside the noise floor (0.98)",
    ]


def test_a_run_that_never_got_there_has_no_verdict() -> None:
    table = imu.compare(beside([0.3, 0.3], [0.1, 0.2], floor=None), at_forget=("kl_retrained", "<=", 0.1))
    assert table["verdict"].tolist() == ["never got there", "forget: 0.3; test: 0.1"]


def test_references_are_in_the_table_of_real_runs() -> None:
    task = cases.task("toy")
    references = imu.references(task, seeds=(0, 1))
    run = imu.unlearn(task, cases.original("toy"), steps=2, reference=references)
    table = imu.compare(run)
    assert table["test kl_retrained floor"].tolist() == pytest.approx([references.noise_floor["test"]] * 2, rel=1e-5)
    original = imu.metrics.create("kl-retrained")(task, cases.original("toy"), references)
    assert table["test kl_retrained"].iloc[-1] == pytest.approx(original["test"]["kl_retrained"], rel=1e-5)
    assert "than doing nothing" in table["verdict"][0] and "the noise floor" in table["verdict"].iloc[-1]
    others = imu.unlearn(task, cases.original("toy"), steps=2, reference=references.models[0], follow=["kl-retrained"])
    assert set(imu.compare([run, others])["run"]) == {run.label, "original"}, (
        "one experiment, whatever it is held against"
    )


def test_the_retrained_model_s_loss_is_a_goal_in_words() -> None:
    task, model, retrained = (make("toy") for make in (cases.task, cases.original, cases.retrained))
    run = imu.unlearn(task, model, steps=60, lr=0.3, stop_at=("loss", ">=", "retrained"), reference=retrained)
    known = run.retrained_values["forget"]["loss"]
    assert run.events["stopped_at"] == run.steps[-1] and run.value("forget", "loss") >= known
    assert (run.series("forget", "loss").iloc[:-1] < known).all()
    row = imu.compare(run, at_forget=("loss", ">=", "retrained")).iloc[0]
    assert row["updates"] == run.steps[-1] and row["forget loss"] == run.value("forget", "loss")
    assert imu.again(run).steps.tolist() == run.steps.tolist()  # without the reference: its number is in the record
    with pytest.raises(ValueError, match='at_forget="retrained" needs the retrained model'):
        imu.compare(imu.unlearn(task, model, steps=1), at_forget="retrained")


def test_runs_of_two_requests_have_an_original_each() -> None:
    """The same samples in another order, or other settings, are one request."""
    one, other = (pd.DataFrame({"example": examples}) for examples in ([1, 2], [3]))
    runs = [
        replace(made([1.0, 0.5], [0.9, 0.8]), samples=one),
        replace(made([0.7, 0.4], [0.6, 0.5]), samples=other),
        replace(made([1.0, 0.2], [0.9, 0.7], settings={"lr": 0.1}), samples=one.iloc[::-1]),
    ]
    table = imu.compare(runs)
    assert table["run"].tolist()[3:] == ["original (request 1)", "original (request 2)"]
    assert [name[-11:] for name in table["run"][:3]] == ["(request 1)", "(request 2)", "(request 1)"]
    assert table["forget accuracy"].tolist() == [0.5, 0.4, 0.2, 1.0, 0.7]
    assert imu.compare(runs[::2])["run"].tolist()[-1] == "original"
    assert imu.compare(runs, at_forget=0.8)["reached"].tolist() == [True, True, True, False, True]


def test_runs_from_two_models_have_an_original_each(tmp_path) -> None:
    task, models = cases.task("toy"), [cases.original("toy"), imu.train(cases.task("toy"), seed=1)]
    runs = [imu.unlearn(task, model, method=method, steps=2) for method in ("imu", "delete") for model in models]
    table = imu.compare(runs)
    assert [name[-10:] for name in table["run"]] == [" (model 1)", " (model 2)"] * 3
    assert table["forget loss"].tolist()[4:] == [run.value("forget", "loss", 0) for run in runs[:2]]
    assert table["forget loss"].nunique() == 6 and table["seed"].isna().tolist() == [False] * 4 + [True] * 2
    loaded = [imu.load_run(run.save(tmp_path / f"{at}.imu")) for at, run in enumerate(runs)]
    pd.testing.assert_frame_equal(imu.compare(loaded), table)
    assert imu.compare([runs[0], imu.fork(runs[0], 1, lr=0.1)])["run"].tolist()[-1] == "original"


def test_of_runs_whose_seeds_have_a_model_each_the_original_of_each_has_its_seed() -> None:
    task, seeds = cases.task("toy"), (0, 1)
    runs = [imu.unlearn(task, imu.train(task, seed=seed), weights=None, method=method, steps=2, seed=seed)
            for method in ("imu", "delete") for seed in seeds]  # fmt: skip
    table = imu.compare(runs)
    assert table["run"].tolist() == [*(run.label for run in runs), "original", "original"]
    assert table["seed"].tolist() == [0, 1] * 3
    assert table["forget loss"].tolist()[4:] == [run.value("forget", "loss", 0) for run in runs[:2]]
    mixed = imu.compare([*runs, imu.unlearn(task, imu.train(task, seed=1), steps=2, seed=0)])
    assert mixed["run"].tolist()[-2:] == ["original (model 1)", "original (model 2)"]


@pytest.mark.parametrize("at_forget", [5, 1.5, ("test accuracy", "<", 95)], ids=str)
def test_per_cents_are_no_shares(at_forget: object) -> None:
    with pytest.raises(
        ValueError, match=r"at_forget=\S+: accuracy is a share, of which 0.05 is 5 %; give one from 0 to 1"
    ):
        imu.compare(made([1.0, 0.0], [0.9, 0.8]), at_forget=at_forget)


def test_the_tasks_own_goal_is_one_to_compare_at() -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=12, lr=0.3)
    own, number = imu.compare(run, at_forget="forgotten"), imu.compare(run, at_forget=0.0)
    assert cases.close(own, number)
