"""What the lesson says, about its own variables; run after its last cell."""

assert (random_scores.values >= 0).mean() > 0.25 > (class_scores.values >= 0).mean() == 0
assert one > 0.98 and 0.4 < two < 0.6, "one digit pulls together, two are a coin toss"
assert given["linear"].effective < given["sqrt-clipped"].effective < given["uniform"].effective
assert fifths["sqrt-clipped"]["weight"].iloc[0] > 0.5 and fifths["sqrt-clipped"]["weight"].iloc[-1] < 0.06
assert plain["gradient-norm"] < plain["sqrt-clipped"] < 0.7 * plain["uniform"]
assert equal.max() - equal.min() < 3, "at equal steps all five need the same"
cost_of = paired[paired["quantity"] != "updates"].set_index("arm")
assert cost_of.loc["sqrt-clipped", "high"] < 0, "the paper's weights take more from the others than uniform ones"
assert abs(paired[paired["quantity"] == "updates"]["mean"]).max() < 3
assert row["low"] <= 0 <= row["high"], "the shape, not who"
