"""How often a corrected rate's interval holds the truth, beside the grader's own: simulated studies, with errors that are known."""

import argparse
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cotdrift.corrected import corrected_mean, rogan_gladen
from cotdrift.estimate import Estimate, mean

SENSITIVITY, SPECIFICITY = 0.8, 0.97
PREVALENCES, LABELS = (0.01, 0.05, 0.3), (100, 400, 1000)
PROMPTS, REPS = 200, 20
ALIKE = 1 / 10
"""The correlation between the truths of two traces of one prompt."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def traces(rng: np.random.Generator, prevalence: float, n_prompts: int = PROMPTS, reps: int = REPS) -> tuple[Floats, Floats, Ints]:
    """Truth, judgment and prompt of traces; truth and false alarms are both likelier on some prompts than on others."""
    prompts = np.repeat(np.arange(n_prompts), reps)
    strength = 1 / ALIKE - 1
    truth = rng.random(len(prompts)) < rng.beta(prevalence * strength, (1 - prevalence) * strength, n_prompts)[prompts]
    alarm = rng.beta(30 * (1 - SPECIFICITY), 30 * SPECIFICITY, n_prompts)[prompts]
    judged = rng.random(len(prompts)) < np.where(truth, SENSITIVITY, alarm)
    return truth.astype(np.float64), judged.astype(np.float64), prompts


def labelled(rng: np.random.Generator, truth: Floats, labels: int) -> Floats:
    """The truth of so many traces, drawn at random; NaN elsewhere."""
    told = np.full(len(truth), np.nan)
    chosen = rng.choice(len(truth), labels, replace=False)
    told[chosen] = truth[chosen]
    return told


def by_design(rng: np.random.Generator, truth: Floats, judged: Floats, labels: int) -> tuple[Floats, Floats]:
    """About half of the labels on traces that the grader says yes to, and the chance that each trace had."""
    yes = judged == 1
    chances = np.where(yes, min(labels / 2 / max(yes.sum(), 1), 1.0), labels / 2 / max((~yes).sum(), 1))
    return np.where(rng.random(len(truth)) < chances, truth, np.nan), chances


def estimates(rng: np.random.Generator, prevalence: float, labels: int) -> Iterator[tuple[str, Estimate]]:
    """One study's rate by each method."""
    truth, judged, prompts = traces(rng, prevalence)
    told = labelled(rng, truth, labels)
    known = np.isfinite(told)
    yield "naive", mean(judged, prompts, share=True)
    yield "labels_alone", mean(told[known], prompts[known], share=True)
    yield "corrected", corrected_mean(judged, told, prompts)
    yield "ppi_untuned", corrected_mean(judged, told, prompts, weight=1)
    by_chance, chances = by_design(rng, truth, judged, labels)
    yield "by_design", corrected_mean(judged, by_chance, prompts, chances=chances)
    there, judged_there, prompts_there = traces(rng, prevalence)
    elsewhere = np.isfinite(labelled(rng, there, labels))
    apart = {"labels": there[elsewhere], "label_judged": judged_there[elsewhere], "label_prompts": prompts_there[elsewhere]}
    yield "rogan_gladen", rogan_gladen(judged, prompts, **apart)


def main() -> None:
    """Print a line for each method, prevalence and number of labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200, help="simulated studies of each kind")
    studies, start = parser.parse_args().studies, time.perf_counter()
    for prevalence in PREVALENCES:
        for labels in LABELS:
            one = partial(estimates, prevalence=prevalence, labels=labels)
            found: dict[str, list[Estimate]] = {}
            for seed in range(studies):
                for method, estimate in one(np.random.default_rng(seed)):
                    found.setdefault(method, []).append(estimate)
            for method, told in found.items():
                report(f"{method}_rate_{prevalence:g}_labels_{labels}", prevalence, told)
    print(f"bench: corrected_seconds value={time.perf_counter() - start:.0f}")


def report(name: str, truth: float, found: list[Estimate]) -> None:
    """Say how often the intervals hold the truth and how wide they are, and how many studies have none."""
    ends = np.array([(np.nan, np.nan) if one.low is None or one.high is None else (one.low, one.high) for one in found])
    told = np.isfinite(ends[:, 0])
    low, high = ends[told].T
    values = [one.value for one in found if one.value is not None]
    print(
        f"bench: coverage_{name} value={np.mean((low <= truth) & (truth <= high)):.3f} nominal=0.95 above={np.mean(low > truth):.3f} "
        f"below={np.mean(high < truth):.3f} width={np.median(high - low):.4f} mean={np.mean(values):.4f} none={np.mean(~told):.3f}"
    )


if __name__ == "__main__":
    main()
