"""What a run is remembered by: its tables, and all that reproduces it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ..core.knobs import name_of, plain
from ..core.records import Intensity, Run
from ..core.registry import methods
from ..features.cache import ReadoutTask
from ..features.statistics import Statistics
from ..measures.ensemble import References
from ..measures.reference import Reference
from ..tasks.protocol import Task, labels_of, offered
from ..unlearning.driver import SplitMetrics
from ..unlearning.recorder import Recorder
from ..unlearning.request import needs
from .handed import Source
from .provenance import task_settings, versions
from .unlearned import Unlearned


def settings_of(source: Source, method: Any, shares: Intensity, metrics: Iterable[Any], cached: bool) -> dict[str, Any]:
    """What reproduces a run beside the numbers that were asked: the method, its weights, the task, the versions."""
    weights = dict(shares.settings) if methods.declared(method, "takes_weights") else {}
    return {
        "method": name_of(method),
        "needs": needs(method, weights),
        "settings": plain(method),
        "forgotten_when": list(offered(source.task).forgotten_when),
        "follow": [{"metric": name_of(metric), "settings": plain(metric)} for metric in metrics],
        "cached": cached,
        "weights": weights,
        "readout": list(source.names),
        "task": repr(source.task),
        "data": source.data,
        "task_settings": task_settings(source.task),
        "versions": versions(),
    }


def compared_with(reference: Reference | References | None) -> dict[str, Any]:
    """What tells later which models a run was compared with: their digests, and the seeds of several."""
    if reference is None:
        return {}
    seeds = {"seeds": list(reference.seeds)} if isinstance(reference, References) else {}
    return {"compared_with": seeds | {"digests": [member.digest for member in reference.members]}}


def training_examples(task: Task, held: Statistics | None) -> int | None:
    """How large the training set is, by its statistic where there is one; None where neither is there any more."""
    if held is not None:
        return held.examples
    try:
        return len(task.split("train"))
    except Exception:  # the run needs nothing of it: it may be gone
        return None


def record_of(
    source: Source,
    recorder: Recorder,
    shares: Intensity,
    private: nn.Module,
    about: Mapping[str, Any],
    events: Mapping[str, Any],
    reference: Reference | References | None,
    known: SplitMetrics,
    held: Statistics | None,
) -> Run:
    """What a run is remembered by."""
    seen, snapshots = isinstance(recorder.task, ReadoutTask), recorder.snapshots
    unlearned = Unlearned(source.model, private, source.names[0] if seen else None)
    return Run(
        curve=recorder.curve(),
        samples=_ledger(recorder, shares, source.task, None if reference is None else reference.confidence),
        trajectory=recorder.trajectory(),
        terms=recorder.term_table(),
        reference=reference_table(known),
        settings=about,
        events=events,
        build_model=unlearned,
        pack_weights=unlearned.packed,
        task=source.task,
        snapshots=snapshots.renamed(source.names[0]) if seen else snapshots,
        statistics=held,
        beside=reference,
    )


def reference_table(known: SplitMetrics) -> pd.DataFrame:
    """What was measured of the retrained model, as a run holds it: ``split, metric, value``."""
    rows = [(split, metric, value) for split, values in known.items() for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["split", "metric", "value"])


def _ledger(recorder: Recorder, shares: Intensity, task: Task, retrained: np.ndarray | None) -> pd.DataFrame:
    """The recorder's rows with what is known besides: label, influence, selected, weight, the retrained confidence."""
    rows = recorder.ledger()
    known = {name: shares.frame[name].to_numpy() for name in ("influence", "selected", "weight")}
    labels = labels_of(task, rows["example"])
    own = {name: rows[name].to_numpy() for name in rows}
    also = {} if retrained is None else {"confidence_retrained": retrained}
    files = [] if offered(task).files is None else offered(task).files(rows["example"])
    also |= {"file": files} if any(files) else {}
    return pd.DataFrame({"example": own.pop("example"), "label": labels, **known, **own, **also})
