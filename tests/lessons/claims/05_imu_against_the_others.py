"""What the lesson says, about its own variables; run after its last cell."""

assert answers.loc["DELETE", "3"] <= 1 and answers.loc["ascent", "3"] == 0 == answers.loc["retrained", "3"]
assert commonest < 0.75 and answers.loc["ascent"].max() == answers.loc["ascent"].sum()
shares = answers.div(answers.sum(axis=1), axis=0)
gap = (shares - shares.loc["retrained"]).abs().sum(axis=1) / 2
assert gap["DELETE"] < 0.6 * gap["ascent"] and gap["DELETE"] < 0.6 * gap["original"]
assert ends.loc["ascent", "forget kl_retrained"] > ends.loc["do nothing", "forget kl_retrained"]
assert ends.loc["ascent", "test accuracy"] < 0.5 < 0.9 < ends.loc["DELETE", "test accuracy"]
assert by_class.loc[by_class["method"].isin(methods), "reached"].all()
distance = by_class.groupby("method")["forget kl_retrained"].mean()
assert (distance[list(methods)] < 0.5 * distance["original"]).all()
assert paired.loc["imu", "low"] < 0 < paired.loc["imu", "high"]
nearer = paired["mean"]
assert nearer.drop(["original", "retrained"]).nsmallest(3).index.isin(["curvature-ascent", "scrub", "delete"]).all()
assert (nearer[["curvature-ascent", "scrub", "delete"]] < -0.005).all()
assert nearer["gradient-difference"] > nearer[["curvature-ascent", "scrub", "delete"]].max()
assert cost["passes"].idxmax() == "retrained" and cost.loc["retrained", "passes"] > 5 * cost.loc["uniform", "passes"]
assert (cost.loc[["scrub", "gradient-difference"], "passes"] > 1.5 * cost.loc["uniform", "passes"]).all()
assert (reach["max"] / reach["min"]).idxmax() == "curvature-ascent" and (reach["max"] / reach["min"]).max() > 1.5
assert set(better) <= {"curvature-ascent"}, "no other is nearer than doing nothing"
place = tenth.set_index("method")
assert place.loc[["uniform", "imu"], "y"].min() > 2 * place.loc["original", "y"]
assert place.loc[[name for name in methods if name in place.index], "y"].idxmin() == "curvature-ascent"
assert place.loc["curvature-ascent", "x"] < place.loc["original", "x"]
assert place.loc["curvature-ascent", "y"] < 2 * place.loc["original", "y"], "about as near as doing nothing"
assert ends.loc["DELETE", "forget accuracy"] <= 0.01 and ends.loc["ascent", "forget accuracy"] == 0
assert (answers.loc["retrained"] > 0).sum() >= 3, "it answers with more than one digit"
assert not (place["seeds"].reindex(["scrub"]) == 3).any(), "SCRUB does not get there under all seeds"
assert answers.loc["ascent"].max() == answers.loc["ascent"].sum(), "whatever the 3 is like, it says the same digit"
assert place.loc[["imu", "shuffled"], "y"].min() > 0.75 * place.loc["uniform", "y"], "other weights are hardly nearer"
assert cost.loc["curvature-ascent", "passes"] > 2 * cost.loc["uniform", "passes"], "it pays as well"
