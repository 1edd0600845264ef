"""What is written down: outcomes, time to forget, curves, by hand."""

from __future__ import annotations

import copy

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks.cross_entropy import example_metrics
from imu_lab.tasks.outputs import answers
from imu_lab.tasks.protocol import Batch
from imu_lab.unlearning.driver import forgotten
from imu_lab.unlearning.recorder import Recorder, outcomes, time_to_forget
from imu_lab.unlearning.request import Update

NAN = float("nan")


@pytest.mark.parametrize(("margins", "expected"), [
    ([1, 1, 1, 1], NAN),
    ([1, -1, -1, -1], 10),
    ([1, 1, 1, -1], 30),
    ([1, -1, 1, -1], 30),
    ([1, -1, -1, 1], NAN),
    ([-1, -1, -1, -1], 0),
    ([-1, 1, -1, -1], 20),
    ([1, 0, 0, -1], 30),
    ([0, 0, 0, 0], NAN),
    ([NAN, NAN, NAN, NAN], NAN),
])  # fmt: skip
def test_time_to_forget_by_hand(margins: list[float], expected: float) -> None:
    found = time_to_forget(np.array(margins, dtype=float)[:, None], np.array([0, 10, 20, 30]))
    assert found.shape == (1,) and (found[0] == expected or (np.isnan(found[0]) and np.isnan(expected)))


def test_each_sample_has_its_own_time() -> None:
    margins = np.array([[1, -1, 1], [-1, -1, 1], [-1, -1, 1]], dtype=float)
    assert time_to_forget(margins, np.array([0, 1, 2])).tolist()[:2] == [1, 0]


def test_one_record_alone() -> None:
    found = time_to_forget(np.array([[-1.0, 1.0]]), np.array([0]))
    assert found[0] == 0 and np.isnan(found[1])


def test_loss_margin_and_confidence_by_hand() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    batch = task.split("forget").batch()
    with torch.no_grad():
        logits = model(batch.inputs)
    others = logits.clone()
    others[:, 3] = -torch.inf
    margins = logits[:, 3] - others.max(1).values
    found = outcomes(task, model, task.split("forget"))
    assert cases.close(found[:, 1].numpy(), margins.numpy(), within=1e-5)
    run = imu.unlearn(task, model, steps=0)
    start = run.trajectory
    assert cases.close(start["margin"].to_numpy(), margins.numpy(), within=1e-5)
    assert cases.close(start["confidence"].to_numpy(), logits.softmax(1)[:, 3].numpy(), within=1e-6)
    assert cases.close(start["loss"].to_numpy(), -logits.log_softmax(1)[:, 3].numpy(), within=1e-5)


def test_a_task_without_margins_has_none() -> None:
    found = outcomes(cases.Tokens(), cases.Tokens().make_model(0), cases.Tokens().split("forget"))
    assert torch.isfinite(found[:, 0]).all() and found[:, 1].isnan().all()


def test_misclassified_means_a_negative_margin() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, steps=12, lr=0.02)
    share = run.trajectory.groupby("step")["margin"].apply(lambda values: (values > 0).mean())
    assert cases.close(share.to_numpy(), run.series("forget", "accuracy").to_numpy())
    assert share.iloc[-1] < share.iloc[0]


@pytest.fixture
def recorder() -> Recorder:
    """A recorder on the blobs that has seen two states and one update."""
    task, model = cases.task("toy"), cases.original("toy")
    recorder = Recorder(task, task.split("forget"))
    recorder.record(0, model)
    recorder.note(Update({"ascent": -1.0}, torch.tensor([0, 5, 5]), torch.tensor([0.5, 0.25, 0.25])))
    recorder.record(1, nn.Sequential(nn.Linear(2, 3), nn.Identity()))
    return recorder


def test_a_sample_twice_in_a_batch_gets_both_shares(recorder: Recorder) -> None:
    assert recorder.pressure[[0, 5, 1]].tolist() == [0.5, 0.5, 0.0]


def test_an_update_that_says_nothing_makes_pressure_unknown(recorder: Recorder) -> None:
    recorder.note(None)
    assert np.isnan(recorder.ledger()["pressure"]).all()
    assert recorder.term_table()["step"].tolist() == [1]


def test_tables_are_tidy(recorder: Recorder) -> None:
    curve, trajectory = recorder.curve(), recorder.trajectory()
    assert list(curve) == ["step", "split", "metric", "value"]
    assert not curve.duplicated(["step", "split", "metric"]).any()
    assert set(curve["split"]) == {"forget", "retain", "test"} and set(curve["step"]) == {0, 1}
    assert list(trajectory) == ["example", "step", "loss", "confidence", "margin"] and len(trajectory) == 80
    assert trajectory["example"].tolist() == 2 * cases.task("toy").split("forget").ids.tolist()


def test_the_ledger_holds_the_first_and_the_last_state(recorder: Recorder) -> None:
    ledger, trajectory = recorder.ledger(), recorder.trajectory()
    for when, step in (("before", 0), ("after", 1)):
        state = trajectory[trajectory["step"] == step]
        for name in ("loss", "confidence", "margin"):
            assert ledger[f"{name}_{when}"].tolist() == state[name].tolist()


def test_the_forget_loss_of_the_curve_is_the_mean_over_samples(recorder: Recorder) -> None:
    curve, trajectory = recorder.curve(), recorder.trajectory()
    found = curve[(curve["split"] == "forget") & (curve["metric"] == "loss")]["value"].to_numpy()
    assert cases.close(found, trajectory.groupby("step")["loss"].mean().to_numpy())


def test_an_empty_split_is_left_out() -> None:
    task = cases.task("digits fraction")
    assert "test-forget" not in Recorder(task, task.split("forget")).splits


def test_a_tie_counts_as_wrong_wherever_right_answers_are_counted() -> None:
    """A head that knows nothing gives every class the same logit: nobody may count that as knowledge."""
    task, original = cases.task("digits class"), cases.original("digits class")
    blank = copy.deepcopy(original)
    with torch.no_grad():
        last = [module for module in blank.modules() if isinstance(module, torch.nn.Linear)][-1]
        for value in last.parameters():
            value.zero_()
    run = imu.unlearn(task, blank, steps=0)
    assert run.value("forget", "accuracy") == 0
    assert (run.samples["margin_after"] == 0).all() and run.events["forgotten"] == 0, "nor of forgetting"
    resisted = imu.resistance(run)
    assert resisted["wrong_before"].all() and resisted["censored"].all() and not resisted["forgetting_events"].any()
    table = imu.audit(run, ["accuracy"], reference=cases.original("digits class"))
    assert (table.loc[table["unit"] == "share correct", "value"] == 0).all()
    assert (imu.class_accuracy(run)["value"] == 0).all()
    matrix = imu.prediction_matrix(run, "test").to_numpy()
    assert matrix.diagonal().sum() == 0 and matrix.sum() == len(task.split("test"))


def test_what_was_a_tie_before_was_not_right_and_cannot_be_forgotten() -> None:
    """From a head that knows nothing to one that is wrong about everything, and the way back."""
    task = cases.task("toy")
    blank, wrong = (copy.deepcopy(cases.original("toy")) for _ in "ab")
    with torch.no_grad():
        for value in (*blank[-1].parameters(), *wrong[-1].parameters()):
            value.zero_()
        wrong[-1].bias[:] = -torch.nn.functional.one_hot(torch.tensor(0), 3)  # the class that is to be forgotten
    for before, after, events in ((blank, wrong, 0), (wrong, blank, 0), (cases.original("toy"), wrong, 40)):
        recorder = Recorder(task, task.split("forget"))
        recorder.record(0, before)
        recorder.record(1, after)
        assert forgotten(recorder) == events


@pytest.mark.parametrize("truth", [0, 1, 2])
def test_of_a_tie_with_the_true_class_the_answer_is_another(truth: int) -> None:
    logits = torch.tensor([[2.0, 2.0, 2.0], [0.0, 1.0, 2.0], [2.0, 2.0, 0.0], [5.0, 0.0, 0.0]])
    found = answers(logits, torch.full((4,), truth))
    right = (found == truth).tolist()
    assert right == [False, truth == 2, False, truth == 0]
    assert found.tolist()[1] == 2 and found.tolist()[3] == 0 and found.tolist()[2] in (0, 1)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [2, 3, 1000])
def test_an_accuracy_is_that_of_an_argmax_but_for_ties_and_nan(kind: torch.dtype, count: int) -> None:
    """Compared with anything, NaN is not larger: a model that gives it for one class would be right about the others."""
    logits = torch.randn(64, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(kind)
    truth = torch.where(torch.arange(64) % 2 == 0, logits.argmax(1), torch.arange(64) % count)
    largest = logits == logits.amax(1, keepdim=True)
    wanted = largest.gather(1, truth[:, None])[:, 0] & (largest.sum(1) == 1)

    def right(made: torch.Tensor) -> torch.Tensor:
        return example_metrics(None, lambda _: made, Batch(made, truth))["accuracy"]

    assert torch.equal(right(logits), wanted) and wanted.any() and not wanted.all()
    for place in (0, count - 1):
        broken = logits.clone()
        broken[::3, place] = torch.nan
        assert torch.equal(right(broken), wanted & broken.isfinite().all(1))
