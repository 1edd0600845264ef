"""Histograms whose bars select, and the rule that tells a selection from the rest."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.studies.brushing import BARS, bars


def ledger(count: int = 300, seed: int = 0) -> pd.DataFrame:
    draws = np.random.default_rng(seed).normal(size=(count, 4))
    return pd.DataFrame(draws, columns=["influence", "margin_before", "loss_before", "pressure"]).assign(
        example=np.arange(count) + 1000
    )


def test_every_sample_is_in_the_bar_of_its_value() -> None:
    values = np.append(np.random.default_rng(0).normal(size=200), [np.nan, np.inf])
    made = bars(values)
    assert len(made.ends) == BARS + 1 and (made.bar[-2:] == BARS).all()
    for value, bar in zip(values[:-2], made.bar):
        low, high = made.ends[bar]
        assert low - 1e-12 <= value <= high + 1e-12
    assert made.counts.sum() == 202
    assert (made.counts[:BARS] == np.histogram(values[:-2], BARS)[0]).all()


def test_few_values_have_a_bar_each() -> None:
    made = bars([3, 1, np.nan, 3, 8])
    assert made.ends[:-1, 0].tolist() == [1, 3, 8] and made.counts.tolist() == [1, 2, 1, 1]
    assert made.within(1, 2).tolist() == [True, False, False, True, True]
    assert [made.words(*each) for each in ((0, 0), (0, 2), (2, 3), (3, 3))] == ["1", "1 to 8", "8 or none", "none"]


@pytest.mark.parametrize("values", [[], [np.nan], [5.0], [True, False]])
def test_odd_columns_have_bars_too(values: list) -> None:
    made = bars(values)
    assert made.counts.sum() == len(values) == len(made.bar)


def test_a_planted_rule_is_found() -> None:
    samples = ledger()
    planted = (samples["margin_before"] > 0.25) & (samples["loss_before"] <= 0.5)
    rule = imu.explain_selection(samples, samples.loc[planted, "example"])
    assert (rule.hits, rule.others_named) == (planted.sum(), 0) and rule.plain
    assert {(each.column, each.above) for each in rule.conditions} == {("margin_before", True), ("loss_before", False)}
    assert f": {planted.sum()} of the {planted.sum()} selected, and 0 of the {300 - planted.sum()} others" in str(rule)
    assert "margin before > 0." in str(rule)


@pytest.mark.parametrize("seed", range(4))
def test_the_counts_are_those_of_the_rule_as_it_is_told(seed: int) -> None:
    samples = ledger(80, seed)
    chosen = samples.sample(25, random_state=seed)["example"]
    samples.loc[samples["example"].isin(chosen), "influence"] += 1.5
    samples.loc[::7, "pressure"] = np.nan
    rule = imu.explain_selection(samples, chosen)
    named = np.ones(80, bool)
    for column, above, threshold, or_none in rule.conditions:
        values = samples[column]
        named &= ((values > threshold) if above else (values <= threshold)) | (values.isna() & or_none)
    inside = samples["example"].isin(chosen).to_numpy()
    counts = ((named & inside).sum(), inside.sum(), (named & ~inside).sum(), (~inside).sum())
    assert (rule.hits, rule.selected, rule.others_named, rule.others) == counts


def test_of_one_condition_no_other_is_better() -> None:
    """Where one threshold parts all, it is found, whatever else there is."""
    for name, quantile in itertools.product(("influence", "pressure"), (0.1, 0.5, 0.9)):
        samples = ledger(120, seed=3)
        chosen = samples[name] > samples[name].quantile(quantile)
        rule = imu.explain_selection(samples, samples.loc[chosen, "example"])
        assert len(rule.conditions) == 1 and rule.conditions[0].column == name
        assert (rule.hits, rule.others_named) == (chosen.sum(), 0)


def test_what_was_never_forgotten_is_found_by_having_no_time() -> None:
    samples = ledger(60)
    samples["time_to_forget"] = np.where(samples.index < 40, samples.index % 20, np.nan)
    rule = imu.explain_selection(samples, samples["example"][40:], ["time_to_forget"])
    assert str(rule) == "no time to forget: 20 of the 20 selected, and 0 of the 40 others"
    rest = imu.explain_selection(samples, samples["example"][:40], ["time_to_forget"])
    assert str(rest).startswith("time to forget is known: 40 of the 40 selected")
    mixed = imu.explain_selection(samples, samples["example"][(samples.index >= 40) | (samples["time_to_forget"] > 15)])
    assert str(mixed).startswith("time to forget > 15 or none: 28 of the 28 selected")


def test_where_nothing_tells_them_apart_it_says_so() -> None:
    samples = ledger(400, seed=5)
    rule = imu.explain_selection(samples, samples["example"].sample(40, random_state=1))
    assert str(rule) == "no rule of 2 conditions tells the 40 selected from the 360 others"
    assert str(imu.explain_selection(samples, samples["example"])) == "all of the samples are selected"
    assert str(imu.explain_selection(samples, [])) == "none of the samples are selected"


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no column 'nothing'.*influence"):
        imu.explain_selection(ledger(), [1000], ["nothing"])
