"""The map of the explorer: names where their areas are, words under the mouse, and colours for light and dark pages."""

from __future__ import annotations

import io

import cases
import numpy as np
import pytest
from PIL import Image

import imu_lab as imu
from imu_lab.figures import dots, theme
from imu_lab.figures import explorer as drawing
from imu_lab.figures.explorer import Scene, area_names, picture, plot_map, plot_pane, shares, shortened
from imu_lab.studies.landscape import Regions

PLACES = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0], [2.0, 2.0]])


def scene(classes: np.ndarray, names: dict | None = None, labels: str = "ab012") -> Scene:
    """Five samples, the first two to be forgotten, over these areas."""
    x, y = np.linspace(0, 4, classes.shape[1]), np.linspace(0, 4, classes.shape[0])
    forgotten = np.arange(5) < 2
    return Scene(np.arange(10, 15), PLACES, np.array(list(labels)), forgotten, np.zeros(5, bool), np.array([0.1, 0.9]),
                 "confidence", None, None, Regions(x, y, classes), 3, "a plane", names)  # fmt: skip


HALVES = np.repeat([[0] * 20 + [5] * 20], 40, axis=0)  # class 0 on the left, class 5 on the right


def test_each_area_has_its_name_at_its_centroid() -> None:
    left, right = area_names(scene(HALVES, {0: "cat", 5: "dog"}))
    assert (left.name, right.name) == ("cat", "dog")
    assert (left.x, left.y) == pytest.approx((1.0, 2.0), abs=0.1) and right.x == pytest.approx(3.0, abs=0.1)
    across = [share[0] for share in shares(scene(HALVES, {0: "cat", 5: "dog"}), [left, right])]
    assert across == pytest.approx([0.26, 0.74], abs=0.01), "the picture has a margin around the outermost dots"


def test_a_sliver_and_a_class_without_a_name_stay_nameless() -> None:
    sliver = HALVES.copy()
    sliver[0, 0] = 7
    assert [area.name for area in area_names(scene(sliver, {0: "cat", 7: "ant"}))] == ["cat"]
    assert not area_names(scene(HALVES)) and not area_names(scene(HALVES)._replace(regions=None))


def test_names_of_a_run_stand_in_their_own_areas() -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    explorer = imu.explore(imu.unlearn(task, original, steps=3), context=100)
    shown = explorer.map.scene
    x, y, classes = shown.regions
    found = area_names(shown)
    assert 3 <= len(found) <= 10
    for area in found:
        here = classes[np.abs(y - area.y).argmin(), np.abs(x - area.x).argmin()]
        assert task.classes[here] == area.name, "areas of a linear readout are convex"
    assert all(f">{area.name}</span>" in explorer.map.names.value for area in found)
    explorer.close()


def test_a_static_map_has_the_names_too_and_they_are_only_words() -> None:
    still = plot_map(scene(HALVES, {0: "<b>cat", 5: "dog"}))
    assert [each.text for each in still.layout.annotations] == ["<b>&lt;b&gt;cat</b>", "<b>dog</b>"]


def boxes(given: Scene) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each name on the map, in pixels of the smallest picture."""
    (wide, tall), names = drawing.ROOM, area_names(given)
    middles = [(across * wide, down * tall) for across, down in shares(given, names)]
    halves = [(drawing.LETTER * len(name.name) / 2, drawing.NAME_SIZE / 2) for name in names]
    return [(x - half, y - up, x + half, y + up) for (x, y), (half, up) in zip(middles, halves)]


@pytest.mark.parametrize("name", ["{}", "{} " + "x" * 90, "a person with a rather long name number {} of the faculty"])
def test_names_of_many_classes_lie_in_the_picture_and_over_no_other(name: str) -> None:
    classes = np.arange(300).reshape(15, 20).repeat(4, 0).repeat(4, 1)
    classes[:, :30] = 300  # a large one, whose name comes first
    given = scene(classes, {number: name.format(number) for number in range(301)})
    placed, told = boxes(given), [area.name for area in area_names(given)]
    assert 8 <= len(placed) <= 300 and "300" in told[0] and len(set(told)) == len(told), "what differs is told"
    assert all(
        left >= -0.1 and top >= -0.1 and right <= 290.1 and bottom <= 232.1 for left, top, right, bottom in placed
    )
    for at, (left, top, right, bottom) in enumerate(placed):
        for other in placed[at + 1 :]:
            assert (
                left >= other[2] - 0.1 or right <= other[0] + 0.1 or top >= other[3] - 0.1 or bottom <= other[1] + 0.1
            )


def test_a_cut_name_keeps_what_tells_it_from_others() -> None:
    long = [f"a person with a long name number {at} of the faculty" for at in range(5)]
    assert shortened([*long, "cat"]) == [*[f"…{at}…" for at in range(5)], "cat"]
    alone = shortened(["a person with a long name number 7"])[0]
    assert alone.startswith("a person") and alone.endswith("7") and len(alone) <= drawing.LETTERS
    assert len(set(shortened(["the same name twice, and long", "the same name twice, and long"]))) == 1
    assert all(len(each) <= drawing.LETTERS for each in shortened(["x" * 200, "y" * 19, "", " " * 40]))


def test_the_words_under_the_mouse_name_the_class() -> None:
    kept, forget = plot_pane(scene(HALVES, labels="a<012")).data[:2]
    assert list(kept.text) == ["class 0", "class 1", "class 2"] and list(forget.text) == ["a", "&lt;"]
    assert "%{text}" in kept.hovertemplate and "%{customdata}" in kept.hovertemplate


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG's contrast ratio of two colours."""
    light = []
    for colour in (one, other):
        share = np.asarray(colour) / 255
        light.append(
            np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("page", theme.BACKGROUNDS)
@pytest.mark.parametrize("number", range(len(drawing.AREAS)))
def test_areas_and_dots_are_clear_on_light_and_dark_pages(page: str, number: int) -> None:
    given = scene(np.full((40, 40), number), {number: "x"})
    sheet = np.asarray(Image.open(io.BytesIO(picture(given))).convert("RGBA")).astype(float)
    back = np.array([int(page[at : at + 2], 16) for at in (1, 3, 5)])
    seen = sheet[..., :3] * sheet[..., 3:] / 255 + back * (1 - sheet[..., 3:] / 255)
    area, kept, forget = seen[dots.HEIGHT // 3, dots.WIDTH // 3], seen[dots.HEIGHT // 2, dots.WIDTH // 2], seen[-14, 14]
    assert contrast(area, back) > 1.2 and contrast(kept, area) > 2.4 and contrast(forget, area) > 2.4


def test_a_line_runs_between_areas_and_nowhere_else() -> None:
    sheet = dots.Sheet(dots.window(PLACES))
    x = y = np.linspace(0, 4, 40)
    sheet.fill(x, y, HALVES + 1)
    sheet.outline(99)
    palette = np.zeros((256, 4), np.uint8)
    palette[99] = 255
    drawn = np.asarray(Image.open(io.BytesIO(sheet.png(palette))).convert("RGBA"))[..., 3]
    assert set(np.flatnonzero(drawn.any(0))) == {dots.WIDTH // 2 - 1, dots.WIDTH // 2} and drawn.any(1).all()
