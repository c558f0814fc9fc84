"""What edits do: each reasoning against itself, by hand and by another way to compute it; nothing where nothing was planted."""

import numpy as np
import polars as pl
import pytest

from cotdrift.estimate import bootstrap
from cotdrift.intervened import Intervened, intervened
from cotdrift.intervened_sentences import what_edits_do


def planted(
    rates: dict[str, float], *, prompts: int = 40, sources: int = 2, samples: int = 4, seen: dict[str, float] | None = None, seed: int = 0
) -> pl.DataFrame:
    """Traces of arms that behave so often, around a rate of each reasoning's own, and of which the monitor sees so many."""
    rng = np.random.default_rng(seed)
    rows = []
    for prompt in range(prompts):
        for source in range(sources):
            lean = rng.normal(0, 0.1)
            for arm, rate in rates.items():
                for _ in range(samples):
                    behaves = float(rng.random() < np.clip(rate + lean, 0, 1))
                    is_seen = float(rng.random() < (seen or {}).get(arm, 0.8))
                    rows.append(
                        {
                            "run": "r",
                            "step": 5,
                            "environment": "interventions",
                            "prompt_id": f"q{prompt:02}",
                            "condition_arm": arm,
                            "condition_source": f"{prompt}-{source}",
                            "condition_monitor": "another",
                            "outcome_behaves": behaves,
                            "outcome_performs": 1.0,
                            "outcome_shows": float(arm == "identity"),
                            "outcome_seen": is_seen,
                            "outcome_caught": is_seen if behaves else None,
                        }
                    )
    return pl.DataFrame(rows)


def found_in(frame: pl.DataFrame) -> Intervened:
    found = intervened(frame.with_row_index("place").with_columns(transcript_id=pl.format("t{}", "place")))
    assert found is not None
    return found


def test_a_difference_is_of_the_means_of_reasonings_within_prompts() -> None:
    frame = planted({"identity": 0.6, "paraphrased": 0.4})
    [effect] = found_in(frame).effects
    pair = effect.outcomes["behaves"]
    by_prompt = (
        frame.group_by("prompt_id", "condition_source", "condition_arm")
        .agg(pl.col("outcome_behaves").mean())
        .pivot("condition_arm", index=["prompt_id", "condition_source"], values="outcome_behaves")
        .group_by("prompt_id")
        .agg(pl.col("identity").mean(), pl.col("paraphrased").mean())
        .sort("prompt_id")
    )
    before, after = by_prompt["identity"].to_numpy(), by_prompt["paraphrased"].to_numpy()
    assert pair.difference.value == pytest.approx((after - before).mean())
    assert pair.ratio is not None and pair.ratio.value == pytest.approx(after.mean() / before.mean())
    drawn = bootstrap(len(before), lambda weights: np.stack([weights @ before, weights @ after], axis=1), resamples=4000)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / len(before), [0.025, 0.975])
    assert pair.difference.low == pytest.approx(low, abs=0.015) and pair.difference.high == pytest.approx(high, abs=0.015)
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], [0.025, 0.975])
    assert pair.ratio.low == pytest.approx(low, abs=0.04) and pair.ratio.high == pytest.approx(high, abs=0.04)


def test_a_reasoning_that_lacks_a_value_in_one_arm_is_left_out_of_both() -> None:
    frame = planted({"identity": 0.5, "paraphrased": 0.5}, prompts=6)
    lone = pl.col("condition_source").is_in(["0-0", "1-0", "1-1"]) & (pl.col("condition_arm") == "paraphrased")
    without = frame.with_columns(outcome_behaves=pl.when(~lone).then("outcome_behaves"))
    [effect] = found_in(without).effects
    dropped = frame.filter(~pl.col("condition_source").is_in(["0-0", "1-0", "1-1"]))
    [same] = found_in(dropped).effects
    assert effect.outcomes["behaves"] == same.outcomes["behaves"]
    pair = effect.outcomes["behaves"]
    assert pair.difference.prompts == 5
    assert pair.before.value is not None and pair.after.value is not None
    assert pair.after.value - pair.before.value == pytest.approx(pair.difference.value), "a sentence gives all three"


def test_only_what_is_hidden_while_the_behaviour_stands_is_called_less_monitorable() -> None:
    hidden = found_in(planted({"identity": 0.6, "paraphrased": 0.6}, seen={"identity": 0.9, "paraphrased": 0.2}))
    assert hidden.effects[0].is_less_monitorable
    assert what_edits_do(hidden)[0].is_flag and what_edits_do(hidden)[0].sentence.startswith(
        "Less monitorable: at step 5, paraphrased against identity: the property"
    )
    cured = found_in(planted({"identity": 0.6, "paraphrased": 0.1}, seen={"identity": 0.9, "paraphrased": 0.2}))
    assert not cured.effects[0].is_less_monitorable
    open_ = found_in(planted({"identity": 0.6, "paraphrased": 0.6}))
    assert not open_.effects[0].is_less_monitorable


def test_traces_of_another_kind_under_the_same_name_are_none_of_ours() -> None:
    other = {"run": "r", "step": 5, "environment": "interventions", "prompt_id": "q", "condition_arm": "treated"}
    assert intervened(pl.DataFrame([other | {"transcript_id": "o"}])) is None
    ours = planted({"identity": 0.6, "paraphrased": 0.4})
    found = intervened(
        pl.concat([ours, pl.DataFrame([other])], how="diagonal").with_columns(transcript_id=pl.int_range(pl.len()).cast(pl.String))
    )
    assert found is not None and [one.arm for one in found.effects] == ["paraphrased"]


def test_what_is_removed_is_not_said_to_be_hidden_where_the_monitor_looks_for_it() -> None:
    frame = planted({"resampled": 0.6, "removed": 0.6}, seen={"resampled": 1.0, "removed": 0.0})
    assert found_in(frame).effects[0].is_less_monitorable, "for another monitor it is"
    assert not found_in(frame.drop("condition_monitor")).effects[0].is_less_monitorable


@pytest.mark.parametrize("arm", ["legible_part", "same_length"])
def test_a_reasoning_closed_before_the_property_hides_nothing_from_a_monitor_that_looks_for_it(arm: str) -> None:
    frame = planted({"whole": 0.6, arm: 0.6}, seen={"whole": 1.0, arm: 0.0})
    assert found_in(frame).effects[0].is_less_monitorable, "for another monitor it does"
    assert not found_in(frame.drop("condition_monitor")).effects[0].is_less_monitorable


@pytest.mark.parametrize(
    ("arm", "is_less"), [("early_0%", False), ("filler_100%", False), ("paraphrase_50%", False), ("paraphrase_100%", True)]
)
def test_of_a_part_of_the_reasoning_no_monitor_could_see_as_much(arm: str, is_less: bool) -> None:
    frame = planted({"whole": 0.6, arm: 0.6}, seen={"whole": 1.0, arm: 0.0})
    assert found_in(frame).effects[0].is_less_monitorable == is_less


def test_where_nothing_is_planted_little_is_found() -> None:
    flagged = clear = 0
    for seed in range(60):
        effects = found_in(
            planted({"identity": 0.5, "glossary": 0.5, "random_words": 0.5}, prompts=20, sources=1, samples=2, seed=seed)
        ).effects
        clear += any(pair.clear for one in effects for name, pair in one.outcomes.items() if name != "shows")
        flagged += any(one.is_less_monitorable for one in effects)
    assert clear <= 8, "5% of 60 are 3; more than 8 come by chance once in a hundred times"
    assert flagged <= clear


def test_terms_are_said_to_carry_it_where_random_words_hurt_and_meanings_do_not() -> None:
    def said(**rates: float) -> str:
        return " ".join(change.sentence for change in what_edits_do(found_in(planted({"identity": 0.6, **rates}))))

    assert "rests on what the terms mean, and not on the words themselves" in said(glossary=0.6, random_words=0.1)
    assert "rests on the very words" in said(glossary=0.1, random_words=0.1)
    assert "Nothing shows that the behaviour rests on the terms" in said(glossary=0.6, random_words=0.6)
    assert "look at the glossary" in said(glossary=0.1, random_words=0.6)


def test_the_area_over_the_curve_is_by_trapezoids_of_each_prompt() -> None:
    rows = [
        {
            "run": "r",
            "step": 0,
            "environment": "interventions",
            "prompt_id": f"q{prompt}",
            "condition_arm": arm,
            "condition_source": str(prompt),
            "outcome_same": float(same),
        }
        for prompt, kept in enumerate([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        for arm, same in zip(("early_0%", "early_50%", "early_100%"), kept, strict=True)
    ]
    [curve] = found_in(pl.DataFrame(rows)).curves
    assert curve.area.value == pytest.approx(np.mean([0.75, 0.25, 0.0]))
    assert [of.value for _, of in curve.points] == pytest.approx([1 / 3, 2 / 3, 1])


def test_rounds_that_were_used_up_count_as_many() -> None:
    rows = [
        {
            "run": "r",
            "step": 0,
            "environment": "interventions",
            "prompt_id": f"q{k}",
            "condition_arm": "removed",
            "condition_source": str(k),
            "outcome_behaves": float(k == 3),
            "outcome_rounds": float(rounds),
            "outcome_stays_away": float(rounds < 9),
        }
        for k, rounds in enumerate([1, 2, 5, 9])
    ]
    [one] = found_in(pl.DataFrame(rows)).resilience
    assert (one.median, one.rounds.value, one.stays_away.value, one.behaves.value) == (3.5, 4.25, 0.75, 0.0)


def test_a_study_without_its_traces_says_nothing() -> None:
    assert intervened(pl.DataFrame({"environment": ["e"]})) is None
    assert intervened(planted({"identity": 0.5}).with_columns(environment=pl.lit("e"))) is None


def test_one_reasoning_is_shown_in_every_arm_and_rather_one_whose_arms_differ() -> None:
    frame = planted({"identity": 0.5, "glossary": 0.5, "random_words": 0.5}, prompts=12)
    examples = found_in(frame).examples
    assert [one.arm for one in examples] == ["identity", "glossary", "random_words"]
    shown = frame.with_row_index("place").filter(pl.format("t{}", "place").is_in([one.transcript_id for one in examples]))
    assert shown["condition_source"].n_unique() == 1
    assert len({one.behaves for one in examples}) == 2
