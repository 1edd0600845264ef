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
assert abs(alone["measured"].sum() / forecast - 1) < 0.2 and truth > 5 * forecast
assert pull[run.events["steps"]] > 10 * pull[1], "damage is done late"
assert spared[blame["example"][:8]].mean() > 4 * spared[blame["example"][70:78]].abs().mean()
