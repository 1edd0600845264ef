"""What the lesson says, about its own variables; run after its last cell."""

rank = scored["Spearman"]
assert rank["exact, training curvature"] >= 0.99 > rank["exact, forget-set curvature"] > 0.8
assert rank["exact, forget-set curvature"] > rank["fisher-diagonal"] + 0.2
assert abs(rank["fisher-diagonal"] - rank["gradient-dot"]) < 0.05
assert grouped["Spearman"]["fisher-diagonal"] > rank["fisher-diagonal"] + 0.2
assert size["fisher-diagonal"] > rank["fisher-diagonal"] + 0.3, "a crude estimate knows the large sizes, not the order"
assert shifted < 0.9 < seen, "it fits the nudged pictures worse"
assert class_scored["Spearman"]["el2n"] > 0.95
stable = pd.DataFrame({"seed": by_seed.set_index("estimator")["low"], "shift": by_shift.set_index("estimator")["high"]})
assert (stable["seed"] > stable["shift"]).drop("random").all()
assert by_shift.set_index("estimator")["spearman"].idxmax() == "gradient-cosine"
assert (taken.loc["fisher-diagonal", ["outliers", "flipped", "adversarial"]] > 0.5).all()
assert taken.loc["fisher-diagonal", "duplicates"] < 0.1
normalised = taken.loc["fisher-self-normalised"]
assert normalised["outliers"] < 0.7 * normalised["flipped"] < 0.7 * taken.loc["fisher-diagonal", "flipped"]
assert taken.loc["fisher-leverage-capped"].max() < 0.15 and price["fisher-leverage-capped"] > 0.8
assert (known["learned in training"] < 0.1).all()
