"""Picture files: every mode with one meaning becomes 8-bit RGB as it was meant; what has none is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imu_lab.tasks import Classification
from imu_lab.tasks.sources import pictures

RAMP = np.linspace(0, 255, 48).reshape(6, 8).round().astype(np.uint8)  # grey, dark to bright
COLOURS = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 90)], -1)
ALPHA = np.where(np.arange(8) < 4, 0, 255).astype(np.uint8)[None].repeat(6, 0)  # the left half cannot be seen


def on_white(colours: np.ndarray) -> np.ndarray:
    """What a person sees of colours behind ALPHA."""
    seen = np.where(ALPHA[..., None] > 0, colours if colours.ndim == 3 else colours[..., None], 255)
    return np.broadcast_to(seen, (*ALPHA.shape, 3))


def grey(values: np.ndarray) -> np.ndarray:
    return values[..., None].repeat(3, -1)


def transparent(mode: str) -> Image.Image:
    """A picture with a transparent half, in any mode that has one."""
    whole = Image.fromarray(np.concatenate([COLOURS, ALPHA[..., None]], -1))
    if mode in ("LA", "La"):
        whole = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(ALPHA)])
    return whole if mode == whole.mode else whole.convert(mode)


def saved(path: Path, picture: Image.Image, **how: Any) -> np.ndarray:
    """What is read of a picture that was written."""
    picture.save(path, **how)
    return pictures.read(path)


PLAIN = {
    "RGB": (Image.fromarray(COLOURS), "png", COLOURS),
    "L": (Image.fromarray(RAMP), "png", grey(RAMP)),
    "1": (Image.fromarray(RAMP > 99), "png", grey(255 * (RAMP > 99).astype(np.uint8))),
    "CMYK": (Image.fromarray(COLOURS).convert("CMYK"), "tiff", COLOURS),
    "16 bits": (Image.fromarray(RAMP.astype(np.uint16) * 257), "png", grey(RAMP)),
    "16 bits, TIFF": (Image.fromarray(RAMP.astype(np.uint16) * 257), "tiff", grey(RAMP)),
    "32 bits": (Image.fromarray(RAMP.astype(np.int32) * 257), "tiff", grey(RAMP)),
    "floats": (Image.fromarray((RAMP / 255).astype(np.float32)), "tiff", grey(RAMP)),
    "RGBA": (transparent("RGBA"), "png", on_white(COLOURS)),
    "RGBA, WebP": (transparent("RGBA"), "webp", on_white(COLOURS)),
    "LA": (transparent("LA"), "png", on_white(RAMP)),
}


@pytest.mark.parametrize("picture, suffix, expected", PLAIN.values(), ids=list(PLAIN))
def test_every_mode_looks_as_it_was_meant(
    picture: Image.Image, suffix: str, expected: np.ndarray, tmp_path: Path
) -> None:
    made = saved(tmp_path / f"x.{suffix}", picture, **({"lossless": True} if suffix == "webp" else {}))
    assert made.shape == (6, 8, 3) and made.dtype == np.uint8
    assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_a_transparent_colour_lies_on_white(mode: str, tmp_path: Path) -> None:
    """PNG and GIF name one colour that cannot be seen."""
    black = np.where(ALPHA > 0, 200, 0).astype(np.uint8)
    picture = Image.fromarray(grey(black) if mode == "RGB" else black)
    if mode in ("1", "P"):
        picture = Image.fromarray(black > 0) if mode == "1" else picture.convert("P")
    hidden = (0, 0, 0) if mode == "RGB" else 0
    made = saved(tmp_path / "x.png", picture, transparency=hidden)
    assert (made[:, :4] == 255).all()


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_colours_multiplied_by_their_alpha_lie_on_white(mode: str) -> None:
    made = np.asarray(pictures.in_colour(transparent(mode), Path("x"), 8))
    expected = on_white(RAMP if mode == "La" else COLOURS)
    assert np.abs(made.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("turn, change", [
    (1, lambda x: x), (2, lambda x: x[:, ::-1]), (3, lambda x: x[::-1, ::-1]), (4, lambda x: x[::-1]),
    (5, lambda x: x.transpose(1, 0, 2)), (6, lambda x: np.rot90(x, -1)), (8, lambda x: np.rot90(x)),
])  # fmt: skip
def test_a_camera_held_sideways_is_turned(turn: int, change: Any, tmp_path: Path) -> None:
    picture = Image.fromarray(COLOURS)
    about = picture.getexif()
    about[0x0112] = turn
    assert np.array_equal(saved(tmp_path / "x.png", picture, exif=about), change(COLOURS))


@pytest.mark.parametrize("values, said", [
    (RAMP.astype(np.float32), "go from 0 to 255, and only floats in"), (-RAMP.astype(np.int32) - 1, "go from -256 to -1"),
    (np.full((6, 8), np.nan, np.float32), "go from nan to nan"), (RAMP.astype(np.int32) * 70_000, "only 0 to 65535"),
], ids=["floats beyond 1", "negative", "NaN", "32 bits"])  # fmt: skip
def test_values_without_one_meaning_are_refused_by_name(values: np.ndarray, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"cannot read the picture .*x\.tiff: its values.*{said}"):
        saved(tmp_path / "x.tiff", Image.fromarray(values))
        pictures.depth_of([tmp_path / "x.tiff"])


def deep(root: Path, scale: int) -> Path:
    """A folder of 16-bit pictures whose brightest value is 255 times ``scale``."""
    for k, name in enumerate(("a", "a", "a", "b", "b", "b")):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(RAMP, k).astype(np.uint16) * scale).save(root / name / f"{k}.png")
    return root


@pytest.mark.parametrize("scale, bits", [(1, 8), (4, 10), (16, 12), (257, 16)])
def test_deep_pictures_of_one_set_are_scaled_alike_by_the_bits_they_use(scale: int, bits: int, tmp_path: Path) -> None:
    task = Classification(deep(tmp_path, scale), forget_class="a")
    shown = task.pictures(task.split("train").ids)
    assert shown.min() == 0 and 250 <= shown.max() <= 255 and len(np.unique(shown)) > 40
    assert (f"grey values 0 to {2**bits - 1} scaled to 0 to 255" in task.about) is (bits > 8)


def test_a_set_whose_pictures_came_out_alike_is_refused(tmp_path: Path) -> None:
    for k, name in enumerate(("a", "a", "b", "b")):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / name / f"{k}.png")
    with pytest.raises(ValueError, match="all 2 training pictures of .* came out alike"):
        Classification(tmp_path, forget_class="a")


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = deep(tmp_path / "set", 1)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "file"))
    assert len(Classification(folder, forget_class="a").split("train")) == 4
