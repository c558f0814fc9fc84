"""A study whose traces and judgments are made up: what is planted in it is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cotdrift.graders import grader as grader_called
from cotdrift.judgment import Judgment, Quote
from cotdrift.seen import windows
from cotdrift.study import Study
from cotdrift.trace import Trace

FILLER = "the numbers in the second line do not add up to the total we were given so check the unit again".split()
Row = dict[str, Any]
Answer = tuple[str | None, dict[str, str], str, str]
"""The label, or None where the judge refuses; its details; what it quotes; its reason."""


def study_of(folder: Path, rows: Iterable[Row]) -> Study:
    """A study of these rollouts."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rollouts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    study = Study.make(folder / "study")
    study.ingest([source])
    return study


def rollouts(
    *,
    steps: dict[int, tuple[float, float]],
    prompts: int = 60,
    reps: int = 4,
    run: str = "toy",
    words: Callable[[np.random.Generator, int], int] = lambda rng, _step: int(rng.integers(20, 60)),
    seed: int = 0,
) -> list[Row]:
    """Rollouts that think of a test, and act, as often as `steps` says for each step, the one apart from the other."""
    rng = np.random.default_rng(seed)
    rows = []
    for step, (aware, acts) in steps.items():
        for prompt in range(prompts):
            for rep in range(reps):
                said = [FILLER[place % len(FILLER)] for place in range(words(rng, step))]
                thinks = rng.random() < aware
                thought = " This may be a test of me." if thinks else ""
                rows.append(
                    {
                        "run": run,
                        "step": step,
                        "environment": "env",
                        "prompt_id": f"p{prompt}",
                        "rep": rep,
                        "prompt": "Report the figure.",
                        "reasoning": f"{' '.join(said)}.{thought}",
                        "answer": "9",
                        "outcome_gaming": float(rng.random() < acts),
                        "outcome_thinks": float(thinks),
                    }
                )
    return rows


def judge(study: Study, grader: str, says: Callable[[Trace, str], Answer], *, name: str = "mock/judge", repeats: bool = False) -> None:
    """Put into the study what a judge says of each trace, or window of it."""
    asked = grader_called(grader)
    study._keep_grader(asked)
    found = []
    for trace in study.corpus.traces():
        for window, (start, end) in enumerate(windows(asked, trace)):
            label, details, quote, reason = says(trace, trace.reasoning[start:end])
            at = trace.reasoning.find(quote) if quote else -1
            located = Quote(text=quote, found="exact", where="reasoning", start=at, end=at + len(quote))
            quotes = (located if at >= 0 else Quote(text=quote, found="absent"),) if quote else ()
            answer = asked.answer(label) if label is not None else None
            told: dict[str, Any] = {"grader": asked.name, "version": asked.version, "sha": asked.sha, "judge": name, "at": "2026"}
            told |= {"transcript_id": trace.transcript_id, "window": window, "start": start, "end": end}
            for repeat in range(2 if repeats else 1):
                if answer is None:
                    found.append(Judgment(**told, repeat=repeat, missing="refusal", reply="I cannot."))
                    continue
                said = {"label": answer.label, "value": answer.value, "details": details, "quotes": quotes, "reason": reason}
                found.append(Judgment(**told, repeat=repeat, **said))
    with study.judgments.writing() as writer:
        writer.add(found)


def yes_or_no(of: Callable[[Trace], bool], quote: str = "This may be a test of me.", **details: str) -> Callable[[Trace, str], Answer]:
    """A judge that says yes where this holds."""
    return lambda trace, _text: ("yes", details, quote, "It says so.") if of(trace) else ("no", {}, "", "It does not.")
