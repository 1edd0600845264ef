"""What the lesson says, about its own variables; run after its last cell."""

assert len(heard) == 1 and run.events["collapsed_at"], "the run goes too far, and says so"
assert (without.samples[rows]["pressure"] == 0).all() and without.samples[rows]["time_to_forget"].notna().all()
assert of_them["lost"].all() and len(of_them) == 20 and kept["lost"].sum() - 20 < 5
assert (at_goal["retain accuracy"] > 0.98).all() and abs(price[0] - price[1]) < 0.005
assert careful.value("forget", "loss", 28) == run.value("forget", "loss", 28)
assert careful.value("retain", "accuracy") >= run.value("retain", "accuracy")
assert run.model_at(0) is not original and explorer.land.forgotten.sum() == len(run.samples)
assert run.samples["time_to_forget"].min() < 28, "the first 3s are gone before update 28"
