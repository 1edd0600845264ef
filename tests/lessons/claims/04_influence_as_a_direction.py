"""What the lesson says, about its own variables; run after its last cell."""

means = distances(everything).set_index(["arm", "quantity"])["mean"]
by_arm = means.xs("test kl_retrained", level="quantity")
assert by_arm[["uniform", "IMU weights", "shuffled"]].min() > 2 * by_arm["do nothing"]
assert by_arm["curvature"] <= 0.45 * by_arm["uniform"] and paired.loc[("curvature", "test kl_retrained"), "high"] < 0
assert by_arm["curvature, forget set alone"] < 0.6 * by_arm["uniform"]
assert by_arm["joint"] < by_arm["uniform"] < by_arm["joint, shuffled"]
assert -1 <= rates.loc["class 3", "correlation over samples"] < -0.99
assert abs(rates.loc["class 3", "measured"] / rates.loc["class 3", "theory"] - 1) < 0.05
trained, minimum = rates.loc["random tenth"], rates.loc["random tenth, at the minimum"]
assert abs(trained["measured"] / trained["theory"] - 1) > 0.2, "as trained, the random tenth does not obey"
assert trained["correlation over samples"] > minimum["correlation over samples"]
assert rates.iloc[2]["correlation over samples"] < -0.9
assert beside_nothing.loc[("newton-step", "forget kl_retrained"), "high"] < 0
assert beside_nothing.loc[("curvature", "forget kl_retrained"), "high"] < 0, "under its own seed the gain shows"
cost = beside_nothing.loc[("newton-step", "test kl_retrained")]
assert cost["low"] < 0.05 * by_arm["do nothing"] and cost["mean"] < 0.2 * by_arm["do nothing"]
assert 0 < way < 0.5, "in loss it goes a part of the way"
ascent, turned_run = (row.verdict.split("; test: ") for row in list(against_five.itertuples())[:2])
assert "inside" not in ascent[1] and "inside" in turned_run[1], "the harm of ascent stands clear of the noise floor"
assert "inside" in ascent[0] and "inside" in turned_run[0], "on the forget set nobody stands clear of the floor"
assert decades["gradient"][steep].sum() > 0.9 and decades["step"][steep].sum() < 0.2
probe = head.set_index(["measure", "split"])
assert gone.value("forget", "accuracy") <= 0.01 and probe.loc[("linear probe", "test-forget"), "original"] > 0.9
assert deeper.value("forget", "accuracy") <= 0.01 and deeper.value("test", "accuracy") > 0.9
assert (probe.loc[("linear probe", "test-forget"), ["last layer", "last two layers", "goal"]] > 0.9).all()
