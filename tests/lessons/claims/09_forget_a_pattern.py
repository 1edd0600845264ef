"""What the lesson says, about its own variables; run after its last cell."""

assert 0.05 < after_5.min() and after_5.max() < 0.2, "the retrained model expects anything"
assert line.min() < 0.9 * line[0] < line[0] < line[50] and 5 < line.idxmin() < 30
assert matched.value("forget", "loss") >= target["forget", "loss"] and matched.value("forget", "kl_retrained") > 0.1
assert controls["test-forget kl_retrained", "mean"].drop("original").between(0.2, 0.7).all()
spread = controls["test-forget kl_retrained"].loc[["imu · sqrt-clipped", "imu · uniform"]]
assert abs(spread["mean"].diff().iloc[-1]) < 2 * spread["std"].sum()
assert table["test-forget kl_retrained"].idxmin() == "fine-tune, all layers"
far = table["test-forget kl_retrained"]
assert far["npo"] < far["simnpo"] and far["npo"] < far["original"] < far["gradient-ascent"], "NPO comes nearest"
assert table.loc["npo", "test kl_retrained"] > 3 * table.loc["original", "test kl_retrained"], "source 0 pays for it"
assert abs(matched.value("forget", "loss") - target["forget", "loss"]) < 0.05, "the loss matches"
assert wasted["weight"].groupby(both.labels(wasted["example"])).sum()["source 2"] > 0.7
assert by_owner["influence"][1] < by_owner["influence"][2] < by_owner["influence"][0]
assert by_owner["influence"][0] > 0.4 and by_owner["loss"][1] < by_owner["loss"][[0, 2]].min()
block = sorted(run.value("source-1", f"5→{token}") for token in (4, 5, 6))
assert block[1] < 0.15 and block[-1] > 0.2, "the block was broken up: two tokens driven out, and the third not"
assert task.evaluate(retrained, "test-forget")["loss"] > 2.3026, "worse than knowing nothing"
gap = (table["test-forget loss"] - matched.value("test-forget", "loss")).abs()
assert gap["npo"] < gap["gradient-ascent"], "NPO stops by itself near that loss, and ascent goes on past it"
