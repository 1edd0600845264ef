"""What the lesson says, about its own variables; run after its last cell."""

assert table[["rank", "uniform_rank"]].corr("spearman").iloc[0, 1] > 0.9
assert table["rank"].corr(table["pressure"], "spearman") < -0.8
assert table["time_to_forget"].max() - table["time_to_forget"].min() >= 5, "they do not go together"
assert 0.25 < (~mixed_table["pressed"]).mean() < 0.75
assert agreement.low > 2 * agreement.by_chance and agreement.kendalls_w > 0.8
assert by_method.kendalls_w > agreement.kendalls_w
assert first["rank"].corr(first["rebound"], "spearman") < -0.9 and not first["rebound_censored"].any()
assert prediction.low > 0.5 > prediction.control_high
assert found.set_index("column").loc["held_out_confidence", "low"] > 0.5
assert fits[0] > 0.95 > fits[1]
assert abs(alone["measured"].sum() - forecast) < 0.3 * abs(forecast), "no share is too long for first order"
assert truth - forecast > 5 * abs(forecast), "the forecast was far too low"
assert pull[run.events["steps"]] > 10 * pull[1], "damage is done late"
assert spared[blame["example"][:8]].mean() > spared[blame["example"][70:78]].mean() + 0.05, "the right group"
assert culprits["predicted"].corr(culprits["measured"]) > 0.7
assert len(table) == 146 and abs(agreement.by_chance - 0.2) < 0.02
assert (found["correlation"].abs() > 0.8).sum() >= 5 and prediction.control_high < 0.3
assert abs(rebound.kendalls_w - agreement.kendalls_w) < 0.1, "they agree on it about as well"
