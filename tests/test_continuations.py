"""Continuations: the onset that was planted is found, a prefix by itself is tested at its size, and pooled rates cover the truth."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from cotdrift.continuation_sentences import what_continues
from cotdrift.continuations import OWN, SHARED, clear, continued, dealt_out, pooled

STEPS = (0, 8, 16, 30, 60, 100, 160)
Made = Callable[..., pl.DataFrame]


@pytest.fixture
def traces() -> Made:
    """Continuations whose rate rises from step 16 on by `rise` after every prefix, each prefix with a leaning of its own."""

    def made(*, rise: float, prompts: int = 30, samples: int = 4, leaning: float = 1.0, seed: int = 0, own: bool = False) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        lean = rng.normal(0, leaning, prompts)
        rows = []
        for environment in (SHARED, OWN)[: 1 + own]:
            for step in STEPS:
                grown = np.clip((STEPS.index(step) - 1) / 2, 0, 1) * rise
                chance = 1 / (1 + np.exp(-(lean - 0.5 + grown)))
                for prompt in range(prompts):
                    for rep in range(samples):
                        value = float(rng.random() < chance[prompt])
                        rows.append(
                            (f"{environment}{step}-{prompt}-{rep}", "run", step, environment, f"p{prompt}", value, None, str(rep % 2))
                        )
        names = ["transcript_id", "run", "step", "environment", "prompt_id", "value", "missing_reason", "condition_margin"]
        return pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"missing_reason": pl.String})

    return made


def test_the_onset_that_was_planted_is_found_within_one_checkpoint(traces: Made) -> None:
    near = []
    for seed in range(20):
        found = continued(traces(rise=3.0, seed=seed), "shows", "share of traces")
        assert found is not None
        began = found.shared[0].onset
        near.append(began is not None and began.step in (8, 16, 30))
    assert sum(near) >= 19


def test_where_nothing_changes_no_onset_is_found_and_no_prefix_is_clear(traces: Made) -> None:
    onsets, kept = 0, 0
    for seed in range(20):
        found = continued(traces(rise=0.0, seed=seed), "shows", "share of traces")
        assert found is not None
        onsets += found.shared[0].onset is not None
        kept += sum(clear(found.prefixes, "holm").values()) > 0
    assert onsets <= 3 and kept <= 3


def test_prefixes_that_rise_are_clear_by_themselves_and_more_of_them_by_the_share_of_false_ones(traces: Made) -> None:
    found = continued(traces(rise=5.0, samples=8), "shows", "share of traces", ends={"p0": "and the"})
    assert found is not None
    kept, sure = clear(found.prefixes, "holm"), clear(found.prefixes, "bh")
    assert 5 <= kept["rise"] <= sure["rise"] and sure["fall"] <= 1
    assert found.of("run")[0].ends == "and the"
    assert list(found.margins) == [0, 1]
    [change] = what_continues([found])
    assert change.sentence.startswith("After prefixes of the same 30 prompts, the behaviour goes from ")
    assert f"By themselves, {kept['rise']} of 30 rise clearly" in change.sentence


def test_a_prefix_by_itself_is_tested_at_its_size() -> None:
    rng, steps = np.random.default_rng(1), np.repeat(STEPS, 4)
    found = []
    for _ in range(600):
        p, _ = dealt_out((rng.random(28) < rng.uniform(0.1, 0.9)).astype(float), steps, draws=499, seed=int(rng.integers(1 << 30)))
        found.append(1.0 if p is None else p)
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.02)


@given(st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=6, max_size=6))
def test_dealing_out_agrees_with_every_way_to_deal(values: list[float]) -> None:
    steps = np.array([0, 0, 5, 5, 90, 90])
    p, up = dealt_out(np.array(values), steps, draws=4000)
    if len(set(values)) == 1:
        assert p is None
        return
    heights = np.log1p(steps) - np.log1p(steps).mean()
    every = np.array(list(permutations(values))) @ heights
    seen = float(np.array(values) @ heights)
    assert p == pytest.approx((np.abs(every) >= abs(seen) - 1e-9).mean(), abs=0.04)
    assert up == (seen > 0)


def test_pooled_rates_agree_with_draws_from_the_same_model() -> None:
    """Importance sampling of mean and size from the prior, weighed by how likely they make the counts."""
    rng = np.random.default_rng(3)
    yes, answers = np.array([0, 1, 4, 2, 0, 5]), np.array([4, 5, 4, 6, 3, 8])
    mean, size = rng.uniform(0, 1, 200_000), np.exp(rng.uniform(np.log(0.2), np.log(2000), 200_000))
    a, b = mean * size, (1 - mean) * size
    weight = np.exp(betabinom.logpmf(yes, answers, a[:, None], b[:, None]).sum(axis=1)) * size**-0.5
    some = rng.choice(len(mean), 100_000, p=weight / weight.sum())
    for rate in pooled(yes, answers):
        drawn = rng.beta(a[some] + rate.yes, b[some] + rate.answers - rate.yes)
        assert (rate.low, rate.value, rate.high) == pytest.approx(np.quantile(drawn, [0.025, 0.5, 0.975]), abs=0.015)


def test_pooled_rates_cover_the_truth_and_are_nearer_to_it_than_each_prefixs_own() -> None:
    rng = np.random.default_rng(5)
    covered, by_pool, alone = [], [], []
    for _ in range(60):
        truth = rng.beta(2.0, 2.0, 40)
        yes = rng.binomial(4, truth)
        rates = pooled(yes, np.full(40, 4))
        covered += [rate.low <= true <= rate.high for rate, true in zip(rates, truth, strict=True)]
        by_pool += [(rate.value - true) ** 2 for rate, true in zip(rates, truth, strict=True)]
        alone += ((yes / 4 - truth) ** 2).tolist()
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
    assert np.mean(by_pool) < 0.7 * np.mean(alone)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted).filter(lambda pair: pair[1] > 0), min_size=1, max_size=12))
def test_pooled_rates_are_rates(counts: list[list[int]]) -> None:
    yes, answers = (np.array(column) for column in zip(*counts, strict=True))
    for rate in pooled(yes, answers):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_a_behaviour_without_values_is_not_spoken_of(traces: Made) -> None:
    assert continued(traces(rise=0.0).with_columns(value=pl.lit(None, pl.Float64)), "shows", "share of traces") is None


def test_a_scale_has_its_trend_and_no_pooled_rates(traces: Made) -> None:
    found = continued(traces(rise=3.0, own=True).with_columns(value=pl.col("value") * 4), "legibility", "points")
    assert found is not None
    assert found.shared[0].contrast is not None and found.own
    assert all(prefix.first is None and prefix.p is not None for prefix in found.prefixes if prefix.p)
