"""Designs: balanced and nearly orthogonal whatever the factors, and as strong as the power calculation says."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.design import Power, dependence, fraction, full
from cotdrift.errors import InputError

ALL = [3, 2, 12, 7, 4, 3, 6, 6, 2, 3, 3, 2]


@given(levels=st.lists(st.integers(2, 7), min_size=1, max_size=5), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_levels_are_balanced_and_no_combination_comes_twice(levels: list[int], share: float, seed: int) -> None:
    every = prod(levels)
    cells = min(every, max(levels) + int(share * min(every, 60)))
    rows = fraction(levels, cells, seed=seed)
    assert rows.shape == (cells, len(levels))
    assert len(np.unique(rows, axis=0)) == cells
    for column, many in zip(rows.T, levels, strict=True):
        counts = np.bincount(column, minlength=many)
        assert len(counts) == many
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("cells", [84, 100, 252])
def test_main_effects_are_estimated_nearly_as_well_as_in_an_orthogonal_design(cells: int) -> None:
    rows = fraction(ALL, cells, seed=1)
    columns = [np.ones(cells)]
    for column, many in zip(rows.T, ALL, strict=True):
        contrasts = np.linalg.qr(np.c_[np.ones(many), np.eye(many)[:, 1:]])[0][:, 1:] * np.sqrt(many)
        columns += list(contrasts[column].T)
    model = np.stack(columns, axis=1)
    efficiency = np.exp(np.linalg.slogdet(model.T @ model / cells)[1] / model.shape[1])
    assert efficiency > (0.99 if cells == 252 else 0.95)
    rng = np.random.default_rng(1)
    shuffled = np.stack([rng.permutation(column) for column in rows.T], axis=1)
    assert dependence(rows) < 0.6 * dependence(shuffled)


def test_the_same_seed_gives_the_same_design() -> None:
    assert (fraction(ALL, 84, seed=3) == fraction(ALL, 84, seed=3)).all()
    assert (fraction(ALL, 84, seed=3) != fraction(ALL, 84, seed=4)).any()


def test_a_full_design_has_every_combination_once() -> None:
    assert len(np.unique(full([3, 4, 2]), axis=0)) == len(full([3, 4, 2])) == 24
    assert sorted(map(tuple, fraction([3, 4, 2], 24))) == sorted(map(tuple, full([3, 4, 2])))


@pytest.mark.parametrize("cells", [11, 25])
def test_a_fraction_that_cannot_be_is_refused_with_what_can(cells: int) -> None:
    with pytest.raises(InputError, match=r"from 12 .* to 24"):
        fraction([12, 2], cells)


@pytest.mark.parametrize("paired", [False, True])
def test_the_power_that_is_promised_is_the_power_there_is(paired: bool) -> None:
    power, samples, prompts = Power(), 4, 120
    difference = power.smallest(prompts, samples, paired=paired)
    assert difference is not None
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1500):
        noise = power.correlation / (1 - power.correlation)  # of a beta distribution with this correlation between its draws
        high, low = power.rate + difference / 2, power.rate - difference / 2
        one, other = (rng.beta(rate / noise, (1 - rate) / noise, prompts) for rate in (high, low))
        if paired:  # half of the prompts' differences are kept: those of half the prompts, wholly
            same = rng.random(prompts) < power.kept
            other = np.where(same, np.clip(one - difference, 0, 1), other)
        shares = [rng.binomial(samples, rate) / samples for rate in (one, other)]
        gap = shares[0] - shares[1]
        error = np.sqrt(gap.var(ddof=1) / prompts) if paired else np.sqrt(sum(share.var(ddof=1) for share in shares) / prompts)
        found += abs(gap.mean()) > 1.98 * error
    assert found / 1500 == pytest.approx(power.power, abs=0.08)


def test_more_prompts_find_smaller_differences_and_too_few_find_none() -> None:
    power = Power()
    found = [power.smallest(prompts, 4) or 1.0 for prompts in (4, 8, 40, 400)]
    assert found == sorted(found, reverse=True)
    assert power.smallest(1, 4) is None
    assert power.smallest(round(power.prompts(0.1, 4) + 0.5), 4) == pytest.approx(0.1, abs=0.001)
