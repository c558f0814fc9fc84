"""The order of levels: strengths are those of Bradley and Terry; a wrong order is found out, and so is a judge that goes by place."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cotdrift import ordering
from cotdrift.ordering import order_of, strengths

LEVELS = ("forbidden", "against", "plain", "loose", "open")


def judged(rng: np.random.Generator, true: Any, *, scenarios: int = 24, rater: str = "judge", by_place: float = 0.0) -> pl.DataFrame:
    """Judgments of every two levels of each scenario, by how open the levels truly are and how much the place counts."""
    rows = []
    for scenario in range(scenarios):
        for at, (lower, upper) in enumerate(combinations(range(len(true)), 2)):
            upper_second = (scenario + at) % 2 == 0
            odds = true[upper] - true[lower] + (by_place if upper_second else -by_place)
            in_order = rng.random() < 1 / (1 + np.exp(-odds))
            rows.append((rater, str(scenario), lower, upper, float(in_order), float(in_order == upper_second)))
    return pl.DataFrame(rows, schema=["rater", "scenario", "lower", "upper", "in_order", "second"], orient="row")


@given(wins=arrays(np.int64, (4, 4), elements=st.integers(0, 9)))
def test_strengths_turn_round_when_every_judgment_does(wins: Any) -> None:
    wins = wins * (1 - np.eye(4, dtype=np.int64))
    one, other = strengths(wins[None].astype(np.float64))[0], strengths(wins.T[None].astype(np.float64))[0]
    np.testing.assert_allclose(one, -other, atol=1e-6)
    assert one.sum() == pytest.approx(0, abs=1e-8)


def test_without_a_prior_strengths_are_those_of_a_logistic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "PRIOR", 1e4)
    pairs = judged(np.random.default_rng(1), np.linspace(0, 3, 5))
    wins = np.zeros((5, 5))
    for lower, upper, won in pairs.select("lower", "upper", "in_order").iter_rows():
        wins[(upper, lower) if won else (lower, upper)] += 1
    design = np.zeros((pairs.height, 5))
    design[range(pairs.height), pairs["upper"].to_list()] = 1
    design[range(pairs.height), pairs["lower"].to_list()] = -1
    known = sm.GLM(pairs["in_order"].to_numpy(), design[:, 1:], family=sm.families.Binomial()).fit().params
    found = strengths(wins[None])[0]
    np.testing.assert_allclose(found[1:] - found[0], known, atol=1e-4)


def test_an_order_that_holds_is_found_and_its_strengths_lie_in_their_intervals() -> None:
    true = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    found = order_of(judged(np.random.default_rng(2), true), LEVELS)
    assert found is not None
    assert found.inverted == []
    assert found.agreed.value is not None and found.agreed.value > 0.8
    held = [
        one.low <= truth <= one.high
        for one, truth in zip(found.strengths, true, strict=True)
        if one.low is not None and one.high is not None
    ]
    assert sum(held) >= 4
    assert found.strengths[0].value == 0


def test_two_levels_that_were_written_the_wrong_way_round_are_named() -> None:
    found = order_of(judged(np.random.default_rng(3), np.array([0.0, 3.5, 1.0, 4.0, 5.0])), LEVELS)
    assert found is not None
    assert found.inverted == [("against", "plain")]


def test_a_judge_that_goes_by_place_is_found_out_and_finds_no_order() -> None:
    found = order_of(judged(np.random.default_rng(4), np.zeros(5), by_place=3.0), LEVELS)
    assert found is not None
    assert found.second.value is not None and found.second.low is not None and found.second.low > 0.9
    assert found.inverted == []
    assert found.agreed.low is not None and found.agreed.high is not None and found.agreed.low < 0.5 < found.agreed.high


def test_each_rater_has_a_share_of_their_own_and_levels_never_confused_stay_finite() -> None:
    sure, unsure = judged(np.random.default_rng(5), 40 * np.arange(5.0)), judged(np.random.default_rng(6), np.zeros(5), rater="ann")
    found = order_of(pl.concat([sure, unsure]), LEVELS)
    alone = order_of(sure, LEVELS)
    assert found is not None and alone is not None
    assert found.by_rater["judge"].value == 1 and (found.by_rater["ann"].value or 1) < 0.7
    assert all(np.isfinite([one.value, one.low, one.high]).all() for one in alone.strengths)
    values = [one.value for one in alone.strengths]
    assert values == sorted(values)


def test_where_nobody_was_asked_there_is_no_order() -> None:
    assert order_of(pl.DataFrame(), LEVELS) is None
