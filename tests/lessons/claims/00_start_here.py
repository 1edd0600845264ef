"""What the lesson says, about its own variables; run after its last cell."""

assert run.value("forget", "accuracy") <= 0.01 and run.value("test-forget", "accuracy") <= 0.05
assert who_matters.result(strongest).truth > 0.3, "few matter much"
assert pushed_on.events["collapsed_at"] and len(heard) == 1, "ascent has no natural end"
assert 0 < pushed_on.events["utility_limit"] - pushed_on.events["goal_at"] < 30, "the others follow soon"
assert (imu.compare(plain + equal, at_forget=0.01)["retain accuracy change"] > -0.02).all()
assert needed["gradient-norm"] < needed["sqrt-clipped"] < 0.7 * needed["uniform"]
assert compared(equal)["updates"][:4].max() - compared(equal)["updates"][:4].min() <= 4, "equal steps, equal updates"
assert len(run.samples) == 146, "the model has learned 146 3s"
by_influence = run.samples.sort_values("influence")["confidence_before"]
assert by_influence.head(8).mean() < by_influence.tail(8).mean(), "the strongest are the odd ones"
