"""What the lesson says, about its own variables; run after its last cell."""

after, goals = run.summary().set_index("split")["after"], run.summary().set_index("split")["retrained"]
assert after["forget"] == 0 and after["test"] > goals["test"] - 0.02
assert probe["unlearned"] == probe["original"] and probe["unlearned"] > 0.9
assert probe["goal"] > 0.9 and probe["never trained"] > 0.85
same = layers[~layers["name"].str.endswith("layer 10")]
assert (same["value"] == same["original"]).all() and len(same) == 9
moved = layers[layers["name"] == "CKA of layer 10"]
assert (moved["value"] != moved["original"]).all()
ratio = back.loc["relearn time, ratio to the retrained"]
assert ratio["high"] < 1 and back.loc["relearn time", "goal"] > 20
assert (
    bought["relearn ratio"].is_monotonic_increasing
    and bought["relearn ratio"].iloc[-1] > 1 > bought["relearn ratio"].iloc[0]
)
assert bought["test accuracy"].iloc[-1] < bought["test accuracy"].iloc[0]
assert 0.35 < attack.loc["AUC by loss", "original"] < 0.6
assert attack.loc["AUC by loss", "low"] < attack.loc["AUC by loss", "original"] < attack.loc["AUC by loss", "high"]
first, second, third = (privacy.loc[name] for name in ("do nothing", "stopped", "pushed on"))
assert first.loc["AUC by RMIA", "low"] > first.loc["AUC by RMIA", "goal"]
assert first.loc["AUC by loss", "low"] < first.loc["AUC by loss", "goal"]
assert second.loc["AUC by RMIA", "value"] < first.loc["AUC by RMIA", "value"]
away = (rmia["value"] - rmia["goal"]).abs()
assert away["pushed on"] < away["do nothing"]
assert three["pushed on"].value("test", "accuracy") < three["do nothing"].value("test", "accuracy") - 0.1
assert third.loc["tug of war", "value"] < 0.75 < 0.9 < second.loc["tug of war", "value"]
assert 0.5 < shadows["original"].iloc[0] < first.loc["AUC by RMIA", "value"]
assert {"membership", "fresh-heads", "probes"} <= set(blind["audit"])
assert not {"relearning", "tug-of-war"} & set(blind["audit"])
assert not {"own head", "CKA of layer 10"} & set(blind["name"])
last = layers[layers["name"] == "CKA of layer 8"].iloc[0]
assert last["high"] < last["goal"], "a model that never saw a 3 makes somewhat other features"
