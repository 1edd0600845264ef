"""The statistic of a training set: what it holds, that it is told apart by model and readout, and that a file gives it back."""

from __future__ import annotations

import copy
from pathlib import Path

import cases
import pytest
import torch
from linear_heads import own
from torch import nn

import imu_lab as imu
from imu_lab.features.gauss_newton import dense
from imu_lab.features.kronecker import moments
from imu_lab.features.statistics import linear_gradients


def made(**settings: object) -> imu.Statistics:
    """Of the digits."""
    return imu.statistics(cases.task("digits fraction"), cases.original("digits fraction"), **settings)


def test_it_is_over_the_training_set_whatever_the_request() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    train, expected = task.split("train"), None
    expected, rows = moments(linear_gradients(task, model), train)
    held = made()
    assert held.n == held.rows == rows == held.examples == len(train) and set(held.parts) == {"S", "G"}
    assert cases.close(held.S, expected["S"], within=1e-6) and cases.close(held.G, expected["G"], within=1e-6)
    assert held.S.dtype == torch.float64 and repr(held).startswith("Statistics(S 65 × 65, G 10 × 10 over 1437 rows")
    other = imu.tasks.Classification("digits", forget_class=5, recipe=cases.QUICK)
    assert imu.statistics(other, model).digest == held.digest


def test_further_parts_are_held_by_name() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    held = imu.statistics(task, model, parts=("diagonal", "matrix"))
    matrix = dense(task, model, task.split("train"))
    assert cases.close(held.part("matrix"), matrix, within=1e-5)
    weight, bias = held.part("diagonal")[:, :-1], held.part("diagonal")[:, -1]
    assert cases.close(torch.cat([weight.flatten(), bias]), matrix.diagonal(), within=1e-5)
    with pytest.raises(ValueError, match=r"holds 'diagonal', 'matrix', not 'S'.*parts=\('S',\)"):
        _ = held.S
    with pytest.raises(imu.UnknownName, match="'diagonals'.*Did you mean 'diagonal'"):
        imu.statistics(task, model, parts="diagonals")


def test_a_file_gives_it_back_bit_for_bit(tmp_path: Path) -> None:
    held = made(parts=("S", "G", "diagonal"))
    path = held.save(tmp_path / "digits.statistic")
    again = imu.load_statistics(path)
    assert again.digest == held.digest and dict(again.about) == dict(held.about)
    assert all(torch.equal(again.part(name), value) for name, value in held.parts.items())
    with pytest.raises(FileExistsError):
        held.save(path)
    held.save(path, overwrite=True)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(imu.DamagedFile):
        imu.load_statistics(path)
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1).save(tmp_path / "run")
    with pytest.raises(imu.DamagedFile, match="'run'"):
        imu.load_statistics(run)
    with pytest.raises(FileNotFoundError):
        imu.load_statistics(tmp_path / "nothing")


def test_it_hands_on_what_a_run_then_says_of_it(tmp_path: Path) -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    held = imu.load_statistics(made().save(tmp_path / "held"))
    runs = [
        imu.unlearn(task, model, method="curvature-ascent", steps=3, lr=1e-3, statistics=each) for each in (held, None)
    ]
    assert runs[0].curve.equals(runs[1].curve)
    first, second = (run.settings["statistics"] for run in runs)
    assert first["origin"] == "given" and second["origin"] == "computed from the train split before the first update"
    assert first["digest"] == second["digest"] == held.digest and first["parts"] == ["S", "G"]
    assert runs[0].settings["needs"] == "statistic"
    alone = imu.unlearn(task, model, method="curvature-ascent", curvature="forget", steps=1, lr=1e-3)
    assert alone.settings["needs"] == "forget set" and "statistics" not in alone.settings
    table = imu.compare([*runs, alone])
    assert table["needs"].tolist() == ["statistic", "statistic", "forget set", "nothing"]


def test_that_of_another_model_or_readout_is_refused() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved[-1].bias[0] += 1e-3

    def unlearned(held: object, given: nn.Module = model, **settings: object) -> imu.Run:
        return imu.unlearn(task, given, method="curvature-ascent", steps=1, statistics=held, **settings)

    with pytest.raises(ValueError, match="made of another model.*imu.statistics"):
        unlearned(imu.statistics(task, moved))
    with pytest.raises(ValueError, match="another model"):
        unlearned(made(), moved)
    wide = imu.tasks.Classification("digits", forget_fraction=0.02, seed=1, recipe=cases.QUICK, readout="8")
    with pytest.raises(ValueError, match="for the readout 10, and this task's is 8"):
        imu.unlearn(wide, model, method="curvature-ascent", steps=1, statistics=made())
    with pytest.raises(ValueError, match=r"holds 'S', not 'G'"):
        unlearned(made(parts="S"))
    assert unlearned(made(parts="S"), factors="inputs").settings["statistics"]["parts"] == ["S"]
    with pytest.raises(TypeError, match="what imu.statistics"):
        unlearned({"S": 1})
    with pytest.raises(ValueError, match="'curvature-ascent' with these settings uses no statistic"):
        unlearned(made(), curvature="forget")


def test_what_cannot_be_had_is_said_when_it_is_asked() -> None:
    task, model = own(torch.float32, loss=lambda made, truth: (made - nn.functional.one_hot(truth, 3)).square().sum(1))
    held = imu.statistics(task, model)
    assert set(held.parts) == {"S"}
    with pytest.raises(ValueError, match="no cross-entropy"):
        _ = held.G
    with pytest.raises(ValueError, match="no cross-entropy"):
        imu.unlearn(task, model, method="curvature-ascent", steps=1, statistics=held)
    assert imu.unlearn(task, model, method="curvature-ascent", factors="inputs", steps=1).events["steps"] == 1


def test_that_of_other_data_is_refused_where_both_are_known() -> None:
    task, model = own(torch.float64)
    data = [cases.images(count, seed, torch.float64) for count, seed in ((60, 2), (30, 1))]
    other = imu.tasks.Classification.from_data(model, *data, forget_class=1)
    foreign = imu.statistics(other, model)
    assert foreign.about["data"] != task.data_key
    with pytest.raises(ValueError, match="made of other data.*imu.statistics"):
        imu.unlearn(task, model, method="curvature-ascent", steps=1, lr=0.1, statistics=foreign)
    with pytest.raises(ValueError, match="made of other data"):
        imu.joint_intensity(task, model, statistics=foreign)
    with pytest.raises(ValueError, match="made of other data"):
        imu.curvature_spectrum(task, model, statistics=foreign)
    run = imu.unlearn(task, model, method="curvature-ascent", steps=1, lr=0.1)
    assert run.settings["statistics"]["data"] == task.data_key


def test_what_is_handed_out_is_the_readers_own() -> None:
    task, model = own(torch.float64)
    before = imu.unlearn(task, model, method="curvature-ascent", steps=1, lr=0.1)
    for held in (imu.statistics(task, model, parts=("S", "G")), before.statistics, imu.statistics(task, model)):
        held.parts["S"].copy_(torch.eye(len(held.S)))
        held.about["readout"].clear()
    after = imu.unlearn(task, model, method="curvature-ascent", steps=1, lr=0.1)
    assert after.curve.equals(before.curve)
    given = imu.statistics(task, model)
    run = imu.unlearn(task, model, method="curvature-ascent", steps=1, lr=0.1, statistics=given)
    given.parts["S"].zero_()
    assert run.statistics.digest == run.settings["statistics"]["digest"]
