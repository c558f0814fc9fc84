"""Term sense: how often a planted change of sense is found, how often one is where there is none, and what the naive test would say.

python benchmarks/senses.py                  on the organism's rollouts, and on ../shared/data/multimodel_traces where it is there
python benchmarks/senses.py --judged FOLDER  and the encoder on pairs that people judged, as in DWUG: data/LEMMA/{uses,judgments}.csv

One checkpoint's traces are dealt out to two arms of 50 uses, one a prompt. In the second arm a share of the term's uses becomes another
word's, with the term written in that word's place (after Rosenfeld and Erk, 2018). With nothing replaced there is no change to be found.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.cluster.vq import kmeans2
from scipy.stats import rankdata

from cotdrift.comparisons.classifier import told_apart
from cotdrift.comparisons.energy import Cloud, Exchanged, held_against
from cotdrift.comparisons.semantic import dose_of, planted_energies
from cotdrift.encoders import Encoder, Vectors, encoder_called
from cotdrift.measures.function_words import FUNCTION_WORDS
from cotdrift.term import Term
from cotdrift.text import words
from cotdrift.usage import Window, windows

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "multimodel_traces"
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8)
USES, A_PROMPT, PAIRS, ROUNDS, DRAWS = 50, 5, 10, 40, 399
MOST_PROMPTS = 70


class Planted(NamedTuple):
    """A term, and the uses of another word with the term in its place."""

    term: str
    donor: str
    own: Vectors
    own_prompts: Sequence[str]
    others: Vectors
    other_prompts: Sequence[str]


def texts_of_organism() -> list[tuple[str, str]]:
    """Prompt and reasoning of the model before training."""
    frame = pl.read_parquet(ROOT / "src" / "cotdrift" / "organism" / "rollouts.parquet")
    frame = frame.filter((pl.col("run") == "hinted") & (pl.col("step") == 0))
    return list(frame.select("prompt_id", "reasoning").iter_rows())


def texts_of(path: Path) -> list[tuple[str, str]]:
    """Prompt and reasoning of one model."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["prompt_sha"], row["thinking"]) for row in rows if row["thinking"]]


def plant(texts: Sequence[tuple[str, str]], encoder: Encoder) -> list[Planted]:
    """Terms that at least 50 prompts use twice, each with another one as its donor."""
    often: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for prompt, text in texts:
        for word in words(text):
            often[word][prompt] += 1
    fit = sorted(
        word
        for word, by_prompt in often.items()
        if word not in FUNCTION_WORDS and len(word) > 3 and sum(many > 1 for many in by_prompt.values()) >= USES
    )
    random.Random(0).shuffle(fit)
    pairs = [(fit[at], fit[(at + 1) % len(fit)]) for at in range(min(PAIRS, len(fit)))]
    terms = [Term.parse(word) for word in dict.fromkeys(word for pair in pairs for word in pair)]
    found: dict[str, dict[str, list[Window]]] = {term.text: defaultdict(list) for term in terms}
    for prompt, text in texts:
        for term, uses in zip(terms, windows(text, terms), strict=True):
            found[term.text][prompt] += [window for _, window in uses]
    return [_encoded(term, donor, found, encoder) for term, donor in pairs]


def _encoded(term: str, donor: str, found: dict[str, dict[str, list[Window]]], encoder: Encoder) -> Planted:
    rng = random.Random(1)

    def some(word: str, least: int, most: int) -> list[tuple[str, Window]]:
        prompts = sorted(prompt for prompt, uses in found[word].items() if len(uses) >= least)
        rng.shuffle(prompts)
        return [
            (prompt, window)
            for prompt in prompts[:MOST_PROMPTS]
            for window in rng.sample(found[word][prompt], min(most, len(found[word][prompt])))
        ]

    own, others = some(term, 2, A_PROMPT), [(prompt, window.with_term(term)) for prompt, window in some(donor, 1, 1)]
    vectors = encoder.encode([window for _, window in (*own, *others)])
    return Planted(term, donor, vectors[: len(own)], [prompt for prompt, _ in own], vectors[len(own) :], [prompt for prompt, _ in others])


def arms(planted: Planted, share: float, rng: np.random.Generator) -> tuple[Cloud, Cloud]:
    """Two arms of 50 uses of the same prompts, with a share of the second replaced."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, prompt in enumerate(planted.own_prompts):
        places[prompt].append(at)
    prompts = rng.permutation(sorted(places))[:USES]
    drawn = np.array([rng.permutation(places[prompt])[:2] for prompt in prompts])
    late = planted.own[drawn[:, 1]].copy()
    replaced = rng.permutation(len(prompts))[: round(share * len(prompts))]
    late[replaced] = planted.others[rng.integers(0, len(planted.others), len(replaced))]
    names = [("e", str(prompt)) for prompt in prompts]
    return Cloud(planted.own[drawn[:, 0]].astype(np.float64), names), Cloud(late.astype(np.float64), names)


def parted(planted: Planted, names: Sequence[str], rng: np.random.Generator) -> tuple[Cloud, Cloud] | None:
    """Two arms without any change, each of ten of these names with up to five uses each; None where there are too few."""
    many: dict[str, int] = defaultdict(int)
    for name in names:
        many[name] += 1
    often = sorted(many, key=lambda name: (-many[name], rng.random()))[:40]
    if len(often) < 20:
        return None
    chosen, made = list(rng.permutation(often)), []
    for side in (chosen[:10], chosen[10:20]):
        kept = [at for name in side for at in rng.permutation([at for at, other in enumerate(names) if other == name])[:A_PROMPT]]
        made.append(Cloud(planted.own[kept].astype(np.float64), [("e", names[at]) for at in kept]))
    return made[0], made[1]


def contexts(planted: Planted) -> list[str]:
    """Uses in like contexts under one name, as if each prompt called for one context of its own."""
    _, found = kmeans2(planted.own.astype(np.float64), 24, minit="++", rng=np.random.default_rng(0))
    return [str(code) for code in found]


def as_uses(cloud: Cloud, side: str) -> Cloud:
    """Each use as if it were a prompt: what a test does that does not know of prompts."""
    return Cloud(cloud.vectors, [("e", f"{side}{at}") for at in range(len(cloud.prompts))])


def simulate(name: str, every: Sequence[Planted], rounds: int) -> None:
    """Print what was found at each share, and what the tests say where prompts differ and nothing changed."""
    rng = np.random.default_rng(0)
    print(f"\n{name}: {len(every)} terms, {', '.join(f'{one.term} ← {one.donor}' for one in every)}")
    print(f"{'replaced':>9} {'found':>6} {'AUC p':>6} {'energy':>8} {'dose':>6}   {rounds * len(every)} rounds")
    for share in SHARES:
        found, apart, energies, doses = [], [], [], []
        for planted in every:
            donors = {"donor": Cloud(planted.others.astype(np.float64), [("e", prompt) for prompt in planted.other_prompts])}
            own = Cloud(planted.own.astype(np.float64), [("e", prompt) for prompt in planted.own_prompts])
            [whole] = planted_energies(own, donors)
            for turn in range(rounds):
                sides = held_against(*arms(planted, share, rng))
                assert sides is not None
                found.append(sides.p(draws=DRAWS, seed=turn) <= 0.05)
                energies.append(sides.energy())
                dose = dose_of(sides.energy(), np.array([sides.energy()]), [whole.energy] * 3)
                doses.append(dose.value if dose else np.nan)
                if turn < rounds // 8:
                    apart.append(told_apart(sides, draws=99, seed=turn).p <= 0.05)
        print(f"{share:>8.0%} {np.mean(found):>7.2f} {np.mean(apart):>6.2f} {np.mean(energies):>8.4f} {np.nanmedian(doses):>6.0%}")
    named = {"prompts of their own": [one.own_prompts for one in every], "contexts of their own": [contexts(one) for one in every]}
    for told, names_of in named.items():
        naive, whole = [], []
        for planted, names in zip(every, names_of, strict=True):
            for turn in range(rounds):
                if not (both := parted(planted, names, rng)):
                    continue
                whole.append(Exchanged(*both).p(draws=DRAWS, seed=turn) <= 0.05)
                naive.append(Exchanged(as_uses(both[0], "a"), as_uses(both[1], "b")).p(draws=DRAWS, seed=turn) <= 0.05)
        print(f"nothing changed, {told}: found use by use {np.mean(naive):.2f}, by whole prompts {np.mean(whole):.2f} of {len(whole)}")


def auc(same: Sequence[float], different: Sequence[float]) -> float:
    """How often a pair of one sense is nearer than one of two."""
    ranks = rankdata([*same, *different])
    return float((ranks[: len(same)].sum() - len(same) * (len(same) + 1) / 2) / (len(same) * len(different)))


def card(every: Sequence[Planted]) -> float:
    """The same for constructed pairs: two own uses, or an own use and a planted one, in answer to different prompts."""
    rng, same, different = np.random.default_rng(0), [], []
    for planted in every:
        for _ in range(400):
            one, other = rng.integers(0, len(planted.own), 2)
            donor = rng.integers(0, len(planted.others))
            if planted.own_prompts[one] != planted.own_prompts[other]:
                same.append(float(planted.own[one] @ planted.own[other]))
            if planted.own_prompts[one] != planted.other_prompts[donor]:
                different.append(float(planted.own[one] @ planted.others[donor]))
    return auc(same, different)


def judged_pairs(folder: Path) -> Iterator[tuple[Window, Window, float]]:
    """Pairs of uses with the mean of people's judgments, as DWUG writes them (Schlechtweg et al., 2021); 0, cannot decide, is left out."""
    for uses in sorted(folder.glob("data/*/uses.csv")):
        read = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
        with uses.open(encoding="utf-8", newline="") as lines:
            known = {row["identifier"]: _window(row) for row in csv.DictReader(lines, **read)}
        said: dict[tuple[str, str], list[float]] = defaultdict(list)
        with uses.with_name("judgments.csv").open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, **read):
                if float(row["judgment"]) > 0:
                    said[tuple(sorted((row["identifier1"], row["identifier2"])))].append(float(row["judgment"]))  # type: ignore[index]
        yield from (
            (known[one], known[other], float(np.mean(given))) for (one, other), given in said.items() if one in known and other in known
        )


def _window(row: dict[str, str]) -> Window:
    start, end = (int(place) for place in row["indexes_target_token"].split(":"))
    return Window(row["context"], start, end)


def card_of_judged(folder: Path, encoder: Encoder) -> None:
    """Print how well the encoder tells pairs judged 4 from pairs judged 1."""
    pairs = [pair for pair in judged_pairs(folder) if pair[2] in (1.0, 4.0)]
    every = list(dict.fromkeys(window for one, other, _ in pairs for window in (one, other)))
    place, vectors = {window: at for at, window in enumerate(every)}, encoder.encode(every)
    near = [(float(vectors[place[one]] @ vectors[place[other]]), value) for one, other, value in pairs]
    found = auc([cosine for cosine, value in near if value == 4], [cosine for cosine, value in near if value == 1])
    print(f"{encoder.name}: AUC {found:.3f} of {len(pairs)} pairs that people judged 4 or 1")


def main() -> None:
    """Plant, test, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--judged", type=Path)
    given = parser.parse_args()
    encoder = encoder_called(given.encoder)
    sources = {"the organism": texts_of_organism()}
    if (raw := SHARED / "gpt-oss-120b.jsonl.gz").exists():
        sources["gpt-oss-120b"] = texts_of(raw)
    for name, texts in sources.items():
        every = plant(texts, encoder)
        simulate(name, every, given.rounds)
        print(f"card of {encoder.name} on {name}: AUC {card(every):.3f} between pairs of own uses and pairs with a planted one")
    if given.judged:
        card_of_judged(given.judged, encoder)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
