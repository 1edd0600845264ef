"""What the lesson says, about its own variables; run after its last cell."""

assert fit[long].mean() < 0.8 < fit[~long].mean(), "long arrows are badly fitted samples"
assert (agrees > 0).sum() > 30, "most of a blob's arrows agree"
assert abs(by_hand - by_library).max() < 1e-5
assert checked.loc["correlation", "step 0.0001"] > 0.99
assert (
    abs(checked.loc["measured ÷ predicted", "step 0.0001"] - 1)
    < 0.1
    < checked.loc["measured ÷ predicted", "step 0.1"] - 1
)
assert in_order > 0.99 > checked.loc["correlation", "step 0.1"], "the order survives the proportions"
assert effect["spearman"].min() > max(0.9, effect["correlation"].min()), "on the toy the order hardly feels the damping"
assert effect["correlation"].iloc[-1] > 0.99 and effect.loc[effect["indifferent"], "damping"].min() <= 0.01
assert ranks.loc["fisher-diagonal", "exact"] > 0.95 > ranks.loc["fisher-diagonal", "gradient-cosine"]
assert len(earlier) >= 5, "most of the disputed lean the same way"
assert np.median(known) < np.median(p[:, 0]), "they are fitted a little worse than most"
assert small.opposed > 0, "the plain step can go the other way"
assert imu.influence(task, model, damping=1e-6).opposed == 0, "and on the toy it does not"
