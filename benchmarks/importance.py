"""How often a decisive sentence is found, how often another one is, and what shrinkage is worth: on simulated answers."""

import sys
import time
from itertools import pairwise

import numpy as np

from cotdrift.answer_shift import divergence, shift_of, shrunk
from cotdrift.estimate import benjamini_hochberg, benjamini_yekutieli, holm

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
RULES = {"Benjamini and Yekutieli": benjamini_yekutieli, "Benjamini and Hochberg": benjamini_hochberg, "Holm": holm}
FOUR, TWO = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.5, 0.5])
CASES = {
    "nothing decides": (FOUR, FOUR),
    "one moves 40 points": (FOUR, np.array([0.1, 0.2, 0.2, 0.5])),
    "one moves 25 points": (TWO, np.array([0.75, 0.25])),
}
DECISIVE = 6


def told(name: str, value: float, nominal: float | None = None) -> None:
    """Say a number, beside what it should be where that is known."""
    print(f"bench: importance_{name} value={value:.4f}{'' if nominal is None else f' nominal={nominal:g}'}", flush=True)


def chance() -> None:
    """The plug-in divergence of two equal distributions, and the corrected one."""
    rng = np.random.default_rng(0)
    plain = divergence(rng.multinomial(100, [0.25] * 4, 20_000), rng.multinomial(100, [0.25] * 4, 20_000))
    shifts = [shift_of(*rng.multinomial(100, [0.25] * 4, 2), draws=999, seed=seed) for seed in range(10 * RUNS)]
    told("plain_null_mean", plain.mean(), 0.028)
    told("plain_null_95", np.quantile(plain, 0.95), 0.073)
    told("corrected_null_mean", np.mean([one.kl for one in shifts]), 0)
    told("null_p_below_5", np.mean([one.p < 0.05 for one in shifts]), 0.05)


def power(samples: int, sentences: int) -> None:
    """Chains of which one sentence decides: found, another found, exactly right, a row a case and rule."""
    for case, (before, after) in CASES.items():
        found = {rule: np.zeros(3) for rule in RULES}
        began = time.perf_counter()
        for run in range(RUNS):
            rng = np.random.default_rng(run)
            places = [rng.multinomial(samples, before if kept < DECISIVE else after) for kept in range(sentences + 1)]
            p = [shift_of(*both, tests=sentences, seed=run).p for both in pairwise(places)]
            for rule, adjusted in RULES.items():
                clear = np.array(adjusted(p), float) < 0.05
                other = np.delete(clear, DECISIVE - 1).any() or (case == "nothing decides" and clear.any())
                found[rule] += clear[DECISIVE - 1], other, clear[DECISIVE - 1] and not other
        for rule, (hit, other, right) in found.items():
            name = f"{samples}x{sentences}_{case}_{rule}".replace(" ", "_")
            told(f"{name}_found", hit / RUNS)
            told(f"{name}_another", other / RUNS, 0.05)
            told(f"{name}_exactly_right", right / RUNS)
        told(f"{samples}x{sentences}_ms_a_sentence", 1000 * (time.perf_counter() - began) / RUNS / sentences)


def shrinkage(samples: int) -> None:
    """Studies of 60 sentences, one in six of which matters: the error before and after, and what the intervals hold."""
    before, after, held, large, clear = [], [], [], [], []
    for study in range(max(RUNS // 10, 5)):
        rng, truth, shifts = np.random.default_rng(study), [], []
        for sentence in range(60):
            p = rng.dirichlet([3, 3, 3])
            q = p if sentence % 6 else rng.dirichlet([3, 3, 3])
            truth.append(float((p * np.log(p / q)).sum()))
            shifts.append(shift_of(rng.multinomial(samples, p), rng.multinomial(samples, q), draws=999, seed=100 * study + sentence))
        adjusted = benjamini_yekutieli([one.p for one in shifts])
        for one, drawn, true, p in zip(shifts, shrunk(shifts), truth, adjusted, strict=True):
            before.append((one.kl - true) ** 2)
            after.append((drawn.value - true) ** 2)
            held.append(drawn.low <= true + 1e-9 and true <= drawn.high + 1e-9)
            if true > 0:
                large.append(held[-1])
            if p is not None and p < 0.05:
                clear.append(held[-1])
    told(f"{samples}_rmse", np.mean(before) ** 0.5)
    told(f"{samples}_rmse_shrunk", np.mean(after) ** 0.5)
    told(f"{samples}_interval_holds", np.mean(held), 0.95)
    told(f"{samples}_interval_holds_of_those_that_matter", np.mean(large), 0.95)
    told(f"{samples}_interval_holds_of_those_found", np.mean(clear), 0.95)


if __name__ == "__main__":
    chance()
    power(100, 12)
    power(50, 12)
    for samples in (50, 100):
        shrinkage(samples)
