"""Back to the update at which the forget set is known no worse than what was never seen: SCRUB+R, for any method's run."""

from __future__ import annotations

from ..core.messages import unknown
from ..core.records import Run
from ..core.taken import a_run
from ..tasks.protocol import offered
from .fork import fork


def rewind(run: Run, unseen: str | None = None) -> Run:
    """The run cut off at the update whose value on the forget set is nearest to that on unseen samples of the same kind.

    Pressed on, a model knows the forget set worse than what it never saw, and that gives the forget set away. The value on
    unseen samples is taken at the end of the run, as in the paper; the value is the task's headline, such as the accuracy. Of
    updates that are equally near it is the last, for which a method that repairs has repaired most. The original is none of
    them.

    Source: SCRUB+R of Kurmanji et al. 2023 (arXiv 2302.09880), which goes back to a checkpoint by error.

    Args:
        run: with its task and its states, of any method.
        unseen: the split of unseen samples; None for those of the forgotten class or person where the run followed them,
            else the test split.

    Returns:
        A run of so many updates, whose ``settings["forked"]`` names the run and the update.

    Raises:
        ValueError: the run did not follow such a split, or kept no state but the first.
    """
    task = a_run(run, "rewind").known_task()
    metric = offered(task).forgotten_when[0]
    followed = run.curve.query("metric == @metric")
    splits = list(dict.fromkeys(followed["split"]))
    split = unseen or ("test-forget" if "test-forget" in splits else "test")
    if split not in splits:
        raise unknown(f"split on which the run followed {metric}", split, splits)
    goal = float(followed[followed["split"] == split]["value"].iloc[-1])
    mine = followed[followed["split"] == "forget"].set_index("step")["value"]
    steps = [step for step in run.kept_steps if step in mine.index and step > 0]
    if not steps:
        raise ValueError("the run keeps no state after an update to go back to")
    return fork(run, min(reversed(steps), key=lambda step: abs(mine[step] - goal)), steps=0)
