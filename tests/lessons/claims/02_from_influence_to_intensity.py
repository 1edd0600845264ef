"""What the lesson says, about its own variables; run after its last cell."""

assert (random_scores.values >= 0).mean() > 0.25 > (class_scores.values >= 0).mean() == 0
assert one > 0.98 and 0.4 < two < 0.6, "one digit pulls together, two are a coin toss"
assert given["linear"].effective < given["sqrt-clipped"].effective < given["uniform"].effective
assert worst == fifths["sqrt-clipped"]["weight"].max() and worst > 0.4 and best < 0.1
assert plain["gradient-norm"] < plain["sqrt-clipped"] < 0.7 * plain["uniform"]
assert equal.max() - equal.min() < 3, "at equal steps all five need the same"
at_equal = random_trial[random_trial["steps"] != "plain steps"].groupby("arm")["updates"].mean()
assert more.min() > -0.25 * at_equal["uniform"], "at equal steps nobody saves much"
assert cost.loc["sqrt-clipped", "low"] >= 0, "influence takes no less from the others, that ten seeds show"
takes = random_trial.groupby(["steps", "arm"])["retain accuracy change"].mean().dropna()
assert (takes < 0).all(), "every rule takes something from the kept samples"
assert wrong_samples["low"] <= 0 <= wrong_samples["high"], (
    "a class: the test accuracy does not tell who gets the weight"
)
assert row["low"] <= 0 <= row["high"], "the shape, not who"
