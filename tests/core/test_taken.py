"""Whoever hands a study something else than runs is told in one sentence what came and what is taken."""

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.messages import kind_of
from imu_lab.core.taken import several_examples
from imu_lab.studies.rebound import rebound


@pytest.fixture(scope="module")
def run():
    return imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2, lr=0.5)


STUDIES = {
    "compare": imu.compare,
    "resistance": imu.resistance,
    "klom": lambda given: imu.klom(given, None),
    "head_only": lambda given: imu.head_only(given, reference=None),
}
OF_ONE = {
    "collateral": imu.collateral,
    "responsible": lambda given: imu.responsible(given, 0),
    "damage_by_sample": imu.damage_by_sample,
    "damage_by_class": imu.damage_by_class,
    "ablate_pressure": imu.ablate_pressure,
    "explain_resistance": imu.explain_resistance,
    "rebound": rebound,
    "leakage": imu.leakage,
    "comeback": imu.comeback,
    "again": imu.again,
    "what_if": lambda given: imu.what_if(given, drop=[0]),
}


@pytest.mark.filterwarnings("ignore:.*the run")
@pytest.mark.parametrize("name", [*STUDIES, *OF_ONE])
def test_a_study_of_runs_takes_nothing_else(name: str, run) -> None:
    several = name in STUDIES
    call = (STUDIES | OF_ONE)[name]
    others = [cases.original("toy"), run.task, imu.compare(run), None, "run", 3]
    others += [[run, cases.original("toy")]] if several else [[run]]
    others += [] if name == "head_only" else [{"a": run}]  # that takes models by name, too
    for given in others:
        words = "runs of imu.unlearn, one or several" if several else "a run of imu.unlearn"
        with pytest.raises(TypeError, match=f"^{name} takes {words}; got ") as caught:
            call(given)
        assert kind_of(given) in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*the run")
def test_other_slips_are_told_in_one_sentence(run) -> None:
    task, original = cases.task("toy"), cases.original("toy")
    scores = imu.influence(task, original)
    slips = {
        "list\\(runs.values": lambda: imu.compare({"a": run}),
        "lorenz_curve takes the record of imu.intensity": lambda: imu.lorenz_curve(run),
        "train takes a task.*got a": lambda: imu.train(original),
        "models is several models": lambda: imu.references(task, models=original),
        "reference is a retrained model.*got an? str": lambda: imu.unlearn(task, original, reference="retrained"),
        "reference is a retrained model.*got a list": lambda: imu.unlearn(task, original, reference=[original]),
        "got an Influence; pass imu.intensity\\(scores\\)": lambda: imu.unlearn(task, original, scores),
        "imu.intensity\\(scores, 'uniform'\\)": lambda: imu.unlearn(task, original, "uniform"),
        "gallery takes samples by index, .*got a Run": lambda: imu.gallery(task, run),
    }
    for words, slip in slips.items():
        with pytest.raises((TypeError, ValueError), match=words):
            slip()
    for call in (lambda: imu.gallery(cases.task("own data"), [99999]),):
        with pytest.raises(ValueError, match="no training sample 99999; they are numbered 0 to 59"):
            call()


@pytest.mark.parametrize("forgotten", [1, 2])
def test_a_model_without_an_output_for_a_class_is_told_of(forgotten: int) -> None:
    task = cases.own_data(forget_class=forgotten)
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(cases.images(1, 0)[0].numel(), 2))
    for ask in (lambda: imu.unlearn(task, narrow, steps=1, lr=0.1), lambda: task.evaluate(narrow, "train")):
        with pytest.raises(
            ValueError, match="this model has 2 outputs, and (a sample is of class 2|the task has 3 answers)"
        ):
            ask()


@pytest.mark.parametrize("name", ["drop", "keep", "flip", "double", "request"])
def test_a_mask_is_never_read_as_the_samples_1_and_0(name: str, run) -> None:
    """Read as numbers, a mask of True and False would name the samples 1 and 0, which are often there."""
    mask = run.samples["loss_before"] > run.samples["loss_before"].median()
    for given in (mask, mask.to_numpy(), mask.tolist(), torch.tensor(mask.to_numpy())):
        with pytest.raises(TypeError, match="takes samples by index.* got True and False: of a mask"):
            imu.what_if(run, **{name: given})
    for given, words in ((3, "an int"), ("12", "a str"), ([1.7], "1.7"), (["1"], "'1'"), (np.array(3), "an ndarray")):
        with pytest.raises(TypeError, match=f"takes samples by index, such as .*; got {words}"):
            imu.what_if(run, **{name: given})


def test_samples_are_named_by_index_wherever_they_are_named(run) -> None:
    task, mask = run.task, [True, False, True]
    asked = [
        lambda: imu.what_if(run, reweight=dict.fromkeys([1.5], 2.0)),
        lambda: imu.what_if(run, reweight=[1, 2]),
        lambda: imu.ablate_pressure(run, mask),
        lambda: imu.explain_selection(run.samples, mask),
        lambda: imu.leave_groups_out(task, cases.original("toy"), [mask, mask]),
        lambda: imu.gallery(cases.task("own data"), mask),
    ]
    for ask in asked:
        with pytest.raises(TypeError, match="takes samples by index|maps samples to factors"):
            ask()


@pytest.mark.parametrize("given", [(0, 1), [0.0, 1.0], np.array([0, 1], np.uint8), torch.tensor([0, 1]), range(2)])
def test_whole_numbers_of_any_kind_name_samples(given, run) -> None:
    assert several_examples(given, "drop=") == [0, 1] == several_examples(iter(given), "drop=")
    assert several_examples(pd.Index([0, 1]), "drop=") == sorted(several_examples({1, 0}, "drop="))


def test_a_sample_is_doubled_once(run) -> None:
    first = int(run.samples["example"].iloc[0])
    with pytest.raises(ValueError, match=f"double= names '{first}' more than once.*reweight="):
        imu.what_if(run, double=[first, first])
    assert len(imu.what_if(run, double=[first]).samples) == len(run.samples) + 1


def test_tables_and_records_of_another_kind_are_told_apart(run) -> None:
    scores = imu.influence(cases.task("toy"), cases.original("toy"))
    slips = {
        "reasons takes the table of imu.explain_resistance.run.; got a Run": lambda: imu.reasons(run),
        "mean_ranks takes the table of imu.resistance.runs.; got a Run": lambda: imu.mean_ranks(run),
        "rank_agreement takes the table of imu.resistance.runs.; got a list of Run": lambda: imu.rank_agreement([run]),
        "rank_stability takes influences by the estimator.*; got a list of Influence": lambda: imu.rank_stability(
            [scores]
        ),
        "damping_effect takes influences by damping.*; got a list of Influence": lambda: imu.damping_effect([scores]),
    }
    for words, slip in slips.items():
        with pytest.raises(TypeError, match=words):
            slip()
