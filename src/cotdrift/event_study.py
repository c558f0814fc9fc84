"""An event study: each prompt against itself over the steps of a run, and the step from which that changed."""

from functools import partial
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import stdtrit

from cotdrift.estimate import Estimate, Floats, Ints, Sums, bootstrap, sign_flip

ROUGH_PROMPTS = 10
"""Below this many shared prompts, intervals and p-values are rough."""
MOST_BUNDLES = 2_000
"""How many rows prompts that never come back are kept in: beyond that, bundles drawn by chance stand for prompts."""
MOST_STARTS = 40
"""How many checkpoints are tried as the start of a change; with more checkpoints, every so many."""
WIDEST_ONSET = 2 / 3
"""An interval over more of the run's checkpoints than this identifies no onset."""


class Onset(Struct, frozen=True, kw_only=True):
    """The first checkpoint off the base the run started from."""

    step: int
    low: int
    high: int


class Cells(NamedTuple):
    """What the traces of each prompt at each step add up to; one entry a prompt and step that has traces."""

    steps: list[int]
    environments: list[str]
    step: Ints
    prompt: Ints
    sums: Sums
    environment: Ints
    """Of each prompt."""

    def at(self, step: int) -> tuple[Sums, Ints]:
        """One step: an entry a prompt it has, and the environment of each."""
        here = self.step == step
        return Sums(*(column[here] for column in self.sums)), self.environment[self.prompt[here]]

    def aligned(self, step: int) -> Sums:
        """One step: an entry a prompt of the run."""
        here, every = self.step == step, np.zeros((3, len(self.environment)))
        every[:, self.prompt[here]] = [column[here] for column in self.sums]
        return Sums(every[0], every[1], every[2].astype(np.int64))


class Grid(NamedTuple):
    """Prompts by steps, each prompt's mean less that of its block: itself, or its environment when prompts do not come back."""

    value: Floats
    """One row a prompt, or a bundle of them; 0 where it has no traces."""
    seen: Floats
    """How many prompts of the row have traces at the step."""
    block: Ints
    blocks: Floats
    """How many prompts of each block each step has."""
    paired: bool


def grid_of(cells: Cells, *, seed: int = 0) -> Grid:
    """Prompts by steps, centred by prompt where prompts come back, else by environment."""
    n_prompts, n_steps = len(cells.environment), len(cells.steps)
    visits = np.bincount(cells.prompt, minlength=n_prompts)
    paired = bool((visits > 1).sum() >= min(ROUGH_PROMPTS, max(2, n_prompts / 2)))
    kept = visits > 1 if paired else visits > 0
    if paired:
        row, block = np.cumsum(kept) - 1, np.arange(int(kept.sum()))
    else:
        bundles = max(1, MOST_BUNDLES // max(len(cells.environments), 1))
        drawn = np.random.default_rng(seed).permutation(n_prompts) % bundles
        keys, row = np.unique(cells.environment * bundles + drawn, return_inverse=True)
        block = np.unique(keys // bundles, return_inverse=True)[1]
    value, seen = np.zeros((2, len(block), n_steps))
    here = kept[cells.prompt]
    place = row[cells.prompt[here]], cells.step[here]
    np.add.at(value, place, cells.sums.means[here])
    np.add.at(seen, place, 1.0)
    n_blocks = int(block.max(initial=-1)) + 1
    blocks, totals = np.zeros((n_blocks, n_steps)), np.zeros(n_blocks)
    np.add.at(blocks, block, seen)
    np.add.at(totals, block, value.sum(axis=1))
    centred = value - seen * (totals / blocks.sum(axis=1))[block, None]
    # rounding alone would agree over prompts, and so pass for change
    centred[np.abs(centred) <= 1e-12 * np.abs(value).max(initial=0.0)] = 0.0
    return Grid(value=centred, seen=seen, block=block, blocks=blocks, paired=paired)


def event_study(cells: Cells, grid: Grid, level: float) -> list[Estimate | None]:
    """Each step's difference from the first by a regression on steps and blocks, with errors clustered by prompt."""
    told: list[Estimate | None] = [None] * len(cells.steps)
    at_step = grid.seen.sum(axis=0)
    joined = _joined_to_first(grid.blocks > 0)
    others = np.flatnonzero(joined)[1:]
    if not len(others):
        return told
    shares = grid.blocks / grid.blocks.sum(axis=1, keepdims=True)
    normal = np.diag(grid.blocks.sum(axis=0)) - shares.T @ grid.blocks
    inverse = np.linalg.inv(normal[np.ix_(others, others)])  # has one: all of these are joined to the first
    effects = inverse @ grid.value.sum(axis=0)[others]
    full = np.zeros(len(cells.steps))
    full[others] = effects
    residual = grid.value - grid.seen * (full - (shares @ full)[grid.block, None])
    scores = residual - residual.sum(axis=1, keepdims=True) * shares[grid.block]
    influence = scores[:, others] @ inverse
    for position, code in enumerate(others):
        prompts = int(min(at_step[0], at_step[code]))
        method = "paired by prompt: regression on step and prompt" if grid.paired else "not paired: regression on step and environment"
        made = partial(Estimate, value=float(effects[position]), traces=int(cells.sums.traces[cells.step == code].sum()), prompts=prompts)
        error = float(np.sqrt((influence[:, position] ** 2).sum() * prompts / max(prompts - 1, 1)))
        if prompts < 2 or error <= 1e-12 * abs(effects[position]):
            told[code] = made(method=f"{method}; prompts do not differ, so no interval", level=level)
            continue
        half = float(stdtrit(prompts - 1, (1 + level) / 2)) * error
        value = float(effects[position])
        told[code] = made(low=value - half, high=value + half, method=f"{method}; t interval, clustered by prompt", level=level)
    return told


def _joined_to_first(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which steps can be set against the first, directly or over other steps."""
    joined: NDArray[np.bool_] = np.zeros(blocks.shape[1], np.bool_)
    if not blocks.size or not blocks[:, 0].any():
        return joined
    joined[0] = True
    while True:
        wider = np.asarray(blocks[(blocks & joined).any(axis=1)].any(axis=0), np.bool_)
        if np.array_equal(wider, joined):
            return joined
        joined = wider


def onset(cells: Cells, grid: Grid, *, level: float, resamples: int, seed: int) -> tuple[Onset | None, str]:
    """The start of the ramp (flat, then straight to a new level, then flat) that fits best, if any fits better than no change at all."""
    n_steps, n_prompts = len(cells.steps), len(grid.value)
    if n_steps < 3:
        return None, "an onset needs at least three checkpoints"
    starts, shapes = _ramps(n_steps)
    heights = (grid.blocks @ shapes.T) / grid.blocks.sum(axis=1, keepdims=True)
    level_of = heights[grid.block]
    fits = grid.value @ shapes.T - grid.value.sum(axis=1, keepdims=True) * level_of
    sizes = grid.seen @ (shapes**2).T - 2 * level_of * (grid.seen @ shapes.T) + grid.seen.sum(axis=1, keepdims=True) * level_of**2
    p = sign_flip(fits, draws=1999, seed=seed)
    if p is None or p > 1 - level:
        few = n_prompts < ROUGH_PROMPTS
        return None, f"no change found{f'; {n_prompts} prompts are few to find one with' if few else ''}"
    p = sign_flip(_against_line(grid, heights, shapes), draws=1999, seed=seed)
    if p is None or p > 1 - level:
        return None, "a change, but no onset identifiable: a straight line over all checkpoints fits as well"

    def best(weights: Floats) -> Floats:
        gain, size = (weights @ fits) ** 2, weights @ sizes
        chosen = np.argmax(np.divide(gain, size, out=np.zeros_like(gain), where=size > 1e-9), axis=1)
        return np.asarray(starts[chosen], np.float64)

    found = int(best(np.ones((1, n_prompts)))[0])
    drawn = bootstrap(n_prompts, best, resamples=resamples, seed=seed)
    low = min(found, int(np.quantile(drawn, (1 - level) / 2, method="lower")))
    high = max(found, int(np.quantile(drawn, (1 + level) / 2, method="higher")))
    first, at, last = (cells.steps[start + 1] for start in (low, found, high))
    if (high - low + 1) / (n_steps - 1) > WIDEST_ONSET:
        return None, f"a change, but no onset identifiable: its interval spans steps {first} to {last}"
    return Onset(step=at, low=first, high=last), "the start of the best-fitting ramp over checkpoints; interval by prompt bootstrap"


def _ramps(n_steps: int) -> tuple[Ints, Floats]:
    """Where each ramp leaves the base, and its height at every checkpoint: over 1, 2, 4, … checkpoints, or to the end of the run."""
    checkpoints, every = np.arange(n_steps), -(-(n_steps - 1) // MOST_STARTS)
    pairs = set()
    for start in range(0, n_steps - 1, every):
        left = n_steps - 1 - start
        pairs |= {(start, start + 2**doubling) for doubling in range(left.bit_length()) if 2**doubling <= left} | {(start, n_steps - 1)}
    ordered = sorted(pairs)
    return np.array([start for start, _ in ordered]), np.array([_ramp(checkpoints, start, end) for start, end in ordered])


def _ramp(checkpoints: Ints, start: int, end: int) -> Floats:
    height: Floats = np.clip((checkpoints - start) / (end - start), 0.0, 1.0)
    return height


def _against_line(grid: Grid, heights: Floats, shapes: Floats) -> Floats:
    """What each prompt says for each ramp once a straight line over all checkpoints is fitted; `heights` are the ramps' means by block."""
    straight = _ramp(np.arange(shapes.shape[1]), 0, shapes.shape[1] - 1)
    height = straight - (grid.blocks @ straight / grid.blocks.sum(axis=1))[grid.block, None]
    line = grid.seen * height
    size = float((line * height).sum())
    if not size:
        return np.zeros((len(grid.value), len(shapes)))
    residual = grid.value - line * (float((grid.value * height).sum()) / size)
    along = (line.sum(axis=0) @ shapes.T - line.sum(axis=1) @ heights[grid.block]) / size
    scores: Floats = residual @ shapes.T - residual.sum(axis=1, keepdims=True) * heights[grid.block]
    scores -= (residual * height).sum(axis=1, keepdims=True) * along
    return scores
