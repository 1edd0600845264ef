"""Evaluations made by open-unlearning and by TOFU's first code, written here in their layouts, read and computed again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from scipy.stats import ks_2samp

import imu_lab as imu

FILE = "TOFU_EVAL.json"
PER_PAIR = 3  # wrong answers


def losses(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Of the answers, of these in other words and of the wrong ones."""
    noise = np.random.default_rng(seed)
    return {"own": noise.uniform(0.1, 2, count), "other": noise.uniform(0.5, 2, count),
            "wrong": noise.uniform(1, 3, (count, PER_PAIR))}  # fmt: skip


def ratio(right: float, wrong: Any) -> float:
    """R by its formula, with nothing of the library's."""
    return math.exp(-sum(wrong) / len(wrong)) / (math.exp(-right) + 1e-10)


def listed(values: Any) -> dict[str, Any]:
    """Losses as open-unlearning writes them, with their probabilities."""
    rows = {str(at): {"avg_loss": value.tolist(), "prob": np.exp(-value).tolist()} for at, value in enumerate(values)}
    return {"agg_value": float(np.mean(np.exp(-values))), "value_by_index": rows}


def scored(values: Any, **more: Any) -> dict[str, Any]:
    return {"value_by_index": {str(at): {"score": float(value)} for at, value in enumerate(values)}, **more}


def evaluation(count: int = 6, seed: int = 0, words: str = "") -> dict[str, Any]:
    """A whole file of open-unlearning."""
    made: dict[str, Any] = {}
    for at, split in enumerate(("forget", "retain", "ra", "wf")):
        told = losses(count, 10 * seed + at)
        right = told["other"] if split in ("forget", "retain") else told["own"]
        ratios = np.array([ratio(*each) for each in zip(right, told["wrong"])])
        name = f"{split}_truth_ratio" if split == "forget" else f"{split}_Truth_Ratio"
        kept = np.minimum(ratios, 1 / (ratios + 1e-10)) if split == "forget" else np.maximum(0, 1 - ratios)
        made[name] = scored(ratios, agg_value=float(kept.mean()))
        made[f"{split}_Q_A_Prob"] = listed(told["own"])
        made[f"{split}_Q_A_PERT_Prob"] = listed(told["wrong"])
        if split in ("forget", "retain"):
            made[f"{split}_Q_A_PARA_Prob"] = listed(told["other"])
        else:
            chances = np.exp(-told["own"])
            among = chances / (chances + np.exp(-told["wrong"]).sum(1) + 1e-10)
            made[f"{split}_Q_A_Prob_normalised"] = {
                "agg_value": float(among.mean()),
                "value_by_index": {str(row): {"prob": float(value)} for row, value in enumerate(among)},
            }
        made[f"{split}_Q_A_ROUGE"] = {
            "agg_value": 0.5,
            "value_by_index": {
                str(row): {"rougeL_recall": 0.5, "rouge1_recall": 0.75, "input": f"question {row}",
                           "ground_truth": f"{words}answer {row}", "generation": f"answer {row}"}
                for row in range(count)
            },
        }  # fmt: skip
    made["exact_memorization"] = scored(np.linspace(0, 1, count), agg_value=0.5)
    made["mia_min_k"] = {"forget": scored([0.0, 1.0, 2.0], agg_value=1.0), "holdout": scored([1.5, 3.0], agg_value=2.25),
                         "auc": 5 / 6, "agg_value": 5 / 6}  # fmt: skip
    return made


def write(folder: Path, made: Any, name: str = FILE) -> Path:
    """A file in a folder that is made for it; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(made if isinstance(made, str) else json.dumps(made, indent=4, sort_keys=True))
    return folder


def column(table: Any, name: str, split: str = "forget") -> np.ndarray:
    return table.loc[table["split"] == split, name].to_numpy(float)


def value(table: Any, metric: str, split: str = "forget") -> float:
    return table.loc[(table["split"] == split) & (table["metric"] == metric), "value"].item()


def test_a_file_by_hand(tmp_path: Path) -> None:
    """Two pairs whose numbers are short enough to be computed in the head."""
    half, quarter = math.log(2), math.log(4)
    pairs = {
        "forget_Q_A_PARA_Prob": {"value_by_index": {"0": {"avg_loss": half}, "1": {"avg_loss": quarter}}},
        "forget_Q_A_PERT_Prob": {
            "value_by_index": {"0": {"avg_loss": [half, 3 * half]}, "1": {"avg_loss": [0.0, quarter]}}
        },
    }
    made = imu.load_open_unlearning(write(tmp_path / "run", pairs))
    assert cases.close(column(made.pairs, "truth_ratio"), [0.5, 2.0], within=1e-6)
    assert cases.close([value(made.curve, "truth_ratio")], [0.5], within=1e-6)
    assert made.pairs["step"].isna().all() and made.differences.empty
    assert repr(made) == "Evaluations(run, 1 evaluation, 2 forget pairs, 0 numbers differ)"


def test_truth_ratios_of_an_evaluation_are_those_of_its_pairs(tmp_path: Path) -> None:
    whole = evaluation(), evaluation(seed=1)
    run, goal = (write(tmp_path / name, made) for name, made in zip(("run", "goal"), whole))
    made = imu.load_open_unlearning(run, reference=goal)
    found = made.truth_ratios()
    ratios = [column(pairs, "truth_ratio") for pairs in (made.pairs, made.reference_pairs)]
    assert found.distances["ks_distance"].tolist() == [pytest.approx(ks_2samp(*ratios).statistic)]
    assert cases.close(found.pairs.query("model == 'run'")["truth_ratio"], np.sort(ratios[0]))
    assert imu.plot_truth_ratio(found).data and imu.load_open_unlearning(run).truth_ratios().distances.empty
    with pytest.raises(ValueError, match="after update 7"):
        made.truth_ratios(7)


def test_what_is_whole_agrees_with_itself(tmp_path: Path) -> None:
    mine, retrained = evaluation(12, 0), evaluation(12, 1)
    p = ks_2samp(*([row["score"] for row in each["forget_truth_ratio"]["value_by_index"].values()]
                   for each in (mine, retrained))).pvalue  # fmt: skip
    mine["forget_quality"] = {"agg_value": float(p)}
    made = imu.load_open_unlearning(write(tmp_path / "run", mine), reference=write(tmp_path / "retrained", retrained))
    assert made.differences.empty
    assert cases.close([10 ** -value(made.curve, "forget_quality")], [p], within=1e-6)
    assert value(made.reference, "forget_quality") == 0.0 and value(made.reference, "ks_distance") == 0.0
    for split, name in (("forget", "forget"), ("retain", "retain"), ("well-known", "ra"), ("general", "wf")):
        key = f"{name}_truth_ratio" if name == "forget" else f"{name}_Truth_Ratio"
        told = [row["score"] for row in mine[key]["value_by_index"].values()]
        assert cases.close(column(made.pairs, "truth_ratio", split), told, within=1e-6)
        assert cases.close([value(made.curve, "truth_ratio", split)], [mine[key]["agg_value"]], within=1e-6)
    parts = [
        value(made.curve, name, split)
        for split, first in (
            ("retain", "probability"),
            ("well-known", "probability_normalised"),
            ("general", "probability_normalised"),
        )
        for name in (first, "rouge", "truth_ratio")
    ]
    assert cases.close(
        [value(made.curve, "model_utility", "retain")], [9 / sum(1 / part for part in parts)], within=1e-6
    )
    assert cases.close([value(made.curve, "auc_min_k")], [5 / 6], within=1e-9)
    assert value(made.curve, "privleak") == pytest.approx(0.0, abs=1e-9)
    assert cases.close([value(made.curve, "exact_memorisation")], [0.5], within=1e-9)
    answers = made.numbers[(made.numbers["metric"] == "loss_wrong") & (made.numbers["split"] == "forget")]
    assert len(answers) == 12 * PER_PAIR and set(answers["answer"]) == {0, 1, 2}
    assert made.texts.loc[0, "input"] == "question 0" and column(made.pairs, "exact").tolist() == [1.0] * 12


def test_indices_are_numbers_and_keys_have_any_case(tmp_path: Path) -> None:
    made = evaluation(12)
    plain = imu.load_open_unlearning(write(tmp_path / "plain", made))
    shouted = {key.upper(): entry for key, entry in made.items()}
    other = imu.load_open_unlearning(write(tmp_path / "shouted", json.dumps(shouted, sort_keys=True)))
    assert plain.pairs.loc[plain.pairs["split"] == "forget", "index"].tolist() == list(range(12))
    assert plain.pairs.equals(other.pairs) and plain.curve.sort_values(["split", "metric"]).reset_index(drop=True).equals(
        other.curve.sort_values(["split", "metric"]).reset_index(drop=True))  # fmt: skip


def test_rows_that_shift_the_rest_are_told_and_mended(tmp_path: Path) -> None:
    """The file zips the values of the rows that it knows with the indices of all rows."""
    made = evaluation(5)
    rows = made["forget_truth_ratio"]["value_by_index"]
    known = [rows[str(at)]["score"] for at in (0, 1, 3, 4)]
    made["forget_truth_ratio"] = scored(known, agg_value=float(np.mean([min(r, 1 / (r + 1e-10)) for r in known])))
    for name in ("PARA", "PERT"):
        made[f"forget_Q_A_{name}_Prob"]["value_by_index"]["2"] = None
        del made[f"forget_Q_A_{name}_Prob"]["agg_value"]
    read = imu.load_open_unlearning(write(tmp_path / "run", made))
    assert np.isnan(column(read.pairs, "truth_ratio")[2])
    assert cases.close(np.delete(column(read.pairs, "truth_ratio"), 2), known, within=1e-6)
    differ = read.differences
    assert differ["index"].tolist() == [2, 3, 4] and set(differ["why"]) == {"rows are shifted in the file"}
    assert differ["told"].tolist()[:2] == known[2:] and np.isnan(differ["told"].iloc[2])
    assert cases.close(differ["computed"].to_numpy()[1:], known[2:], within=1e-6)
    assert (differ["file"] == tmp_path / "run" / FILE).all()


def test_nan_null_and_missing_rows(tmp_path: Path) -> None:
    made = evaluation(6)
    made["forget_Q_A_Prob"]["value_by_index"].pop("3")  # in the others it is there
    made["forget_Q_A_PERT_Prob"]["value_by_index"]["0"]["avg_loss"][1] = math.nan
    made["exact_memorization"]["value_by_index"]["5"]["score"] = None
    made["forget_quality"] = {"agg_value": None}
    made["forget_my_metric"] = {"agg_value": 7.0, "value_by_index": {"1": {"score": 2.0, "rank": 3}}}
    folder = write(tmp_path / "run", made)
    assert "NaN" in (folder / FILE).read_text()
    read = imu.load_open_unlearning(folder)
    forget = read.pairs[read.pairs["split"] == "forget"].set_index("index")
    assert (
        np.isnan(forget.loc[0, "truth_ratio"])
        and len(forget) == 6
        and np.isnan(forget.loc[3, "loss"])
        and not np.isnan(forget.loc[3, "truth_ratio"])
    )
    assert np.isnan(forget.loc[5, "exact_memorisation"]) and forget.loc[1, "my_metric_rank"] == 3
    assert value(read.curve, "my_metric") == 7.0
    null = read.differences[read.differences["metric"] == "forget_quality"]
    assert null["why"].item() == "null in the file: give reference= to compute it"
    retrained = write(tmp_path / "retrained", evaluation(6, 1))
    again = imu.load_open_unlearning(folder, reference=retrained)
    null = again.differences[again.differences["metric"] == "forget_quality"]
    goal = imu.load_open_unlearning(retrained)
    mine = column(read.pairs, "truth_ratio")
    p = ks_2samp(mine[~np.isnan(mine)], column(goal.pairs, "truth_ratio")).pvalue
    assert cases.close([null["computed"].item()], [p], within=1e-6) and null["why"].item() == "null in the file"


def test_numbers_that_are_wrong_in_the_file_are_told(tmp_path: Path) -> None:
    made = evaluation(6)
    right = made["retain_Truth_Ratio"]["value_by_index"]["4"]["score"]
    made["retain_Truth_Ratio"]["value_by_index"]["4"]["score"] = right + 0.01
    made["forget_truth_ratio"]["agg_value"] = 0.123
    made["forget_quality"] = {"agg_value": 0.9}
    retrained = write(tmp_path / "retrained", evaluation(6, 3))
    read = imu.load_open_unlearning(write(tmp_path / "run", made), reference=retrained)
    found = {(row.split, row.metric): row for row in read.differences.itertuples()}
    assert set(found) == {("retain", "truth_ratio"), ("forget", "truth_ratio"), ("forget", "forget_quality")}
    assert found["retain", "truth_ratio"].index == 4
    assert found["retain", "truth_ratio"].computed == pytest.approx(right, rel=1e-6)
    assert found["forget", "truth_ratio"].told == 0.123 and found["forget", "forget_quality"].told == 0.9


def test_checkpoints_are_a_trajectory(tmp_path: Path) -> None:
    run = tmp_path / "tofu_run_NPO"
    for step in (20, 3, 100):
        write(run / f"checkpoint-{step}" / "evals", evaluation(6, step))
    write(run / "evals", evaluation(6, 7))
    write(run, {"global_step": 120}, "trainer_state.json")
    original, retrained = write(tmp_path / "full", evaluation(6, 8)), write(tmp_path / "retain", evaluation(6, 9))
    read = imu.load_open_unlearning(run, original=original, reference=retrained)
    assert read.curve["step"].unique().tolist() == [0, 3, 20, 100, 120]
    made = read.run
    expected = [listed(losses(6, 10 * seed)["own"])["agg_value"] for seed in (8, 3, 20, 100, 7)]
    assert cases.close(made.series("forget", "probability").to_numpy(), expected, within=1e-6)
    assert made.headline == "probability" and made.samples["label"].unique().tolist() == ["author 0 of forget"]
    assert len(imu.compare([made])) == 2 and imu.plot_curves(made, metric="forget_quality").data
    assert cases.close(made.samples["loss_after"].to_numpy(), losses(6, 70)["own"], within=1e-9)
    assert cases.close(made.samples["loss_retrained"].to_numpy(), losses(6, 90)["own"], within=1e-9)
    assert (
        made.samples["time_to_forget"].isna().all() and imu.plot_trajectories(made).data
    )  # all are said until the end
    with pytest.raises(ValueError, match="recorded no margins"):
        imu.resistance(made)


def test_the_updates_of_the_last_model_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "run" / "checkpoint-5" / "evals", evaluation(6, 1))
    write(tmp_path / "run" / "evals", evaluation(6, 2))
    read = imu.load_open_unlearning(tmp_path / "run")
    assert read.curve["step"].dropna().unique().tolist() == [5]
    with pytest.raises(ValueError, match="evals/TOFU_EVAL.json tells after how many updates"):
        read.run  # noqa: B018
    assert imu.load_open_unlearning(tmp_path / "run", steps=9).run.steps.tolist() == [5, 9]
    final = imu.load_open_unlearning(tmp_path / "run", steps=5).pairs  # the same model, evaluated twice
    assert cases.close(column(final, "loss"), losses(6, 20)["own"], within=1e-9)


def old(count: int, seed: int) -> dict[str, Any]:
    """A file of TOFU's first code."""
    made = {}
    for at, name in enumerate(("eval_log_forget.json", "eval_log.json", "eval_real_author_wo_options.json",
                               "eval_real_world_wo_options.json")):  # fmt: skip
        told = losses(count, seed + at)
        right = told["other"] if at < 2 else told["own"]
        parts: Mapping[str, Any] = {
            "avg_gt_loss": told["own"], "avg_paraphrased_loss": right, "average_perturb_loss": told["wrong"],
            "num_token_gt": np.full(count, 7), "rougeL_recall": np.full(count, 0.25),
            "truth_ratio": np.exp(right - told["wrong"].mean(1)),
        }  # fmt: skip
        made[name] = {key: {str(row): each.tolist() for row, each in enumerate(rows)} for key, rows in parts.items()}
        made[name]["generated_text"] = {str(row): [f"q {row}", "said", f"a {row}"] for row in range(count)}
    return made


def test_the_first_layout(tmp_path: Path) -> None:
    name = "eval_log_aggregated.json"
    folder = write(tmp_path / "run" / "checkpoint-9" / "eval_results" / "ds_size300", old(5, 0), name)
    retrained = write(tmp_path / "retain90" / "eval_results" / "ds_size300", old(5, 50), name)
    read = imu.load_open_unlearning(tmp_path / "run", reference=retrained)
    told, goal = losses(5, 0), losses(5, 50)
    mine, theirs = ([ratio(*each) for each in zip(some["other"], some["wrong"])] for some in (told, goal))
    assert cases.close(column(read.pairs, "truth_ratio"), mine, within=1e-6) and read.differences.empty
    assert cases.close([10 ** -value(read.curve, "forget_quality")], [ks_2samp(mine, theirs).pvalue], within=1e-6)
    assert column(read.pairs, "step").tolist() == [9.0] * 5 and column(read.pairs, "num_token_gt").tolist() == [7] * 5
    assert read.texts.loc[0, ["input", "generation", "ground_truth"]].tolist() == ["q 0", "said", "a 0"]
    assert value(read.curve, "model_utility", "retain") > 0 and folder.exists()
    wrong = old(5, 0)
    wrong["eval_log_forget.json"]["truth_ratio"]["3"] = 9.0
    read = imu.load_open_unlearning(write(tmp_path / "wrong", wrong, name))
    assert read.differences["index"].tolist() == [3] and read.differences["told"].tolist() == [9.0]


def test_rows_are_joined_with_a_task_by_their_words(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    import languages

    task = languages.tiny()
    forget = task.split("forget").ids.tolist()[::-1]  # in another order than the task's
    made = {key: entry for key, entry in evaluation(len(forget)).items() if key.startswith("forget")}
    for row, example in enumerate(forget):
        pair = task.corpus.train[example]
        made["forget_Q_A_ROUGE"]["value_by_index"][str(row)] |= {
            "input": f"user\n{pair.question}  assistant",
            "ground_truth": pair.answer,
        }
    read = imu.load_open_unlearning(write(tmp_path / "run", made), task=task, steps=7)
    assert read.pairs["example"].tolist() == forget and set(read.pairs["author"]) == set(task.labels(forget))
    assert read.run.samples["example"].tolist() == forget
    with pytest.raises(ValueError, match="another split than the task: 3 pairs to forget, of which 0 are among"):
        imu.load_open_unlearning(tmp_path / "run", task=languages.tiny(forget_authors=(2,)))
    with pytest.raises(
        ValueError, match=r"row 0 of forget in .*TOFU_EVAL.json fits 0 pairs of the task \('question 0'\)"
    ):
        imu.load_open_unlearning(write(tmp_path / "foreign", evaluation()), task=task)


def test_layouts_do_not_compare_and_unknown_scores_are_left_out(tmp_path: Path) -> None:
    made = evaluation()
    made["mia_min_k"]["forget"]["value_by_index"]["1"]["score"] = None
    run = write(tmp_path / "run", made)
    read = imu.load_open_unlearning(run)
    assert value(read.curve, "auc_min_k") == 0.75  # of 0 and 2 against 1.5 and 3
    assert read.differences[["metric", "told"]].values.tolist() == [["auc_min_k", 5 / 6]]
    first = write(tmp_path / "first", old(6, 0), "eval_log_aggregated.json")
    with pytest.raises(ValueError, match="was written by TOFU's first code"):
        imu.load_open_unlearning(run, reference=first)


def without(*keys: str) -> dict[str, Any]:
    return {key: entry for key, entry in evaluation().items() if key not in keys}


REFUSED: dict[str, tuple[Any, str]] = {
    "cut off": (json.dumps(evaluation())[:-200], "is cut off or no JSON"),
    "empty": ("", "is cut off or no JSON"),
    "a list": ([1, 2], "not an object with a member"),
    "no wrong answers": (without("forget_Q_A_PERT_Prob"), "no avg_loss under 'forget_Q_A_PERT_Prob'"),
    "only null": (
        evaluation() | {"forget_Q_A_PARA_Prob": {"value_by_index": {"0": None, "1": {"avg_loss": None}}}},
        "no avg_loss under 'forget_Q_A_PARA_Prob'",
    ),
    "a summary": ({"forget_quality": 0.1, "model_utility": 0.5}, "no avg_loss under 'forget_Q_A_PARA_Prob', 'forget_Q"),
    "no rows": (evaluation() | {"forget_Q_A_Prob": {"value_by_index": 5}}, "has 5 for the rows of forget_q_a_prob"),
    "a score": (evaluation() | {"mia_loss": {"forget": 0.5, "holdout": 0.4}}, "has 0.5 for mia_loss, not an object"),
    "words": (evaluation() | {"forget_Q_A_Prob": {"value_by_index": {"0": {"avg_loss": "x"}}}}, "has 'x' for avg_loss"),
    "a named row": (evaluation() | {"forget_Q_A_Prob": {"value_by_index": {"a": {"prob": 1}}}}, "numbers a row of"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    made, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words) as refused:
        imu.load_open_unlearning(write(tmp_path / "run", made))
    assert str(tmp_path / "run" / FILE) in str(refused.value) and "\n" not in str(refused.value)


def test_another_split_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run", evaluation(6))
    for name, made in (("larger", evaluation(12)), ("reordered", evaluation(6, 0, "another "))):
        other = write(tmp_path / name, made)
        for what in ("reference", "original"):
            with pytest.raises(ValueError, match="evaluates another split") as refused:
                imu.load_open_unlearning(run, **{what: other})
            assert str(other / FILE) in str(refused.value) or str(run / FILE) in str(refused.value)
    write(tmp_path / "two" / "checkpoint-1" / "evals", evaluation(6))
    write(tmp_path / "two" / "checkpoint-2" / "evals", evaluation(40))
    with pytest.raises(ValueError, match=r"checkpoint-2.*evaluates another split than .*checkpoint-1"):
        imu.load_open_unlearning(tmp_path / "two")
    write(tmp_path / "tofu_phi_forget01_NPO" / "evals", evaluation(41))
    with pytest.raises(
        ValueError, match="another split than its folder says: 41 rows up to number 40, and forget01 has 40"
    ):
        imu.load_open_unlearning(tmp_path / "tofu_phi_forget01_NPO")
    write(tmp_path / "full" / "evals_forget10", evaluation(40))
    with pytest.raises(ValueError, match="forget10 has 400"):
        imu.load_open_unlearning(tmp_path / "full")


def test_folders_without_one_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        imu.load_open_unlearning(tmp_path / "nowhere")
    write(tmp_path / "empty", {}, "TOFU_SUMMARY.json")
    with pytest.raises(FileNotFoundError, match=r"empty holds no TOFU_EVAL.json.*it holds 'TOFU_SUMMARY.json'"):
        imu.load_open_unlearning(tmp_path / "empty")
    for name in ("a", "b"):
        write(tmp_path / "several" / name / "evals", evaluation())
    with pytest.raises(ValueError, match="evaluations of 2 runs: 'a', 'b'; give one of them"):
        imu.load_open_unlearning(tmp_path / "several")
    write(tmp_path / "twice", evaluation())
    write(tmp_path / "twice" / "evals", evaluation())
    with pytest.raises(ValueError, match="evaluate the same model"):
        imu.load_open_unlearning(tmp_path / "twice")
    assert imu.load_open_unlearning(tmp_path / "twice" / FILE).name == "twice"


def test_two_members_of_one_name_are_told(tmp_path: Path) -> None:
    file = write(tmp_path / "run", evaluation(3)) / FILE
    whole = file.read_text("utf-8").lstrip()[1:]
    twice = '{"model_utility": {"agg_value": 0.5}, "model_utility": {"agg_value": %s},'
    file.write_text(twice % 0.5 + whole, "utf-8")
    assert len(imu.load_open_unlearning(file).pairs)  # the same is no question
    file.write_text(twice % 0.7 + whole, "utf-8")
    with pytest.raises(
        ValueError, match="TOFU_EVAL.json names 'model_utility' twice, with other values, so that nobody"
    ):
        imu.load_open_unlearning(file)
