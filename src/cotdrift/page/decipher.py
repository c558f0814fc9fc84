"""What the page shows of decipherment: who reads at what dose, where checkpoints stand, agreement beside accuracy, and passages."""

from __future__ import annotations

from typing import Any

from cotdrift.decipher.encodings import ENCODINGS
from cotdrift.decipher.items import AS_IT_IS, LEGIBLE, PLANTED
from cotdrift.decipher.scale import Placed
from cotdrift.decipher.scores import Scores, Together, is_clear
from cotdrift.figures.decipher import panel_of
from cotdrift.findings import Findings
from cotdrift.sentences import interval, per_cent, share, signed_points

QUOTED = 900
"""Characters of a passage that are shown."""


def section(findings: Findings) -> dict[str, Any] | None:
    """All that the section needs; None where nobody read."""
    found = findings.deciphered
    if found is None or not found.scores.readers:
        return None
    scores = found.scores
    return {
        "said": [change.sentence for change in findings.read],
        "readers": list(scores.readers),
        "panels": list(dict.fromkeys(panel_of(one) for one in scores.dosed)),
        "board": [_row(scores, reader) for reader in scores.best_first],
        "placed": _placed(scores),
        "unplaced": list(dict.fromkeys(one.reader for one in scores.standings if one.reader not in _with_scale(scores))),
        "encodings": [name for name in ENCODINGS if any(one.encoding == name for one in scores.standings)],
        "together": [_beside(one) for one in sorted(scores.together, key=_order)],
        "examples": [
            {
                "encoding": one.encoding,
                "dose": "" if one.encoding == AS_IT_IS else f"{100 * one.dose:.0f} %",
                "source": _cut(one.source),
                "encoded": _cut(one.encoded),
                "asked": one.asked,
                "right": one.right,
                "said": [{"reader": reader, "letter": letter, "why": _cut(why)} for reader, letter, why in one.said],
                "rewritten": [{"reader": reader, "text": _cut(text)} for reader, text in one.rewritten],
            }
            for one in found.examples
        ],
        "summaries": {name: ENCODINGS[name].summary for name in found.made.settings.encodings},
        "sha": found.made.open_sha256,
        "open": found.made.open,
        "sealed": found.made.sealed,
        "looks": len(found.looks),
    }


def _row(scores: Scores, reader: str) -> dict[str, str]:
    plain = next((one for one in scores.conditions if (one.reader, one.encoding, one.material) == (reader, LEGIBLE, PLANTED)), None)
    plain = plain or next((one for one in scores.conditions if (one.reader, one.encoding) == (reader, LEGIBLE)), None)
    encoded = scores.beyond(reader)
    glosses = [one.right for one in scores.glosses if one.reader == reader and one.right.value is not None]
    known = sum(one.traces * (one.value or 0) for one in glosses) / max(sum(one.traces for one in glosses), 1)
    sure = next((one for one in scores.calibrated if one.reader == reader), None)
    wrote = [one.right for one in scores.rewriting if one.by == reader and one.right.value is not None]
    told = sum(one.traces * (one.value or 0) for one in wrote) / max(sum(one.traces for one in wrote), 1)
    return {
        "reader": reader,
        "plain": share(plain.right) if plain else "",
        "above": signed_points(plain.above) if plain and plain.above else "",
        "reads": "" if plain is None or plain.above is None or is_clear(plain.above) else "not shown to read",
        "encoded": "" if encoded is None else f"{100 * encoded:+.0f} points".replace("-", "−"),
        "gloss": per_cent(known) if glosses else "",
        "rewritten": per_cent(told) if wrote else "",
        "brier": "" if sure is None or sure.brier.value is None else f"{sure.brier.value:.2f}{interval(sure.brier.low, sure.brier.high)}",
        "over": "" if sure is None or sure.over.value is None else f"{100 * sure.over.value:+.0f} points".replace("-", "−"),
    }


def _placed(scores: Scores) -> list[dict[str, Any]]:
    rows: dict[tuple[str, int, str], dict[str, str]] = {}
    for one in (one for one in scores.standings if one.reader in _with_scale(scores)):
        rows.setdefault((one.run, one.step, one.reader), {})[one.encoding] = _place(one.placed)
    return [{"run": run, "step": step, "reader": reader, "places": places} for (run, step, reader), places in sorted(rows.items())]


def _with_scale(scores: Scores) -> set[str]:
    """The readers whose answers about some run's first checkpoint clearly get worse with the dose of some encoding."""
    return {one.reader for one in scores.standings if one.placed.off != "no scale"}


def _place(placed: Placed) -> str:
    if placed.off:
        return {"harder": "harder than 100 %", "easier": "as plain text", "no scale": "no scale"}[placed.off]
    bounds = "" if placed.low is None or placed.high is None else f" [{100 * placed.low:.0f}, {100 * placed.high:.0f}]"
    return f"{100 * (placed.dose or 0):.0f} %{bounds}"


def _beside(one: Together) -> dict[str, Any]:
    alpha, ac1 = one.agreement.alpha, one.agreement.ac1
    around = one.agreement.range
    return {
        "where": PLANTED if one.material == PLANTED else f"{one.run}, step {one.step:,}",
        "what": one.encoding,
        "alpha": _two_digits(alpha.value) + interval(alpha.low, alpha.high),
        "range": f"{_two_digits(around[0])} to {_two_digits(around[1])}" if around else "",
        "ac1": _two_digits(ac1.value),
        "right": share(one.right),
        "above": signed_points(one.above) if one.above else "",
        "alike": "" if one.wrong_alike.value is None else share(one.wrong_alike),
        "chance": "" if one.wrong_alike.value is None else per_cent(one.by_chance),
        "apart": one.comes_apart,
        "shared": one.shares_a_reading,
    }


def _order(one: Together) -> tuple[bool, str, int, int, str]:
    first = [LEGIBLE, *ENCODINGS, AS_IT_IS]
    return one.material != PLANTED, one.run, one.step, first.index(one.encoding) if one.encoding in first else 99, one.encoding


def _two_digits(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}".replace("-", "−")


def _cut(text: str) -> str:
    return text[:QUOTED].strip() + (" …" if len(text) > QUOTED else "")
