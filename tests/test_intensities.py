"""From influences to weights: the paper's rule by hand, its controls, and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.core.records import Influence


def scores(*values: float, **context: list[float]) -> Influence:
    """A record with these influences; example 10 is the first."""
    ids = np.arange(10, 10 + len(values))
    frame = pd.DataFrame({"example": ids, "influence": np.array(values, dtype=float)})
    return Influence(frame, pd.DataFrame({"example": ids, **context}), {"estimator": "by hand"})


def test_the_papers_rule_by_hand() -> None:
    made = imu.intensity(scores(-4.0, 1.0, -9.0, 0.0, -1.0), "sqrt-clipped", quantile=1.0)
    assert cases.close(made.values, np.array([2, 0, 3, 0, 1]) / 6)
    assert made.frame["selected"].tolist() == [True, False, True, False, True]
    assert list(made.frame) == ["example", "influence", "selected", "weight"]


def test_clipping_is_at_the_quantile_of_the_kept_weights() -> None:
    made = imu.intensity(scores(-1.0, -4.0, -9.0, -10_000.0, 5.0), "sqrt-clipped", quantile=0.5)
    assert cases.close(made.values, np.array([1, 2, 2.5, 2.5, 0]) / 8)


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e200, 1e307])
def test_a_soft_rule_knows_no_unit(unit: float) -> None:
    spread = np.array([1, 2, 4.0]).std()
    wanted = np.exp(np.array([1, 2, 4.0]) / spread)
    made = imu.intensity(scores(-unit, -2 * unit, -4 * unit), "softmax")
    assert cases.close(made.values, wanted / wanted.sum())


def test_clipping_guards_against_an_outlier() -> None:
    many = [-1.0] * 20
    clipped, free = (imu.intensity(scores(*many, -1e8), quantile=q).values[-1] for q in (0.93, 1.0))
    assert free > 0.99 and clipped < 0.06


@pytest.mark.parametrize(("count", "top", "kept"), [
    (100, 0.07, 7), (50, 0.14, 7), (20, 0.55, 11), (10, 0.3, 3), (3, 0.01, 1), (3, 1.0, 3), (7, 0.5, 4),
])  # fmt: skip
def test_top_keeps_that_share_of_the_negative_ones_rounded_up(count: int, top: float, kept: int) -> None:
    values = -np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    made = imu.intensity(scores(*values, 3.0, 0.0), "sqrt-clipped", top=top, quantile=1.0)
    chosen = made.frame[made.frame["selected"]]
    assert len(chosen) == kept and set(chosen["influence"]) == set(np.sort(values)[:kept])


def test_the_quantile_is_taken_after_the_selection() -> None:
    made = imu.intensity(scores(-100.0, -64.0, -1.0, -1.0), "sqrt-clipped", top=0.5, quantile=0.5)
    assert cases.close(made.values, [9 / 17, 8 / 17, 0, 0])


def test_uniform_gives_everyone_the_same_whatever_the_sign() -> None:
    assert cases.close(imu.intensity(scores(-1.0, 2.0, 0.0, -5.0), "uniform").values, [0.25] * 4)


def test_shuffled_hands_the_same_weights_to_others() -> None:
    record = scores(*-np.arange(1.0, 30.0), 4.0)
    own = imu.intensity(record, "sqrt-clipped")
    found = [imu.intensity(record, "shuffled", of="sqrt-clipped", seed=seed).values for seed in (0, 0, 1)]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    assert cases.close(np.sort(found[0]), np.sort(own.values)) and not np.array_equal(found[0], own.values)


def test_shuffled_can_shuffle_a_rule_that_reads_something_else() -> None:
    record = scores(-1.0, -2.0, -3.0, gradient_norm=[1.0, 5.0, 4.0])
    made = imu.intensity(record, "shuffled", of="gradient-norm")
    assert cases.close(np.sort(made.values), [0.1, 0.4, 0.5])


def test_shuffled_can_shuffle_a_rule_with_settings_of_its_own() -> None:
    record = scores(*-np.arange(1.0, 30.0), 4.0)
    rule = imu.intensity_rules.create("sqrt-clipped", quantile=0.5, top=0.3)
    made = imu.intensity(record, "shuffled", of=rule, seed=1)
    assert cases.close(np.sort(made.values), np.sort(imu.intensity(record, rule).values))
    assert made.settings["settings"]["of"] == "sqrt-clipped" and made.settings["settings"]["how"] == {
        "quantile": 0.5,
        "top": 0.3,
    }
    assert imu.intensity_rules.create("shuffled", of=rule) == imu.intensity_rules.create("shuffled", of=rule)


def test_gradient_norm_reads_no_influence() -> None:
    record = scores(5.0, -7.0, gradient_norm=[3.0, 1.0])
    assert cases.close(imu.intensity(record, "gradient-norm").values, [0.75, 0.25])


def test_gradient_norm_without_norms_says_what_there_is() -> None:
    with pytest.raises(
        ValueError, match="reads 'gradient_norm', which these scores do not carry; they have 'example', 'infl"
    ):
        imu.intensity(scores(-1.0, -2.0), "gradient-norm")


@pytest.mark.parametrize("name", imu.intensity_rules)
def test_scale_and_order_do_not_matter_beyond_what_a_rule_says(name: str) -> None:
    values = np.random.default_rng(1).normal(size=40) - 0.5
    norms = np.abs(values).tolist()
    made = imu.intensity(scores(*values, gradient_norm=norms), name)
    scaled = imu.intensity(scores(*(values * 7), gradient_norm=[7 * norm for norm in norms]), name)
    assert cases.close(scaled.values, made.values)
    if name != "shuffled":
        back = imu.intensity(scores(*values[::-1], gradient_norm=norms[::-1]), name)
        assert cases.close(back.values[::-1], made.values)


@pytest.mark.parametrize("name", imu.intensity_rules)
def test_weights_are_finite_not_negative_and_sum_to_one(name: str) -> None:
    for values in ([-1.0], [-1e-30, -1e30], [-1.0] * 5, list(np.linspace(-3, 3, 13))):
        made = imu.intensity(scores(*values, gradient_norm=[1.0] * len(values)), name)
        assert (made.values >= 0).all() and made.values.sum() == pytest.approx(1)
        assert np.array_equal(made.frame["selected"], made.values > 0)


def test_no_negative_influence_is_a_clear_error() -> None:
    with pytest.raises(
        ValueError, match="gave every sample the weight zero; 0 of 3 influences are negative.*another target"
    ):
        imu.intensity(scores(1.0, 0.0, 2.0))


@pytest.mark.parametrize(("how", "error", "message"), [
    ({"rule": "sqrt_clipped"}, imu.UnknownName, "unknown intensity rule: 'sqrt_clipped'. Did you mean 'sqrt-clipped'"),
    ({"quantile": 0}, ValueError, r"sqrt-clipped needs quantile in \(0, 1\], got 0"),
    ({"top": 1.5}, ValueError, r"needs top in \(0, 1\], got 1.5"),
    ({"top": float("nan")}, ValueError, "got nan"),
    ({"rule": "shuffled", "of": "shuffled"}, imu.UnknownName, "unknown value for `of` of rule shuffled: 'shuffled'"),
    ({"rule": "shuffled", "of": 3}, imu.UnknownName, "unknown value for `of` of rule shuffled: 3"),
    ({"rule": "shuffled", "seed": -1}, ValueError, "seed"),
    ({"rule": "uniform", "quantile": 0.5}, TypeError, "'uniform' has no setting 'quantile'"),
])  # fmt: skip
def test_bad_settings_are_refused(how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        imu.intensity(scores(-1.0, -2.0), **how)


@pytest.mark.parametrize("given", [None, [0.1, -0.2], "fisher-diagonal", np.zeros(3)])
def test_what_is_no_record_of_influences_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match=r"takes the scores that imu.influence\(task, model\) gives; got"):
        imu.intensity(given)


@pytest.mark.parametrize(("made", "words"), [
    (["much", "little"], r"must return an array of numbers; it gave \['much'"),
    ([1.0, 2.0, 3.0], r"one weight per sample, shape \(2,\); it gave shape \(3,\)"),
    (0.5, r"it gave shape \(\)"),
    ([1.0, np.nan], "1 of 2 are not, the first is nan, made of -2"),
    ([-0.5, -0.5], "2 of 2 are not, the first is -0.5, made of -1"),
    ([0.0, 0.0], "gave every sample the weight zero; 2 of 2 influences are negative"),
])  # fmt: skip
def test_a_users_rule_is_told_what_was_expected(made: object, words: str) -> None:
    @dataclass(frozen=True)
    class Mine:
        def __call__(self, influence: np.ndarray) -> object:
            return made

    with pytest.raises(ValueError, match=words):
        imu.intensity(scores(-1.0, -2.0), Mine())


def test_a_rule_cannot_change_the_scores_it_is_given() -> None:
    @dataclass(frozen=True)
    class Greedy:
        def __call__(self, influence: np.ndarray) -> np.ndarray:
            influence[:] = 1.0
            return influence

    record = scores(-1.0, -2.0)
    imu.intensity(record, Greedy())
    assert record.values.tolist() == [-1.0, -2.0]


def test_the_record_says_where_it_came_from() -> None:
    made = imu.intensity(imu.influence(cases.task("toy"), cases.original("toy")), top=0.5)
    assert made.settings["rule"] == "sqrt-clipped" and made.settings["settings"] == {"quantile": 0.93, "top": 0.5}
    assert made.settings["influence"]["estimator"] == "fisher-diagonal"
    assert made.effective == pytest.approx(1 / np.square(made.values).sum())


@pytest.mark.parametrize("rule", list(imu.intensity_rules))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_by_every_rule(rule: str, value: float) -> None:
    norms = [1.0, value, 2.0] if rule == "gradient-norm" else [1.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="1 of 3 values of '.*' in these scores are not finite.* of example 11"):
        imu.intensity(scores(-1.0, -1.0 if rule == "gradient-norm" else value, -2.0, gradient_norm=norms), rule)


def test_a_column_of_the_context_goes_to_the_same_samples_when_the_frame_was_sorted() -> None:
    given = scores(-1.0, -3.0, -2.0, gradient_norm=[1.0, 2.0, 5.0])
    made = imu.intensity(dataclasses.replace(given, frame=given.frame.sort_values("influence")), "gradient-norm")
    assert made.frame["example"].tolist() == [11, 12, 10] and cases.close(made.values, np.array([2, 5, 1]) / 8)
    for name, column in given.frame.sort_values("influence").items():  # in place
        given.frame[name] = column.to_numpy()
    assert cases.close(imu.intensity(given, "gradient-norm").values, made.values)


def test_what_is_known_of_each_sample_follows_a_record_that_was_sorted() -> None:
    given = scores(-1.0, -3.0, 2.0, confidence=[0.1, 0.5, 0.9], gradient_dot=[-1.0, 1.0, 1.0])
    other = dataclasses.replace(given, frame=given.frame.sort_values("influence"))
    assert other.context["confidence"].tolist() == [0.5, 0.1, 0.9] and other.opposed == given.opposed == 1 / 3
    first, second = (imu.pressure_shares(imu.intensity(each), 3) for each in (given, other))
    pd.testing.assert_frame_equal(first, second)
