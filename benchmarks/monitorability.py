"""How often intervals of g-mean² hold the true one, whether freezing a threshold makes a loss of nothing, and how often a cost is found."""

from collections.abc import Iterable
from functools import partial

import numpy as np
import polars as pl

from cotdrift.costs import costs
from cotdrift.monitor import Intervention, Monitor, Watch
from cotdrift.monitorability import AtStep, Monitorability, monitorability

SIMULATIONS, RESAMPLES = 400, 400
JUDGE = Monitor(name="judge")
OUTCOME = Watch(truth="hacks", monitors=(JUDGE,))
ARMS = Watch(truth="hacks", monitors=(JUDGE,), archetype="intervention", intervention=Intervention.parse("hint:none:shown"))
CUT = 0.75


def sampled(rng: np.random.Generator, *, prompts: int, reps: int, steps: int = 1, common: float = 0.4) -> pl.DataFrame:
    """Traces whose scores are apart by the property, and alike within prompts."""
    likely = np.clip(common + rng.normal(0, 0.15, prompts), 0.02, 0.98)
    of_prompt = rng.normal(0, 0.5, prompts)
    truth = rng.random((steps, prompts, reps)) < likely[:, None]
    score = rng.normal(0, 1, truth.shape) + of_prompt[:, None] + 1.5 * truth
    step, prompt, _ = np.indices(truth.shape)
    return frame(step=step, prompt=prompt, truth=truth, score=score)


def intervened(rng: np.random.Generator, *, prompts: int, reps: int, caught: float) -> pl.DataFrame:
    """Two arms: a fifth behaves so anyway, half of the others by the intervention, which the monitor sees in `caught`."""
    arm, prompt, _ = np.indices((2, prompts, reps))
    anyway = rng.random(arm.shape) < 0.2
    brought = ~anyway & (rng.random(arm.shape) < 0.5) & (arm == 1)
    says = rng.random(arm.shape) < np.where(brought, caught, 0.02)
    return frame(step=0 * arm, prompt=prompt, truth=anyway | brought, score=says).with_columns(treated=pl.Series((arm == 1).ravel()))


def frame(*, step: np.ndarray, prompt: np.ndarray, truth: np.ndarray, score: np.ndarray) -> pl.DataFrame:
    """A row a trace."""
    names = np.char.add("prompt ", prompt.ravel().astype(str))
    columns = {"step": step.ravel(), "prompt_id": names, "truth": truth.ravel().astype(float), "score": score.ravel().astype(float)}
    return pl.DataFrame(columns).with_columns(environment=pl.lit("env"))


def flagged(of: pl.DataFrame) -> pl.DataFrame:
    """Yes or no, and no score."""
    return of.with_columns(score=(pl.col("score") >= CUT).cast(pl.Float64))


def told(of: pl.DataFrame, watch: Watch = OUTCOME, *, seed: int = 0, resamples: int = RESAMPLES) -> Monitorability:
    """What the monitor is worth."""
    return monitorability(of, watch, JUDGE, run="run", resamples=resamples, seed=seed)


def said(name: str, held: Iterable[bool], nominal: float, method: str) -> None:
    """Say how often, beside how often it should be."""
    print(f"bench: monitorability_{name} value={np.mean(list(held)):.3f} nominal={nominal:g} method={method!r}", flush=True)


def holds(at: AtStep, truth: float) -> bool:
    """Whether the interval of g-mean² holds the true one."""
    found = at.frozen.g_mean2
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def coverage(prompts: int, reps: int, common: float) -> None:
    """Of intervals at one checkpoint."""
    make = partial(sampled, reps=reps, common=common)
    large = make(np.random.default_rng(10**6), prompts=40_000)
    truths = {"yes or no": told(flagged(large), resamples=1), "threshold set": told(large, resamples=1)}
    held: dict[str, list[bool]] = {name: [] for name in truths}
    for seed in range(SIMULATIONS):
        of = make(np.random.default_rng(seed), prompts=prompts)
        for name, part in (("yes or no", flagged(of)), ("threshold set", of)):
            held[name].append(holds(told(part, seed=seed).points[0], truths[name].points[0].frozen.g_mean2.value or 0.0))
    for name, each in held.items():
        said(f"coverage_{prompts}x{reps}_{common:g}", each, 0.95, f"{name}; prompts resampled")


def nothing_lost(prompts: int, reps: int) -> None:
    """How often a loss or gain is called clear where two checkpoints are alike."""
    found = [told(sampled(np.random.default_rng(seed), prompts=prompts, reps=reps, steps=2), seed=seed).lost for seed in range(SIMULATIONS)]
    said(
        f"false_loss_{prompts}x{reps}", [one is not None and one.is_clear for one in found], 0.05, "frozen threshold, two alike checkpoints"
    )


def of_intervention(caught: float) -> None:
    """Of intervals of an intervention's form."""
    truth = told(intervened(np.random.default_rng(10**6), prompts=20_000, reps=10, caught=caught), ARMS, resamples=1).points[0]
    held = [
        holds(
            told(intervened(np.random.default_rng(seed), prompts=60, reps=8, caught=caught), ARMS, seed=seed).points[0],
            truth.frozen.g_mean2.value or 0,
        )
        for seed in range(SIMULATIONS)
    ]
    said(f"coverage_intervention_{caught:g}", held, 0.95, "gated by half of the traces")


def no_cost() -> None:
    """How often a measure that costs nothing is found, before adjustment, though it goes with length."""
    found = []
    for seed in range(SIMULATIONS):
        rng = np.random.default_rng(seed)
        of = sampled(rng, prompts=30, reps=4, steps=3)
        length = np.exp(4 + rng.normal(0, 0.4, of.height))
        judged = of.with_columns(reasoning_words=pl.Series(length), rarity=pl.Series(np.log(length) + rng.normal(0, 1, of.height)))
        judged = judged.with_columns(says=(pl.col("score") >= CUT).cast(pl.Float64))
        found += [
            cost.effect.p for cost in costs(judged, ["reasoning_words", "rarity"], run="run", monitor="judge") if cost.measure == "rarity"
        ]
    said("false_cost", [p is not None and p < 0.05 for p in found], 0.05, "within prompt and checkpoint, at like length; scores flipped")


if __name__ == "__main__":
    for prompts, reps, common in ((20, 4, 0.4), (60, 8, 0.4), (60, 8, 0.1)):
        coverage(prompts, reps, common)
    nothing_lost(20, 4)
    nothing_lost(60, 8)
    of_intervention(0.4)
    no_cost()
