"""What the lesson says, about its own variables; run after its last cell."""

assert known["original"]["exact"].mean() >= 0.95 and known["retrained"]["exact"].mean() <= 0.1
assert kept["retrained"]["exact"].mean() >= 0.95
assert 0.35 < share[True] < 0.75 and sum(is_name) / len(tokens) < 0.35
assert goal <= run.value("forget", "loss") < 2 * goal and run.value("forget", "exact") < 0.2
assert run.value("retain", "exact") < 0.8 < run.value("retain", "exact", 0)
assert ks["now"] > 2 * ratios.noise_floor and ks["now"] > 0.7 * ks["original"]
assert run.value("retain", "model_utility") < run.value("retain", "model_utility", 0)
assert (lost > 0.05).mean() > 0.5
assert paid[own.index].max() > 2 * paid[own.index].min()
goals = leaks[(leaks["pressed"] == "retrained") & ~leaks["forgotten"]]
assert goals["probability_change"].abs().median() < 0.02
assert lessons.loc["same author", "beyond_low"] > 0.2
assert lessons.loc["asked in other words", "mean"] < lessons.loc["nothing", "mean"] + 0.05
assert lessons.loc["same author", "low"] > lessons.loc["same author", "retrained"] > lessons.loc["nothing", "retrained"]
assert lessons.loc[["other forgotten authors", "kept authors"], "mean"].max() < 0.3
assert means.loc["curvature", "retain exact"] == means.loc[list(arms), "retain exact"].max()
assert means.loc["curvature", "forget kl_retrained"] < means.loc["uniform", "forget kl_retrained"]
assert (
    paired.loc[("IMU weights", "test kl_retrained"), "low"]
    < 0
    < paired.loc[("IMU weights", "test kl_retrained"), "high"]
)
assert paired.loc[("IMU weights", "retain exact"), "low"] < 0 < paired.loc[("IMU weights", "retain exact"), "high"]
kl = means["forget kl_retrained"]
assert kl[["uniform", "IMU weights", "IMU weights, shuffled"]].min() > kl["original"], "farther off than doing nothing"
