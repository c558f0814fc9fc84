"""Which words drifted: found where planted, not found where nothing changed, and counted right."""

import gzip
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cotdrift.comparison import Counts
from cotdrift.comparisons import keyness, permutation
from cotdrift.comparisons.lexical import COLUMNS, Term, concordance, count_terms, terms, watch_list
from cotdrift.errors import InputError, NotEnough
from cotdrift.text import words

Cell = tuple[str, str]


def counts(
    uses: Mapping[tuple[str, str, str], int],
    totals: Mapping[Cell, int],
    *,
    traces: int = 1,
    kept: Mapping[tuple[str, str, str], int] | None = None,
) -> Counts:
    """Counts from `{(environment, prompt, word): uses}` and `{(environment, prompt): words}`."""
    kept = kept or uses
    rows = [(*key, n, kept.get(key, n), min(n, traces)) for key, n in uses.items()]
    lost = (
        {cell: sum(n - kept.get((*cell, word), n) for (*at, word), n in uses.items() if tuple(at) == cell) for cell in totals}
        if kept is not uses
        else {}
    )
    every = [(*cell, n, n - lost.get(cell, 0), traces) for cell, n in totals.items()]
    return Counts(
        pl.DataFrame(rows, schema=["environment", "prompt_id", "word", "n", "kept", "traces"], orient="row"),
        pl.DataFrame(every, schema=["environment", "prompt_id", "words", "kept_words", "traces"], orient="row"),
    )


def of_texts(texts: Iterable[tuple[str, str, str]]) -> Counts:
    """Counts of `(environment, prompt, text)`, one text a prompt."""
    uses, totals = {}, {}
    for environment, prompt, text in texts:
        said = words(text)
        totals[environment, prompt] = len(said)
        uses |= {(environment, prompt, word): n for word, n in Counter(said).items()}
    return counts(uses, totals)


def bursty(
    rng: np.random.Generator,
    *,
    prompts: int,
    rates: np.ndarray,
    effects: np.ndarray | None = None,
    name: str = "p",
    length: float = 1,
    environments: int = 2,
) -> Counts:
    """Counts of words w0, w1, … said in bursts, more in some prompts than in others."""
    size = (prompts, len(rates))
    effects = rng.gamma(1, 1, size) if effects is None else effects
    totals = (rng.gamma(4, 1000, prompts) * length).astype(int) + 50
    n = rng.poisson(rates * effects * rng.gamma(2, 0.5, size) * totals[:, None])
    p, w = np.nonzero(n)
    environment, prompt_id = np.array([f"e{i % environments}" for i in range(prompts)]), np.array([f"{name}{i}" for i in range(prompts)])
    return Counts(
        pl.DataFrame(
            {
                "environment": environment[p],
                "prompt_id": prompt_id[p],
                "word": [f"w{i}" for i in w],
                "n": n[p, w],
                "kept": n[p, w],
                "traces": np.minimum(n[p, w], 8),
            }
        ),
        pl.DataFrame({"environment": environment, "prompt_id": prompt_id, "words": totals, "kept_words": totals, "traces": 8}),
    )


def row(frame: pl.DataFrame, term: str) -> dict[str, object]:
    return frame.row(by_predicate=pl.col("term") == term, named=True)


def even(word_uses: Mapping[str, int], *, prompts: int = 12, total: int = 1000, name: str = "p", environment: str = "e") -> Counts:
    """The same uses of each word in every prompt."""
    cells = [(environment, f"{name}{i}") for i in range(prompts)]
    return counts({(*cell, word): n for cell in cells for word, n in word_uses.items()}, dict.fromkeys(cells, total))


# what is counted


def test_rates_are_uses_per_million_words():
    found = row(terms(even({"hedge": 3}), even({"hedge": 2}, total=4000)), "hedge")
    assert (found["rate"], found["reference"], found["ratio"]) == (3000, 500, 6)
    assert (found["count"], found["prompts"], found["traces"], found["prompt_share"], found["trace_share"]) == (36, 12, 12, 1, 1)


def test_the_columns_are_those_promised():
    frame = terms(even({"hedge": 3}), even({"hedge": 2}))
    assert frame.schema == pl.Schema(COLUMNS)


def test_only_prompts_that_both_sides_answered_are_compared():
    before = counts({("e", f"p{i}", "hedge"): 2 for i in range(12)}, {("e", f"p{i}"): 1000 for i in range(12)})
    after = counts({("e", f"p{i}", "hedge"): 4 if i < 12 else 90 for i in range(20)}, {("e", f"p{i}"): 1000 for i in range(20)})
    found = row(terms(after, before), "hedge")
    assert found["ratio"] == 2
    assert found["ratio_crude"] == pytest.approx((12 * 4 + 8 * 90) / 20 / 2)
    assert any("Over all traces" in warning for warning in found["warnings"])


def test_a_changed_mix_of_environments_is_no_drift():
    """The worked example of direct standardisation: 20 and 200 per million, and a mix that turns round."""
    rates = {"maths": 20, "agentic": 200}

    def mixed(maths: int, agentic: int, name: str) -> Counts:
        cells = [("maths", f"{name}{i}") for i in range(maths)] + [("agentic", f"{name}{i}") for i in range(agentic)]
        return counts({(*cell, "maybe"): rates[cell[0]] + (i % 5 - 2) for i, cell in enumerate(cells)}, dict.fromkeys(cells, 1_000_000))

    found = row(terms(mixed(20, 80, "a"), mixed(80, 20, "b")), "maybe")
    assert found["ratio_crude"] > 2.5
    assert found["ratio_poststratified"] == pytest.approx(1, abs=0.02)
    assert found["p"] > 0.05
    assert any("same mix of environments" in warning for warning in found["warnings"])


def test_longer_reasoning_on_one_prompt_is_said_not_to_be_drift():
    """Within each prompt the word keeps its rate; only where the words are written moved."""
    cells = [("e", f"p{i}") for i in range(16)]
    often = {cell: 0.02 if i < 8 else 0.001 for i, cell in enumerate(cells)}
    totals = {cell: (8000 if i < 8 else 2000) + 10 * i for i, cell in enumerate(cells)}
    shorter = {cell: 2000 if i < 8 else 8000 for i, cell in enumerate(cells)}
    rng = np.random.default_rng(6)
    before, after = (
        counts({(*cell, "therefore"): int(rng.poisson(often[cell] * n)) for cell, n in of.items()}, of) for of in (totals, shorter)
    )
    found = row(terms(after, before), "therefore")
    assert found["ratio"] < 0.5
    assert found["p"] > 0.05
    assert any("Prompt by prompt the ratio is" in warning for warning in found["warnings"])


def test_loops_are_counted_with_and_without():
    looped = {("e", f"p{i}", "stop"): 100 if i == 0 else 2 for i in range(12)}
    kept = looped | {("e", "p0", "stop"): 2}
    totals = {("e", f"p{i}"): 1000 for i in range(12)}
    found = row(terms(counts(looped, totals, kept=kept), even({"stop": 2})), "stop")
    assert found["ratio"] == pytest.approx(122 / 24)
    assert found["ratio_without_loops"] == pytest.approx(1, rel=0.01)
    assert found["rate_without_loops"] == pytest.approx(24 / (12_000 - 98) * 1e6)


def test_with_few_shared_prompts_every_row_says_so():
    assert "Only 6 prompts are shared" in row(terms(even({"hedge": 9}, prompts=6), even({"hedge": 4}, prompts=6)), "hedge")["warnings"][0]
    assert "share no prompts" in row(terms(even({"hedge": 3}, name="a"), even({"hedge": 2}, name="b")), "hedge")["warnings"][0]
    assert not row(terms(even({"hedge": 3}), even({"hedge": 3})), "hedge")["warnings"]


def test_rare_words_are_tested_only_when_watched():
    few = {("e", f"p{i}", "vantage"): 1 for i in range(8)} | {("e", f"p{i}", "illusions"): 1 for i in range(8)}
    totals = {("e", f"p{i}"): 1000 for i in range(16)}
    frame = terms(counts(few, totals), even({"hedge": 2}, prompts=16), watch=[Term.parse("vantage"), Term.parse("marinade")])
    assert dict(frame.select("term", "family").iter_rows()) == {"vantage": "watch", "marinade": "watch", "hedge": "discovered"}
    assert row(frame, "vantage")["p_adjusted"] < 0.05
    silent = row(frame, "marinade")
    assert silent["count"] == 0
    assert [silent[name] for name in ("ratio", "low", "high", "p", "p_adjusted", "spread", "z", "confirmed")] == [None] * 8


def test_watched_terms_are_adjusted_by_holm_and_all_others_by_benjamini_hochberg():
    rng = np.random.default_rng(5)
    rates = np.geomspace(2e-4, 2e-3, 40)
    after = bursty(rng, prompts=12, rates=rates * np.where(np.arange(40) < 20, 3, 1))
    frame = terms(after, bursty(rng, prompts=12, rates=rates), watch=[Term.parse(f"w{i}") for i in range(0, 40, 4)])
    for family, oracle in (("watch", _holm), ("discovered", stats.false_discovery_control)):
        some = frame.filter(pl.col("family") == family)
        assert some["p_adjusted"].to_numpy() == pytest.approx(oracle(some["p"].to_numpy()))


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    stepped = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return stepped[np.argsort(order)]


def test_sides_without_a_word_cannot_be_compared():
    silent = counts({}, {("e", "p0"): 0})
    with pytest.raises(NotEnough, match="not one word in these traces"):
        terms(silent, even({"hedge": 2}))


def test_a_table_that_lacks_a_column_is_named():
    good = even({"hedge": 2})
    with pytest.raises(InputError, match="kept is not there"):
        Counts(good.counts.drop("kept"), good.totals)


# what chance would do


def test_the_paired_test_is_the_exact_one():
    rng = np.random.default_rng(1)
    n, other, size, other_size = rng.integers(0, 9, 7), rng.integers(0, 9, 7), rng.integers(500, 900, 7), rng.integers(500, 900, 7)
    told = permutation.paired(
        *(lambda at, one=one: one[None].astype(np.float32)[at] for one in (n, other)),
        size.astype(np.float32),
        other_size.astype(np.float32),
        n_words=1,
        seed=0,
    )
    excess = n - (n + other) * size / (size + other_size)
    sums = np.array([abs(np.dot(signs, excess)) for signs in itertools.product((1, -1), repeat=7)])
    assert told.p[0] == pytest.approx((sums >= abs(excess.sum()) - 1e-9).mean())


def test_the_unpaired_test_is_that_of_all_exchanges_within_environments():
    rng = np.random.default_rng(3)
    n, size = rng.poisson(6, 12).astype(np.float32), rng.integers(500, 900, 12).astype(np.float32)
    focal, strata = np.arange(12) % 2 == 0, np.arange(12) // 6
    n[focal] += 3
    told = permutation.unpaired(lambda at: np.repeat(n[None], 1, axis=0)[at].copy(), size, focal, strata, n_words=1, seed=0)
    excess = n - np.array([n[strata == s].sum() / size[strata == s].sum() for s in strata]) * size

    def difference(side: np.ndarray) -> float:
        here, there = size[side].sum(), size[~side].sum()
        error = math.sqrt((excess[side] ** 2).sum() / here**2 + (excess[~side] ** 2).sum() / there**2)
        return abs(excess[side].sum() / here - excess[~side].sum() / there) / error

    ways = itertools.product(itertools.combinations(range(6), 3), itertools.combinations(range(6, 12), 3))
    every = np.array([difference(np.isin(np.arange(12), [*a, *b])) for a, b in ways])
    assert told.p[0] == pytest.approx((every >= difference(focal) - 1e-9).mean(), abs=0.01)


@pytest.mark.parametrize("shared", [True, False])
def test_where_nothing_changed_hardly_anything_is_found(shared):
    """Bursty words, half as many words on one side: p < 0.05 for 7 % at most, and nothing left after adjustment in 19 of 20 pairs."""
    rng = np.random.default_rng(7 + shared)
    rates = np.geomspace(5e-5, 2e-3, 100)
    below, any_found, pairs = [], 0, 20
    for seed in range(pairs):
        effects = rng.gamma(1, 1, (40, 100))
        one = bursty(rng, prompts=40, rates=rates, effects=effects, length=0.5)
        two = bursty(rng, prompts=40, rates=rates, effects=effects if shared else None, name="p" if shared else "q")
        frame = terms(one, two, seed=seed, resamples=50, watch=[Term.parse("w1"), Term.parse("w2")])
        below.append((frame["p"] < 0.05).mean())
        any_found += (frame["p_adjusted"] < 0.05).any()
    assert np.mean(below) <= 0.07
    assert any_found <= 1


@pytest.mark.parametrize("shared", [True, False])
def test_a_word_said_twice_as_often_in_half_the_prompts_is_found(shared):
    rng = np.random.default_rng(11)
    rates = np.full(60, 1e-3)
    effects = rng.gamma(20, 1 / 20, (80, 60))
    more = effects.copy()
    more[::2, 7] *= 2
    after = bursty(rng, prompts=80, rates=rates, effects=more, environments=1)
    before = bursty(rng, prompts=80, rates=rates, effects=effects, name="p" if shared else "q", environments=1)
    frame = terms(after, before)
    found = frame.filter(pl.col("p_adjusted") < 0.05)
    assert found["term"].to_list() == ["w7"]
    assert frame["term"][0] == "w7"
    assert 1 < row(frame, "w7")["low"] < 1.5 < row(frame, "w7")["high"] < 3


def test_a_word_said_in_one_prompt_only_is_never_found():
    totals = {("e", f"p{i}"): 1000 + i for i in range(40)}
    burst = counts({("e", "p3", "marinade"): 500}, totals)
    for other in (
        counts({}, totals),
        counts({}, {("e", f"q{i}"): 1000 + i for i in range(500)}),
        counts({}, {("e", f"q{i}"): 1000 for i in range(4)}),
    ):
        assert row(terms(burst, other), "marinade")["p"] == 1
        assert row(terms(other, burst), "marinade")["p"] == 1


def test_two_uses_are_no_finding_whatever_stands_beside_them():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        totals = [{("e", f"{name}{i}"): int(rng.integers(100, 9000)) for i in range(30)} for name in "ab"]
        frame = terms(
            counts({("e", "a1", "intangible"): 1, ("e", "a2", "intangible"): 1}, totals[0]),
            counts({}, totals[1]),
            watch=[Term.parse("intangible")],
        )
        assert row(frame, "intangible")["p"] > 0.3


def test_a_finding_is_confirmed_on_the_other_half_of_the_prompts():
    rng = np.random.default_rng(2)
    rates = np.full(30, 1e-3)
    after, before = bursty(rng, prompts=60, rates=rates * np.where(np.arange(30) < 3, 4, 1)), bursty(rng, prompts=60, rates=rates)
    frame = terms(after, before)
    assert set(frame.filter(pl.col("confirmed"))["term"]) == {"w0", "w1", "w2"}
    assert frame["confirmed"].null_count() == 0
    few = terms(bursty(rng, prompts=12, rates=rates), bursty(rng, prompts=12, rates=rates))
    assert few["confirmed"].null_count() == few.height


def test_the_same_answer_twice_in_whatever_order_rows_come():
    rng = np.random.default_rng(4)
    one, two = (bursty(rng, prompts=20, rates=np.full(20, 1e-3)) for _ in range(2))
    mixed = Counts(one.counts.sample(fraction=1, shuffle=True, seed=1), one.totals.sample(fraction=1, shuffle=True, seed=2))
    assert terms(one, two, seed=3).equals(terms(mixed, two, seed=3))
    assert not terms(one, two, seed=3).equals(terms(one, two, seed=4))


# how sure


def test_intervals_hold_the_true_ratio():
    """Rare and frequent words, few prompts and many, shared or not: at least nine times in ten."""
    rng = np.random.default_rng(9)
    rates = np.repeat([2e-5, 2e-4, 2e-3], 60)
    held = []
    for prompts, shared in itertools.product((9, 40), (True, False)):
        effects = rng.gamma(1, 1, (prompts, len(rates)))
        after = bursty(rng, prompts=prompts, rates=rates * 2, effects=effects, environments=1)
        before = bursty(rng, prompts=prompts, rates=rates, effects=effects if shared else None, name="p" if shared else "q", environments=1)
        frame = terms(after, before, resamples=300, watch=[Term.parse(f"w{i}") for i in range(len(rates))]).filter(
            pl.col("low").is_not_null()
        )
        held.append(((frame["low"] <= 2) & (frame["high"].fill_null(math.inf) >= 2)).mean())
    assert min(held) > 0.9


def test_the_bootstrap_agrees_with_the_clustered_error():
    rng = np.random.default_rng(8)
    by_prompt, size = rng.poisson(30, (5, 80)).astype(float), rng.uniform(900, 1100, 80)
    told = keyness.clustered_error(by_prompt, size)
    drawn = rng.multinomial(80, np.full(80, 1 / 80), 4000)
    again = np.log((by_prompt @ drawn.T) / (drawn @ size)).std(axis=1)
    assert told == pytest.approx(again, rel=0.1)


def test_bounds_for_rare_words_are_the_exact_ones():
    """One use a prompt: Clopper and Pearson's interval for the share of the focal side."""
    for here, there in ((5, 3), (10, 0), (0, 4)):
        after = counts({("e", f"p{i}", "vantage"): 1 for i in range(here)}, {("e", f"p{i}"): 1000 for i in range(100)})
        before = counts({("e", f"p{i}", "vantage"): 1 for i in range(there)}, {("e", f"p{i}"): 1000 for i in range(100)})
        found = row(terms(after, before, watch=[Term.parse("vantage")]), "vantage")
        share = stats.binomtest(here, here + there).proportion_ci(0.95)
        assert found["low"] == pytest.approx(share.low / (1 - share.low))
        assert found["high"] == (pytest.approx(share.high / (1 - share.high)) if there else None)
        assert found["ratio"] == (pytest.approx(here / there) if there else None)


def test_a_word_never_said_has_an_upper_bound():
    """3.69 over the words, times the traces of a prompt."""
    zero = keyness.exact_rate(np.array([0.0]), 2e6, np.array([0.0]), 8.0)
    assert (zero.low[0], zero.high[0]) == (0, pytest.approx(3.689 * 8 / 2e6, rel=1e-3))
    some = keyness.exact_rate(np.array([6.0]), 1e6, np.array([6.0]), 8.0)
    assert [some.low[0] * 1e6, some.high[0] * 1e6] == pytest.approx([stats.chi2.ppf(0.025, 12) / 2, stats.chi2.ppf(0.975, 14) / 2])


def test_log_odds_are_those_of_monroe_and_others():
    after, before = even({"hedge": 6, "so": 20}), even({"hedge": 2, "so": 20})
    prior, prior_words = 0.05 * 96, 0.05 * 24_000
    odds = [math.log((n + prior) / (12_000 + prior_words - n - prior)) for n in (72, 24)]
    assert row(terms(after, before), "hedge")["log_odds"] == pytest.approx(odds[0] - odds[1])


def test_spread_tells_an_even_word_from_one_in_few_prompts():
    totals = {("e", f"p{i}"): 1000 for i in range(20)}
    uses = {("e", f"p{i}", "even"): 5 for i in range(20)} | {("e", "p0", "lumped"): 99, ("e", "p1", "lumped"): 1}
    frame = terms(counts(uses, totals), counts({("e", f"p{i}", "gone"): 5 for i in range(20)}, totals))
    assert row(frame, "even")["spread"] == pytest.approx(0, abs=1e-6)
    assert row(frame, "lumped")["spread"] > 0.9
    assert row(frame, "gone")["spread"] == pytest.approx(0, abs=1e-6)


tables = st.dictionaries(
    st.tuples(st.sampled_from("ef"), st.sampled_from("pqrst"), st.sampled_from(["vantage", "hedge", "so"])), st.integers(1, 60), max_size=20
)


@settings(max_examples=25)
@given(tables, tables, st.integers(0, 3))
def test_numbers_are_finite_or_null_and_the_ratio_lies_in_its_interval(here, there, traces):
    cells = {(environment, prompt): 100 + 7 * i for i, (environment, prompt) in enumerate(itertools.product("ef", "pqrst"))}
    one, two = counts(here, cells, traces=traces + 1), counts(there, dict(list(cells.items())[traces:]))
    frame = terms(one, two, watch=[Term.parse(word) for word in ("vantage", "hedge", "so")], resamples=40)
    numbers = frame.select(pl.col(pl.Float64))
    assert numbers.select(pl.all().is_finite().all()).row(0) == (True,) * numbers.width
    for found in frame.iter_rows(named=True):
        ratio, low, high = found["ratio"], found["low"], found["high"]
        if ratio is not None and low is not None:
            assert low <= ratio * (1 + 1e-9)
            assert high is None or high >= ratio * (1 - 1e-9)
        assert found["p"] is None or 0 < found["p"] <= found["p_adjusted"] <= 1
        assert found["spread"] is None or -1e-6 <= found["spread"] <= 1 + 1e-6


# terms


def test_disclaim_does_not_fire_on_disclaimer():
    texts = ["Add a disclaimer. Disclaimers help; a disclaimed claim.", "We disclaim it."]
    assert count_terms(texts, [Term.parse("disclaim")])[:, 0].tolist() == [0, 1]
    said = of_texts(("e", f"p{i}", "the disclaimer " * 3 + "is there") for i in range(12))
    frame = terms(said, even({"is": 1}), watch=watch_list())
    assert row(frame, "disclaim")["count"] == 0
    assert row(frame, "disclaimer")["count"] == 36


def test_a_term_with_a_capital_is_found_in_that_case_only():
    texts = ["Myself will check. I myself checked, MYSELF"]
    assert count_terms(texts, [Term.parse("Myself"), Term.parse("myself")]).tolist() == [[1, 3]]


def test_several_words_are_found_where_they_follow_one_another():
    texts = ["Craft illusions, craft\nillusions; illusions craft.", "crafting illusions", "don’t overshadow me"]
    wanted = [Term.parse("craft illusions"), Term.parse("Craft illusions"), Term.parse("don't overshadow")]
    assert count_terms(texts, wanted).tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 1]]


@given(st.text(alphabet="aAbB'’ İßΣςσ42.,中\n", max_size=40), st.text(alphabet="aAbB'İßΣσ 中", min_size=1, max_size=5))
def test_passages_are_the_uses_that_are_counted(text, spelt):
    if not words(spelt):
        return
    term = Term.parse(spelt)
    hits = list(concordance(text, term, width=5))
    assert len(hits) == count_terms([text], [term])[0, 0]
    for hit in hits:
        said = words(text[hit.start : hit.end], cased=term.cased)
        assert said == term.words
        assert (text[: hit.start].endswith(hit.before) or "\n" in text) and len(hit.before) <= 5


def test_passages_stand_on_one_line():
    hit = next(iter(concordance("We see\nthat a wider vantage\nhelps us here", Term.parse("vantage"), width=11)))
    assert (hit.before, hit.hit, hit.after) == ("at a wider ", "vantage", " helps us h")


def test_the_shipped_watch_list_holds_what_was_reported_for_o3():
    listed = {term.text: term for term in watch_list()}
    assert {"disclaim", "illusions", "overshadow", "vantage", "marinade", "watchers", "Myself", "Redwood"} <= set(listed)
    assert listed["Myself"].cased
    assert not listed["disclaim"].cased


def test_a_watch_list_of_ones_own(tmp_path: Path):
    path = tmp_path / "watch.txt"
    path.write_text("# mine\ncraft  illusions  # both words\n\nRedwood\nredwood\nRedwood\n")
    assert [term.text for term in watch_list(path)] == ["craft illusions", "Redwood", "redwood"]


@pytest.mark.parametrize(
    ("content", "fault"), [(b"# nothing\n", "names no term"), (b"ok\n42\n", "'42' holds no word"), (b"\xff\xfe\x00", "cannot be read")]
)
def test_a_watch_list_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, fault: str):
    path = tmp_path / "watch.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=fault):
        watch_list(path)


# real models


def halves(shared: Path, model: str) -> tuple[Counts, list[str]]:
    texts: dict[str, list[str]] = {}
    for line in gzip.decompress((shared / "multimodel_traces" / f"{model}.jsonl.gz").read_bytes()).splitlines():
        trace = json.loads(line)
        texts.setdefault(trace["prompt_sha"], []).append(trace["thinking"] or "")
    return of_texts(("all", prompt, "\n".join(said)) for prompt, said in texts.items()), sorted(texts)


@pytest.mark.shared
def test_two_halves_of_one_model_do_not_differ(shared: Path):
    every, prompts = halves(shared, "gpt-oss-120b")
    rng, below, any_found = np.random.default_rng(0), [], 0
    for seed in range(4):
        half = pl.col("prompt_id").is_in(rng.permutation(prompts)[: len(prompts) // 2].tolist())
        one, two = (Counts(every.counts.filter(part), every.totals.filter(part)) for part in (half, ~half))
        frame = terms(one, two, watch=watch_list(), seed=seed, resamples=20)
        below.append((frame["p"].drop_nulls() < 0.05).mean())
        any_found += (frame["p_adjusted"] < 0.05).any()
    assert np.mean(below) <= 0.07
    assert any_found <= 1


@pytest.mark.shared
def test_one_model_differs_from_another_in_words_a_reader_knows(shared: Path):
    frame = terms(halves(shared, "gpt-oss-120b")[0], halves(shared, "kimi-k2-thinking")[0], watch=watch_list())
    found = {row["term"]: row for row in frame.filter(pl.col("p_adjusted") < 0.05, pl.col("confirmed")).iter_rows(named=True)}
    assert all(found[word]["ratio"] is None or found[word]["ratio"] > 5 for word in ("we'll", "disallowed", "comply", "ok"))
    assert all(found[word]["ratio"] < 0.3 for word in ("i'll", "reconsider", "me"))
