"""What the page shows of importance: the chains with their sentences marked, and continuations without a sentence and with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cotdrift.figures import importance as drawn
from cotdrift.findings import Findings
from cotdrift.importance import SAID, Chain, How, Importance, Sentence
from cotdrift.importance_sentences import apart, change, is_clear, weight
from cotdrift.page.prefixes import QUOTED
from cotdrift.trace import Trace

SHOWN = 4
"""Chains of a checkpoint that are shown, those with the weightiest sentences; the others are in what is said and in the kinds."""
FIGURES = drawn.FIGURES


def rows(found: Importance) -> dict[str, list[dict[str, Any]]]:
    """What the figures are drawn from."""
    return {"importance_sentences": drawn.sentence_rows(found, shown(found)), "importance_kinds": drawn.kind_rows(found)}


def shown(found: Importance) -> list[Chain]:
    """The chains that are shown, by checkpoint."""
    of: dict[tuple[str, int], list[Chain]] = {}
    for chain in found.chains:
        of.setdefault((chain.run, chain.step), []).append(chain)
    return [chain for chains in of.values() for chain in sorted(chains, key=_heaviest, reverse=True)[:SHOWN]]


def _heaviest(chain: Chain) -> float:
    return max((weighed.shrunk.value for sentence in chain.sentences for weighed in sentence.weighed.values()), default=0.0)


def section(findings: Findings) -> dict[str, Any] | None:
    """All that the section needs; None where the experiment was not run."""
    found = findings.importance
    if found is None:
        return None
    said: dict[str, list[str]] = {}
    for one in findings.matters:
        said.setdefault(one.run, []).append(one.sentence)
    traces = {trace.transcript_id: trace for trace in findings.traces}
    chains, hows = shown(found), found.hows()
    return {
        "said": list(said.items()),
        "hows": {how: SAID[how] for how in hows},
        "chains": [_chain(chain, [how for how in hows if how in drawn.DRAWN], traces) for chain in chains],
        "left_out": len(found.chains) - len(chains),
        "answers": found.answers,
        "alike": found.alike,
        "kinds": list(dict.fromkeys((row["panel"], row["run"]) for row in drawn.kind_rows(found))),
        "ranked": [
            {"panel": f"{one.run}, step {one.step:,}", "how": one.how, "kind": one.kind, "apart": apart(one.against)}
            for one in found.kinds
            if one.against and is_clear(one.against) and one.against.value > 0
        ],
    }


def _chain(chain: Chain, hows: Sequence[How], traces: Mapping[str, Trace]) -> dict[str, Any]:
    samples, behaviour = chain.samples, "the behaviour" if chain.shows else f"“{chain.own}”, as the trace did,"
    return {
        "run": chain.run,
        "name": f"{chain.run}, step {chain.step:,}",
        "prompt_id": chain.prompt_id,
        "read": f"{samples} continuations from each place; a change is one of the share that answers {behaviour} with the sentence.",
        "sentences": [_sentence(one) for one in chain.sentences],
        "panels": [(how, drawn.panel_of(chain, how)) for how in hows if any(how in one.weighed for one in chain.sentences)],
        "examples": [
            {"place": place, "text": chain.sentences[place - 1].text, "sides": [_side(ids, traces) for ids in sides]}
            for place, sides in chain.examples.items()
        ],
    }


def _sentence(sentence: Sentence) -> dict[str, Any]:
    return {
        "text": sentence.text,
        "kind": sentence.kind,
        "is_clear": any(weighed.is_clear for weighed in sentence.weighed.values()),
        "weights": [f"{how}: {weight(weighed)}, {change(weighed)}" for how, weighed in sentence.weighed.items() if weighed.is_clear],
        "again": "" if sentence.again is None else f"{100 * sentence.again:.0f}%",
    }


def _side(ids: Sequence[str], traces: Mapping[str, Trace]) -> list[dict[str, Any]]:
    """Continuations: of what was given the end, of what is new the beginning."""
    return [
        {
            "transcript_id": trace.transcript_id,
            "step": trace.step,
            "given": ("… " if len(trace.begun) > QUOTED else "") + trace.begun[-QUOTED:],
            "new": trace.reasoning[:QUOTED] + (" …" if len(trace.reasoning) > QUOTED else ""),
            "answer": trace.answer[:QUOTED].strip(),
        }
        for trace in (traces.get(name) for name in ids)
        if trace is not None
    ]
