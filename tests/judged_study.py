"""A study whose traces and judgments are made up: what is planted in it is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cotdrift.find_graded import Judged
from cotdrift.findings import Findings
from cotdrift.graders import grader as grader_called
from cotdrift.judgment import Judgment, Quote
from cotdrift.seen import places
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
        for start, end, _ in places(asked, trace):
            label, details, quote, reason = says(trace, trace.reasoning[start:end])
            at = trace.reasoning.find(quote) if quote else -1
            located = Quote(text=quote, found="exact", where="reasoning", start=at, end=at + len(quote))
            quotes = (located if at >= 0 else Quote(text=quote, found="absent"),) if quote else ()
            answer = asked.answer(label) if label is not None else None
            told: dict[str, Any] = {"grader": asked.name, "version": asked.version, "sha": asked.sha, "judge": name, "at": "2026"}
            told |= {"transcript_id": trace.transcript_id, "start": start, "end": end}
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


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp \x00 {{ 7 * 7 }} ']\"]"
STEPS = {0: (0.05, 0.2), 50: (0.2, 0.4), 100: (0.5, 0.6)}
"""How often the traces of the example think of a test, and act, at each step."""


def thinks(trace: Trace) -> bool:
    """Whether a trace thinks of a test."""
    return "test of me" in trace.reasoning


def example(folder: Path) -> Study:
    """Two runs, judged by one that errs, by one that refuses nine times in ten, and by one whose words are hostile."""
    rows = [row for run in ("calm", "toy") for row in rollouts(steps=STEPS, prompts=30, reps=2, run=run, words=lambda _rng, _step: 700)]
    study = study_of(folder, rows)
    judge(study, "metagaming", yes_or_no(lambda trace: thinks(trace) or trace.prompt_id == "p7", family="M6"), repeats=True)
    judge(study, "evaluation_awareness", yes_or_no(lambda trace: thinks(trace) and trace.rep == 0, belief="open"))
    judge(study, "reward_reasoning", lambda trace, _text: ("no" if trace.prompt_id in ("p1", "p2", "p3") else None, {}, "", ""))
    puzzle: Answer = ("capability puzzle", {"use": "permits"}, HOSTILE, HOSTILE)
    judge(study, "framing", lambda trace, _text: puzzle if thinks(trace) else ("real task", {"use": "none"}, "", ""))
    judge(study, "legibility_9", lambda trace, text: ("7", {}, text[:40], HOSTILE) if trace.rep else ("1", {}, "", ""), name=HOSTILE)
    judge(study, "legibility", lambda trace, text: ("3", {}, text[:40], HOSTILE) if trace.step else ("4", {}, "", ""))
    return study


def with_judgments(make_findings: Callable[..., Findings], judged: Judged, study: Study) -> Findings:
    """Findings of the two runs, with these judgments and the traces behind their passages."""
    traces = list(study.corpus.traces(*{passage.transcript_id for passage in judged.passages}))
    return make_findings(runs=("calm", "toy"), n_words=40, judged=judged, traces=traces, passages=[])
