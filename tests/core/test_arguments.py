"""Every public function says in one sentence what it was handed in the place of what it takes, before any work starts."""

import inspect
import pickle
import re
from typing import Any

import cases
import numpy as np
import pytest

import imu_lab as imu

BY_DRAWING = {name for name in imu.__all__ if name.startswith("plot_")}  # which are tested beside the figures
FREE = {"check", "predict", "knob", "estimator", "intensity_rule", "method", "metric", "check_task", "clear_caches"}
KIT = {
    "descend",
    "forget_batches",
    "retain_batches",
}  # for writing a method: what they give is made when it is asked for
PUBLIC = {name: call for name in imu.__all__ if inspect.isfunction(call := getattr(imu, name))}
NEEDED = {"example": 0, "examples": [0], "where": "loss > 0", "path": "page.html", "step": 1, "at_forget": 0.1}
NEEDED |= {"help": "On or off.", "quantities": "steps", "methods": "imu", "arms": {"imu": {}}, "sliders": {}}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    task, model = cases.task("toy"), cases.original("toy")
    scores = imu.influence(task, model)
    run = imu.unlearn(task, model, steps=1, lr=0.5)
    return {"task": task, "model": model, "scores": scores, "run": run, "class": type(task)} | {
        "weights": imu.intensity(scores), "matrix": imu.influence_matrix(task, model), "array": np.arange(4.0),
        "none": None, "words": "digits", "number": 3, "row": [None], "names": {"a": None}, "table": run.samples,
    }  # fmt: skip


def right(first: inspect.Parameter, given: str) -> bool:
    """Whether that of these things may stand in the first place."""
    places = {"Task": "task", "Run": "run", "Influence": "scores", "Intensity": "weights", "InfluenceMatrix": "matrix"}
    places |= {"Module": "model", "str": "words", "DataFrame": "table"}
    return given in {places.get(word) for word in re.findall(r"\w+", first.annotation)}


def needed(others: list[inspect.Parameter], made: dict) -> dict[str, Any]:
    """What a call must be handed beside its first argument."""
    model, scores, run, table = (made[name] for name in ("model", "scores", "run", "table"))
    beside = {
        "original": model,
        "models": {"a": model},
        "reference": model,
        "other": scores,
        "truth": table,
        "run_b": run,
    }
    beside |= made | NEEDED
    return {
        each.name: beside[each.name] for each in others if each.default is each.empty and each.kind != each.VAR_KEYWORD
    }


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - BY_DRAWING - FREE - KIT))
def test_a_wrong_first_argument_is_told_of(name: str, made: dict) -> None:
    call, (first, *others) = PUBLIC[name], inspect.signature(PUBLIC[name]).parameters.values()
    asked = needed(others, made)
    for kind, given in made.items():
        if right(first, kind):
            continue
        with pytest.raises((TypeError, ValueError)) as caught:
            call(given, **asked)
        words = str(caught.value)
        assert "attribute" not in words and "argument must be" not in words and "os.PathLike" not in words, words
        assert re.search(r"\b(got|need|fit)\b", words), (kind, words)


BAD = {
    "bool": (("no", "False", None, 2, np.array([True, False])), "{0} needs True or False for {1}, got "),
    "int": (
        (-1, 1.5, "3", True, float("nan")),
        "{1} must be a whole number >= 0|a seed is a whole number from 0|example .* is not",
    ),
    "float": (("0.1", True), "{0} needs a number for {1}, got "),
}
PLAIN = [
    (name, each.name, kind) for name, call in PUBLIC.items() for each in inspect.signature(call).parameters.values()
    if (kind := each.annotation.removesuffix(" | None")) in BAD and name not in BY_DRAWING
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "kind"), PLAIN)
def test_flags_counts_and_numbers_are_looked_at_first(name: str, argument: str, kind: str, made: dict) -> None:
    """Words are always on, also "no"; below zero, a number of rows would be all but so many."""
    first, *others = inspect.signature(PUBLIC[name]).parameters.values()
    asked = needed(others, made)
    good = next((given for kind, given in made.items() if right(first, kind)), None)
    values, words = BAD[kind]
    for value in values[argument == "example" and kind == "int" :]:  # which samples there are, the call says
        with pytest.raises(ValueError, match=words.format(name, argument)):
            PUBLIC[name](good, **asked | {argument: value})


def test_a_count_may_be_written_as_a_number_of_any_kind(made: dict) -> None:
    one = imu.proponents(made["matrix"], int(made["matrix"].against[0]), k=2)
    for two in (2.0, np.int64(2), np.array(2)):
        assert imu.proponents(made["matrix"], made["matrix"].against[0], k=two).equals(one)
    with pytest.raises(ValueError, match="a seed is a whole number from 0.*the largest is"):
        imu.unlearn(made["task"], made["model"], steps=1, lr=0.1, seed=2**70)


def test_methods_of_records_take_no_words_for_flags_either(made: dict, tmp_path) -> None:
    session, held = imu.Session(made["task"], made["model"]), imu.statistics(made["task"], made["model"])
    for ask in (
        lambda: session.influence(cache="no"), lambda: session.unlearn(steps=1, lr=0.1, cache="no"), lambda: session.view("no"),
        lambda: made["run"].save(tmp_path / "a", overwrite="no"), lambda: held.save(tmp_path / "b", overwrite="no"),
        lambda: imu.explore(made["run"]).save(tmp_path / "c.html", overwrite="no"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="needs True or False for (cache|overwrite), got 'no'"):
            ask()
    assert not list(tmp_path.iterdir())
    assert imu.influence(made["task"], made["model"], cache=np.bool_(False)).values.shape == (len(made["scores"]),)


def test_a_slip_is_told_with_the_way_out(made: dict) -> None:
    slips = {
        "takes a run of imu.unlearn; got a list of Run; pick one of them": lambda: imu.report([made["run"]], "a.html"),
        r"takes a task, .*; got a type; make one of it, as in Toy\(...\)": lambda: imu.train(imu.tasks.Toy),
        "missing a required argument: 'model'|missing 1 required positional argument: 'model'": lambda: imu.influence(made["task"]),
        "unexpected keyword argument 'casche'": lambda: imu.neighbours(made["task"], made["model"], casche=True),
        r"influence takes a model \(a torch.nn.Module\), .*; got a Run": lambda: imu.influence(made["task"], made["run"]),
        "unlearn takes a threading.Event; got a bool": lambda: imu.unlearn(made["task"], made["model"], steps=1, lr=0.1, stop=True),
    }  # fmt: skip
    for words, slip in slips.items():
        with pytest.raises(TypeError, match=words):
            slip()


def test_what_is_no_model_is_told_of_wherever_models_are_handed_over(made: dict) -> None:
    task, run = made["task"], made["run"]
    asked = {
        r"Session takes a model \(a torch.nn.Module\)": (imu.workbench, imu.run_control, imu.Session),
        "models is several models, such as ": (lambda task, given: imu.references(task, models=[given]),),
        "uniform= takes runs of imu.unlearn, one or several": (
            lambda task, given: imu.resistance(run, uniform=[given]),
        ),
    }
    for words, calls in asked.items():
        for call in calls:
            for given in (None, "model", task, made["scores"]):
                with pytest.raises(TypeError, match=words):
                    call(task, given)


def test_public_functions_can_be_sent_to_another_process() -> None:
    for name, call in PUBLIC.items():
        assert pickle.loads(pickle.dumps(call)) is call, name
