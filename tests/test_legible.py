"""How the reasoning can be read: its worst tenth is what one sorts out by hand, and a decay along the trace is found where it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.find_graded import find_judged
from cotdrift.legible import PARTS, profile, worst_tenth
from tests.judged_study import FILLER, judge, rollouts, study_of

ENDS = (0.0, 4.0)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, None]), min_size=1, max_size=60), st.sampled_from(["low", "high"]))
def test_the_worst_tenth_is_what_sorting_gives_and_lies_within_its_bounds(listed: list[float | None], worse: str) -> None:
    values = np.array([math.nan if value is None else value for value in listed])
    value, low, high, least, most = worst_tenth(values, np.arange(len(values)) % 7, worse=worse, ends=ENDS)
    known = sorted((value for value in listed if value is not None), reverse=worse == "high")
    if 2 * len(known) <= len(listed):
        assert value is None and low is None
        return
    assert value == known[max(0, math.ceil(len(known) / 10) - 1)]
    assert (low is None or low <= value) and (high is None or value <= high)
    assert least <= value <= most


def test_its_interval_holds_the_truth() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        bad = rng.random(60) < 0.25  # a quarter of prompts have passages that cannot be read
        prompts = np.repeat(np.arange(60), 4)
        values = np.where(bad[prompts] & (rng.random(240) < 0.6), 2.0, 4.0)  # 15 % of passages are at 2, so the worst tenth is at 2
        value, low, high, _, _ = worst_tenth(values, prompts, worse="low", ends=ENDS, seed=1)
        assert value is not None and low is not None and high is not None
        covered += low <= 2.0 <= high
    assert covered >= 95


def test_a_decay_along_the_trace_and_the_snap_back_are_found() -> None:
    rng = np.random.default_rng(1)
    rows = [
        {
            "run": "toy",
            "when": when,
            "environment": "env",
            "prompt_id": f"p{number % 20}",
            "transcript_id": f"{when} {number}",
            "start": 100 * window,
            "end": 100 * window + 100,
            "value": (1.0 if window == 9 or when == "early" else 1.0 + 0.6 * window) + rng.normal(0, 0.1),
        }
        for when in ("early", "late")
        for number in range(60)
        for window in range(10)
    ]
    rows += [rows[0] | {"transcript_id": "short", "end": 50, "start": 0}]
    parts, snaps = profile(pl.DataFrame(rows))
    late = [part.estimate.value for part in parts if part.when == "late"]
    assert [part.place for part in parts if part.when == "late"] == list(range(PARTS + 1))
    assert late[:PARTS] == sorted(late[:PARTS]) and late[PARTS - 1] > 5  # type: ignore[type-var, operator]
    assert late[PARTS] == pytest.approx(1.0, abs=0.1)
    calm, snapped = snaps
    assert calm.one_window == 1 and calm.estimate.low is not None and calm.estimate.low < 0 < (calm.estimate.high or 0)
    assert snapped.estimate.high is not None and snapped.estimate.high < -2


def test_traces_of_one_window_have_no_profile() -> None:
    one = pl.DataFrame(
        {"run": "toy", "when": "early", "environment": "env", "prompt_id": "p", "transcript_id": "t", "start": 0, "end": 9, "value": [1.0]}
    )
    assert profile(one) == ([], [])


def test_windows_that_get_worse_late_in_training_are_found_with_their_passages(tmp_path: Path) -> None:
    steps = {0: (0.0, 0.0), 50: (0.0, 0.0), 100: (0.0, 0.0)}
    study = study_of(tmp_path, rollouts(steps=steps, prompts=20, reps=2, words=lambda _rng, _step: 1_000))
    garbled = FILLER[3]
    rng = np.random.default_rng(2)

    def says(trace, text):  # type: ignore[no-untyped-def]
        bad = trace.step == 100 and rng.random() < 0.4
        return ("1", {}, garbled, "Nobody can follow this.") if bad else ("4", {}, "", "Plain.")

    judge(study, "legibility", says)
    judge(study, "coverage", lambda trace, _text: ("2" if trace.step == 100 else "4", {}, "", "A step is missing."))
    found = find_judged(study)
    assert found is not None
    legibility, coverage = found.legibility
    assert [decile.value for decile in legibility.deciles] == [4, 4, 1]
    shares = {trend.measure: [point.value for point in trend.points] for trend in legibility.shares}
    assert shares["legibility.at_most_3"][:2] == [0, 0]
    assert shares["legibility.at_most_2"][2] == pytest.approx(0.4, abs=0.1)
    assert {trend.measure: trend.points[-1].value for trend in coverage.shares} == {"coverage.at_most_3": 1.0, "coverage.at_most_2": 1.0}
    assert {passage.step for passage in legibility.worst} == {100}
    assert all(passage.quote is not None and passage.quote.text == garbled for passage in legibility.worst)
    assert coverage.profile == [] and legibility.profile
