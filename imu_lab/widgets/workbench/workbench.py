"""The workbench: influence, intensity and unlearning behind sliders, with every control one click away."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core import registry
from ...core.knobs import knobs
from ...core.messages import unheard
from ...lab.session import Session
from ...studies.comparison import usual_step
from ...tasks.checkpoints import train
from ...tasks.protocol import Task
from ..base.controls import after_each_cell
from ..base.job import Job, Progress, Report
from ..base.panel import Panel, duration
from ..pages import page
from ..pages.workbench_page import Grid, Quick, sliders_of, workbench_page
from .asking import Asking
from .pipeline import LOOKS, Answer, Pipeline
from .views import Views, title_of

DOTTED = "<p>The dotted lines are the retrained model.</p>"
FLOORED = (
    "<p>The dotted lines are the mean of {count} retrained models; of a distance to them, how far two of them are from each "
    "other.</p>"
)
SELDOM = f"<p>A run is looked at about {LOOKS} times: at each look the model writes its answers.</p>"
TRAINING = "<p>Training the retrained model in the background …</p>"


def workbench(
    task: Task,
    original: Any,
    *,
    reference: Any = None,
    steps: int = 60,
    seed: int = 0,
    estimator: str = "fisher-diagonal",
    rule: str = "sqrt-clipped",
    method: str = "imu",
    compare_with: tuple[str, ...] = ("uniform",),
    stop_at: Any = None,
) -> Workbench:
    """The whole pipeline behind sliders: move one and see what every sample and every metric does.

    Args:
        task, original: what to forget, from which trained model; neither is changed.
        reference: the retrained model, or several (:func:`imu_lab.references`), which draw the noise floor of the distance
            to them; None trains one in the background while you look around.
        steps, seed, stop_at: of each run at first, as in :func:`imu_lab.unlearn`.
        estimator, rule, method: what is chosen at first; names in the registries.
        compare_with: the rules of the controls that run beside it at first.

    Returns:
        A panel to be shown as the last line of a cell. Its ``answer`` holds the records that are drawn.

    Raises:
        UnknownName: a name that is not registered.
    """
    for name in compare_with:
        _ = registry.intensity_rules[name]  # an unknown name is told before work starts
    session = Session(task, original, reference)
    return Workbench(session, Asking(session, (estimator, rule, method), steps, seed, stop_at, tuple(compare_with)))


class Workbench(Panel):
    """See :func:`workbench`.

    Attributes:
        session: the task, the original and the retrained model.
        controls: the left side (:class:`Asking`).
        views: the right side (:class:`Views`).
    """

    def __init__(self, session: Session, controls: Asking) -> None:
        self.session, self.controls = session, controls
        self.pipeline = Pipeline(session, lambda scores: self.views.show_influences(scores))
        self.views = Views(session.task, self.guarded, self.pipeline.proponents)
        super().__init__(
            [controls, self.views.sample],
            [self.views],
            below=[self.views.every],
            title=f"Workbench · {title_of(session.task)}",
            question=controls.question,
            compute=self.pipeline,
            draw=self._draw,
            still_rows=self.views.still_rows,
            likely=controls.onward,
            ahead=self.pipeline.foresee,
        )
        self._followed = self.pipeline.followed
        controls.listen(self.ask)
        after_each_cell(self.guarded(self.refresh))
        self.views.metric.observe(self._metric_chosen, "value")
        self._retraining = Job(
            self._retrain, self._retrained, on_error=self.show_error, on_progress=self._retraining_at
        )
        self.ask()
        if session.reference is None:
            self._tell_reference(TRAINING)
            self._retraining.submit(True)
        else:
            count = len(getattr(session.reference, "members", "1"))
            self._tell_reference(FLOORED.format(count=count) if count > 1 else DOTTED)

    @property
    def answer(self) -> Answer | None:
        """The records that are drawn; None before the first."""
        return self.views.answer

    @property
    def figures(self) -> dict:
        """The live figures: ``"curves"``, ``"influence"``, ``"intensity"``."""
        return self.views.figures

    def refresh(self) -> None:
        """Take up what a cell has registered or defined anew; runs after every notebook cell."""
        self.pipeline.refresh()
        self.controls.refresh()
        before, self._followed = self._followed, self.pipeline.followed
        if self._followed != before:  # a metric may have another meaning now
            self.ask()

    def choose(self, example: int) -> None:
        """Show the card of this forget sample."""
        self.guarded(self.views.choose)(example)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the retrained model is there and the newest question is answered and drawn."""
        return self._retraining.wait(timeout) and super().wait(timeout)

    def save(
        self,
        path: str | os.PathLike,
        sliders: Mapping[str, Any] | Sequence[str] | None = None,
        about: str = "",
        overwrite: bool = False,
    ) -> Path:
        """Write one HTML file in which these sliders move without a kernel: every answer is worked out now.

        All else is as the controls say at this moment. The file holds figures, table, ledger and cards of up to 400 answers, and
        stays under 8 MB; on the digits that takes about a minute.

        Args:
            path: of the file.
            sliders: names of settings that move, such as ``["damping", "lr"]``, or from each to its positions or to how many it
                shall have: ``{"damping": [0.001, 0.1], "lr": 6}``. None takes the learning rate, the damping and the quantile.
            about: plain text above the panel; an empty line parts its paragraphs.
            overwrite: replace a file that is there.

        Raises:
            UnknownName: a slider that the chosen estimator, rule and method do not have.
            ValueError: a position that is not allowed, or more than fit into a page.
            FileExistsError: the path is taken and ``overwrite`` is False.
        """
        path = page.check_path(path, overwrite)
        question = self.controls.question()
        chosen = {"estimator": registry.estimators, "rule": registry.intensity_rules, "method": registry.methods}
        knobs_of = {stage: knobs(names[getattr(question, stage).name]) for stage, names in chosen.items()}
        made = sliders_of(sliders, question, knobs_of)
        grid = Grid(Quick(self.session), question, made)
        with unheard():  # at the ends of sliders runs go too far, on purpose
            grid.fill(self._saving)
        self.status.value = "up to date"
        return page.write(path, workbench_page(grid, self.title, about), overwrite)

    def _saving(self, done: int, total: int) -> None:
        self.status.value = f"working out answer {done} of {total} of the page"

    def close(self) -> None:
        """Drop all work and take the panel from the page."""
        self._retraining.stop()
        self.job.stop()
        super().close()

    def _draw(self, answer: Answer) -> Callable[[], None]:
        rest = self.views.show(answer)
        self.controls.start_equal_steps_at(usual_step(answer.run))
        return rest

    def _metric_chosen(self, _: Any) -> None:
        """Draw again, in the job's thread; all runs are at hand. While an answer offers its metrics, it draws them."""
        if self.answer is not None and self.views.figures:
            self.ask()

    def _tell_reference(self, words: str) -> None:
        self.controls.note.value = words + (SELDOM if self.pipeline.seldom else "")

    def _retrain(self, _: Any, report: Report) -> Any:
        return train(self.session.task, "retain", progress=report)

    def _retraining_at(self, progress: Progress) -> None:
        if self.session.reference is None:  # it may be there by now
            left = "" if progress.left is None else f", about {duration(progress.left)} left"
            about = f": epoch {progress.done} of {progress.total}{left}" if progress.total else ""
            self._tell_reference(TRAINING.replace(" …", f"{about} …"))

    def _retrained(self, model: Any) -> None:
        self.session.reference = model
        self._tell_reference(DOTTED)
        self.ask()
