"""The colours: seen on white and on black, told apart by colour-blind readers, the same for the same name."""

from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest

import imu_lab as imu
from imu_lab.figures import colour, dash, symbol, theme

FAMILIES = [theme.SPLIT_COLOURS, theme.METHOD_COLOURS]
ALL = [theme.INK, *theme.SPLIT_COLOURS.values(), *theme.METHOD_COLOURS.values(), *theme.FURTHER_COLOURS]
SEEN_BY = {  # Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
    "everyone": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(hexadecimal):
    value = np.array([int(hexadecimal[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2 contrast ratio, 1 to 21."""
    light, dark = sorted((linear(each) @ XYZ[1] for each in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def cielab(hexadecimal, matrix):
    x = XYZ @ np.clip(np.asarray(matrix) @ linear(hexadecimal), 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_the_known_one():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_words_have_the_best_contrast_that_one_grey_can_have_on_both_pages():
    def worst(grey):
        return min(contrast(grey, page) for page in theme.BACKGROUNDS)

    best = max(worst(f"#{value:02x}{value:02x}{value:02x}") for value in range(256))
    assert 4.3 < best < 4.5  # so 4.5 on both is out of reach
    assert worst(theme.INK) == best
    assert theme.TEMPLATE.layout.font.color == theme.INK


@pytest.mark.parametrize("page", theme.BACKGROUNDS)
@pytest.mark.parametrize("drawn", ALL + [stop for _, stop in theme.DOTS + theme.DIVERGING])
def test_every_line_and_dot_is_seen_on_both_pages(drawn, page):
    assert contrast(drawn, page) >= 3


@pytest.mark.parametrize("reader", SEEN_BY)
@pytest.mark.parametrize("family", FAMILIES, ids=["splits", "methods"])
def test_colours_of_a_family_stay_apart(family, reader):
    apart = {
        pair: np.linalg.norm(np.subtract(*(cielab(family[name], SEEN_BY[reader]) for name in pair)))
        for pair in combinations(family, 2)
    }
    assert min(apart.values()) > 12, min(apart, key=apart.get)


def test_colour_is_never_the_only_cue():
    for first, second in combinations(theme.METHOD_COLOURS, 2):
        assert dash(first) != dash(second) and symbol(first) != symbol(second)
    assert dash("forget") == dash("retain") != dash("test") == dash("test-forget")
    assert len({symbol(split) for split in theme.SPLIT_COLOURS}) == 4


def test_a_run_label_has_the_colour_of_what_distinguishes_it():
    assert colour("imu · sqrt-clipped") == colour("sqrt-clipped") == colour("imu")
    assert colour("imu · uniform") == colour("uniform") == colour("imu · uniform (lr 0.1)")
    assert colour("gradient-ascent · uniform") == colour("gradient-ascent")
    assert colour("retrained") == colour("retrain") == colour("retrain · uniform")
    assert colour("imu · uniform · equal steps") == colour("uniform")
    assert dash("imu · uniform · equal steps") != dash("imu · uniform")
    assert dash("imu · sqrt-clipped · equal steps") != "solid"


def test_unknown_names_have_stable_further_colours():
    names = [f"method {index}" for index in range(60)]
    assert {colour(name) for name in names} == set(theme.FURTHER_COLOURS)
    assert [colour(name) for name in ("mine", "adaptive-ascent", "ce-u")] == ["#5a6fd0", "#3b6b59", "#8a5637"]
    same = [dash(name) for name in names if colour(name) == colour(names[0])]
    assert len(set(same)) > 1  # names that share a colour may still differ


@pytest.mark.parametrize("registry", [imu.methods, imu.intensity_rules], ids=["methods", "rules"])
def test_what_is_registered_can_be_told_apart(registry):
    for first, second in combinations(registry, 2):
        assert (colour(first), dash(first)) != (colour(second), dash(second)), (first, second)


def test_the_template_is_registered_transparent_and_not_the_default():
    assert pio.templates[theme.NAME] == theme.TEMPLATE and pio.templates.default != theme.NAME
    assert theme.TEMPLATE.layout.paper_bgcolor == theme.TEMPLATE.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert go.Figure(layout_template=theme.NAME).layout.template.layout.font.color == theme.INK


def test_words_from_data_cannot_draw_or_fill_in():
    assert theme.text("<b>&%{x}") == "&lt;b&gt;&amp;%&#123;x}"
    assert theme.titled("a<b", "nats") == "a&lt;b (nats)" and theme.titled("rank") == "rank"


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 9, "0 %"), (1, 1000, "under 1 %"), (999, 1000, "over 99 %"), (9, 9, "100 %"), (1, 2, "50 %"), (0, 0, "0 %")],
)
def test_a_share_is_never_rounded_to_nothing_or_all(part, whole, words):
    assert theme.share(part, whole) == words


def test_settings_of_one_method_share_a_colour_and_differ_in_dashes_and_markers():
    labels = [f"curvature-ascent · uniform (rho {rho})" for rho in (0.01, 0.1, 1)]
    looks = theme.looks([*labels, "imu", labels[0]])
    assert list(looks) == [*labels, "imu"] and looks["imu"] == (colour("imu"), dash("imu"), symbol("imu"))
    mine = [looks[label] for label in labels]
    assert {look.colour for look in mine} == {colour("curvature-ascent")}
    assert len({look.dash for look in mine}) == len({look.symbol for look in mine}) == 3
    assert mine[0].dash == dash(labels[0]) and mine[0].symbol == symbol(labels[0])
