"""Predicted damage against measured damage, explicit gradients, its own parts, and runs without a sample's pressure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.features.gradients import explicit
from imu_lab.studies.collateral import NoFirstOrder, _momentum_gain, received
from imu_lab.tasks.evaluation import outcomes
from imu_lab.unlearning.snapshots import Snapshots

PLAIN = {"momentum": 0.0, "weight_decay": 0.0}


def made(name: str = "toy", steps: int = 1, lr: float = 1e-3, **how: object) -> imu.Run:
    task, original = cases.task(name), cases.original(name)
    finds = imu.methods.declared(imu.methods[str(how.get("method", "imu"))], "finds_shares")
    weights = None if finds else imu.intensity(imu.influence(task, original))
    return imu.unlearn(task, original, weights, steps=steps, lr=lr, **PLAIN | how)


@pytest.mark.parametrize("name", ["toy", "digits class", "own data"])
def test_one_small_step_does_the_damage_that_first_order_predicts(name: str) -> None:
    table = imu.collateral(made(name, lr=1e-4, batch_size=512))
    assert table["measured"].abs().max() > 0
    error = (table["predicted"] - table["measured"]).abs().max() / table["measured"].abs().max()
    assert error < 0.05


def test_the_prediction_is_the_sum_over_the_responsible() -> None:
    run = made(steps=5, lr=1e-2)
    table = imu.collateral(run).set_index("example")
    for example in table.index[:3]:
        parts = imu.responsible(run, example)
        assert cases.close(
            parts["predicted"].sum(), table.loc[example, "predicted"], 1e-4, of=parts["predicted"].abs().max()
        )
        assert parts["alignment"].abs().max() <= 1 + 1e-6
        assert parts["predicted"].is_monotonic_decreasing


def test_it_equals_explicit_gradients() -> None:
    run, task, original = made(), cases.task("toy"), cases.original("toy")
    forget, retain = (explicit(task, original, task.split(name)).double().numpy() for name in ("forget", "retain"))
    expected = retain @ forget.T @ (1e-3 * run.samples["pressure"].to_numpy())
    found = imu.collateral(run).set_index("example")["predicted"].loc[task.split("retain").ids.numpy()]
    assert cases.close(found, expected, within=1e-4)


def test_the_damage_by_class_is_the_mean_over_its_samples() -> None:
    run = made("digits class", steps=3)
    by_class, table = imu.damage_by_class(run), imu.collateral(run)
    assert by_class.shape == (len(run.samples), 9) and "3" not in by_class
    assert cases.close(by_class.sum(axis=0), table.groupby("label")["predicted"].mean()[by_class.columns], within=1e-3)


def test_a_sample_without_pressure_does_no_damage() -> None:
    task, original = cases.task("toy"), cases.original("toy")
    weights = np.ones(40)
    weights[:20] = 0
    run = imu.unlearn(task, original, weights, steps=3, **PLAIN)
    parts = imu.responsible(run, int(task.split("retain").ids[0]))
    assert (parts.loc[parts["pressure"] == 0, "predicted"] == 0).all() and (parts["pressure"] == 0).sum() == 20


def test_lost_samples_were_right_and_are_wrong() -> None:
    table = imu.collateral(made(steps=60, lr=0.3))
    assert table["lost"].any()
    assert (table.loc[table["lost"], "margin_before"] >= 0).all() and (
        table.loc[table["lost"], "margin_after"] < 0
    ).all()


def test_momentum_carries_a_step_further() -> None:
    assert _momentum_gain(0.9, 1) == pytest.approx(1.0) and _momentum_gain(0.0, 50) == 1.0
    assert _momentum_gain(0.5, 2) == pytest.approx((1.0 + 1.5) / 2)
    run = made(steps=4)
    assert received(run, 4).sum() == pytest.approx(4) and received(run, 2).sum() == pytest.approx(2)


def test_what_has_no_step_length_is_refused() -> None:
    with pytest.raises(ValueError, match="needs plain SGD steps.*optimizer='adamw'"):
        imu.responsible(made(optimizer="adamw"), 41)
    with pytest.raises(ValueError, match="step_norm=0.1"):
        imu.damage_by_sample(made(step_norm=0.1))
    with pytest.raises(ValueError, match="example 0 is not in 'retain'; it holds 80"):
        imu.responsible(made(), 0)


NO_SHARES = [
    ({"normalise": "set"}, "normalise='set'"),
    ({"alpha": 0.2}, "alpha=0.2"),
    *(({"method": name}, f"{name}' also follows the retain set") for name in ("fine-tune", "gradient-difference")),
    *(({"method": name}, f"{name}' also follows the retain set") for name in ("kl-ascent", "npo-kl")),
    ({"method": "delete"}, "'delete' takes others"),
]


@pytest.mark.parametrize(("how", "said"), NO_SHARES)
def test_runs_that_the_formula_does_not_describe_are_refused_in_words(how: dict, said: str) -> None:
    run = made(lr=1e-3, batch_size=16, **how)
    with pytest.raises(NoFirstOrder, match=said):
        imu.damage_by_sample(run)
    assert imu.collateral(run)["predicted"].isna().all()


@pytest.mark.parametrize("method", ["imu", "imu-minibatch", "gradient-ascent", "npo", "simnpo"])
def test_what_the_formula_describes_is_measured_as_predicted_batch_by_batch(method: str) -> None:
    table = imu.collateral(made(lr=1e-3, batch_size=16, method=method))
    error = (table["predicted"] - table["measured"]).abs().max() / table["measured"].abs().max()
    assert table["measured"].abs().max() > 0 and error < 0.15


@pytest.mark.parametrize("how", [{"optimizer": "adamw"}, {"step_norm": 0.1}])
def test_damage_is_measured_also_where_nothing_can_be_predicted(how: dict) -> None:
    run = made(steps=3, **how)
    table = imu.collateral(run)
    assert table["predicted"].isna().all() and table["measured"].abs().max() > 0
    examples = run.task.split("retain")
    before, after = (outcomes(run.task, run.model_at(step), examples)[:, 0] for step in (0, 3))
    assert table["measured"].mean() == pytest.approx((after - before).double().mean().item(), rel=1e-4)


def test_the_shares_of_single_samples_add_up_and_a_short_step_does_what_is_predicted() -> None:
    run = made("digits class", lr=1e-4, batch_size=512)
    each, together = imu.damage_by_sample(run, measure=20), imu.collateral(run)
    assert cases.close(each["predicted"].sum(), together["predicted"].mean(), 1e-3, of=each["predicted"].abs().sum())
    known = each.dropna()
    assert len(known) == 20 and known["predicted"].abs().min() >= each["predicted"].abs()[each["measured"].isna()].max()
    assert (known["predicted"] - known["measured"]).abs().max() < 0.02 * known["measured"].abs().max()


def test_a_long_step_by_one_sample_is_measured_by_hand() -> None:
    run = made(steps=1, lr=2.0)
    table = imu.damage_by_sample(run, measure=None)
    row = table.loc[table["predicted"].abs().idxmax()]
    alone = (run.samples["example"] == row["example"]).astype(float).to_numpy()
    length = 2.0 * row["pressure"]
    moved = imu.unlearn(run.task, cases.original("toy"), alone, steps=1, lr=length, batch_size=512, **PLAIN)
    assert imu.collateral(moved)["measured"].mean() == pytest.approx(row["measured"], rel=1e-4)
    assert abs(row["measured"] - row["predicted"]) > 1e-3 * abs(row["measured"])


def test_damage_to_one_class_or_one_sample_is_its_part_of_the_whole() -> None:
    run = made("digits class", steps=3)
    by_class, victim = imu.damage_by_class(run), int(run.task.split("retain").ids[5])
    on_eights = imu.damage_by_sample(run, label="8", measure=5).set_index("example")
    assert cases.close(on_eights["predicted"].loc[by_class.index], by_class["8"], within=1e-4)
    on_one = imu.damage_by_sample(run, example=victim, measure=5).set_index("example")
    blamed = imu.responsible(run, victim).set_index("example")["predicted"]
    assert cases.close(on_one["predicted"], blamed.loc[on_one.index], within=1e-4)
    with pytest.raises(ValueError, match="'retain' has the label '3'; there are '0', '1'"):
        imu.damage_by_sample(run, label="3")
    with pytest.raises(ValueError, match="not both"):
        imu.damage_by_sample(run, label="8", example=victim)
    with pytest.raises(ValueError, match="got -1"):
        imu.damage_by_sample(run, measure=-1)
    assert imu.damage_by_sample(run, measure=0)["measured"].isna().all()


def test_test_samples_have_labels() -> None:
    run = made("digits class", steps=2)
    assert set(imu.collateral(run, "test")["label"]) == set("012456789")
    assert sorted(imu.damage_by_class(run, "test")) == list("012456789")


def test_it_can_be_measured_earlier_in_the_run() -> None:
    run = made(steps=6, lr=0.05)
    early, late = imu.collateral(run, step=1), imu.collateral(run)
    assert early["measured"].abs().sum() < late["measured"].abs().sum()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient-ascent", "retrain"])
def test_damage_is_measured_where_the_whole_network_moved(method: str) -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    scope = {"scope": "all"} if method == "gradient-ascent" else {}
    run = imu.unlearn(task, original, method=method, steps=3, **scope)
    table, retain = imu.collateral(run), task.split("retain")
    first, last = (outcomes(task, model, retain)[:, 0].double().numpy() for model in (original, run.model))
    found = table.set_index("example").loc[retain.ids.numpy(), "measured"]
    assert run.moves_backbone and cases.close(found, last - first, within=1e-5) and table["predicted"].isna().all()
    with pytest.raises(imu.NoFirstOrder, match="on the readout"):
        imu.damage_by_sample(run)
    assert not made(steps=1).moves_backbone


def test_an_update_that_was_not_made_is_refused() -> None:
    with pytest.raises(ValueError, match="no update 999: this run made 2"):
        imu.damage_by_sample(made(steps=2), step=999)


@pytest.mark.parametrize("ask", [imu.collateral, imu.damage_by_sample, imu.damage_by_class, imu.explain_resistance])
def test_what_a_run_cannot_be_asked_it_says(ask: Callable) -> None:
    run = made(steps=2)
    with pytest.raises(ValueError, match="does not know its task; load it with"):
        ask(replace(run, task=None))
    with pytest.raises(ValueError, match="kept no weights"):
        ask(replace(run, snapshots=Snapshots()))


def usual(name: str = "digits class", **settings: object) -> imu.Run:
    """A run with the method's own settings."""
    task, original = cases.task(name), cases.original(name)
    return imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), **settings)


def test_it_is_the_difference_to_a_run_without_the_sample() -> None:
    run = usual(steps=20)
    some = run.samples["example"].iloc[[3, 9]].tolist()
    table = imu.ablate_pressure(run, some, step=12).set_index("example")
    weights = run.samples["weight"].to_numpy().copy()
    weights[9] = 0.0
    other = imu.unlearn(run.task, run.model_at(0), weights, steps=12)
    retain = run.task.split("retain")
    with_it, without = (outcomes(run.task, each.model_at(12), retain)[:, 0].double().mean() for each in (run, other))
    assert table.loc[some[1], "measured"] == pytest.approx(float(with_it - without), abs=1e-6)
    assert list(table.index) == table["measured"].sort_values(ascending=False).index.tolist() and len(table) == 2


@pytest.mark.slow
def test_those_blamed_for_a_victims_damage_did_it() -> None:
    run = usual(steps=34)
    victim = int(imu.collateral(run, step=6)["example"][0])
    blamed = imu.responsible(run, victim, step=6)["example"]
    table = imu.ablate_pressure(run, blamed[::5], step=6, example=victim)
    assert table["predicted"].corr(table["measured"]) > 0.4, "six models gave 0.60 to 0.98, and chance gives 0 ± 0.19"


def test_where_nothing_is_predicted_it_is_measured_all_the_same() -> None:
    run = usual("toy", steps=4, optimizer="adamw", lr=0.05)
    table = imu.ablate_pressure(run, run.samples["example"].iloc[:3])
    assert table["predicted"].isna().all() and table["measured"].abs().max() > 0
    assert set(table) >= {"example", "label", "pressure"}


def test_who_is_not_in_the_forget_set_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="are not in the forget set"):
        imu.ablate_pressure(usual("toy", steps=2), [10**6])
