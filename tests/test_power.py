"""Power: what is asked for is what simulated studies of that size turn out to have."""

import json

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from cotdrift.agreement import agreement
from cotdrift.cli import cli
from cotdrift.corrected import corrected_mean, rogan_gladen
from cotdrift.design import Power
from cotdrift.errors import InputError
from cotdrift.estimate import Sums, paired_difference
from cotdrift.power import agree, correct, exclude, paired_prompts, tell_apart

NO = np.nan


def said(*words: str) -> str:
    done = CliRunner().invoke(cli, ["power", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("within", "samples", "published"), [(0, 1, 969), (1 / 3, 1, 3876), (1 / 3, 10, 1260)])
def test_prompts_are_those_of_the_published_formula(within: float, samples: int, published: int) -> None:
    """A difference of .03 whose variance over questions is 1/9, and 1/6 within each of two models: Miller's worked example."""
    assert paired_prompts(0.03, 1 / 9 + within / samples) == pytest.approx(published, abs=3)  # 2 more, by t for normal quantiles


@pytest.mark.parametrize("variance", [0.02, 0.2])
def test_few_prompts_are_those_of_the_t_test(variance: float) -> None:
    oracle = TTestPower().solve_power(effect_size=0.2 / variance**0.5, alpha=0.05, power=0.8)
    assert paired_prompts(0.2, variance) == pytest.approx(float(np.ravel(oracle)[0]), abs=1.2)


def test_what_an_experiment_says_it_finds_is_the_same_number() -> None:
    needed = tell_apart(0.225, 0.275, samples=4)
    assert Power(rate=0.25).smallest(needed.prompts, 4, paired=True) == pytest.approx(0.05, rel=0.02)


@pytest.mark.slow
def test_a_difference_is_found_as_often_as_promised() -> None:
    needed, rng, found = tell_apart(0.2, 0.35, samples=3), np.random.default_rng(0), []
    for _ in range(400):
        place, other = rng.random((2, needed.prompts))
        place_after = np.where(rng.random(needed.prompts) < 0.5, place, other)  # half of the prompts keep how hard they are
        sides = []
        for rate, at in ((0.2, place), (0.35, place_after)):
            of_prompt = scipy.stats.beta.ppf(at, 4 * rate, 4 * (1 - rate))  # a correlation of .2
            prompts = np.repeat(np.arange(needed.prompts), needed.samples)
            sides.append(Sums.of(rng.random(len(prompts)) < of_prompt[prompts], prompts))
        difference = paired_difference(*sides)
        found.append(difference is not None and difference.low is not None and difference.low > 0)
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(("prompts", "correlation"), [(None, 0.0), (300, 0.15)])
def test_a_corrected_rate_is_as_narrow_as_asked(prompts: int | None, correlation: float) -> None:
    traces = 6000
    needed = correct(0.3, 0.08, traces=traces, prompts=prompts, correlation=correlation)
    assert needed.corrected is not None
    assert needed.corrected < needed.alone
    widths = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        codes = np.arange(traces) * (prompts or traces) // traces
        rates = rng.beta(0.3 * (1 / correlation - 1), 0.7 * (1 / correlation - 1), codes.max() + 1) if correlation else np.full(traces, 0.3)
        truth = rng.random(traces) < rates[codes]
        judged = rng.random(traces) < np.where(truth, 0.8, 0.03)
        told = np.full(traces, NO)
        chosen = rng.choice(traces, needed.corrected, replace=False)
        told[chosen] = truth[chosen]
        found = corrected_mean(judged, told, codes)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(0.08, rel=0.12)


def test_separate_labels_are_as_many_as_asked() -> None:
    needed = correct(0.3, 0.1, traces=20_000)
    assert needed.separate is not None
    assert needed.corrected is not None
    assert needed.separate > needed.corrected
    widths = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = rng.random(20_000 + needed.separate) < 0.3
        judged = rng.random(len(truth)) < np.where(truth, 0.8, 0.03)
        own = slice(20_000, None)
        apart = {"labels": truth[own], "label_judged": judged[own], "label_prompts": np.arange(needed.separate)}
        found = rogan_gladen(judged[:20_000], np.arange(20_000), **apart, draws=4000)
        widths.append(found.high - found.low)  # type: ignore[operator]
    assert np.mean(widths) == pytest.approx(0.1, rel=0.1)


def test_too_few_graded_traces_cannot_be_made_up_for_by_labels() -> None:
    needed = correct(0.3, 0.02, traces=1000)
    assert (needed.corrected, needed.separate, needed.positives) == (None, None, None)
    assert needed.alone > 1000


@pytest.mark.slow
@pytest.mark.parametrize("raters", [2, 3, 5])
def test_alpha_is_as_certain_as_asked(raters: int) -> None:
    needed = agree(0.6, 0.2, rate=0.2, raters=raters)
    rng, alphas = np.random.default_rng(raters), []
    for _ in range(400):
        likely = rng.beta(0.2 * (1 / 0.6 - 1), 0.8 * (1 / 0.6 - 1), needed.items)
        alphas.append(agreement(rng.random((raters, needed.items)) < likely, resamples=2).alpha.value)
    assert np.mean(alphas) == pytest.approx(0.6, abs=0.02)  # type: ignore[arg-type]
    assert 2 * 1.96 * np.std(np.array(alphas, np.float64)) == pytest.approx(0.2, rel=0.12)


@given(st.floats(0.0005, 0.2))
def test_one_label_fewer_does_not_exclude_the_rate(rate: float) -> None:
    labels = exclude(rate).labels
    assert proportion_confint(0, labels, method="beta")[1] <= rate * (1 + 1e-9)
    assert proportion_confint(0, labels - 1, method="beta")[1] > rate * (1 - 1e-9)


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.4), st.floats(0, 1), st.integers(2, 6))
def test_more_is_needed_for_less(rate: float, wide: float, alpha: float, raters: int) -> None:
    coarse, fine = correct(rate, wide), correct(rate, wide / 2)
    assert coarse.alone <= fine.alone
    assert fine.corrected is None or (coarse.corrected is not None and coarse.corrected <= fine.corrected)
    assert agree(alpha, wide, rate=rate, raters=raters).items <= agree(alpha, wide / 2, rate=rate, raters=raters).items
    assert exclude(rate, traces_per_prompt=4).labels >= exclude(rate).labels
    if abs(rate - 0.5) > 0.02:
        assert tell_apart(0.5, rate, samples=8).prompts <= tell_apart(0.5, rate, samples=1).prompts


def test_questions_that_make_no_sense_are_refused() -> None:
    for ask in (
        lambda: tell_apart(0.2, 0.2),
        lambda: tell_apart(0, 0.2),
        lambda: correct(0.1, 0.1, sensitivity=0.4, specificity=0.5),
        lambda: agree(0.5, 0.1, raters=1),
        lambda: exclude(1.5),
    ):
        with pytest.raises(InputError):
            ask()


def test_the_command_says_what_the_functions_say() -> None:
    found, needed = json.loads(said("compare", "0.2", "0.3", "--samples", "4", "--json")), tell_apart(0.2, 0.3, samples=4)
    assert found == [{"before": 0.2, "after": 0.3, "samples": 4, "prompts": needed.prompts, "traces": needed.traces}]
    found = json.loads(said("correct", "0.05", "0.03", "--traces", "20000", "--json"))
    assert found["corrected"] == correct(0.05, 0.03, traces=20_000).corrected
    found = json.loads(said("agree", "0.7", "0.2", "--json"))
    assert [row["raters"] for row in found] == [2, 3, 5]
    assert json.loads(said("exclude", "0.001", "--json")) == {"rate": 0.001, "labels": exclude(0.001).labels}


def test_the_command_prints_what_can_be_read_and_warns() -> None:
    assert str(tell_apart(0.2, 0.3, samples=16).prompts) in said("compare", "0.2", "0.3")
    assert "the interval is exact then" in said("correct", "0.01", "0.03")
    assert "grade more" in said("correct", "0.3", "0.01", "--traces", "1000")
    assert str(agree(0.7, 0.2, raters=5).ratings) in said("agree", "0.7", "0.2")
    assert "3688" in said("exclude", "0.001")
