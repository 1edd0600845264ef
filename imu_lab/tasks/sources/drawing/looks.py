"""What stays the same on every picture of a person: build, hair and clothes, from few colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[int, int, int]
CLOTHES: dict[str, Colour] = {
    "red": (196, 52, 48),
    "orange": (232, 142, 46),
    "yellow": (236, 204, 84),
    "green": (62, 134, 82),
    "teal": (46, 148, 154),
    "blue": (52, 88, 168),
    "violet": (124, 82, 156),
    "white": (232, 230, 224),
    "grey": (122, 126, 132),
    "black": (44, 44, 52),
}
LEGS = ("blue", "black", "grey", "green", "white", "red")
SKINS: tuple[Colour, ...] = ((250, 214, 186), (228, 180, 142), (190, 134, 96), (138, 90, 62), (92, 60, 44))
HAIRS: dict[str, Colour] = {
    "black": (36, 30, 30),
    "brown": (98, 62, 40),
    "red": (172, 82, 40),
    "blond": (226, 190, 112),
    "grey": (176, 174, 170),
}


@dataclass(frozen=True)
class Looks:
    """What stays the same on every picture of a person."""

    tall: float  # 1 is average
    broad: float
    skin: Colour
    hair: str
    hair_style: str
    top: str
    pattern: str
    second: str  # the colour of stripes, of a shirt under a jacket, of a badge
    bottom: str
    legs: str
    bag: str
    bag_colour: str

    def words(self) -> str:
        """The looks in a few words, for a caption and for readers who hear the page."""
        second, style = self.second, self.hair_style
        patterns = {"plain": "", "stripes": f" with {second} stripes", "badge": f" with {_a(second)} badge"}
        pattern = patterns.get(self.pattern, f" open over {second}")
        heads = {"cap": f"{_a(second)} cap", "bun": f"{self.hair} hair in a bun"}
        bag = "" if self.bag == "none" else f", {_a(self.bag_colour)} {self.bag}"
        head = heads.get(style, f"{style} {self.hair} hair")
        return f"{self.top} top{pattern}, {self.legs} {self.bottom}, {head}{bag}"


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def looks_of(seed: int, person: int) -> Looks:
    """One person's looks. Every third person shares most of them with the one before, as people do in a crowd."""
    rng = np.random.default_rng([seed, person])
    pick = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    top = pick(*CLOTHES)
    own = Looks(
        tall=rng.uniform(0.88, 1.08),
        broad=rng.uniform(0.85, 1.3),
        skin=SKINS[rng.integers(len(SKINS))],
        hair=pick(*HAIRS),
        hair_style=pick("short", "short", "long", "bun", "curly", "cap"),
        top=top,
        pattern=pick("plain", "plain", "stripes", "jacket", "badge"),
        second=pick(*(name for name in CLOTHES if name != top)),
        bottom=pick("trousers", "trousers", "shorts", "skirt"),
        legs=pick(*(name for name in LEGS if name != top)),
        bag=pick("none", "none", "backpack", "shoulder bag"),
        bag_colour=pick("red", "yellow", "black", "teal"),
    )
    if person % 3 != 2:
        return own
    further = pick(("bottom",), ("bag", "bag_colour"), ("pattern", "second"), ("skin",))
    different = ("tall", "broad", "hair", "hair_style", *further)
    return replace(looks_of(seed, person - 1), **{name: getattr(own, name) for name in different})
