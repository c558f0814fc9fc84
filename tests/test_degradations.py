"""Damage planted in clean prose is seen by the measures made for it, as strongly as published, and not by the others.

The strengths are areas under the ROC curve, damaged against clean, with a tenth and three tenths of the words damaged: 0.5 sees nothing,
1 tells every damaged passage from every clean one, less than 0.5 means the measure falls.
"""

import gzip
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from cotdrift.measure import FoundInBatch, Measure
from cotdrift.measures.function_words import FUNCTION_WORDS
from cotdrift.shelf import collect
from cotdrift.tokens import Batch

MEASURES = collect("measures", Measure)
PASSAGES = 60
ODD = (
    "disclaim overshadow vantage illusions marinade parted craft soared watchers fudge glimmer tamper cunning ballast lattice tether plume"
)
CHINESE = "我们 因此 答案 检查 可能 问题 然后 计算 结果 如果"
RUSSIAN = "мы поэтому ответ проверить может вопрос затем считать результат если"

Damage = Callable[[list[str], float, random.Random], list[str]]


def shuffled(words: list[str], dose: float, rng: random.Random) -> list[str]:
    moved = sorted(rng.sample(range(len(words)), round(dose * len(words))))
    order = dict(zip(moved, rng.sample(moved, len(moved)), strict=True))
    return [words[order.get(place, place)] for place in range(len(words))]


def telegraphic(words: list[str], dose: float, rng: random.Random) -> list[str]:
    return [word for word in words if re.sub(r"\W", "", word).lower() not in FUNCTION_WORDS or rng.random() >= dose]


def replaced(by: Callable[[str, random.Random], str]) -> Damage:
    def damage(words: list[str], dose: float, rng: random.Random) -> list[str]:
        hit = set(rng.sample(range(len(words)), round(dose * len(words))))
        return [by(word, rng) if place in hit else word for place, word in enumerate(words)]

    return damage


def scrambled(word: str, rng: random.Random) -> str:
    return "".join(rng.sample("bcdfgjklmpqvwxzaeu", max(5, min(len(word), 12))))


def looped(words: list[str], dose: float, rng: random.Random) -> list[str]:
    length = round(dose * len(words))
    start = rng.randrange(len(words) - length)
    phrase = words[start : start + 4]
    return [*words[:start], *(phrase * length)[:length], *words[start + length :]]


def glued(words: list[str], dose: float, rng: random.Random) -> list[str]:
    joined = "".join(word if rng.random() < dose else word + " " for word in words)
    return joined.split()


DAMAGES: dict[str, Damage] = {
    "shuffled": shuffled,
    "telegraphic": telegraphic,
    "odd words": replaced(lambda _word, rng: rng.choice(ODD.split())),
    "Chinese": replaced(lambda _word, rng: rng.choice(CHINESE.split())),
    "Russian": replaced(lambda _word, rng: rng.choice(RUSSIAN.split())),
    "scrambled": replaced(scrambled),
    "looped": looped,
    "glued": glued,
}

SEEN = {
    ("telegraphic", "function_word_share"): (0.37, 0.17),
    ("odd words", "function_word_share"): (0.31, 0.09),
    ("odd words", "rare_word_share"): (0.67, 0.90),
    ("Chinese", "non_latin_share"): (1.0, 1.0),
    ("Chinese", "function_word_share"): (0.33, 0.08),
    ("Chinese", "rare_word_share"): (0.97, 1.0),
    ("Russian", "non_latin_share"): (1.0, 1.0),
    ("Russian", "function_word_share"): (0.31, 0.07),
    ("Russian", "unknown_word_share"): (1.0, 1.0),
    ("Russian", "rare_word_share"): (0.98, 1.0),
    ("scrambled", "unknown_word_share"): (0.97, 1.0),
    ("scrambled", "rare_word_share"): (0.92, 1.0),
    ("scrambled", "function_word_share"): (0.37, 0.16),
    ("looped", "repeated_ngrams"): (0.72, 1.0),
    ("looped", "mattr"): (0.47, 0.04),
    ("looped", "longest_loop"): (0.5, 0.95),
    ("glued", "glued_words"): (0.95, 1.0),
    ("glued", "whitespace_ratio"): (0.1, 0.0),
}
"""Damage and measure, to the strength at a tenth and at three tenths."""

UNSEEN = [
    *[
        ("shuffled", name)
        for name in ("function_word_share", "rare_word_share", "unknown_word_share", "non_latin_share", "repeated_ngrams", "longest_loop")
    ],
    *[("shuffled", name) for name in ("hedging", "glued_words", "whitespace_ratio", "reasoning_words", "reasoning_chars")],
    *[("telegraphic", name) for name in ("non_latin_share", "unknown_word_share", "repeated_ngrams", "glued_words", "longest_loop")],
    *[("odd words", name) for name in ("non_latin_share", "unknown_word_share", "longest_loop", "glued_words")],
    *[("scrambled", name) for name in ("non_latin_share", "repeated_ngrams", "longest_loop", "glued_words")],
    *[("looped", name) for name in ("non_latin_share", "unknown_word_share", "glued_words")],
]


def strength(name: str, damage: str, dose: float, passages: tuple[str, ...]) -> float:
    """How surely the measure tells damaged passages from clean ones."""
    rng = random.Random(f"{damage} {dose}")
    hurt = [" ".join(DAMAGES[damage](passage.split(), dose, rng)) for passage in passages]
    of_batch = MEASURES[name].of_batch
    assert of_batch is not None
    clean, damaged = (
        found.values if isinstance(found, FoundInBatch) else found for found in map(of_batch, (Batch(list(passages)), Batch(hurt)))
    )
    kept = ~np.isnan(clean) & ~np.isnan(damaged)
    return float(mannwhitneyu(damaged[kept], clean[kept]).statistic) / kept.sum() ** 2


@cache
def own_passages(paragraphs: int = 3) -> tuple[str, ...]:
    """Paragraphs drawn at random: three of them, as the published strengths were got, are about 110 words."""
    prose = (Path(__file__).parent / "prose.txt").read_text(encoding="utf-8").strip().split("\n\n")
    rng = random.Random(0)
    return tuple(" ".join(rng.sample(prose, paragraphs)) for _ in range(PASSAGES))


def as_strong(found: float, published: float) -> bool:
    return found >= published - 0.05 if published >= 0.5 else found <= published + 0.05


@pytest.mark.parametrize(("damage", "name"), SEEN)
def test_planted_damage_is_seen_as_strongly_as_published(damage: str, name: str) -> None:
    little, much = (strength(name, damage, dose, own_passages()) for dose in (0.1, 0.3))
    assert as_strong(little, SEEN[damage, name][0]), little
    assert as_strong(much, SEEN[damage, name][1]), much


@pytest.mark.parametrize(("damage", "name"), UNSEEN)
def test_damage_a_measure_is_not_made_for_leaves_it_alone(damage: str, name: str) -> None:
    assert strength(name, damage, 0.3, own_passages()) == pytest.approx(0.5, abs=0.06)


def test_compression_sees_loops_in_passages_long_enough_for_it() -> None:
    passages = own_passages(paragraphs=14)  # it reads windows of 2,000 bytes
    assert strength("compression_ratio", "looped", 0.1, passages) >= 0.9
    assert strength("compression_ratio", "looped", 0.3, passages) == 1


@pytest.fixture(scope="module")
def human_passages(shared: Path) -> tuple[str, ...]:
    """Three stretches of 40 words from speeches and reviews, each passage from three different documents."""
    with gzip.open(shared / "human_reference.jsonl.gz") as lines:
        texts = list(stretches(lines))
    rng = random.Random(1)
    return tuple(" ".join(rng.sample(texts, 3)) for _ in range(PASSAGES))


def stretches(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        document = msgspec.json.decode(line)
        words = document["text"].split()
        if document["corpus"] in ("state_union", "inaugural", "movie_reviews") and len(words) > 400:
            yield " ".join(words[200:240])


@pytest.mark.shared
@pytest.mark.parametrize(("damage", "name"), SEEN)
def test_planted_damage_is_seen_in_speeches_and_reviews(damage: str, name: str, human_passages: tuple[str, ...]) -> None:
    little, much = (strength(name, damage, dose, human_passages) for dose in (0.1, 0.3))
    assert as_strong(little, SEEN[damage, name][0]), little
    assert as_strong(much, SEEN[damage, name][1]), much
