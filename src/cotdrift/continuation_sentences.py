"""What checkpoints make of prefixes, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cotdrift.continuations import ALPHA, PATTERN, Continued, OfPrefix, clear
from cotdrift.sentences import Change, interval, named, number

if TYPE_CHECKING:
    from cotdrift.trend import Trend


def what_continues(found: Sequence[Continued]) -> tuple[Change, ...]:
    """For each behaviour and run: how often it follows the same prefixes, from which step on, from how many of them, and from its own."""
    return tuple(
        Change(sentence=" ".join(part for part in _said(continued, trend) if part), run=trend.run)
        for continued in found
        for trend in continued.shared
    )


def _said(continued: Continued, trend: Trend) -> list[str]:
    prefixes = continued.of(trend.run)
    own = next((other for other in continued.own if other.run == trend.run), None)
    what = "the behaviour" if continued.behaviour == PATTERN else named(continued.behaviour)
    return [
        f"After prefixes of the same {len(prefixes)} prompts, {what} {_moves(trend)}.",
        _onset(trend),
        f"From its own reasoning, cut as far in: {_ends(own)}." if own else "",
        _by_themselves(prefixes) if len(trend.points) > 1 else "",
    ]


def _moves(trend: Trend) -> str:
    if len(trend.points) < 2:
        return f"is {_at(trend, 0)}"
    seen = trend.contrast
    is_clear = seen is not None and seen.p is not None and seen.p < ALPHA
    return f"goes from {_at(trend, 0)} to {_at(trend, -1)}" if is_clear else f"shows no clear change: {_ends(trend)}"


def _ends(trend: Trend) -> str:
    return _at(trend, 0) if len(trend.points) < 2 else f"{_at(trend, 0)}, and {_at(trend, -1)}"


def _at(trend: Trend, place: int) -> str:
    """A rate, its interval and its step."""
    point = trend.points[place]
    if point.value is None:
        return f"not known at step {point.step:,}"
    is_share = trend.unit.startswith("share")
    scale, sign = (100, "%") if is_share else (1, "")
    bounds = (None if bound is None else scale * bound for bound in (point.low, point.high))
    return f"{number(scale * point.value)}{sign}{interval(*bounds)} at step {point.step:,}"


def _onset(trend: Trend) -> str:
    if trend.onset is None:
        return ""
    between = "" if trend.onset.low == trend.onset.high else f" [{trend.onset.low:,}, {trend.onset.high:,}]"
    return f"It sets in at step {trend.onset.step:,}{between}."


def _by_themselves(prefixes: Sequence[OfPrefix]) -> str:
    kept, found = clear(prefixes, "holm"), clear(prefixes, "bh")
    return (
        f"By themselves, {kept['rise']} of {len(prefixes)} rise clearly and {kept['fall']} fall "
        f"(Holm’s adjustment; by Benjamini and Hochberg’s {found['rise']} and {found['fall']})."
    )
