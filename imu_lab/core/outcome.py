"""What a person should hear of a run that is over: it collapsed, kept samples were lost, or nothing was forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .quantities import KEPT, describe
from .records import Run
from .registry import methods

FINE = 10  # updates to a goal, from which on still smaller ones lead there by much the same way


def beware(run: Run) -> str:
    """One sentence on what went wrong in a run and what to try; empty where nothing did."""
    events = run.events
    if events.get("diverged_at") is not None:
        return (
            f"the run diverged at update {events['diverged_at']}: {_made_by(run)} made the loss or the weights infinite; "
            "the model of the update before and all that was recorded are kept"
        )
    if run.settings.get("stop_at") is not None and events.get("stopped_at") == _began(run) < run.settings.get(
        "steps", 0
    ):
        return f"the run made no update: {_met(run)}"
    if events.get("collapsed_at") is not None:
        return f"the run collapsed at update {events['collapsed_at']}: {_kept(run)}; {_calmer(run)}"
    if events.get("utility_limit") is not None and _still_lost(run):
        return f"the run passed its utility limit at update {events['utility_limit']}: {_kept(run)}; {_calmer(run)}"
    if run.forgot_nothing:
        return f"the run forgot nothing in {events['steps']} updates: {_left(run)}; {_stronger(run)}"
    if run.settings.get("stop_at") is not None and events.get("stopped_at", 0) is None:
        return f"the run did not reach its goal in {events['steps']} updates: {_came(run)}; {_stronger(run)}"
    return ""


def together(outcomes: Sequence[str]) -> str:
    """What :func:`beware` says of several runs, in one sentence: the first that has something to tell, and how many do."""
    told = [words for words in outcomes if words]
    if len(told) < 2:
        return "".join(told)
    return f"{len(told)} of {len(outcomes)} runs went wrong, the first so: {told[0]}"


def _still_lost(run: Run) -> bool:
    """Whether kept samples are lost at the end, too: a method that begins anew loses them at first and wins them back."""
    metric = run.headline
    falls = [run.value(split, metric, 0) - run.value(split, metric) for split in KEPT]
    return any(fall >= 0.05 - 1e-12 for fall in falls) or all(np.isnan(falls))


def _began(run: Run) -> int:
    """The update that a run began with."""
    return (run.settings.get("forked") or {"step": 0})["step"]


def _goal(run: Run) -> tuple[str, str]:
    """The split and the metric by which a run is told to stop."""
    given = run.settings["stop_at"]
    metric = str(given[0]) if isinstance(given, (list, tuple)) else run.headline
    split, metric = metric.split(" ", 1) if " " in metric else ("forget", metric)
    return split, metric


def _met(run: Run) -> str:
    """That a goal was reached before anything was done, and what to ask for."""
    given, (split, metric) = run.settings["stop_at"], _goal(run)
    about, value = describe(metric), given[-1] if isinstance(given, (list, tuple)) else given
    words = f"stop_at={given!r} was met before the first, with {about.title} {run.value(split, metric, _began(run)):.4g} on the "
    words += f"{split} set"
    if value == "retrained" and given == value:
        return f'{words}; of samples that the retrained model knows, too, ("loss", ">=", "retrained") says more'
    if about.unit.startswith("share") and isinstance(value, (int, float)) and value >= 1:
        return f"{words}; {about.title} is a share, of which 0.05 is 5 %: give one that is still ahead"
    return f"{words}; give a goal that is still ahead"


def _came(run: Run) -> str:
    """How near a run came to where it was to stop."""
    given, (split, metric) = run.settings["stop_at"], _goal(run)
    words = f"stop_at={given!r}, and {describe(metric).title} on the {split} set"
    return f"{words} went from {run.value(split, metric, 0):.4g} to {run.value(split, metric):.4g}"


def _made_by(run: Run) -> str:
    rate = run.settings.get("settings", {}).get("lr")
    return str(run.settings.get("method")) + ("" if rate is None else f" with lr={rate:g}")


def _kept(run: Run) -> str:
    """What became of the splits to keep, and of the loss on the forget set."""
    metric, parts = run.headline, []
    for split in KEPT:
        before, after = run.value(split, metric, 0), run.value(split, metric)
        if after == after and abs(before - after) > 1e-12:
            parts.append(f"{split} {describe(metric).title} went from {_number(before)} to {_number(after)}")
    loss = run.value("forget", "loss")
    words = ", ".join(parts) or f"{describe(metric).title} on what is kept had fallen and came back"
    return words + (
        f", the loss on the forget set to {_number(loss)} nats" if loss == loss and metric != "loss" else ""
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _calmer(run: Run) -> str:
    """What to try where a run went too far."""
    events, settings = run.events, run.settings.get("settings", {})
    limit = next((at for at in (events.get("utility_limit"), events.get("collapsed_at")) if at is not None), 0)
    if events.get("goal_at") and run.settings.get("stop_at") is None and events["goal_at"] < limit:
        return f"its goal was reached at update {events['goal_at']}, where stop_at={events['goal']!r} would end it"
    if (events.get("stopped_at") or 0) - _began(run) >= FINE and events["stopped_at"] >= limit:
        return "its goal lay beyond that, and smaller steps go much the same way; try a goal that is nearer, or another method"
    if settings.get("step_norm") is not None:
        return f"try a shorter step_norm (it was {settings['step_norm']}), or fewer steps"
    if settings.get("lr") is not None:
        return f"try a smaller lr (it was {settings['lr']:g}), or fewer steps"
    if settings.get("rho") is not None:  # one step that was solved for
        pieces = ", or more pieces, between which stop_at can end it" if "pieces" in settings else ""
        return f"try a larger rho (it was {settings['rho']:g}), which makes its step shorter{pieces}"
    return _other_settings(run) or "try fewer steps"


def _left(run: Run) -> str:
    """That the forget set is what it was."""
    metric, first, last = run.headline, *(run.value("forget", run.headline, step) for step in (0, None))
    if run.events.get("forgotten") is None:
        return f"{describe(metric).title} on the forget set went from {first:.4g} to {last:.4g}"
    right = int((run.samples["margin_before"] > 0).sum())
    return f"{right} of {len(run.samples)} samples were right before, and none of them is wrong after"


def _stronger(run: Run) -> str:
    """What to try where a run did nothing."""
    settings = run.settings.get("settings", {})
    if run.events.get("forgotten") is not None and not (run.samples["margin_before"] > 0).any():
        return "request samples that the original knows, or train it for longer"
    if settings.get("step_norm") is not None:
        return f"try a longer step_norm (it was {settings['step_norm']}), or more steps"
    if settings.get("lr") is not None:
        return f'try a larger lr (it was {settings["lr"]:g}), or more steps; lr="auto" looks for one where the readout moves'
    if settings.get("rho") is not None:
        return f"try a smaller rho (it was {settings['rho']:g}), which makes its step longer"
    return _other_settings(run) or "try more steps"


def _other_settings(run: Run) -> str:
    """What to try with a method that has done all it does, whatever the number of steps; empty for one that goes on for ever."""
    name = run.settings.get("method")
    if methods.declared(name, "updates") is None:
        return ""
    had = ", ".join(f"{setting}={value!r}" for setting, value in run.settings.get("settings", {}).items())
    return f"its settings alone decide how far it goes ({had or 'it has none'}): see help(imu.methods[{name!r}])"
