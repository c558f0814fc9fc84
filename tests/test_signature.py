"""Signatures: planted causes are named, null data are not, one prompt proves nothing, and integration by hand gives the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import betabinom

from cotdrift.errors import NotEnough, UnknownName
from cotdrift.signature import ALIKE, ARMS, KINDS, PRIORS, SURE, Counts, Prior, _Fit, signature

PLANTED = {"confusion": (0.05, 0.4, 0.0), "motive": (0.05, 0.0, 0.6), "both": (0.05, 0.3, 0.4), "neither": (0.25, 0.0, 0.0)}
"""How much of the answers is owed to the base, to confusion and to a motive."""
IN_TOY = [arm for arm in ARMS if arm != "moved"]


def study(
    seed: int, parts: tuple[float, float, float], *, prompts: int = 36, samples: int = 4, arms: list[str] = IN_TOY
) -> dict[str, Counts]:
    """A simulated study that is not the model's own: prompts differ by a normal deviate of their logits, which all arms share in part."""
    rng = np.random.default_rng(seed)
    base, confusion, motive = parts
    of_prompt = rng.normal(0, 1, prompts)
    made = {}
    for name in arms:
        arm = ARMS[name]
        left = {"stays": 1.0, "goes": rng.uniform(0, 0.4), "kept": rng.uniform(0.6, 1), "free": rng.uniform(0, 1)}
        rate = base * left[arm.base] + confusion * left[arm.confusion] + motive * left[arm.motive]
        about = logit(np.clip(rate, 0.004, 0.99)) * 1.16 + rng.normal(0, 0.15)  # 1.16: so that the mean over prompts is the rate
        chances = expit(about + of_prompt + rng.normal(0, 0.3, prompts))
        made[name] = Counts(rng.binomial(samples, chances), np.full(prompts, samples))
    return made


def posterior(arms: Mapping[str, Counts], prior: Prior | None = None) -> dict[str, float]:
    return dict(_Fit(arms, prior or Prior()).posterior)


@pytest.mark.parametrize("kind", PLANTED)
def test_what_was_planted_leads_in_19_of_20_studies_and_is_never_surely_another(kind: str) -> None:
    found = [posterior(study(seed, PLANTED[kind])) for seed in range(20)]
    assert sum(max(one, key=one.__getitem__) == kind for one in found) >= 19
    assert all(one[other] < SURE for one in found for other in KINDS if other != kind)


def test_where_nothing_happens_or_everything_always_does_it_is_neither() -> None:
    for rate in (0.02, 0.8):
        found = [posterior(study(seed, (rate, 0.0, 0.0))) for seed in range(20)]
        assert sum(max(one, key=one.__getitem__) == "neither" for one in found) >= 19
        assert all(one[other] < SURE for one in found for other in KINDS if other != "neither")


def test_the_parts_are_found_within_their_intervals() -> None:
    for kind, planted in PLANTED.items():
        held = [
            share.low <= truth <= share.high
            for seed in range(10)
            for share, truth in zip(_Fit(study(seed, planted), Prior()).parts().values(), planted, strict=True)
        ]
        assert sum(held) >= 0.9 * len(held), kind


def test_a_verdict_leads_under_every_prior_and_says_how_much_the_prior_matters() -> None:
    found = signature(study(3, PLANTED["motive"]), among=IN_TOY)
    assert found.verdict == "motive" and found.leads_under_all
    assert set(found.under) == {*PRIORS, "a third of its prior odds"}
    assert found.under["a third of its prior odds"] < found.posterior["motive"]
    assert found.parts["motive"].low > 0.3 and found.parts["confusion"].high < 0.15
    assert not found.surprising


def test_one_prompt_asked_often_proves_no_more_than_one_prompt() -> None:
    shown = {"baseline": 200, "clarified": 200, "wish": 200, "removed": 0, "flipped": 0, "mirrored": 200}
    arms = {arm: Counts(np.array([many]), np.array([200])) for arm, many in shown.items()}
    found = signature(arms)
    assert found.ranked[0] == "motive" and found.verdict == "undecided"
    many = {arm: Counts(np.full(40, count // 40), np.full(40, 5)) for arm, count in shown.items()}
    assert signature(many).verdict == "motive"


def test_prompts_that_answer_all_alike_weigh_less_than_as_many_independent_answers() -> None:
    rng = np.random.default_rng(1)

    def arms(alike: bool) -> dict[str, Counts]:
        rates = {"baseline": 0.5, "clarified": 0.5, "removed": 0.2, "flipped": 0.2}
        shown = {arm: 8 * rng.binomial(1, rate, 12) if alike else rng.binomial(8, rate, 12) for arm, rate in rates.items()}
        return {arm: Counts(counts, np.full(12, 8)) for arm, counts in shown.items()}

    assert (
        np.mean([posterior(arms(True))["motive"] for _ in range(12)]) < np.mean([posterior(arms(False))["motive"] for _ in range(12)]) - 0.1
    )


def test_the_marginal_likelihood_is_what_integration_by_hand_gives() -> None:
    """Without drift, with one likeness at a time, on a fine grid, by scipy's own beta-binomial."""
    arms = {"baseline": Counts(np.array([3, 2, 4]), np.array([4, 4, 4])), "removed": Counts(np.array([0, 1]), np.array([4, 4]))}
    least, left, steps = 0.1, 0.5, 60

    def likelihood(arm: str, rates: np.ndarray, alike: float) -> np.ndarray:
        strength = 1 / alike - 1
        chances = [betabinom.pmf(*pair, strength * rates, strength * (1 - rates)) for pair in zip(*arms[arm], strict=True)]
        return np.prod(chances, axis=0)

    def middles(low: float, high: float, many: int) -> np.ndarray:
        return low + (high - low) * (np.arange(many) + 0.5) / many

    neither = motive = 0.0
    rate, part = (axis.ravel() for axis in np.meshgrid(middles(least, 1, steps), middles(0, 1, steps)))
    owed = least + (rate - least) * part
    for alike in ALIKE:
        neither += np.mean(likelihood("baseline", middles(0, 1, 400), alike) * likelihood("removed", middles(0, 1, 400), alike))
        removed = np.mean([likelihood("removed", rate - owed + left * owed * u, alike) for u in middles(0, 1, 12)], axis=0)
        motive += np.mean(likelihood("baseline", rate, alike) * removed)
    found = posterior(arms, Prior(least=least, left=left, drift=0.0))
    assert found["motive"] / found["neither"] == pytest.approx(motive / neither, rel=0.03)
    assert found["confusion"] == pytest.approx(
        found["neither"], rel=0.35
    )  # no arm here speaks to confusion, but for what is too rare for it
    assert found["both"] == pytest.approx(found["motive"], rel=0.5)


def test_what_to_ask_next_is_the_arm_that_separates_the_two_in_question() -> None:
    untried = study(5, (0.35, 0.0, 0.45), arms=["baseline", "removed", "flipped"])
    found = signature(untried, among=IN_TOY)
    assert set(found.ranked[:2]) == {"motive", "both"}
    assert next(iter(found.gains)) in {"clarified", "wish", "stated", "facts", "mirrored"}
    told = signature(study(5, (0.35, 0.45, 0.0), arms=["baseline", "clarified"]), among=IN_TOY)
    assert set(told.ranked[:2]) == {"confusion", "both"}
    assert next(iter(told.gains)) in {"removed", "flipped", "mirrored"}
    assert min(next(iter(one.gains.values())) for one in (found, told)) > 0.05
    assert all(0 <= gain <= 1 for gain in [*found.gains.values(), *told.gains.values()])


def test_asking_the_arm_that_was_foretold_most_telling_tells_most() -> None:
    """The gain is an expectation: over studies, the two in question come apart as far as it says, and further than by an idle arm."""
    planted = (0.35, 0.0, 0.45)
    before = [study(seed, planted, arms=["baseline", "removed", "flipped"]) for seed in range(8)]
    whole = [study(seed, planted) for seed in range(8)]

    def apart(arm: str) -> float:
        found = [posterior(few | {arm: all_[arm]}) for few, all_ in zip(before, whole, strict=True)]
        return float(np.mean([one["motive"] / (one["motive"] + one["both"]) for one in found]))

    gains = [signature(few, among=["clarified", "moved"]).gains for few in before]
    assert np.mean([gain["clarified"] for gain in gains]) > 3 * np.mean([gain["moved"] for gain in gains])
    assert apart("clarified") > apart("useless")


def test_a_rate_that_no_part_explains_is_named() -> None:
    arms = study(2, PLANTED["confusion"])
    arms["removed"] = Counts(np.full(36, 4), np.full(36, 4))
    assert "removed" in signature(arms, among=IN_TOY).surprising


def test_without_a_baseline_or_a_second_arm_nothing_is_said() -> None:
    some = Counts(np.array([1]), np.array([2]))
    for arms in (
        {},
        {"baseline": some},
        {"removed": some, "flipped": some},
        {"baseline": some, "removed": Counts(np.array([0]), np.array([0]))},
    ):
        with pytest.raises(NotEnough):
            signature(arms)
    with pytest.raises(UnknownName, match="clarified"):
        signature({"baseline": some, "clarifed": some})


counts = st.lists(st.integers(0, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from([arm for arm in ARMS if arm != "baseline"]), counts, min_size=1, max_size=4), counts)
def test_any_counts_give_chances_that_add_up(others: dict[str, list[tuple[int, int]]], baseline: list[tuple[int, int]]) -> None:
    arms = {arm: Counts(*np.array(pairs).T) for arm, pairs in (others | {"baseline": baseline}).items()}
    try:
        found = signature(arms)
    except NotEnough:
        return
    assert sum(found.posterior.values()) == pytest.approx(1)
    assert all(0 <= share.low <= share.value + 1e-9 <= share.high + 1e-6 <= 1.01 for share in found.parts.values())
    assert sum(share.value for share in found.parts.values()) <= 1 + 1e-9
    assert all(np.isfinite(gain) for gain in found.gains.values())


def test_any_number_of_answers_leaves_the_posterior_finite() -> None:
    shown = {"baseline": 500, "clarified": 1000, "removed": 0, "flipped": 1000, "mirrored": 0, "facts": 1000}
    found = signature({arm: Counts(np.full(1000, count // 100), np.full(1000, 10)) for arm, count in shown.items()})
    assert sum(found.posterior.values()) == pytest.approx(1)
    assert found.surprising
