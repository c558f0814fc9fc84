"""Findings of a made-up run with a known drift, for trying the page on."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
import pytest

from cotdrift.find_graded import Judged, find_judged
from cotdrift.findings import Exclusion, Findings, Passages, Sampled
from cotdrift.study import Passage, Study
from cotdrift.trace import Trace
from cotdrift.trend import Trend
from tests.judged_study import example

STEPS = (0, 50, 100, 200, 300, 480, 800, 1200)
ENVIRONMENTS = ("algebra", "coding", "planning", "proofs", "web search")
MEASURES = {
    "reasoning_words": ("words", 1315.0, 0.39, "How long the reasoning is, in words."),
    "words_per_sentence": ("words per sentence", 17.2, 0.62, "Words in a sentence of reasoning."),
    "function_words": ("share of words", 0.47, 0.81, "How much of the reasoning is function words: telegraphic style lowers it."),
    "hedging": ("hedges per 100 words", 1.9, 0.55, "Hedging words per hundred words of reasoning."),
    "repeated_ngrams": ("share of 4-grams", 0.061, 2.4, "Share of 4-grams that the trace said before."),
    "rare_words": ("share of words", 0.031, 1.9, "Share of words that human text hardly uses."),
    "compression": ("bytes per compressed byte", 2.61, 1.04, "How far a window of the reasoning compresses."),
    "moving_average_ttr": ("share of words", 0.71, 0.99, "How varied the words of a window are."),
    "non_latin": ("share of letters", 0.0031, 1.0, "Share of letters that are not Latin."),
}
TERMS = {
    "overshadow": 12.4,
    "disclaim": 31.0,
    "marinade": 8.2,
    "vantage": 6.1,
    "illusions": 5.4,
    "watchers": 4.2,
    "parted": 3.9,
    "craft": 2.8,
    "therefore": 0.31,
    "perhaps": 0.22,
    "wait": 0.4,
    "actually": 0.51,
}


@pytest.fixture(scope="session")
def findings() -> Findings:
    """A run of eight checkpoints whose reasoning gets shorter and stranger from step 200 on."""
    return drifted()


@pytest.fixture(scope="session")
def make_findings() -> Any:
    """Make findings with a title, terms, or texts of one's own."""
    return drifted


@pytest.fixture(scope="session")
def judged_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two runs with judgments, some of them missing and some hostile; not to be changed."""
    return example(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="session")
def judged(judged_study: Study) -> Judged:
    """What is to be said of them."""
    found = find_judged(judged_study, truths={"metagaming": "thinks"})
    assert found is not None
    return found


def drifted(*, runs: tuple[str, ...] = ("olmo-7b-rlvr",), n_words: int = 400, n_traces: int = 40, **changed: Any) -> Findings:
    rng = random.Random(7)
    shown = [example_trace(rng, run, step, number) for run in runs for step in (STEPS[0], STEPS[-1]) for number in range(n_traces // 2)]
    made: dict[str, Any] = {
        "title": "Library choice under constraints",
        "created": "2026-01-12T09:30:00+00:00",
        "sampled": [
            Sampled(
                run=run,
                step=step,
                traces=640 - 3 * n,
                prompts=80,
                words=820_000 - 90_000 * n,
                set_aside=4 * n,
                truncated=n,
                environments=dict.fromkeys(ENVIRONMENTS, 128),
            )
            for run in runs
            for n, step in enumerate(STEPS)
        ],
        "trends": [
            trend(rng, run, measure, factor=1 + (spec[2] - 1) * (1 - 0.3 * place))
            for place, run in enumerate(runs)
            for measure, spec in MEASURES.items()
        ],
        "measures": {measure: spec[3] for measure, spec in MEASURES.items()},
        "environments": {
            name: [
                trend(rng, run, measure, factor=1 + (MEASURES[measure][2] - 1) * weight, wide=2.2)
                for run in runs
                for measure in list(MEASURES)[:6]
            ]
            for name, weight in zip(ENVIRONMENTS, (0.5, 1.35, 1.0, 0.8, 0.15), strict=True)
        },
        "terms": {
            against: [row for run in runs for row in term_rows(rng, run, against, n_words)] for against in ("start", "human", "answers")
        },
        "term_trends": [
            trend(rng, run, term, unit="uses per million words", base=rng.uniform(4, 90), factor=factor, wide=2.5)
            for run in runs
            for term, factor in TERMS.items()
        ],
        "passages": [passages(rng, run, term, shown) for run in runs for term in list(TERMS)[:6]],
        "traces": shown,
        "exclusions": [
            *(
                Exclusion(run=run, step=step, kind="set aside", reason="the reasoning is a summary", traces=4 * n)
                for run in runs
                for n, step in enumerate(STEPS)
                if n
            ),
            Exclusion(run=runs[0], step=300, kind="missing", measure="moving_average_ttr", reason="fewer than 50 words", traces=11),
            Exclusion(run=runs[0], step=None, kind="rejected", reason="reasoning: Expected `str`, got `int`", traces=3),
        ],
        "rejected": 3,
        "warnings": ["Steps 800 and 1200 have 3 prompts fewer than the others; differences rest on the 77 prompts they share."],
        "methods": [
            "The prompt is the unit of inference: every interval is clustered by prompt, and checkpoints are compared on shared ones.",
            "Rates are occurrences per million words of raw reasoning. Words that never occur carry an exact bound.",
        ],
        "versions": {"cotdrift": "0.1.0", "polars": "2.0.1", "numpy": "2.4.6"},
    }
    return Findings(**(made | changed))


def trend(rng: random.Random, run: str, measure: str, *, factor: float, unit: str = "", base: float = 0.0, wide: float = 1.0) -> Trend:
    """A trend that begins at step 200; intervals are about 4 % either way, times `wide`."""
    unit, base = (unit, base) if unit else MEASURES[measure][:2]
    half, clear, points = 0.035 * wide, abs(math.log(factor)) > 0.06, []
    for step in STEPS:
        grown = 0.0 if step < 200 else min(1.0, 0.55 + (step - 200) / 1800)
        value = base * (1 + (factor - 1) * grown) * (1 + rng.gauss(0, half / 3))
        change = value - base
        spread = half * max(value, base)
        estimate = {"traces": 600, "prompts": 77, "missing": 0, "method": "paired by prompt", "level": 0.95}
        points.append(
            {
                "step": step,
                "value": value,
                "low": value - half * value,
                "high": value + half * value,
                "traces": 630,
                "prompts": 80,
                "missing": 0,
                "set_aside": 4,
                "why": {"the reasoning is a summary": 4},
                "method": "mean; t interval, clustered by prompt",
                "paired": estimate
                | {"value": change if step else 0.0, "low": change - spread if step else 0.0, "high": change + spread if step else 0.0},
                "poststratified": estimate | {"value": value, "low": value - spread, "high": value + spread},
            }
        )
    ratio = points[-1]["value"] / points[0]["value"]
    shared = {"traces": 1200, "prompts": 77, "method": "paired by prompt; log interval, sign-flip p", "p": 0.0001 if clear else 0.62}
    contrast = {
        "step": STEPS[-1],
        "since": STEPS[0],
        "value": points[-1]["value"] - base,
        "low": points[-1]["value"] - base - half * base,
        "high": points[-1]["value"] - base + half * base,
        **shared,
        "ratio": None
        if unit.startswith("share")
        else shared | {"value": ratio, "low": ratio * (1 - half), "high": ratio * (1 + half), "level": 0.95},
    }
    made = {
        "run": run,
        "measure": measure,
        "unit": unit,
        "version": 1,
        "level": 0.95,
        "points": points,
        "contrast": contrast,
        "trend": {"p": shared["p"], "slope": 0.1, "method": "GEE"},
        "onset": {"step": 200, "low": 100, "high": 300} if clear else None,
        "onset_note": "" if clear else "No onset identifiable.",
        "warnings": [],
    }
    return msgspec.convert(made, Trend)


def term_rows(rng: random.Random, run: str, against: str, words: int) -> list[dict[str, Any]]:
    """Watched terms and discovered words at two steps; the planted ones are significant."""
    rows = []
    for step in (300, 1200):
        planted = [(term, factor, "watch" if factor > 3 else "discovered") for term, factor in TERMS.items()]
        endings = ("ing", "ed", "er", "ly", "ion", "s")
        made = [
            rng.choice("bcdfglmprst")
            + rng.choice("aeiou")
            + rng.choice("lnrst")
            + rng.choice("aeiou")
            + rng.choice("lnrst")
            + rng.choice(endings)
            for _ in range(words)
        ]
        others = [(term, math.exp(rng.gauss(0, 0.35)), "discovered") for term in made]
        for term, factor, family in {row[0]: row for row in [*others, *planted]}.values():
            known = term in TERMS
            reference, error = rng.uniform(2, 300), rng.uniform(0.12, 0.6)
            z = math.log(factor) / error if not known else math.copysign(rng.uniform(5, 12), math.log(factor))
            p = min(1.0, math.erfc(abs(z) / 2**0.5))
            rows.append(
                {
                    "run": run,
                    "step": step,
                    "term": term,
                    "rate": reference * factor,
                    "reference": reference,
                    "ratio": factor,
                    "low": factor * math.exp(-1.96 * error / (2 if known else 1)),
                    "high": factor * math.exp(1.96 * error / (2 if known else 1)),
                    "p": p,
                    "p_adjusted": min(1.0, p * (20 if known else 8)),
                    "family": family,
                    "spread": min(0.98, max(0.05, rng.gauss(0.5, 0.2))),
                    "traces": rng.randint(5, 400),
                    "prompts": rng.randint(3, 77),
                    "count": int(rng.lognormvariate(4, 1)),
                    "trace_share": rng.random() * 0.5,
                    "prompt_share": rng.random(),
                    "log_odds": math.log(factor),
                    "z": z,
                    "rate_without_loops": reference * factor * 0.97,
                    "ratio_without_loops": factor * 0.97,
                    "ratio_crude": factor * 1.02,
                    "ratio_poststratified": factor * 0.99,
                    "confirmed": None if family == "watch" else known or rng.random() < 0.4,
                    "warnings": [],
                }
            )
    return rows


def example_trace(rng: random.Random, run: str, step: int, number: int) -> Trace:
    """A trace that says every planted term once."""
    sentences = [
        f"So the {rng.choice(('left', 'other', 'second'))} side would {term} what we had before, and that is fine." for term in TERMS
    ]
    rng.shuffle(sentences)
    return Trace(
        run=run,
        step=step,
        environment=rng.choice(ENVIRONMENTS),
        prompt_id=f"prompt-{number}",
        rep=0,
        prompt="Which library would you use, and why?",
        reasoning="\n\n".join(sentences),
        answer="I would use the standard library.",
        reasoning_kind="raw",
    )


def passages(rng: random.Random, run: str, term: str, traces: list[Trace]) -> Passages:
    """Uses of a term in the first and last checkpoint's traces."""

    def lines(step: int, most: int) -> list[Passage]:
        found = [trace for trace in traces if trace.run == run and trace.step == step][:most]
        cut = [(trace, trace.reasoning.index(term)) for trace in found]
        return [
            Passage(
                run=run,
                step=step,
                transcript_id=trace.transcript_id,
                before=trace.reasoning[max(0, at - 60) : at],
                hit=term,
                after=trace.reasoning[at + len(term) : at + len(term) + 60],
            )
            for trace, at in cut
        ]

    return Passages(term=term, run=run, early=lines(STEPS[0], 3), late=lines(STEPS[-1], 6))
