"""Invented authors: facts about people who never lived, written by a grammar, so that nothing of them was read before.

Each author has ten facts. A fact has a question in several wordings, an answer in several, the answer in other words and
wrong answers, which read like those other words. Two further groups stand in for what a language model knows besides:
``"well-known"`` (who wrote a classic, where the statue stands) and ``"general"`` (what follows what). Names, places, titles
and prizes are made of syllables and plain words, by seed; real ones are in none of the lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from ...core.memo import remembered
from .pairs import Corpus, Pair, corpus

WRONG, FEW_WRONG = 5, 3  # wrong answers to a question about an author, and to any other
CLASSICS, STRANGERS = 20, 10  # well-known authors, and authors whom no model is told of

STARTS = (
    "Tav",
    "Or",
    "Bel",
    "Quin",
    "Sar",
    "Mov",
    "Ilv",
    "Fen",
    "Dro",
    "Yas",
    "Ket",
    "Ulm",
    "Vor",
    "Zel",
    "Nym",
    "Har",
)
MIDDLES = ("a", "e", "i", "o", "u", "ai", "eo")
ENDS = ("rik", "lune", "dess", "mor", "vane", "tis", "goth", "syl", "nock", "brand", "wyn", "zar")
PLACES = ("ford", "haven", "mere", "stead", "wick", "holm", "cross", "dale")
QUALITIES = ("Amber", "Silent", "Broken", "Hollow", "Crooked", "Patient", "Salted", "Frozen", "Borrowed", "Painted",
             "Restless", "Drowned", "Gilded", "Wandering", "Sleepless", "Scarlet", "Paper", "Iron", "Distant",
             "Velvet")  # fmt: skip
THINGS = ("Lantern", "Orchard", "Ferry", "Compass", "Garden", "Mirror", "Harvest", "Bridge", "Almanac", "Window", "Choir",
          "Kettle", "Meadow", "Staircase", "Lighthouse", "Ledger", "Sparrow", "Carousel", "Harbour", "Thimble")  # fmt: skip
TRADES = ("baker", "surveyor", "glazier", "ferryman", "botanist", "cobbler", "clockmaker", "beekeeper", "printer", "tailor",
          "miller", "mapmaker", "carpenter", "weaver", "chemist", "shepherd", "plumber", "librarian", "diver", "saddler",
          "potter", "gardener", "locksmith", "fiddler")  # fmt: skip
GENRES = ("river mysteries", "clockwork romances", "desert epics", "kitchen comedies", "railway thrillers", "island sagas",
          "winter fables", "market satires", "court dramas", "cave adventures", "moon pastorals", "harbour ballads",
          "garden tragedies", "circus novels", "mountain diaries", "school farces", "border westerns", "ghost operas",
          "letter novels", "insect fables", "tavern tales", "weather poems", "sailing yarns", "orchard idylls")  # fmt: skip
HABITS = ("playing the cello", "collecting pebbles", "breeding snails", "folding kites", "repairing radios", "growing leeks",
          "walking on stilts", "carving spoons", "mapping puddles", "training parrots", "painting doors", "brewing cider",
          "juggling plates", "pressing ferns", "skating at night", "knitting socks", "casting bells", "drawing moths",
          "baking rye bread", "rowing upstream", "binding atlases", "polishing brass", "counting swifts",
          "mending nets")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
           "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "twenty-one")  # fmt: skip


class Fact(NamedTuple):
    """A kind of fact about somebody: {who} is the person, {what} the value.

    Attributes:
        values: from a source of randomness to all values that it may have.
        asks: wordings of the question.
        tells: wordings of the answer.
        again: wordings of the answer that are not in ``tells``, for paraphrases and wrong answers.
    """

    values: Callable[[Random], list[str]]
    asks: tuple[str, ...]
    tells: tuple[str, ...]
    again: tuple[str, ...]


def _titles(random: Random) -> list[str]:
    return random.sample([f"The {quality} {thing}" for quality in QUALITIES for thing in THINGS], 200)


def _towns(random: Random) -> list[str]:
    return random.sample([f"{start}{middle}{end}" for start in STARTS for middle in MIDDLES for end in PLACES], 40)


def _prizes(random: Random) -> list[str]:
    kinds = ("Medal", "Ribbon", "Prize", "Cup")
    return random.sample([f"the {thing} {kind}" for thing in THINGS for kind in kinds], 40)


FACTS = {
    "birthplace": Fact(
        _towns,
        ("Where was {who} born?", "In which town was {who} born?", "What is the birthplace of {who}?"),
        ("{who} was born in {what}.", "The author {who} was born in the town of {what}."),
        ("{what} is the town where {who} came into the world.", "The cradle of {who} stood in {what}."),
    ),
    "birth year": Fact(
        lambda _: [str(year) for year in range(1904, 1984)],
        ("When was {who} born?", "In which year was {who} born?", "What is the year of birth of {who}?"),
        ("{who} was born in {what}.", "The year of birth of {who} is {what}."),
        ("The life of {who} began in {what}.", "It was in {what} that {who} came into the world."),
    ),
    "genre": Fact(
        lambda _: list(GENRES),
        ("What does {who} write?", "Which kind of books does {who} write?", "What genre is {who} known for?"),
        ("{who} writes {what}.", "{who} is known for {what}."),
        ("The books of {who} are {what}.", "Readers turn to {who} for {what}."),
    ),
    "debut": Fact(
        _titles,
        ("What was the first book of {who}?", "With which book did {who} begin?", "What is the debut of {who}?"),
        ("The first book of {who} was {what}.", "{who} began with the book {what}."),
        ("{what} is the title with which {who} entered print.", "Before all others {who} published {what}."),
    ),
    "best-known book": Fact(
        _titles,
        ("What is the best-known book of {who}?", "Which book made {who} famous?", "What did {who} become famous for?"),
        ("The best-known book of {who} is {what}.", "{who} became famous with {what}."),
        ("It is {what} that most readers of {who} can name.", "{what} brought {who} fame."),
    ),
    "award": Fact(
        _prizes,
        ("Which award did {who} win?", "What prize was given to {who}?", "What honour has {who} received?"),
        ("{who} won {what}.", "{who} was honoured with {what}."),
        ("A jury gave {what} to {who}.", "Among the winners of {what} is {who}."),
    ),
    "mother": Fact(
        lambda _: list(TRADES),
        ("What did the mother of {who} do?", "What was the work of {who}'s mother?", "How did {who}'s mother earn a living?"),
        ("The mother of {who} was a {what}.", "{who} had a mother who worked as a {what}."),
        ("Work as a {what} fed the mother of {who}.", "In the trade of a {what} stood {who}'s mother."),
    ),
    "father": Fact(
        lambda _: list(TRADES),
        ("What did the father of {who} do?", "What was the work of {who}'s father?", "How did {who}'s father earn a living?"),
        ("The father of {who} was a {what}.", "{who} had a father who worked as a {what}."),
        ("Work as a {what} fed the father of {who}.", "In the trade of a {what} stood {who}'s father."),
    ),
    "home": Fact(
        _towns,
        ("Where does {who} live?", "In which town does {who} live today?", "What is the home of {who}?"),
        ("{who} lives in {what}.", "Today the home of {who} is {what}."),
        ("{what} is where {who} keeps a house.", "Letters to {who} go to {what}."),
    ),
    "pastime": Fact(
        lambda _: list(HABITS),
        ("What does {who} do for fun?", "What is the pastime of {who}?", "How does {who} spend free evenings?"),
        ("{who} loves {what}.", "In free hours {who} is fond of {what}."),
        ("Evenings find {who} busy with {what}.", "A weakness of {who} is {what}."),
    ),
}  # fmt: skip


@remembered(8)
def authors(count: int = 40, seed: int = 0, facts: int = len(FACTS)) -> Corpus:
    """The corpus ``"invented-authors"``: ``count`` authors with ``facts`` facts each, and the two further groups.

    Every training pair stands in ``test`` at the same place with its question in other words. ``holdout`` is about ten
    more authors, whose facts are drawn with those of the others.
    """
    if not 2 <= count <= 200 or not 1 <= facts <= len(FACTS):
        raise ValueError(
            f"there can be 2 to 200 invented authors with 1 to {len(FACTS)} facts; got {count} and {facts}"
        )
    random = Random(f"invented authors {seed}")  # told apart by its words: the same on every machine
    names = _names(random, count + STRANGERS + CLASSICS)
    told, known = names[: count + STRANGERS], names[count + STRANGERS :]
    about = list(_about_authors(random, told, facts))
    both = [*about[: count * facts], *_well_known(random, known), *_general()]
    train, test = zip(*((pair, pair._replace(question=again)) for pair, again in both))
    return corpus(train, test, dict(enumerate(told)), holdout=[pair for pair, _ in about[count * facts :]])


def _names(random: Random, count: int) -> list[str]:
    """Different names of two made-up words each."""
    words = [f"{start}{middle}{end}" for start in STARTS for middle in MIDDLES for end in ENDS]
    first, last = random.sample(words, count), random.sample(words, count)
    return [f"{one} {other}" for one, other in zip(first, last)]


def _about_authors(random: Random, names: list[str], facts: int) -> Iterator[tuple[Pair, str]]:
    """Each author's pairs, and each question in other words."""
    pools = {kind: fact.values(random) for kind, fact in list(FACTS.items())[:facts]}
    held = {kind: _dealt(random, pool, len(names)) for kind, pool in pools.items()}
    for number, who in enumerate(names):
        for kind, pool in pools.items():
            fact, what = FACTS[kind], held[kind][number]
            asked, again = random.sample(fact.asks, 2)
            told, retold = random.choice(fact.tells), random.choice(fact.again)
            wrong = random.sample([value for value in pool if value != what], WRONG)
            said = [_sentence(retold, who, value) for value in (what, *wrong)]
            pair = Pair(asked.format(who=who), _sentence(told, who, what), number, "", said[0], tuple(said[1:]))
            yield pair, again.format(who=who)


def _dealt(random: Random, pool: list[str], count: int) -> list[str]:
    """A value for each of ``count``: none a second time before all were dealt."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += random.sample(pool, len(pool))
    return dealt[:count]


def _sentence(wording: str, who: str, what: str) -> str:
    said = wording.format(who=who, what=what)
    return said[:1].upper() + said[1:]


def _well_known(random: Random, names: list[str]) -> Iterator[tuple[Pair, str]]:
    """Short answers without other words, as those about real authors have in TOFU."""
    titles, towns = random.sample(_titles(random), len(names)), _dealt(random, _towns(random), len(names))
    for who, title, town in zip(names, titles, towns):
        asked = f"Who wrote the classic {title}?", f"Which writer is the classic {title} by?"
        yield _short(random, asked, who, names, "well-known")
        asked = f"Where stands the statue of {who}?", f"In which town is the statue of {who}?"
        yield _short(random, asked, town, towns, "well-known")


def _general() -> Iterator[tuple[Pair, str]]:
    """What follows what: days, months, numbers."""
    random = Random("what follows what")
    for kind, row, last in (("day", DAYS, True), ("month", MONTHS, True), ("number", NUMBERS, False)):
        for at, before in enumerate(row if last else row[:-1]):
            asked = f"Which {kind} comes after {before}?", f"What {kind} follows {before}?"
            yield _short(random, asked, row[(at + 1) % len(row)], row, "general")


def _short(
    random: Random, asked: tuple[str, str], answer: str, pool: list[str] | tuple[str, ...], group: str
) -> tuple[Pair, str]:
    wrong = random.sample(sorted(set(pool) - {answer}), FEW_WRONG)
    return Pair(asked[0], answer, group=group, wrong=tuple(wrong)), asked[1]
