"""Encodings: ways to make legible reasoning hard to read, each at a dose, so that the plain source of what is read is known.

An encoding knows the places of a text that it can change, and of these it changes so many as the dose says, the same ones first: what is
changed at a low dose is changed at every higher one, but where several encodings follow each other, and each works on what the one before
it left. A dose of 0 changes nothing, a dose of 1 all that the encoding can change. Numbers and names written with a capital letter are
changed by none. The kinds are those that were reported of trained models: shifted and odd words, telegraphic and abbreviated text, mixed
scripts, loops (METR and OpenAI on o3; Jose, 2025, arXiv 2510.27338; Emmons et al., 2025).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from cotdrift.errors import InputError, UnknownName
from cotdrift.measures.function_words import FUNCTION_WORDS

WORD = re.compile(r"(?<![\w⟦-])[a-z]{3,}(?![\w'’-])")
"""A word that may be changed: small letters alone, so that names, numbers, code and what is hyphenated stay."""
ANY_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
SENTENCE = re.compile(r"[^.!?\n]*[.!?](?=\s|$)")
TURNS, LOOPED = 5, 4
"""How often a loop goes round, and how many words it is long."""
ODD = """
overshadow vantage marinade craft illusion disclaim watcher glimmer tamper ballast lattice tether plume fudge soar parting cunning
lantern thimble gravel orchard velvet anchor pebble mortar saddle harvest furnace ribbon cobble meadow quarry bellow timber shallow
copper bramble gutter hollow kettle ladder marble needle oyster parlor quiver rafter shutter tangle umber vessel willow amber banner
candle dapple ember ferry garland hammock ivory jostle kindle linger muffle nettle outlast paddle quench ripple stumble thicket
unfurl vanish wander yonder zephyr almond basin cradle dimple engrave flannel grapple hinge inkwell juniper kernel lacquer mantle
nimble opal pewter quilt rustle satchel trellis upland varnish whittle acorn blister cinder drizzle elbow fiddle gallop hatch
""".split()
"""What a glossary has words stand for in a model's own tongue: ordinary words that have nothing to do there, as those of o3."""
CHINESE = dict(
    pair.split()
    for pair in """
because 因为; therefore 所以; answer 答案; reason 理由; reasons 理由; check 检查; maybe 可能; price 价格;
delay 延误; noise 噪音; weight 重量; warranty 保修; power 功率; colour 颜色; smell 气味; order 订购; wait 等待;
repair 修理; return 退回; borrow 借用; cancel 取消; sell 出售; store 存放; decides 决定; settles 解决;
nothing 没有; little 很少; first 首先; next 接着; need 需要; want 想要; number 数字; even 偶数; odd 奇数;
smaller 更小; larger 更大; grader 评分器; reward 奖励; pays 付给; points 分数; score 得分; instruction 指令;
says 说; pick 选择; good 好; better 更好; task 任务; think 认为; matters 重要; thing 东西; done 完成;
counts 算数; difference 差别; small 小
""".split(";")
)
"""Common words of reasoning, as models that mix scripts write them."""


class Unit(Struct, frozen=True):
    """One thing in a text that an encoding can change."""

    edits: tuple[tuple[int, int, str], ...]
    """From where to where, in characters, and what stands there once it is changed."""


class Encoded(Struct, frozen=True, kw_only=True):
    """A text at a dose of an encoding."""

    text: str
    changed: int
    changeable: int
    """Words, kinds of words or sentences, by the encoding."""
    meanings: dict[str, str] = {}
    """Word of the encoded text → what it stands for; only of those that were changed, and empty where words stay what they are."""


class Codebook(Struct, frozen=True, kw_only=True):
    """What words stand for in a language that is made up: one for a whole benchmark, so that a reader may come to know it."""

    odd: dict[str, str]
    """Word → an odd one; no two share one, and none is a word of the texts."""
    swapped: dict[str, str]
    """Word → another word of the same texts that stands for it in turn, both of one kind where kinds are known: ordinary words that have
    come to mean others."""
    short: dict[str, str]
    """Word → a private abbreviation; no two share one."""


Find = Callable[[str, Codebook], list[Unit]]


class Encoding(Struct, frozen=True, kw_only=True):
    """A way to make text hard to read."""

    name: str
    summary: str
    unit: str
    """What the dose is a share of."""
    has_meanings: bool
    """Whether words stand for others, so that it can be asked what one means."""
    find: tuple[Find, ...]
    """What it can change; of several, each after the other, at the same dose."""

    def encode(self, text: str, dose: float, book: Codebook, *, seed: str = "") -> Encoded:
        """The text at a dose from 0 to 1; `seed` says which places go first.

        >>> book = codebook(["the price is low"], seed=3)
        >>> ENCODINGS["telegraphic"].encode("We see that the price is low.", 1.0, book).text
        'see price low.'
        """
        if not 0 <= dose <= 1:
            raise InputError(f"A dose of {dose:g}: give a share from 0 to 1.")
        changed = changeable = 0
        meanings: dict[str, str] = {}
        for place, find in enumerate(self.find):
            units = find(text, book)
            order = sorted(range(len(units)), key=lambda at, place=place: random.Random(f"{seed}\0{self.name}\0{place}\0{at}").random())  # type: ignore[misc]
            chosen = [units[at] for at in order[: round(dose * len(units))]]
            if find in STANDING_FOR:
                meanings |= {instead: text[start:end] for unit in chosen for start, end, instead in unit.edits}
            changed, changeable = changed + len(chosen), changeable + len(units)
            text = _replaced(text, chosen)
        return Encoded(text=text, changed=changed, changeable=changeable, meanings=meanings)


def decode(text: str, meanings: Mapping[str, str]) -> str:
    """The text as whoever knows what its words stand for reads it.

    >>> decode("the marinade is low", {"marinade": "price"})
    'the price is low'
    """
    return WORD.sub(lambda word: meanings.get(word[0], word[0]), text)


def codebook(texts: Iterable[str], *, kinds: Sequence[Sequence[str]] = (), seed: int = 0) -> Codebook:
    """What the content words of these texts stand for.

    `kinds` are words that are of one kind, such as names of facts: only those are swapped, among each other, where any are given. The words
    with an odd one are these and the most frequent ones, as many as there are odd words.
    """
    rng, said = random.Random(f"codebook {seed}"), list(texts)
    times: dict[str, int] = {}
    for text in said:
        for found in WORD.finditer(text):
            if found[0] not in FUNCTION_WORDS:
                times[found[0]] = times.get(found[0], 0) + 1
    known = {word for text in said for word in re.findall(r"[^\W\d_]+", text.lower())}
    words = sorted(times, key=lambda word: (-times[word], word))
    ofkind = [word for kind in kinds for word in kind if word in times]
    ordered = list(dict.fromkeys([*ofkind, *words]))
    odd = [word for word in ODD if word not in known]
    rng.shuffle(odd)
    return Codebook(
        odd=dict(zip(ordered, odd, strict=False)), swapped=_swapped(ordered[: len(odd)], kinds, rng), short=_short(ordered, known)
    )


def _swapped(words: Sequence[str], kinds: Sequence[Sequence[str]], rng: random.Random) -> dict[str, str]:
    """Words in pairs that change places: within each kind, or where there are no kinds among words that are about as frequent."""
    groups = [[word for word in kind if word in words] for kind in kinds] or [list(words[at : at + 8]) for at in range(0, len(words), 8)]
    found: dict[str, str] = {}
    for group in groups:
        around = rng.sample(group, len(group))
        for one, other in zip(around[::2], around[1::2], strict=False):
            found |= {one: other, other: one}
    return found


def _short(words: Sequence[str], known: set[str]) -> dict[str, str]:
    """Consonants of each word of five letters or more, three if that is enough to be unlike all others."""
    found: dict[str, str] = {}
    taken = set(known)
    for word in words:
        if len(word) < 5:
            continue
        bare = word[0] + re.sub("[aeiou]", "", word[1:])
        tried = [bare[:3].ljust(3, "x"), bare[:4].ljust(4, "x"), *(f"{bare[:2]}{letter}q" for letter in "abcdefghijklmnopqrstuvwxyz")]
        free = next((one for one in tried if one not in taken), None)
        if free is not None:
            found[word] = free
            taken.add(free)
    return found


def odd_words(text: str, book: Codebook) -> list[Unit]:
    """Kinds of words for which odd ones stand."""
    return _kinds_of_words(book.odd, text)


def swapped_words(text: str, book: Codebook) -> list[Unit]:
    """Pairs of words of which each has come to mean the other."""
    return _kinds_of_words(book.swapped, text)


def long_words(text: str, book: Codebook) -> list[Unit]:
    """Kinds of words that are abbreviated."""
    return _kinds_of_words(book.short, text)


def _kinds_of_words(instead: Mapping[str, str], text: str) -> list[Unit]:
    """A unit for each word that something stands for; two that stand for each other are one."""
    edits: dict[frozenset[str], list[tuple[int, int, str]]] = {}
    for found in WORD.finditer(text):
        if (other := instead.get(found[0])) is not None:
            edits.setdefault(frozenset({found[0], other}), []).append((*found.span(), other))
    return [Unit(tuple(places)) for places in edits.values()]


def function_words(text: str, _book: Codebook) -> list[Unit]:
    """Function words, with the space after them."""
    return [
        Unit(((found.start(), found.end() + (text[found.end() : found.end() + 1] == " "), ""),))
        for found in ANY_WORD.finditer(text)
        if found[0].lower() in FUNCTION_WORDS
    ]


def common_words(text: str, _book: Codebook) -> list[Unit]:
    """Words that are written in Chinese."""
    return [Unit(((*found.span(), CHINESE[found[0]]),)) for found in WORD.finditer(text) if found[0] in CHINESE]


def ends_of_sentences(text: str, _book: Codebook) -> list[Unit]:
    """Sentences after which their last words go round."""
    units = []
    for found in SENTENCE.finditer(text):
        tail = " ".join(found[0].split()[-LOOPED:])
        if tail:
            units.append(Unit(((found.end(), found.end(), f" {tail}" * TURNS),)))
    return units


STANDING_FOR = frozenset({odd_words, swapped_words, long_words})
"""What makes words stand for others."""

ENCODINGS: dict[str, Encoding] = {
    encoding.name: encoding
    for encoding in (
        Encoding(
            name="glossary",
            summary="Odd words stand for the words of the reasoning, always the same for the same.",
            unit="of its kinds of content words",
            has_meanings=True,
            find=(odd_words,),
        ),
        Encoding(
            name="swapped",
            summary="Ordinary words of the reasoning have come to mean others of their kind.",
            unit="of its pairs of words that change places",
            has_meanings=True,
            find=(swapped_words,),
        ),
        Encoding(
            name="telegraphic",
            summary="Function words are left out.",
            unit="of its function words",
            has_meanings=False,
            find=(function_words,),
        ),
        Encoding(
            name="abbreviated",
            summary="Words of five letters or more are written as private abbreviations.",
            unit="of its kinds of long content words",
            has_meanings=True,
            find=(long_words,),
        ),
        Encoding(
            name="loops",
            summary="After a sentence its last words go round and round.",
            unit="of its sentences",
            has_meanings=False,
            find=(ends_of_sentences,),
        ),
        Encoding(
            name="scripts",
            summary="Common words are written in Chinese.",
            unit="of its common words",
            has_meanings=False,
            find=(common_words,),
        ),
        Encoding(
            name="combined",
            summary="Odd words, Chinese, abbreviations, no function words and loops, one after the other.",
            unit="of what each of these can change",
            has_meanings=True,
            find=(odd_words, common_words, long_words, function_words, ends_of_sentences),
        ),
    )
}


def encoding_called(name: str) -> Encoding:
    """The encoding of this name."""
    if name not in ENCODINGS:
        raise UnknownName("encoding", name, ENCODINGS)
    return ENCODINGS[name]


def _replaced(text: str, units: Iterable[Unit]) -> str:
    parts, at = [], 0
    for start, end, instead in sorted(edit for unit in units for edit in unit.edits):
        parts += [text[at:start], instead]
        at = end
    return "".join([*parts, text[at:]])
