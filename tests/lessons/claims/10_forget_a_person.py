"""What the lesson says, about its own variables; run after its last cell."""

assert run.series("test-forget", "map").nunique() == run.series("test", "map").nunique() == 1
seven, others = table["person 7"], table["the others"]
assert seven.loc["retrained", "identity_accuracy"] == seven.loc["readout only", "identity_accuracy"] == 0
assert 0.3 < seven.loc["retrained", "map"] < seven.loc["original", "map"] - 0.1
assert seven.loc["readout only", "map"] == seven.loc["original", "map"] > seven.loc["last block", "map"] + 0.1
assert others.loc["readout only", "identity_accuracy"] > others.loc["original", "identity_accuracy"] - 0.05
drop = {
    whom: part.loc["original", "map"] - part.loc["last block", "map"]
    for whom, part in (("seven", seven), ("others", others))
}
assert drop["seven"] > 1.5 * drop["others"], "finding moves most for person 7"
assert len(task.split("test-forget")) == 8 and len(set(task.crowd.train.persons)) == 24
assert others.loc["last block", "identity_accuracy"] < others.loc["original", "identity_accuracy"] - 0.1
names, finds = (deep_run.series("test-forget", metric) for metric in ("identity_accuracy", "map"))
at = names.index[names == 0][0]
assert (finds.iloc[0] - finds[at]) / (finds.iloc[0] - finds.iloc[-1]) < 0.7, "naming goes first"
answers = found["retrained"].answers
assert answers.query("mark == 'wrong' and rank <= 6")["person"].value_counts().index[0] in (8, 15)
assert deep_run.events["steps"] < equal.events["steps"]
seeming = (answers.query("place == 1")["mark"] != "wrong").mean()
assert seeming >= found["retrained"].curve["share"].iloc[0]
below = before.maps[:, 32:].mean() - before.maps[:, :32].mean()
assert below > 0 and (after - before).maps[:, 32:].mean() < 0
