"""U-LiRA on heads: what each half is trained on, that shadows forget as the run did, and what is refused."""

from __future__ import annotations

import cases
import networks
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.core.messages import DoesNotApply
from imu_lab.core.records import Run
from imu_lab.features import view
from imu_lab.studies import shadows as module
from imu_lab.studies.audited import Audited

pytestmark = pytest.mark.slow  # sixteen heads are trained in each


@pytest.fixture(scope="module")
def run() -> Run:
    """Single digits were forgotten, with weights."""
    task, original = cases.task("digits fraction"), cases.original("digits fraction")
    weights = imu.intensity(imu.influence(task, original))
    return imu.unlearn(task, original, weights, steps=8, step_norm=0.1, reference=cases.retrained("digits fraction"))


@pytest.fixture(scope="module")
def table(run: Run):
    """Eight pairs."""
    return imu.u_lira(run, pairs=8)


def test_a_row_per_sample_and_the_same_again(run: Run, table) -> None:
    sides = Audited.of(run, None).sides
    assert len(table) == len(sides.members) + len(sides.others) and table["member"].sum() == len(run.samples)
    assert set(table.loc[table["member"], "example"]) == set(run.samples["example"])
    assert table.drop(columns=["label"]).equals(imu.u_lira(run, pairs=8).drop(columns=["label"]))
    assert not table["ratio"].equals(imu.u_lira(run, pairs=8, seed=1)["ratio"])
    assert table[["overlap", "overlap_trained"]].stack().between(0, 1.001).all()
    assert "backbone that has seen the samples" in table.attrs["about"] and "8 pairs" in table.attrs["about"]


def test_a_sample_has_higher_odds_where_a_head_was_trained_on_it(run: Run) -> None:
    made = module.shadows(Audited.of(run, None), 8)
    assert made.seen.shape == made.never.shape == (2, 8, made.seen.shape[2])
    assert (made.seen[0].mean(0) - made.never[0].mean(0)).mean() > 0.1
    gaps = [(made.seen[at] - made.never[at]).mean() for at in (0, 1)]
    assert gaps[1] < gaps[0], "forgetting lowers the odds of what was seen"


def test_shadows_train_on_their_half_and_forget_as_much_as_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = module.epochs

    def noted(task, model, examples, recipe, seed):
        seen.append((task, len(examples), recipe.augment, [value.abs().max().item() for value in model.parameters()]))
        return real(task, model, examples, recipe, seed)

    monkeypatch.setattr(module, "epochs", noted)
    asked = Audited.of(run, None)
    made = module.shadows(asked, 8)
    candidates, kept = len(asked.sides.members) + len(asked.sides.others), len(asked.split("retain")) // 2
    assert len(seen) == 16
    for (task, count, augment, start), (other, *_) in zip(seen[::2], seen[1::2]):
        mine, theirs = (each.split("forget").ids for each in (task, other))
        assert len(mine) + len(theirs) == candidates and not set(mine.tolist()) & set(theirs.tolist())
        assert count == len(mine) + kept and not augment and start == [0.0, 0.0]
        assert torch.equal(task.split("retain").batch().inputs, other.split("retain").batch().inputs)
    assert made.accuracy[0] > 0.9 and made.accuracy[1] < made.accuracy[0]


def test_rows_have_their_goal_by_construction(run: Run) -> None:
    rows = imu.audit(run, "u-lira", pairs=8)
    assert rows["name"].tolist() == ["AUC by U-LiRA", "TPR at 1 % FPR by U-LiRA", "accuracy by U-LiRA"]
    count = sum(len(side) for side in Audited.of(run, None).sides[:2])
    by_chance = np.random.default_rng(0).normal(size=(2, 4000, count))
    goals = [module.auc(*by_chance).mean(), module.true_positives(*by_chance).mean(), 0.5]
    assert cases.close(rows["goal"].to_numpy(), np.array(goals), 0.01) and (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all() and rows["note"].str.contains("heads alone are trained again").all()
    assert rows.loc[0, "original"] > 0.5, "before forgetting a head can be told by what it was trained on"
    assert "u-lira" not in set(imu.audit(run)["audit"]), "it takes its time, so it is asked for"


@pytest.mark.parametrize("method", ["curvature-ascent", "gradient-difference", "newton-step"])
def test_methods_that_need_more_get_it_from_the_shadow(method: str) -> None:
    task, original = cases.task("digits fraction"), cases.original("digits fraction")
    run = imu.unlearn(task, original, method=method, steps=2)
    made = module.shadows(Audited.of(run, None), 8)
    assert np.isfinite(made.seen).all() and made.accuracy[0] > 0.9


@pytest.mark.parametrize("method", ["retrain", "eu-k", "bad-teacher"])
def test_methods_that_begin_with_a_fresh_model_get_a_fresh_head(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, original, _ = networks.given("small-vit")
    asked = Audited.of(imu.unlearn(task, original, method=method, steps=2), None)
    # None has ever forgotten enough, so that all make as many updates.
    monkeypatch.setattr(module, "mean_loss", lambda of, *_: 0.0 if isinstance(of, module.Shadowed) else np.inf)
    made = module.shadows(asked, 8)
    assert np.isfinite(made.seen).all() and "shadows move that alone" in made.note
    if method != "bad-teacher":  # the same head again, trained on the same samples to keep, whatever it forgot
        assert np.array_equal(made.seen[1], made.never[1]) and not np.array_equal(made.seen[0], made.never[0])


def test_a_method_that_asks_for_more_than_a_head_costs_its_own_row_alone() -> None:
    task, original, retrained = networks.given("small-vit")
    for method, settings, words in (("eu-k", {"layers": 3}, "layers=3 are more"), ("rmu", {}, "names no module")):
        run = imu.unlearn(task, original, method=method, steps=1, step_norm=0.1, reference=retrained, **settings)
        with pytest.raises(DoesNotApply, match=f"'{method}' failed on a head alone: .*{words}"):
            imu.audit(run, "u-lira", pairs=8)
    table = imu.audit(run, pairs=8, draws=10)
    row = table[table["audit"] == "u-lira"].iloc[0]
    assert np.isnan(row["value"]) and row["note"].startswith("does not apply: shadow heads forget by the run's method")
    assert table.loc[table["audit"] == "membership", "value"].notna().all()


def test_a_retain_free_method_is_never_handed_samples_to_keep(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = type(imu.methods.create("imu")).__call__

    def noted(self, task, model, request):
        seen.append(request)
        return real(self, task, model, request)

    monkeypatch.setattr(imu.methods["imu"], "__call__", noted)
    module.shadows(Audited.of(run, None), 8)
    assert len(seen) == 16 and all(each.retain is None and each.statistics is None for each in seen)
    assert all(each.weights.sum().item() == pytest.approx(1) for each in seen)
    assert any(each.weights.std() > 0 for each in seen), "by the run's own estimator and rule"


def test_an_estimator_may_give_what_influence_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor in torch's graph, which NumPy does not read, no more than one on a GPU."""
    asked = Audited.of(run, None)
    expected = module.shadows(asked, 8)
    kind = imu.estimators["fisher-diagonal"]  # the run's own
    real = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda self, *given: real(self, *given).requires_grad_())
    assert np.array_equal(module.shadows(asked, 8).seen, expected.seen)


def test_what_cannot_be_asked_is_said(run: Run) -> None:
    for wrong, said in (
        (7, "takes 8 pairs of shadow models or more: .* and no interval"),
        (0, "takes 8 pairs of shadow models or more: .* and no interval"),
        (True, "pairs must be a whole number"),
        (8.5, "pairs must be a whole number"),
    ):
        with pytest.raises(ValueError, match=said):
            imu.u_lira(run, pairs=wrong)
    deep = imu.tasks.Classification("digits", forget_fraction=0.02, seed=1, recipe=cases.QUICK, readout=("8", "10"))
    moved = imu.unlearn(deep, cases.original("digits fraction"), steps=1, lr=1e-3)
    with pytest.raises(ValueError, match="need a readout that is one linear layer; this task's is 8, 10"):
        imu.u_lira(moved, pairs=8)
    given = imu.unlearn(
        cases.task("digits fraction"), cases.original("digits fraction"), np.arange(1.0, 1 + len(run.samples)), steps=1
    )
    assert "cannot be made again for others" in imu.u_lira(given, pairs=8).attrs["about"]
    assert view(deep, cases.original("digits fraction"))[0] is deep


def test_pairs_that_cannot_be_are_refused_before_any_audit(run: Run) -> None:
    with pytest.raises(ValueError, match="takes 8 pairs of shadow models or more"):
        imu.audit(run, pairs=3)
    with pytest.raises(ValueError, match="pairs= is of the audit 'u-lira', which only= leaves out"):
        imu.audit(run, "membership", pairs=64)


def test_a_shadow_that_has_forgotten_enough_is_not_pushed(run: Run) -> None:
    still = imu.unlearn(cases.task("digits fraction"), cases.original("digits fraction"), steps=0)
    made = module.shadows(Audited.of(still, None), 8)
    assert np.array_equal(made.seen[0], made.seen[1]) and made.accuracy[0] == made.accuracy[1]


def test_shadows_that_could_not_forget_as_the_run_did_are_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def presses_nobody(*_, **__):
        raise ValueError("no sample has negative influence")

    asked = Audited.of(run, None)
    assert "shadows" not in module.shadows(asked, 8).note
    monkeypatch.setattr(module, "intensity", presses_nobody)
    monkeypatch.setattr(module, "LONGEST", 0)
    note = module.shadows(asked, 8).note
    assert "16 of 16 shadows did not forget as much as the run within 0 times its updates" in note
    assert "16 of 16 shadows forgot with uniform weights" in note
