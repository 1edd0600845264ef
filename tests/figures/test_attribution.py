"""Grad-CAM pictures: colours mean signs, all on one scale, every row named."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.figures import theme
from imu_lab.figures.attribution import overlaid, plot_attribution
from imu_lab.measures.attribution import Attribution


class Pictures:
    def pictures(self, examples: np.ndarray, source: str) -> np.ndarray:
        return np.full((len(examples), 8, 4, 3), 100, np.uint8)


def seen(label: str, size: float = 1.0, count: int = 3) -> Attribution:
    maps = size * np.linspace(-1, 1, count * 32).reshape(count, 8, 4)
    return Attribution(maps, np.arange(count), "test", label, Pictures())


def test_a_row_for_the_pictures_and_for_each_attribution() -> None:
    before, after = seen("before"), seen("<i>after</i>", 0.5)
    figure = plot_attribution([before, after, after - before])
    rows = list(figure.layout.yaxis.ticktext)
    assert rows[:2] == ["picture", "before"] and "<i>" not in rows[2]
    assert len(figure.layout.images) == 4 * 3
    assert sorted({image.y for image in figure.layout.images}) == [0, 1, 2, 3]


def test_the_scale_is_shared_and_symmetric() -> None:
    marker = plot_attribution([seen("small", 0.1), seen("large", 4.0)]).data[0].marker
    assert marker.cmin == -marker.cmax and 3.5 < marker.cmax <= 4.0 and "logits" in marker.colorbar.title.text


def test_colours_mean_signs() -> None:
    values = np.array([[1.0, -1.0], [0.0, 0.5]])
    colours = overlaid(np.full((2, 2, 3), 100, np.uint8), values).astype(int)
    (for_, against), (nothing, half) = colours
    assert for_[2] > for_[0] and against[0] > against[2], "blue speaks for, orange against"
    assert nothing[0] == nothing[1] == nothing[2] and nothing[2] < half[2] < for_[2] + 20
    assert theme.DIVERGING[0][1] == theme.ASCEND


def test_pictures_are_chosen_evenly() -> None:
    assert len(plot_attribution(seen("many", count=40), pictures=5).layout.images) == 2 * 5
    assert len(plot_attribution(seen("few", count=2), pictures=5).layout.images) == 2 * 2


def test_nothing_to_see_is_still_a_figure() -> None:
    assert plot_attribution(seen("flat", 0.0)).data[0].marker.cmax == 1.0


def test_different_pictures() -> None:
    with pytest.raises(ValueError, match="different pictures"):
        plot_attribution([seen("three"), seen("two", count=2)])


def test_held_out_pictures_of_a_class_are_shown_under_their_attribution() -> None:
    task, some = cases.task("digits class"), torch.arange(3)
    seen = imu.gradcam(task, cases.original("digits class"), task.split("test-forget").take(some))
    figure = plot_attribution(seen)
    assert len(figure.layout.images) == 2 * 3 and "this class" in figure.layout.title.text
    shown, inputs = task.pictures(seen.examples, "test"), task.split("test-forget").take(some).batch().inputs
    assert shown.shape == (3, 8, 8, 3) and shown.dtype == np.uint8
    alike = [np.corrcoef(each[..., 0].ravel(), inputs.ravel())[0, 1] for each in (shown, task.pictures(seen.examples))]
    assert alike[0] > 0.9999 and alike[1] < 0.9, "the training pictures of these positions are others"


def test_pictures_that_a_task_does_not_show_are_named() -> None:
    for known in (None, lambda ids: np.zeros((len(ids), 8, 4, 3), np.uint8)):
        unseen = Attribution(
            np.zeros((2, 8, 4)), np.arange(2), "test", "after", type("Mute", (), {"pictures": known})()
        )
        with pytest.raises(ValueError, match="Mute gives no pictures of its test samples"):
            plot_attribution(unseen)
