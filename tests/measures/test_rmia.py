"""RMIA by hand, and where it must not agree with a shortcut."""

from __future__ import annotations

import cases
import numpy as np
import pytest

from imu_lab.measures import rmia
from imu_lab.measures.membership import auc


def test_ratios_by_hand() -> None:
    own, out = np.array([0.8, 0.1]), np.array([0.4, 0.2])
    assert cases.close(rmia.ratios(own, out, 0.0), own / (0.5 * (out + 1)), 1e-12)
    assert cases.close(rmia.ratios(own, out, 1.0), own / out, 1e-12)
    assert cases.close(rmia.ratios(own, out, 0.5), own / (0.5 * (1.5 * out + 0.5)), 1e-12)
    assert np.isfinite(rmia.ratios(own, np.zeros(2), 1.0)).all()


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_share_beaten_is_that_of_a_loop(gamma: float) -> None:
    random = np.random.default_rng(0)
    mine, population = random.gamma(1, size=20).round(1), random.gamma(1, size=30).round(1) + 0.1
    expected = [np.mean(x / population > gamma) for x in mine]
    assert cases.close(rmia.shares_beaten(mine, population, gamma), expected, 1e-12)
    among = [np.mean(x / np.delete(population, at) > gamma) for at, x in enumerate(population)]
    assert cases.close(rmia.shares_beaten(population, population, gamma, among=True), among, 1e-12)


def test_what_an_easy_sample_has_in_common_with_a_member_is_divided_out() -> None:
    """Samples that any model knows are no members for it: confidence is fooled, the ratio is not."""
    members = np.array([0.6, 0.62, 0.64]), np.array([0.2, 0.21, 0.22])  # known, and hard
    others = np.array([0.9, 0.92, 0.94]), np.array([0.9, 0.92, 0.94])  # not known, and easy
    assert auc(members[0], others[0]) == 0.0
    assert auc(*rmia.scores(members, others, a=1.0)) == 1.0


def test_a_is_tuned_on_a_model_whose_members_are_known() -> None:
    members, others = (np.array([0.5, 0.52]), np.array([0.2, 0.2])), (np.array([0.9, 0.94]), np.array([0.9, 0.94]))
    a = rmia.tuned(members, others)
    areas = {step: auc(*rmia.scores(members, others, step)) for step in rmia.STEPS}
    assert areas[a] == max(areas.values()) > areas[0.0] and a == min(s for s in areas if areas[s] == areas[a])


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(ValueError, match="gamma is how many times likelier a sample must be, from 1, got 0.5"):
        rmia.shares_beaten(np.ones(2), np.ones(2), 0.5)
    with pytest.raises(ValueError, match="too few: it takes 2 or more"):
        rmia.shares_beaten(np.ones(1), np.ones(1), among=True)
