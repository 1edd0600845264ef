"""What each column and each metric means: its title, its unit, its formula, and which direction is good.

The columns of records and the metrics of tasks stand in a table here. A registered metric says the same of itself: its
decorator takes the title, the unit and the direction, and the first paragraph of its docstring is the formula.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Quantity(NamedTuple):
    """What a column or a metric means.

    ``good`` says which direction is good, in words; ``goal`` is what the retrained model itself has, where the values tell
    how far a model is from it, such as 0 for a distance.
    """

    title: str
    unit: str
    meaning: str
    good: str = ""
    goal: float | None = None


QUANTITIES: dict[str, Quantity] = {
    "example": Quantity("example", "index", "position of the sample in the training split"),
    "step": Quantity("update", "count", "updates made so far; 0 is the original model"),
    "influence": Quantity(
        "influence", "no unit", "−g_iᵀF⁻¹ḡ; negative: pressing this sample raises the forget set's loss"
    ),
    "gradient_norm": Quantity("gradient norm", "nats per unit of parameter", "‖g_i‖ over the readout's parameters"),
    "gradient_dot": Quantity(
        "plain influence", "nats² per unit² of parameter", "−g_iᵀḡ, the sign of the plain gradient step"
    ),
    "selected": Quantity("selected", "yes or no", "whether the sample takes part in unlearning"),
    "weight": Quantity("weight", "share", "the sample's share of the intensity, w_i / Σ w; sums to 1"),
    "pressure": Quantity("pressure", "batch shares", "Σ over updates of w_i / Σ over its batch: what it received"),
    "forget_quality": Quantity(
        "forget quality",
        "−log10 p",
        "of a two-sided Kolmogorov-Smirnov test between the truth ratios of the model and of the retrained one",
        "low: 0 is the retrained model, and how little is known is another question",
        0.0,
    ),
    "ks_distance": Quantity(
        "KS distance",
        "share of pairs",
        "the largest distance between the distributions of the truth ratios of the model and of the retrained one",
        "low: 0 is the retrained model",
        0.0,
    ),
    "loss": Quantity(
        "loss", "nats", "cross-entropy of the true label", "higher on the forget set means more forgotten"
    ),
    "confidence": Quantity(
        "confidence",
        "probability",
        "exp(−loss), the probability of the truth",
        "lower on the forget set means more forgotten",
    ),
    "margin": Quantity(
        "margin",
        "logits",
        "true logit minus the largest other; negative means misclassified, and 0 is a tie, which no accuracy counts as right",
        "negative on the forget set means forgotten",
    ),
    "time_to_forget": Quantity(
        "time to forget",
        "updates",
        "first update after which the margin stays negative; empty when that never happened",
    ),
    "confidence_retrained": Quantity(
        "retrained confidence", "probability", "the retrained model's confidence in the label; it never saw the sample"
    ),
    "time_below_retrained": Quantity(
        "time below retrained",
        "updates",
        "first update after which the confidence stays at or under the retrained model's; empty when it never does",
    ),
    "censored": Quantity("never forgotten", "yes or no", "the run ended before the sample was forgotten for good"),
    "confidence_auc": Quantity("mean confidence", "probability", "confidence in the label, averaged over the updates"),
    "final_margin": Quantity(
        "final margin", "logits", "the margin after the last update; negative means misclassified"
    ),
    "forgetting_events": Quantity("forgetting events", "count", "how often it went from right to wrong during the run"),
    "pressed": Quantity(
        "pressed", "yes or no", "whether it received any pressure; a sample without any cannot be said to resist"
    ),
    "after_limit": Quantity(
        "after the limit",
        "yes or no",
        "forgotten only after kept accuracy had fallen 5 points, when the model was collapsing",
    ),
    "rank": Quantity("resistance rank", "1 = forgotten first", "order of forgetting; the highest rank resists most"),
    "rebound": Quantity(
        "rebound", "updates", "updates on other data of its class until the forgotten sample is right again"
    ),
    "answer": Quantity("answer", "", "the class that the model finds likeliest"),
    "rebound_censored": Quantity(
        "did not come back", "yes or no", "relearning was tried, and it was still wrong when that ended"
    ),
    "wrong_before": Quantity(
        "wrong before", "yes or no", "misclassified before the first update: it had nothing to withstand"
    ),
    "mean_rank": Quantity("mean rank", "1 = forgotten first", "the resistance rank, averaged over runs"),
    "held_out_confidence": Quantity(
        "held-out confidence", "probability", "confidence in the label of a model that was trained without the sample"
    ),
    "label_suspicion": Quantity(
        "label suspicion",
        "probability",
        "σ(−margin) of a model trained without it, or (1 − margin) / 2 of a head: above one half, it doubts the label",
    ),
    "memorisation": Quantity(
        "memorisation", "probability", "confidence with the sample in training minus confidence without it"
    ),
    "curvature": Quantity(
        "curvature", "nats per squared weight", "trace of the Hessian of its loss in the readout's weights, before"
    ),
    "training_events": Quantity("learning events", "count", "how often it went from right to wrong between epochs"),
    "first_learned": Quantity("first learned", "epochs", "the epoch from which it stayed right; epochs + 1 for never"),
    "retain_distance": Quantity("distance to retain", "feature units", "distance to the nearest retained sample"),
    "nearest_distance": Quantity("nearest sample", "feature units", "distance to the nearest other training sample"),
    "retain_share": Quantity("retained neighbours", "share", "share of its nearest training samples that are retained"),
    "class_overlap": Quantity("class overlap", "share", "share of its nearest training samples with another label"),
    "duplicate": Quantity("duplicate", "yes or no", "another training sample has the very same features"),
    "near_duplicate": Quantity("near-duplicate", "yes or no", "its nearest sample is unusually close"),
    "klom_references_runs": Quantity(
        "KLoM (references ‖ runs)",
        "nats",
        "KL of a sample's margin, z_y − log Σ_{k≠y} exp z_k, over retrained models from that over unlearned ones",
        "low everywhere; 0 means that a margin cannot tell the two apart",
    ),
    "predicted": Quantity("predicted damage", "nats", "first-order rise of the loss: Σ lr · pressure_i · g_r·g_i"),
    "measured": Quantity("measured damage", "nats", "loss after the run minus loss before"),
    "accuracy": Quantity(
        "accuracy",
        "share correct",
        "share of examples whose largest logit is the true label",
        "on forget: close to the retrained model; elsewhere: high",
    ),
    "identity_accuracy": Quantity(
        "identity accuracy",
        "share correct",
        "share of pictures whose largest identity logit is the true person's",
        "on the forgotten person: close to the retrained model; on others: high",
    ),
    "map": Quantity(
        "mean average precision",
        "mAP",
        "mean over queries of average precision: how high the same person's pictures from other cameras are ranked",
        "on the forgotten person: close to the retrained model, which is not zero; on others: high",
    ),
    "rank1": Quantity(
        "rank-1",
        "share of queries",
        "share of queries whose most alike counted picture shows the same person",
        "on the forgotten person: close to the retrained model; on others: high",
    ),
    "rank5": Quantity(
        "rank-5",
        "share of queries",
        "share of queries with the same person among the five most alike counted pictures",
        "on the forgotten person: close to the retrained model; on others: high",
    ),
    "kl_true": Quantity(
        "KL to the true chain",
        "nats per token",
        "KL(true transition probabilities ‖ model), the mean over predicted tokens",
        "on forget: close to the retrained model; elsewhere: low",
    ),
    "probability": Quantity(
        "answer's probability",
        "probability per token",
        "exp(−loss), the geometric mean of the probabilities of an answer's tokens and of its end",
        "on forget: close to the retrained model; elsewhere: high",
    ),
    "exact": Quantity(
        "answered word for word",
        "share of pairs",
        "share of answers whose every token, and the end, is the likeliest one",
        "on forget: close to the retrained model; elsewhere: high",
    ),
    "rouge": Quantity(
        "ROUGE-L recall",
        "share of words",
        "longest common subsequence of the model's own greedy answer with the true one, over the words of the true one",
        "on forget: close to the retrained model; elsewhere: high",
    ),
    "truth_ratio": Quantity(
        "truth ratio",
        "share",
        "R: wrong answers' probability over that of the right one in other words; on forget the mean of min(R, 1/R), "
        "elsewhere of max(0, 1 − R)",
        "on forget: close to the retrained model, not beyond it; elsewhere: high",
    ),
    "retain": Quantity("retain term", "nats", "λ mean ℓ of the retain batch"),
    "retain_kl": Quantity("KL term", "nats", "λ mean KL(model as given ‖ model) of the retain batch"),
    "npo": Quantity("NPO term", "nats", "−(2/β) mean log σ(...) of the forget batch"),
    "preference": Quantity("preference term", "nats", "−(2/β) mean log σ(...) of declining before the forget batch"),
    "delete": Quantity("DELETE term", "nats", "KL of the forget batch to the model as given without the true class"),
    "ce_u": Quantity("CE-U term", "nats", "KL of the forget batch to the model now without the true class"),
    "undial": Quantity("UNDIAL term", "nats", "KL of the forget batch to the model as given, true logit lowered"),
    "random_label": Quantity("random-label term", "nats", "cross-entropy of the forget batch with drawn classes"),
    "boundary": Quantity("boundary term", "nats", "cross-entropy of the forget batch with the classes a step away"),
    "away": Quantity("away term", "nats", "−KL_T(model as given ‖ model) of the forget batch"),
    "bad_teacher": Quantity("bad-teacher term", "nats", "s KL(fresh network ‖ model) of the forget batch"),
    "misdirection": Quantity("misdirection term", "squared units", "(h − c u)² of the forget batch"),
    "retain_inner": Quantity("inner term", "squared units", "λ (h − h of the model as given)² of the retain batch"),
    "learning": Quantity("learning term", "nats", "the learner's mean ℓ of the forget batch"),
    "dampened": Quantity("dampened weights", "share", "of the weights of the readout, those made smaller"),
    "ascent": Quantity("ascent term", "nats", "−Σ w_i ℓ_i / Σ w_i of the batch"),
    "l1": Quantity("L1 term", "nats", "α‖readout‖₁"),
    "examples": Quantity("examples read", "count", "of the forget and the retain set, by the method, for the update"),
    "passes": Quantity(
        "cost", "passes over the training set", "examples read until then, over those in the training set", "low"
    ),
    "update_norm": Quantity("update length", "norm", "how far this update moved the parameters"),
}

SPLITS: dict[str, str] = {
    "forget": "the samples to forget",
    "retain": "the samples to keep",
    "test": "unseen, to keep",
    "test-forget": "unseen, to forget",
}
KEPT = ("retain", "test")  # those that are to stay as they are


def describe(name: str) -> Quantity:
    """The meaning of a column or of a metric's value; an unknown one speaks for itself.

    ``uniform_<column>`` is that column of the same run under uniform pressure, ``influence_<name>`` an influence under
    that estimator, ``<column>_before`` and ``<column>_after`` that column before the first and after the last update,
    ``<term>_gradient`` the length of the gradient of an objective's term.
    """
    about = QUANTITIES.get(name) or DECLARED.get(name) or _derived(name) or Quantity("", "", "")
    return about if about.title else about._replace(title=name.replace("_", " "))


def _derived(name: str) -> Quantity | None:
    """What a name means that is made of another one's; None for any other name."""
    stem, _, end = name.rpartition("_")
    if name.startswith("uniform_"):
        own = describe(name.removeprefix("uniform_"))
        return own._replace(title=f"{own.title}, uniform pressure")
    if name.startswith("influence_"):
        own = QUANTITIES["influence"]
        return own._replace(title=f"{own.title}, {name.removeprefix('influence_')}")
    if end in ("before", "after") and stem in QUANTITIES:
        return QUANTITIES[stem]._replace(title=f"{QUANTITIES[stem].title} {end}")
    if end == "gradient" and stem:
        term = describe(stem).title.removesuffix(" term")
        return Quantity(f"{term} gradient", "norm", f"length of the {term} term's gradient")
    return None


DECLARED: dict[str, Quantity] = {}  # what registered metrics say of their values, by the value's name


def declare(metric: str, about: Quantity) -> None:
    """What the values of a metric mean; the metric's own name stands for them until they are known by theirs."""
    DECLARED[metric] = DECLARED[metric.replace("-", "_")] = about


def declare_values(metric: str, names: Iterable[str]) -> None:
    """The values that a metric names mean what it has declared; where there are several, each title names its own."""
    names, about = list(names), DECLARED.get(metric)
    if about is None:
        return
    for name in names:
        several = about.title and len(names) > 1
        DECLARED[name] = about._replace(title=f"{about.title}, {name.replace('_', ' ')}") if several else about


def meaning_of(item: type) -> str:
    """The first paragraph of what a class says of itself; empty where it says nothing."""
    words = item.__doc__ or ""
    if words.startswith(f"{item.__name__}("):  # a dataclass without a docstring gets its signature as one
        return ""
    first = " ".join(words.split("\n\n")[0].split()).rstrip(".")
    return first[:1].lower() + first[1:] if first[1:2].islower() else first  # as in the table; KL stays KL
