"""Runs made with open-unlearning, read into tables like those of the library's own; what the files tell wrongly is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.knobs import check_count
from ..core.messages import listed
from ..core.records import Run
from ..tasks.language import Language
from ..unlearning.recorder import time_to_forget
from .eval_files import TEXTS, EvalFile, found, run_folder
from .eval_numbers import CURVE, Computed, framed
from .eval_splits import check_same_split, named
from .truth_ratio import RETRAINED, TruthRatios, beside

KEY = ["step", "split", "index"]


@dataclass(frozen=True, eq=False)
class Evaluations:
    """What was measured of one run, after some of its updates: tables like those of :func:`imu_lab.pair_table` and a run.

    Splits are called as in the library: ``forget``, ``retain``, ``well-known`` (real authors), ``general`` (world facts) and
    ``holdout``. ``step`` is the number of updates, empty where the folder does not tell it.

    Attributes:
        name: the run's folder.
        pairs: a row per step and pair: ``step, split, index, author, loss, probability, truth_ratio``, and what else the
            file tells of single pairs, such as ``rouge``, ``exact_memorisation``, ``min_k``. ``index`` is the row in the
            evaluated split; with a task, ``example`` is that of the task, found by question and answer, and ``author`` is
            called as there. ``truth_ratio`` and ``probability_normalised`` are computed from the losses.
        curve: ``step, split, metric, value``, as in a run: means over pairs, and of the forget set ``forget_quality``
            (−log10 p) and ``ks_distance``.
        reference: ``split, metric, value`` of the retrained model; empty without one.
        reference_pairs: its pairs, as in ``pairs``.
        texts: ``step, split, index, input, ground_truth, generation``. Texts are data: escape them before showing.
        numbers: every value of the files as it stands there: ``step, split, index, metric, answer, value``.
        differences: where a file's own number is another than the one computed here: ``file, step, split, metric, index,
            told, computed, why``; ``index`` is empty for an aggregate. Of the forget quality both are p, as in the file.
        files: those read, in the order of their steps.
    """

    name: str
    pairs: pd.DataFrame
    curve: pd.DataFrame
    reference: pd.DataFrame
    reference_pairs: pd.DataFrame
    texts: pd.DataFrame
    numbers: pd.DataFrame
    differences: pd.DataFrame
    files: tuple[Path, ...] = field(default=())

    @property
    def run(self) -> Run:
        """The same as a :class:`imu_lab.Run` without a model, for ``imu.plot_curves`` and ``imu.compare``.

        Raises:
            ValueError: it is not known after how many updates the model was evaluated.
        """
        if self.curve["step"].isna().any():
            raise ValueError(
                f"nothing beside {self.files[-1]} tells after how many updates that was; say it with "
                "imu.load_open_unlearning(..., steps=)"
            )
        curve = self.curve.astype({"step": int})
        trajectory = _forget(self.pairs).astype({"step": int})
        settings = {"method": self.name, "forgotten_when": ("probability", "<=")}
        events = {"steps": int(curve["step"].max()), "stopped_at": None, "diverged_at": None, "utility_limit": None}
        return Run(
            curve=curve,
            samples=_ledger(trajectory, _forget(self.reference_pairs)),
            trajectory=trajectory[["example", "step", "loss", "confidence"]],
            terms=framed([], ["step", "term", "value"]),
            reference=self.reference,
            settings=settings,
            events=events,
        )

    def truth_ratios(self, step: int | None = None) -> TruthRatios:
        """The truth ratios of the forget pairs after an update, for ``imu.plot_truth_ratio``.

        Args:
            step: one of those in ``pairs``; None for the last evaluation.

        Raises:
            ValueError: there was no evaluation after that update, or the file has no losses of wrong answers.
        """
        mine, goal = (
            _forget(pairs).rename(columns={"label": "author"}) for pairs in (self.pairs, self.reference_pairs)
        )
        if "truth_ratio" not in mine:
            raise ValueError(f"{self.name} tells no losses of wrong answers, without which there is no truth ratio")
        known = mine["step"].unique()
        if step is not None and step not in known:
            raise ValueError(
                f"no evaluation after update {step}; there are those after {listed(list(map(str, known)))}"
            )
        last = known[-1] if step is None else step
        mine = mine[mine["step"].isna() if pd.isna(last) else mine["step"] == last]
        return beside({self.name: mine}, {RETRAINED: goal} if "truth_ratio" in goal else {})

    def __repr__(self) -> str:
        steps = self.pairs["step"].nunique(dropna=False)
        forget = self.pairs.loc[self.pairs["split"] == "forget", "index"].nunique()
        after = f"{steps} evaluations" if steps > 1 else "1 evaluation"
        return f"Evaluations({self.name}, {after}, {forget} forget pairs, {len(self.differences)} numbers differ)"


def load_open_unlearning(
    folder: str | Path,
    *,
    reference: str | Path | None = None,
    original: str | Path | None = None,
    steps: int | None = None,
    task: Language | None = None,
) -> Evaluations:
    """Read what open-unlearning, or TOFU's first code, measured of one run.

    >>> made = imu.load_open_unlearning("saves/unlearn/tofu_Llama_forget10_NPO", reference="saves/eval/tofu_Llama_retain90")
    >>> made.differences
    >>> imu.plot_curves(made.run, metric="forget_quality")

    Truth ratio, normalised probability, utility, the areas under the curves of membership and, with a retrained model, forget
    quality and privacy leakage are computed from the losses and scores of single pairs; see ``differences`` for where the
    file says otherwise. Without a retrained model a forget quality is the file's own.

    Args:
        folder: the run's: with ``evals/TOFU_EVAL.json``, ``checkpoint-*/evals/TOFU_EVAL.json`` or both; a folder of one
            evaluation, or a file. ``eval_log_aggregated.json`` of ``locuslab/tofu`` is read, too.
        reference: the evaluation of the retrained model on the same split.
        original: that of the model before unlearning, which becomes step 0.
        steps: how many updates the final model had; None takes it from ``trainer_state.json``.
        task: whose examples the rows are, such as ``imu.tasks.Language("tofu", split="forget10")``.

    Raises:
        FileNotFoundError: no such folder, or no evaluation in it.
        ValueError: a file is cut off, of another kind or of another split, lacks the losses, or the folder holds several runs.
    """
    if steps is not None:
        check_count("steps", steps)
    files = found(folder, steps)
    if original is not None:
        if any(file.step == 0 for file in files):
            raise ValueError(f"{folder} holds an evaluation of step 0 already, so original= would be a second one")
        files = [found(original)[-1]._replace(step=0), *files]
    retrained = None if reference is None else found(reference)[-1]
    for file in [*files[1:], *([retrained] if retrained else [])]:
        check_same_split(file, files[0])
    goal = None if retrained is None else Computed(retrained)
    computed = [Computed(file, goal) for file in files]
    pairs, goals = (
        _steps(pd.concat([each.pairs for each in some], ignore_index=True)) if some else framed([], KEY)
        for some in (computed, [goal] if goal else [])
    )
    if task is not None:
        pairs, goals = (named(some, files, task) if len(some) else some for some in (pairs, goals))
    return Evaluations(
        name=run_folder(files[-1].path),
        pairs=pairs,
        curve=_steps(pd.concat([each.curve() for each in computed], ignore_index=True)),
        reference=Computed(retrained, goal).curve().drop(columns="step") if goal else framed([], CURVE[1:]),
        texts=_steps(_texts(files)),
        reference_pairs=goals,
        numbers=_steps(_numbers(files)),
        differences=_steps(pd.concat([each.differences() for each in computed], ignore_index=True)),
        files=tuple(file.path for file in files),
    )


def _forget(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs to forget, with the names that a run has for their columns."""
    names = {"author": "label", "probability": "confidence"} | ({} if "example" in pairs else {"index": "example"})
    return pairs[pairs["split"] == "forget"].rename(columns=names).reset_index(drop=True)


def _ledger(trajectory: pd.DataFrame, retrained: pd.DataFrame) -> pd.DataFrame:
    """A row for each pair to forget: before, after, by the retrained model, and when it was said no longer."""
    samples = trajectory[["example", "label"]].drop_duplicates("example").set_index("example")
    steps = np.sort(trajectory["step"].unique())
    for name in ("loss", "confidence"):
        wide = trajectory.pivot(index="example", columns="step", values=name)
        samples[f"{name}_before"], samples[f"{name}_after"] = wide[steps[0]], wide[steps[-1]]
        if len(retrained):
            samples[f"{name}_retrained"] = retrained.set_index("example")[name]
    if "exact" in trajectory and trajectory["exact"].notna().all():
        said = trajectory.pivot(index="step", columns="example", values="exact")[samples.index]
        samples["time_to_forget"] = time_to_forget(said.to_numpy() - 0.5, steps)
    return samples.reset_index()


def _steps(table: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers that may be missing."""
    whole = [name for name in ("step", "index") if name in table]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _texts(files: list[EvalFile]) -> pd.DataFrame:
    rows = [
        (file.step, *place, *(texts.get(name, "") for name in TEXTS))
        for file in files
        for place, texts in sorted(file.texts.items())
    ]
    return framed(rows, [*KEY, *TEXTS])


def _numbers(files: list[EvalFile]) -> pd.DataFrame:
    rows = [
        (file.step, *place, metric, answer, value)
        for file in files
        for place, row in sorted(file.rows.items())
        for metric, values in row.items()
        for answer, value in enumerate(values)
    ]
    return framed(rows, [*KEY, "metric", "answer", "value"])
