"""Against people: what wordfreq lists, what it cannot say, and what comes of both."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from cotdrift.comparison import Counts
from cotdrift.comparisons.lexical import Term, terms, watch_list
from cotdrift.references.human import human, rates


def said(word: str, by_prompt: list[int], *, total: int = 1_000_000, traces: int = 4) -> Counts:
    """One word, so often in each prompt."""
    names = [f"p{i}" for i in range(len(by_prompt))]
    table = pl.DataFrame(
        {"environment": "e", "prompt_id": names, "word": word, "n": by_prompt, "kept": by_prompt, "traces": np.minimum(by_prompt, traces)}
    )
    totals = pl.DataFrame({"environment": "e", "prompt_id": names, "words": total, "kept_words": total, "traces": traces})
    return Counts(table.filter(pl.col("n") > 0), totals)


def only(counts: Counts, *watch: str) -> dict[str, object]:
    return terms(counts, human, watch=[Term.parse(text) for text in watch]).row(0, named=True)


def test_listed_rates_are_wordfreqs():
    known = {"disclaim": 0.269, "disclaims": 0.234, "marinade": 0.562, "overshadow": 0.513, "vantage": 1.91, "illusions": 2.75}
    known |= {"parted": 2.75, "watchers": 1.91, "craft": 20.0, "genuinely": 12.6, "wait": 224}
    assert rates(list(known)) == pytest.approx(list(known.values()), rel=0.005)


def test_of_phrases_cased_terms_and_words_with_digits_nothing_is_known():
    assert np.isnan(rates(["craft illusions", "Myself", "x2"])).all()


def test_a_word_under_the_floor_has_no_rate_of_zero():
    """Not listed: the reference is null, and the ratio bounded from below by the floor."""
    found = only(said("overshadowingly", [3, 4, 5, 2, 4, 3, 5, 4, 3, 4, 5, 3]))
    assert (found["reference"], found["ratio"], found["high"]) == (None, None, None)
    assert 100 < found["low"] < found["rate"] / 0.0102
    assert found["p_adjusted"] < 0.05


def test_the_ratio_carries_the_error_of_both_sides():
    rng = np.random.default_rng(0)
    by_prompt = rng.poisson(119, 60).tolist()
    found = only(said("disclaim", by_prompt))
    assert found["ratio"] == pytest.approx(np.mean(by_prompt) / 0.269, rel=0.005)
    own = stats.t.ppf(0.975, 59) * np.std(by_prompt, ddof=1) / math.sqrt(60) / np.mean(by_prompt)
    factor = math.exp(math.hypot(own, 1.96 * math.log(1.2))) * 1.0116
    assert found["low"] == pytest.approx(found["ratio"] / factor, rel=1e-4)
    assert found["high"] == pytest.approx(found["ratio"] * factor, rel=1e-4)
    assert found["p"] < 1e-6


def test_a_word_said_as_often_as_people_say_it_is_not_found():
    rng = np.random.default_rng(1)
    found = only(said("craft", rng.poisson(21, 60).tolist()))
    assert found["p"] > 0.3
    assert found["low"] < 1 < found["high"]


def test_a_word_in_one_prompt_only_is_not_found():
    assert only(said("marinade", [400] + [0] * 30))["p"] == 1


def test_a_word_never_said_has_an_upper_bound():
    found = only(said("craft", [0] * 20), "craft")
    assert (found["rate"], found["ratio"], found["low"]) == (0, 0, 0)
    assert found["high"] == pytest.approx(3.689 * 4 / 20 / 20.0 * 1.2**1.96 * 1.0116, rel=0.01)
    assert found["p"] < 0.05


def test_phrases_and_cased_terms_keep_their_rate_and_have_no_ratio():
    found = only(said("Myself", [2] * 12), "Myself")
    assert found["rate"] == 2
    assert [found[name] for name in ("reference", "ratio", "low", "high", "p", "p_adjusted", "log_odds", "z", "confirmed")] == [None] * 9


def test_against_people_there_is_no_pairing_and_no_mix_to_correct():
    found = only(said("disclaim", [5] * 12))
    assert (found["ratio_crude"], found["ratio_poststratified"]) == (None, None)


def test_what_is_odd_is_confirmed_on_the_other_half():
    rng = np.random.default_rng(2)
    assert only(said("disclaim", rng.poisson(50, 20).tolist()))["confirmed"] is True
    assert only(said("disclaim", rng.poisson(50, 12).tolist()))["confirmed"] is None


def test_every_number_is_finite_or_null():
    frame = terms(said("disclaim", [0, 1, 300]), human, watch=watch_list())
    numbers = frame.select(pl.col(pl.Float64))
    assert numbers.select(pl.all().is_finite().all()).row(0) == (True,) * numbers.width
