"""The evaluation files of open-unlearning, and those of TOFU's first code, as they were written: found, read, named.

A file holds one object: metric by metric an aggregate and the values of single rows, by index. Nothing here is computed;
what the numbers should be stands in :mod:`imu_lab.measures.open_unlearning`.

Source: the layouts of open-unlearning (Dorna et al. 2025, arXiv 2506.12618) and of TOFU (Maini et al. 2024, arXiv 2401.06121).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..core.messages import listed, shown
from ..core.storage import DamagedFile, path_of
from ..tasks.sources.rows import each_once

FILE, OLD_FILE = "TOFU_EVAL.json", "eval_log_aggregated.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")
WITHIN = re.compile(r"checkpoint-\d+|evals?|eval_results|ds_size\d+")  # folders inside a run's own
INSIDE = re.compile(f"{WITHIN.pattern}|evals_.*")  # of which some hold another split each
SPLITS = {"forget": "forget", "retain": "retain", "ra": "well-known", "wf": "general", "holdout": "holdout"}
UNSAID = "unsaid"  # the split of a metric that tells none
OF_FORGET = ("extraction_strength", "exact_memorization", "privleak")  # and every mia_*
# Each probability there is a loss, too: of the answer, of it in other words, of the wrong answers.
PROBABILITIES = {
    "q_a_prob": "",
    "q_a_para_prob": "_paraphrased",
    "q_a_pert_prob": "_wrong",
    "q_a_prob_normalised": "_normalised",
}
FIELDS = {"prob": "probability", "avg_loss": "loss"}
NAMES = {
    "quality": "forget_quality",
    "q_a_rouge": "rouge",
    "exact_memorization": "exact_memorisation",
    "mia_min_k": "min_k",
    "mia_min_k_plus_plus": "min_k_plus_plus",
    "mia_zlib": "zlib",
}
TEXTS = ("input", "ground_truth", "generation")
NEEDED = {"loss_paraphrased": "forget_Q_A_PARA_Prob", "loss_wrong": "forget_Q_A_PERT_Prob"}
OLD_PARTS = {
    "eval_log_forget.json": "forget",
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "ra",
    "eval_real_world_wo_options.json": "wf",
}
OLD_LOSSES = {
    "avg_gt_loss": "q_a_prob",
    "avg_paraphrased_loss": "q_a_para_prob",
    "average_perturb_loss": "q_a_pert_prob",
}
OLD_TEXTS = ("input", "generation", "ground_truth")
SIZES = {"forget01": 40, "forget05": 200, "forget10": 400}  # rows of TOFU's splits


class EvalFile(NamedTuple):
    """What one file tells.

    Attributes:
        path: the file.
        step: updates made before it was written; None where the folder does not tell.
        rows: {(split, index): {metric: values}}, a value per answer; NaN for null.
        texts: {(split, index): {"input", "ground_truth", "generation"}}, where there are such.
        told: {(split, metric): its aggregate}, None for null.
        old: whether it is of TOFU's first code, which adds no 1e-10 where it divides.
    """

    path: Path
    step: int | None
    rows: dict[tuple[str, int], dict[str, list[float]]]
    texts: dict[tuple[str, int], dict[str, str]]
    told: dict[tuple[str, str], float | None]
    old: bool

    def indices(self, split: str) -> list[int]:
        """The rows of a split, in the order of their numbers."""
        return sorted(index for name, index in self.rows if name == split)


def found(folder: str | Path, steps: int | None = None) -> list[EvalFile]:
    """The evaluations of one run, by update; the last is that of the final model, where there is one.

    Args:
        folder: of a run, with ``evals`` and ``checkpoint-*/evals`` in it, or of one evaluation; or a file.
        steps: the updates that the run made, where ``trainer_state.json`` does not tell.

    Raises:
        FileNotFoundError: no such folder, or no evaluation in it.
        ValueError: several runs, or two evaluations of one model; a file that is damaged or of another kind.
    """
    folder = path_of(folder)
    if not folder.exists():
        raise FileNotFoundError(f"no folder {folder}; give the one that holds {FILE}, or checkpoint-*/evals")
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*.json") if _is_evaluation(path))
    if not files:
        here = [path.name for path in sorted(folder.iterdir())[:8]]
        raise FileNotFoundError(f"{folder} holds no {FILE} and no {OLD_FILE}; it holds {listed(here)}")
    runs = dict.fromkeys(_run_of(path, folder) for path in files)
    if len(runs) > 1:
        raise ValueError(f"{folder} holds evaluations of {len(runs)} runs: {listed(list(runs)[:8])}; give one of them")
    by_step: dict[int | None, Path] = {}
    for path in files:
        if (step := _checkpoint(path)) in by_step:
            raise ValueError(f"{by_step[step]} and {path} evaluate the same model; give one of the files")
        by_step[step] = path
    if None in by_step:
        last = by_step.pop(None)
        by_step[_steps_told(last) if steps is None else steps] = last  # instead of a checkpoint of the same model
    return [read(by_step[step], step) for step in sorted(by_step, key=lambda step: math.inf if step is None else step)]


def _is_evaluation(path: Path) -> bool:
    return path.name.lower() in (FILE.lower(), OLD_FILE)


def _run_of(path: Path, folder: Path) -> str:
    """The folder of a run, seen from the one given; files of one run share it."""
    parts = path.relative_to(folder).parts[:-1] if path != folder else ()
    return "/".join(part for part in parts if not WITHIN.fullmatch(part))


def _checkpoint(path: Path) -> int | None:
    known = [CHECKPOINT.fullmatch(parent.name) for parent in path.absolute().parents[:3]]
    return next((int(match[1]) for match in known if match), None)


def _steps_told(path: Path) -> int | None:
    """The updates of the final model, from the trainer's own file beside its evaluation."""
    for folder in path.absolute().parents[:3]:
        if (state := folder / "trainer_state.json").is_file():
            steps = _parsed(state).get("global_step")
            return steps if isinstance(steps, int) else None
    return None


def read(path: Path, step: int | None = None) -> EvalFile:
    """One file, in either layout.

    Raises:
        ValueError: it is cut off, no such file, of another split than its folder says, or lacks the losses that the truth
            ratio is made of.
    """
    whole = _lowered(_parsed(path), path)
    old = bool(set(OLD_PARTS) & set(whole))
    file = EvalFile(path, step, {}, {}, {}, old)
    for key, value in (_as_new(whole, path) if old else whole).items():
        split, name = _split_and_name(key)
        parts = value if isinstance(value, Mapping) else {"agg_value": value}  # a fork's plain number
        if name.startswith("mia_"):
            file.told[split, f"auc_{NAMES.get(name, name).removeprefix('mia_')}"] = _number(parts.get("agg_value"))
            for part in ("forget", "holdout"):
                _add(file, key, part, name, _object(parts.get(part), key, path))
        else:
            if "agg_value" in parts:
                file.told[split, _aggregate(name)] = _number(parts["agg_value"])
            _add(file, key, split, name, parts)
    _check_needed(file, list(whole))
    _check_size(file)
    return file


def _parsed(path: Path) -> dict[str, Any]:
    try:
        # Python's reader knows NaN and Infinity.
        whole = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=each_once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is cut off or no JSON ({error}); copy it again, or evaluate again") from None
    except ValueError as error:
        raise DamagedFile(f"{path} {error}, so that nobody can tell which is meant; drop one of them") from None
    if not isinstance(whole, dict):
        raise DamagedFile(f"{path} holds {shown(whole, 40)}, not an object with a member for each metric")
    return whole


def _lowered(value: Any, path: Path) -> Any:
    """The same with all keys in lower case, for their case differs between versions."""
    if not isinstance(value, dict):
        return value
    lowered: dict[str, Any] = {}
    for key, inner in value.items():
        if key.lower() in lowered and lowered[key.lower()] != inner:
            raise ValueError(f"{path} holds {key!r} twice, in other letters and with other values; drop one of them")
        lowered[key.lower()] = inner
    return {key: _lowered(inner, path) for key, inner in lowered.items()}


def _split_and_name(key: str) -> tuple[str, str]:
    stem, _, rest = key.partition("_")
    if stem in SPLITS and rest:
        return SPLITS[stem], rest
    if key == "model_utility":
        return "retain", key
    return "forget" if key in OF_FORGET or key.startswith("mia_") else UNSAID, key


def _aggregate(name: str) -> str:
    """What a metric's mean over pairs is called here; unknown ones keep their names."""
    return f"probability{PROBABILITIES[name]}" if name in PROBABILITIES else NAMES.get(name, name)


def _column(name: str, field: str) -> str:
    """What a field of a metric is called here."""
    if name in PROBABILITIES and field in FIELDS:
        return FIELDS[field] + PROBABILITIES[name]
    if name == "q_a_rouge":
        return "rouge" if field == "rougel_recall" else field
    return NAMES.get(name, name) + ("" if field == "score" else f"_{field}")


def _add(file: EvalFile, key: str, split: str, name: str, parts: Mapping[str, Any]) -> None:
    """Add the rows of a metric to those of a file."""
    rows = parts.get("value_by_index", parts.get("values_by_index")) or {}
    if not isinstance(rows, (Mapping, list)):
        raise ValueError(
            f"{file.path} has {shown(rows, 40)} for the rows of {key}, not an object with a member for each"
        )
    for index, fields in rows.items() if isinstance(rows, Mapping) else enumerate(rows):
        if not re.fullmatch(r"0|[1-9]\d*", str(index)):
            raise ValueError(f"{file.path} numbers a row of {key} {shown(index, 40)}; an index is a whole number")
        place = split, int(index)
        row = file.rows.setdefault(place, {})
        fields = {} if fields is None else fields if isinstance(fields, Mapping) else {"score": fields}
        for field, value in fields.items():
            if field in TEXTS:
                file.texts.setdefault(place, {})[field] = str(value)
            elif not isinstance(value, (str, Mapping)):
                row[_column(name, field)] = [_value(each) for each in (value if isinstance(value, list) else [value])]
            elif field in FIELDS:
                raise ValueError(
                    f"{file.path} has {shown(value, 40)} for {field} of row {index} of {key}, not a number"
                )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _value(value: Any) -> float:
    return math.nan if (number := _number(value)) is None else number


def _object(value: Any, key: str, path: Path) -> dict[str, Any]:
    """A member that has members, empty where it is missing."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{path} has {shown(value, 40)} for {key}, not an object")
    return value or {}


def _as_new(whole: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A file of TOFU's first code, metric by metric as the new ones are."""
    made: dict[str, Any] = {}
    for part, split in OLD_PARTS.items():
        fields = {name: _object(rows, name, path) for name, rows in _object(whole.get(part), part, path).items()}
        for name, metric in OLD_LOSSES.items():
            rows = {index: _old_losses(loss) for index, loss in fields.pop(name, {}).items()}
            if rows and (metric != "q_a_para_prob" or split in ("forget", "retain")):
                made[f"{split}_{metric}"] = {"value_by_index": rows}
        said, rouge = fields.pop("generated_text", {}), fields.pop("rougel_recall", {})
        made[f"{split}_q_a_rouge"] = {
            "value_by_index": {
                index: {"rougel_recall": rouge.get(index)}
                | dict(zip(OLD_TEXTS, words if isinstance(words, list) else ()))
                for index, words in (said or dict.fromkeys(rouge, ())).items()
            }
        }
        for name, rows in fields.items():  # what else there is, as a column of its own
            made[f"{split}_{name}"] = {"value_by_index": {index: {"score": value} for index, value in rows.items()}}
    return made


def _old_losses(loss: Any) -> dict[str, Any]:
    several = [_value(each) for each in (loss if isinstance(loss, list) else [loss])]
    return {"avg_loss": several, "prob": [math.exp(-each) for each in several]}


def _check_needed(file: EvalFile, keys: list[str]) -> None:
    """Raise unless there is what truth ratio and forget quality are made of."""
    rows = [row for (split, _), row in file.rows.items() if split == "forget"]
    known = {name for row in rows for name, values in row.items() if not all(map(math.isnan, values))}
    missing = [key for name, key in NEEDED.items() if name not in known]
    if missing:
        raise ValueError(
            f"{file.path} has no avg_loss under {listed(missing)}, of which the truth ratio of the forget set is made; it "
            f"has {listed(keys[:8])}, so it is no whole TOFU evaluation"
        )


def run_folder(path: Path) -> str:
    """The name of the folder of the run that a file belongs to."""
    return next((parent.name for parent in path.absolute().parents if not INSIDE.fullmatch(parent.name)), path.stem)


def _check_size(file: EvalFile) -> None:
    """Raise where the rows are those of another split than the folder's name says."""
    for name in (file.path.absolute().parent.name, run_folder(file.path)):
        if said := re.search("forget(01|05|10)", name):
            break
    else:
        return
    indices, size = file.indices("forget"), SIZES[said[0]]
    if indices[-1] >= size or len(indices) in set(SIZES.values()) - {size}:
        raise ValueError(
            f"{file.path} evaluates another split than its folder says: {len(indices)} rows up to number {indices[-1]}, and "
            f"{said[0]} has {size}"
        )
