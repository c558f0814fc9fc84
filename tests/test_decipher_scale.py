"""The scale of doses: the curve is the nearest falling one, a planted dose is found again, and nothing is placed where nothing falls."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotdrift.decipher.items import AS_IT_IS, LEGIBLE, PLANTED, SHUFFLED, TRACES
from cotdrift.decipher.scale import Answers, Placed, falling, place, scale
from cotdrift.decipher.scores import score
from cotdrift.decipher.sentences import what_is_read

DOSES = np.array([0.2, 0.4, 0.6, 0.8, 1.0])


def answers(rng: np.random.Generator, *, top: float = 0.95, bottom: float = 0.3, prompts: int = 80) -> Answers:
    """Each prompt plain and at one dose; answers get worse in a line."""
    doses = np.column_stack([np.zeros(prompts), DOSES[np.arange(prompts) % 5]]).ravel()
    codes = np.repeat(np.arange(prompts), 2).astype(float)
    return Answers((rng.random(2 * prompts) < top - (top - bottom) * doses).astype(float), codes, doses)


def checkpoint(rng: np.random.Generator, right: float, prompts: int = 80) -> Answers:
    return Answers((rng.random(prompts) < right).astype(float), np.arange(prompts).astype(float), np.zeros(prompts))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_curve_never_rises_and_no_falling_one_is_nearer(points: list[tuple[float, int]]) -> None:
    values, weights = np.array([[value for value, _ in points]]), np.array([[float(weight) for _, weight in points]])
    curve = falling(values, weights)[0]
    assert (np.diff(curve) <= 1e-9).all()
    # min-max formula of isotonic regression, an oracle of its own
    for at in range(len(points)):
        oracle = min(
            max(float((values[0, i : j + 1] * weights[0, i : j + 1]).sum() / weights[0, i : j + 1].sum()) for j in range(at, len(points)))
            for i in range(at + 1)
        )
        assert curve[at] == pytest.approx(oracle, abs=1e-9)


def test_a_planted_dose_is_found_again() -> None:
    covered, found = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        placed = place(answers(rng), checkpoint(rng, 0.95 - 0.65 * 0.5), seed=seed, resamples=300)
        assert placed.off == ""
        assert placed.dose is not None and placed.low is not None and placed.high is not None
        found.append(placed.dose)
        covered += placed.low <= 0.5 <= placed.high
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
    assert covered >= 35, "of 40 intervals of 95 %"


def test_nothing_is_placed_where_answers_do_not_fall() -> None:
    scales = [scale(answers(np.random.default_rng(seed), top=0.3, bottom=0.3), seed=seed, resamples=50) for seed in range(60)]
    assert sum(found is not None and found.is_one for found in scales) <= 5
    placed = place(answers(np.random.default_rng(3), top=1, bottom=1), checkpoint(np.random.default_rng(3), 0.5))
    assert (placed.off, placed.dose) == ("no scale", None)


def test_what_is_off_the_scale_is_said_to_be_so() -> None:
    rng = np.random.default_rng(0)
    known = answers(rng)
    harder, easier = place(known, checkpoint(rng, 0.02)), place(known, Answers(np.ones(80), np.arange(80.0), np.zeros(80)))
    assert (harder.off, harder.dose) == ("harder", None)
    assert (easier.off, easier.dose) == ("easier", None)
    assert harder.said("glossary") == "off the scale: harder to read than all of glossary"
    assert easier.said("glossary") == "off the scale: no harder to read than plain text, by glossary"
    assert Placed(dose=0.4, low=0.25, high=0.6).said("glossary") == "as hard to read as 40 % glossary [25, 60]"


def test_no_scale_of_one_dose() -> None:
    assert scale(Answers(np.ones(3), np.arange(3.0), np.zeros(3))) is None
    assert scale(Answers(np.ones(3), np.arange(3.0), np.ones(3))) is None


def rows(seed: int, *, late: float) -> pl.DataFrame:
    """What two readers said of traces: plain, encoded, shuffled, and of a later checkpoint as hard as a dose of `late`."""
    rng = np.random.default_rng(seed)
    found = []
    for prompt in range(80):
        kinds = [(0, LEGIBLE, 0.0), (0, "glossary", float(DOSES[prompt % 5])), (0, SHUFFLED, 0.0), (90, AS_IT_IS, 0.0), (90, SHUFFLED, 0.0)]
        for step, encoding, dose in kinds:
            hard = late if encoding == AS_IT_IS else dose
            chance = 0.25 if encoding == SHUFFLED else 0.95 - 0.65 * hard
            for reader in ("one", "two"):
                right = rng.random() < chance
                label = "A" if right else str(rng.choice(["B", "C", "D"]))
                told = {
                    "transcript_id": f"{prompt} {step} {encoding}",
                    "reader": reader,
                    "label": label,
                    "confidence": 0.75,
                    "missing": None,
                }
                told |= {"part": "open", "material": TRACES, "run": "mine", "step": step, "prompt": f"p{prompt}", "question": "truth"}
                told |= {"encoding": encoding, "dose": dose, "options": 4, "truth": "A", "right": float(right), "given": True}
                found.append(told | {"of": "", "by": ""})
    return pl.DataFrame(found)


def test_a_checkpoint_is_said_to_be_as_hard_as_a_dose() -> None:
    scores = score(rows(0, late=0.5))
    standing = next(one for one in scores.standings if one.reader == "one")
    assert (standing.run, standing.step, standing.encoding) == ("mine", 90, "glossary")
    assert standing.placed.low is not None and standing.placed.high is not None
    assert standing.placed.low < 0.5 < standing.placed.high
    assert any(sentence.startswith("mine, step 90, to one: as hard to read as") for sentence in what_is_read(scores))
    assert not any("come apart" in sentence for sentence in what_is_read(scores)), "readers that err apart share no reading"


def test_a_question_that_only_the_later_checkpoint_is_asked_places_it_nowhere() -> None:
    asked = rows(0, late=0.5)
    wrong = asked.filter(pl.col("encoding") == AS_IT_IS).with_columns(
        transcript_id=pl.col("transcript_id") + " other", question=pl.lit("other"), label=pl.lit("B"), right=pl.lit(0.0)
    )
    assert score(pl.concat([asked, wrong])).standings == score(asked).standings


def test_readers_rank_by_planted_passages_and_by_traces_where_there_are_no_others() -> None:
    """The page and the leaderboard name them in one order."""
    traces = rows(0, late=0.5).filter(pl.col("step") == 0)
    never = pl.when(pl.col("encoding") == "glossary").then(0.0).otherwise("right")
    blind = pl.when(pl.col("reader") == "one").then(never).otherwise("right")
    seeing = pl.when(pl.col("reader") == "two").then(never).otherwise("right")
    planted = traces.with_columns(material=pl.lit(PLANTED), run=pl.lit(PLANTED), right=seeing)
    only = score(traces.with_columns(right=blind))
    assert only.best_first == ["two", "one"]
    both = score(pl.concat([traces.with_columns(right=blind), planted]))
    assert both.best_first == ["one", "two"]
    assert both.beyond("nobody") is None


def test_readers_that_are_wrong_apart_are_alike_by_chance() -> None:
    scores = score(rows(1, late=0.5).with_columns(material=pl.lit(PLANTED)))
    encoded = next(one for one in scores.together if one.encoding == "glossary")
    assert encoded.by_chance == pytest.approx(1 / 3)
    assert encoded.wrong_alike.low is not None and encoded.wrong_alike.high is not None
    assert encoded.wrong_alike.low < 1 / 3 < encoded.wrong_alike.high
