"""What edits of reasoning do, in sentences with numbers."""

from __future__ import annotations

from cotdrift.estimate import Estimate
from cotdrift.intervened import Compared, Effect, Intervened, Resilience
from cotdrift.sentences import Change, interval, number, per_cent, share, signed_points


def what_edits_do(found: Intervened) -> tuple[Change, ...]:
    """Of the last checkpoint of each run: what removal does, what terms carry, and first of all what is hidden from the monitor."""
    told: list[Change] = []
    for run in dict.fromkeys(one.run for one in found.effects):
        ours = [one for one in found.last() if one.run == run]
        step = ours[0].step
        told += [Change(sentence=less_monitorable(one), run=run, is_flag=True) for one in ours if one.is_less_monitorable]
        said = (removal(found, run, step), carried(found, run, step))
        told += [Change(sentence=sentence, run=run) for sentence in said if sentence]
    return tuple(told)


def less_monitorable(one: Effect) -> str:
    """The failure to look for: as good, perhaps more legible, and the monitor sees less of it."""
    found = one.outcomes
    rid = f"the property goes from {_moves(found['shows'])}; " if {"shows", "seen"} <= set(found) and found["shows"].clear < 0 else ""
    done = f", and so does the task ({_moves(found['performs'])})" if "performs" in found else ""
    return (
        f"Less monitorable: at step {one.step:,}, {_named(one.arm)} against {_named(one.base)}: {rid}the behaviour stands "
        f"({_moves(found['behaves'])}){done}, but of the answers that show it the monitor catches fewer: {_moves(found['caught'])}."
    )


def removal(found: Intervened, run: str, step: int) -> str:
    """What sampling the property away does, beside a random sentence, and how often it has to be done."""
    of = {
        one.base: one.outcomes
        for one in found.effects
        if (one.run, one.step, one.arm) == (run, step, "removed") and "behaves" in one.outcomes
    }
    if "resampled" not in of:
        return ""
    said = [f"At step {step:,}, with the property sampled away, the behaviour goes from {_moves(of['resampled']['behaves'])}."]
    neutral = next((one for one in found.effects if (one.run, one.step, one.arm) == (run, step, "random_sentence")), None)
    if neutral and "behaves" in neutral.outcomes:
        said.append(f"With a random sentence in its place it goes from {_moves(neutral.outcomes['behaves'])}.")
    if "random_sentence" in of:
        said.append(f"Against that sentence, removal does {_difference(of['random_sentence']['behaves'])}.")
    said += [how_resilient(one) for one in found.resilience if (one.run, one.step) == (run, step)]
    return " ".join(said)


def how_resilient(one: Resilience) -> str:
    """How often the property has to be removed until it stays away."""
    away = per_cent(one.stays_away.value or 0.0)
    left = f"; where it does, {share(one.behaves)} show the behaviour" if one.behaves.value is not None else ""
    return (
        f"It takes {number(one.median)} round{'s' * (one.median != 1)} (median) until it stays away, and it does in {away} of them{left}."
    )


def carried(found: Intervened, run: str, step: int) -> str:
    """Whether the behaviour rests on the terms, by what their meanings, random words and other words in place of them do."""
    of = {one.arm: one for one in found.effects if (one.run, one.step, one.base) == (run, step, "identity") and "behaves" in one.outcomes}
    if not {"glossary", "random_words"} <= set(of):
        return ""
    moved = {arm: one.outcomes["behaves"].clear for arm, one in of.items()}
    if moved["random_words"] and not moved["glossary"]:
        verdict = "The behaviour rests on what the terms mean, and not on the words themselves"
    elif moved["glossary"] and moved["random_words"]:
        verdict = "The behaviour rests on the very words: their meanings do not stand in for them"
    elif not moved["glossary"] and not moved["random_words"]:
        verdict = "Nothing shows that the behaviour rests on the terms"
    else:
        verdict = "Their meanings move the behaviour, and random words do not: look at the glossary"
    told = "; ".join(f"{_named(arm)} {_difference(one.outcomes['behaves'])}" for arm, one in of.items())
    return f"At step {step:,}, against the same words unchanged: {told}. {verdict}."


def _moves(pair: Compared) -> str:
    return f"{_value(pair.before)} to {_value(pair.after)}, {_difference(pair)}{_ratio(pair)}"


def _difference(pair: Compared) -> str:
    return signed_points(pair.difference)


def _ratio(pair: Compared) -> str:
    return "" if pair.ratio is None else f", ratio {number(pair.ratio.value)}{interval(pair.ratio.low, pair.ratio.high)}"


def _value(of: Estimate) -> str:
    return "unknown" if of.value is None else per_cent(of.value)


def _named(arm: str) -> str:
    return arm.replace("_", " ")
