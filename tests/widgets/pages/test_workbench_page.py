"""A workbench as one file: what a position shows is what a run with these settings gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cases
import numpy as np
import pytest
from pages import held

import imu_lab as imu
from imu_lab.core.knobs import knobs
from imu_lab.widgets.base.job import Job
from imu_lab.widgets.pages.workbench_page import POSITIONS, sliders_of

SLIDERS = {"lr": [0.001, 0.003], "damping": [1e-3, 1e-1], "quantile": [0.5]}


@pytest.fixture(scope="module")
def bench() -> Iterator:
    task = cases.task("digits class")
    Job.errors.clear()
    made = imu.workbench(task, cases.original("digits class"), reference=cases.retrained("digits class"), steps=12)
    assert made.wait(120)
    yield made
    made.close()
    assert not Job.errors, Job.errors


@pytest.fixture(scope="module")
def page(bench, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    path = bench.save(tmp_path_factory.mktemp("bench") / "page.html", SLIDERS, about="<b>one</b>\n\ntwo")
    return (path.read_text(encoding="utf-8"), *held(path.read_text(encoding="utf-8")))


def test_each_position_shows_the_run_with_its_settings(bench, page: tuple) -> None:
    _, words, arrays = page
    sliders = {each["name"]: each for each in words["sliders"]}
    assert list(sliders) == ["lr", "damping", "quantile"] and "0.01" in sliders["damping"]["values"], (
        "the value set now is there"
    )
    task, original = bench.session.task, cases.original("digits class")
    shape = [len(each["values"]) for each in words["sliders"]]
    assert len(arrays["answers"]) == np.prod(shape)
    for lr, damping, quantile in (("0.003", "0.1", "0.5"), ("0.001", "0.01", "0.93")):
        at = [sliders[name]["values"].index(each) for name, each in zip(sliders, (lr, damping, quantile))]
        curves, influence, intensity, table, main, control = arrays["answers"][np.ravel_multi_index(at, shape)]
        scores = imu.influence(task, original, damping=float(damping))
        weights = imu.intensity(scores, quantile=float(quantile))
        run = imu.unlearn(task, original, weights, steps=12, lr=float(lr), reference=cases.retrained("digits class"))
        ledger = run.samples.set_index("example").loc[arrays["examples"]]
        for number, column in enumerate(words["columns"]):
            assert cases.close(arrays["ledgers"][main, number], ledger[column["name"]].to_numpy(float), 1e-4)
        sure = run.trajectory.pivot(index="example", columns="step", values="confidence").loc[
            arrays["examples"], arrays["steps"]
        ]
        assert np.abs(arrays["confidence"][main] / 254 - sure).to_numpy().max() < 1 / 254
        lines = [each for each in words["figures"]["curves"][curves]["data"] if each["meta"].get("run") == run.label]
        drawn = {each["meta"]["split"]: each["y"] for each in lines if each["meta"]["role"] == "line"}
        assert cases.close(drawn["forget"], run.series("forget", "accuracy").to_numpy(), 1e-3)
        assert words["names"][control][0] == "uniform"
        dots = words["figures"]["intensity"][intensity]["data"][0]
        assert set(dots["customdata"]) <= set(arrays["examples"].tolist())


def test_what_many_positions_share_is_held_once(page: tuple) -> None:
    _, words, arrays = page
    count = {name: len(each) for name, each in words["figures"].items()}
    assert count["influence"] == 3 and count["intensity"] <= 6 and count["curves"] <= len(arrays["answers"]) == 12
    assert len({int(each[5]) for each in arrays["answers"]}) == 2, "uniform weights depend on the learning rate alone"


def test_words_above_are_words(page: tuple) -> None:
    assert "<p>&lt;b&gt;one&lt;/b&gt;</p><p>two</p>" in page[0] and "12 answers were worked out" in page[0]


def test_the_panel_stays_as_it_was(bench, page: tuple) -> None:
    assert bench.controls.estimator.value.settings["damping"] == 1e-2 and bench.answer.run.settings["steps"] == 12


@pytest.mark.parametrize(
    "sliders, words",
    [
        ({"nothing": 3}, "unknown slider: 'nothing'.*damping"),
        ({"damping": [-1.0]}, "damping"),
        ({"damping": 0}, "at least one position"),
        ({"damping": 30, "lr": 30}, f"a page holds {POSITIONS}"),
    ],
)
def test_bad_sliders_are_refused_before_work(bench, tmp_path: Path, sliders: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bench.save(tmp_path / "x.html", sliders)
    assert not list(tmp_path.iterdir())


def test_a_file_is_never_overwritten_by_accident(bench, tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        bench.save(tmp_path / "x.html", SLIDERS)
    assert (tmp_path / "x.html").read_text() == "mine"


def test_a_name_that_two_stages_have_is_asked_about() -> None:
    known = {
        "method": knobs(imu.methods.create("curvature-ascent")),
        "estimator": knobs(imu.estimators.create("curvature")),
        "rule": {},
    }
    with pytest.raises(ValueError, match="'rho' is a setting of 'method'.*'estimator'.*could move either"):
        sliders_of(["rho"], None, known)
