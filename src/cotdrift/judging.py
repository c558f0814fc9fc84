"""Judging: a grader's question put to judges about traces, by Inspect; no judgment that came is paid for twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.asking import Asking, Past, as_child
from cotdrift.corpus import Corpus
from cotdrift.errors import InputError
from cotdrift.grader import UNASKED, Grader, Reason
from cotdrift.judgment import Child, Judgment, Judgments, Writer, locate, read_reply, why_missing
from cotdrift.seen import drawn, is_readable, places, scenario_of, unmarked
from cotdrift.trace import Trace

if TYPE_CHECKING:
    from inspect_ai.model import Model, ModelOutput

CHARACTERS_A_TOKEN = 3.5
"""About; a tokenizer would have to be fetched."""
TOKENS_OF_A_REPLY = 120
AT_ONCE = 10
"""Requests that a judge gets at once, where neither the user nor the provider says."""
AT_ONCE_BATCHED = 10_000
"""As Inspect has it: batches fill by what waits for them."""
READ_AT_ONCE = 2_000
RETRIES = 5
NO_SETTINGS = frozenset({"batch", "max_connections", "max_retries", "timeout"})
"""How judges are reached, which does not make them others."""


class Chosen(Struct, frozen=True, kw_only=True):
    """Which traces are judged."""

    per_checkpoint: int | None = None
    """How many of each checkpoint, the same prompts and samples of each wherever they are there; None judges all."""
    run: str | None = None
    environment: str | None = None
    among: frozenset[str] | None = None
    """Only these traces; None for any."""
    seed: int = 0


class Limits(Struct, frozen=True, kw_only=True):
    """What a pass may cost."""

    cost: float | None = None
    """Dollars."""
    tokens: int | None = None
    """Of what is sent and what comes back, together."""
    price: tuple[float, float] | None = None
    """Dollars for a million tokens sent, and received; None takes what Inspect knows."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a pass comes to, before anything is asked."""

    traces: int
    asked: int
    """Judgments to ask for, by all judges together."""
    had: int
    """Judgments that are there already."""
    set_aside: int
    """Traces whose reasoning cannot be read: a summary, redacted, or none."""
    unused: int
    """Traces that use none of the terms, of which nothing is asked."""
    untold: int
    """Traces without a prompt, where the grader is to see what the model was told."""
    input_tokens: int
    output_tokens: int
    cost: float | None
    """None where a judge's price is not known."""

    def sentence(self) -> str:
        """The plan in one sentence."""
        cost = "at a price that is not known" if self.cost is None else f"about ${self.cost:,.2f}"
        aside = f"; {self.set_aside:,} more are set aside, as their reasoning cannot be read" if self.set_aside else ""
        aside = (f", {self.unused:,} of which use none of the terms" if self.unused else "") + aside
        untold = f" Of {self.untold:,} traces there is no prompt, which this grader is to see: read the prompts in." if self.untold else ""
        return (
            f"{self.asked:,} judgments to ask for, of {self.traces:,} traces{aside}; {self.had:,} are there already. "
            f"About {self.input_tokens:,} tokens to send and {self.output_tokens:,} to receive, {cost}.{untold}"
        )


class Judged(Struct, frozen=True, kw_only=True):
    """What became of a pass."""

    grader: str
    plan: Plan
    judgments: int
    """With an answer."""
    missing: dict[Reason, int]
    misquoted: int
    """Judgments that rest on words which are not in the trace."""
    input_tokens: int
    output_tokens: int
    cost: float | None
    faults: tuple[str, ...]
    """What the failed ones failed of, each once."""


def judges_of(names: Sequence[str], model_args: Mapping[str, Any] | None = None, **config: Any) -> dict[str, Model]:
    """The judges by name, through Inspect, whose limits on connections are theirs alone: it keeps the first of a process.

    Their own token counting is replaced: it would fetch a tokenizer from the network.
    """
    try:
        from inspect_ai.model import GenerateConfig, get_model  # takes seconds
    except ModuleNotFoundError as fault:
        if fault.name != "inspect_ai":
            raise
        raise InputError(
            "Judges are reached through Inspect, which is not installed. Install it: pip install 'cotdrift[inspect]'"
        ) from None
    made, pool = {}, uuid4().hex
    for name in names:
        try:
            made[name] = get_model(name, memoize=False, config=GenerateConfig(**({"max_retries": RETRIES} | config)), **(model_args or {}))
        except Exception as fault:  # each provider has its own ways to say that it cannot be had
            said = " ".join(str(fault).split()) or type(fault).__name__
            raise InputError(f"The judge {name!r} cannot be had: {said}") from None
        api = made[name].api
        api.count_text_tokens = _count_tokens  # type: ignore[method-assign]
        api.connection_key = partial("{}:{}".format, pool, api.connection_key())  # type: ignore[method-assign]
    return made


def settings_of(config: Mapping[str, Any]) -> str:
    """What of Inspect's configuration makes a judge another one, as it is kept with a judgment.

    >>> settings_of({"temperature": 0.5, "max_connections": 20, "reasoning_effort": "low"})
    'reasoning_effort=low,temperature=0.5'
    """
    return ",".join(f"{name}={value}" for name, value in sorted(config.items()) if name not in NO_SETTINGS)


async def _count_tokens(text: str) -> int:
    return _tokens(len(text))


def choose(corpus: Corpus, chosen: Chosen) -> list[str]:
    """The traces to judge, in an order that tells nothing of their checkpoint."""
    rows = corpus.scan().select("transcript_id", "run", "step", "checkpoint", "environment", "prompt_id", "rep")
    if chosen.run is not None:
        rows = rows.filter(pl.col("run") == chosen.run)
    if chosen.environment is not None:
        rows = rows.filter(pl.col("environment") == chosen.environment)
    if chosen.among is not None:
        rows = rows.filter(pl.col("transcript_id").is_in(list(chosen.among)))
    found = rows.collect()
    if chosen.per_checkpoint is not None:
        found = _sampled(found, chosen.per_checkpoint, chosen.seed)
    ids = found["transcript_id"].sort().to_list()
    random.Random(chosen.seed).shuffle(ids)
    return ids


def _sampled(rows: pl.DataFrame, many: int, seed: int) -> pl.DataFrame:
    """So many of each checkpoint: a sample of each prompt before a second of any, and at every checkpoint the same ones first."""
    keys = {tuple(row): drawn(seed, *row) for row in rows.select("environment", "prompt_id", "rep").unique().iter_rows()}
    prompts = {tuple(row): drawn(seed, *row) for row in rows.select("environment", "prompt_id").unique().iter_rows()}
    ordered = rows.with_columns(
        of_rep=pl.Series([keys[row] for row in rows.select("environment", "prompt_id", "rep").iter_rows()], dtype=pl.UInt64),
        of_prompt=pl.Series([prompts[row] for row in rows.select("environment", "prompt_id").iter_rows()], dtype=pl.UInt64),
    )
    place = ["run", "step", "checkpoint"]
    return (
        ordered.sort("of_rep")
        .with_columns(turn=pl.int_range(pl.len()).over(*place, "environment", "prompt_id"))
        .sort("turn", "of_prompt", "of_rep")
        .group_by(place, maintain_order=True)
        .head(many)
    )


def priced(limits: Limits, judges: Iterable[Model]) -> Limits:
    """The limits, with the price Inspect knows where none is given; a complaint where dollars are limited and no price is known."""
    from inspect_ai.model import get_model_info

    if limits.price is not None:
        return limits
    costs = [info.cost if (info := get_model_info(judge)) else None for judge in judges]
    known = [(cost.input, cost.output) for cost in costs if cost is not None]
    if len(known) < len(costs):
        if limits.cost is not None:
            raise InputError("--max-cost: Inspect does not know what these judges cost. Give --price IN,OUT, or --max-tokens instead.")
        return limits
    return replace(limits, price=max(known))  # of several judges the dearest: a cap must hold


def plan_pass(
    corpus: Corpus, grader: Grader, judges: Iterable[str], settings: str, store: Judgments, chosen: Chosen, limits: Limits
) -> Plan:
    """What a pass would ask for."""
    ids = choose(corpus, chosen)
    with store.writing() as writer:
        past = Past(grader, settings, writer.known(grader))
    asked = had = aside = unused = untold = sent = 0
    for trace in _traces(corpus, ids):
        aside += not is_readable(grader, trace)
        untold += "scenario" in grader.sees and not scenario_of(trace).strip()
        unused += grader.around is not None and not places(grader, trace)
        for tokens, there in (needed for judge in judges for needed in _needed(past, trace, judge)):
            had, asked, sent = had + there, asked + (not there), sent + (0 if there else tokens)
    received = asked * TOKENS_OF_A_REPLY
    cost = _cost(limits.price, sent, received) if limits.price else None
    return Plan(
        traces=len(ids) - aside,
        asked=asked,
        had=had,
        set_aside=aside,
        unused=unused,
        untold=untold,
        input_tokens=sent,
        output_tokens=received,
        cost=cost,
    )


def _needed(past: Past, trace: Trace, judge: str) -> Iterator[tuple[int, bool]]:
    """All that one judge has to say of a trace and of summaries of it: what each takes to ask, in tokens, and whether it is there."""
    below = []
    for one, there in past.asks(trace, [judge]):
        if one.repeat == 0:
            below.append(as_child(one.start, one.end, past.of(trace.transcript_id, judge, 0, one.start, one.end) if there else None))
        if one.lack(past.grader) is None:
            yield 0 if there else _tokens(len(one.told(past.grader)[0])), there
    level = 0
    while past.grader.groups and len(below) > 1:
        level, groups = level + 1, list(past.sums(trace.transcript_id, judge, level + 1, below))
        below = [as_child(group[0].start, group[-1].end, was if there else None) for group, was, there in groups]
        for group, _, there in groups:
            yield _tokens(len(past.grader.asked_together(scenario=scenario_of(trace, alone=True)))) + len(group) * TOKENS_OF_A_REPLY, there


def _traces(corpus: Corpus, ids: Sequence[str]) -> Iterator[Trace]:
    """These traces, in this order."""
    for at in range(0, len(ids), READ_AT_ONCE):
        some = ids[at : at + READ_AT_ONCE]
        traces = {trace.transcript_id: trace for trace in corpus.traces(*some)}
        yield from (traces[transcript_id] for transcript_id in some)


async def judge_all(
    corpus: Corpus,
    grader: Grader,
    judges: dict[str, Model],
    settings: str,
    store: Judgments,
    plan: Plan,
    chosen: Chosen,
    limits: Limits,
    *,
    done: Callable[[int], None] = lambda _judgments: None,
) -> Judged:
    """Ask for all that is lacking. Each judgment is on disk as soon as it came; what the limits leave no room for is recorded as that.

    What is summed up is asked once all that stands below it is there, level by level.
    """
    ids = choose(corpus, chosen)
    purse = Purse(limits, sent=plan.input_tokens / max(plan.asked, 1))
    came: list[Judgment] = []
    many = min(sum(_at_once(judge) for judge in judges.values()), max(plan.asked, 1))
    with store.writing() as writer:

        async def work(queue: Iterator[Asking]) -> None:
            for one in queue:
                judgment = await ask(grader, judges[one.judge], settings, one, purse)
                writer.add([judgment])
                came.append(_light(judgment))
                done(judgment.missing not in UNASKED)

        async def work_off(queue: Iterator[Asking]) -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(many):
                    group.create_task(work(queue))

        past, level = Past(grader, settings, writer.known(grader)), 0
        await work_off(one for trace in _traces(corpus, ids) for one, there in past.asks(trace, judges) if not there)
        while grader.groups:
            past, level = Past(grader, settings, writer.known(grader)), level + 1
            if not (below := past.below(ids, judges, level)):
                break
            await work_off(_to_sum_up(corpus, past, writer, level, below))
    return _summed_up(grader, plan, came)


def _to_sum_up(corpus: Corpus, past: Past, writer: Writer, level: int, below: dict[tuple[str, str], list[Child]]) -> Iterator[Asking]:
    """What is to be asked on this level; `below` are the judgments one level below, by trace and judge."""
    lacking: dict[str, list[tuple[str, Sequence[Child], int]]] = {}
    for (transcript_id, judge), children in below.items():
        for group, before, there in past.sums(transcript_id, judge, level, children):
            if not there:
                lacking.setdefault(transcript_id, []).append((judge, group, before.attempts if before else 0))
    for trace in _traces(corpus, list(lacking)):
        said = {
            (one.judge, one.start, one.end): one
            for one in writer.said(past.grader, trace.transcript_id)
            if (one.settings, one.level) == (past.settings, level - 1)
        }
        for judge, group, attempt in lacking[trace.transcript_id]:
            summed = tuple(said[judge, child.start, child.end] for child in group)
            start, end = group[0].start, group[-1].end
            yield Asking(trace=trace, judge=judge, start=start, end=end, attempt=attempt, level=level, children=summed)


def _light(judgment: Judgment) -> Judgment:
    """Without its texts, which are on disk."""
    return replace(judgment, reply="", reason=judgment.reason if judgment.missing == "failed" else "")


def _at_once(judge: Model) -> int:
    return judge.config.max_connections or (AT_ONCE_BATCHED if judge.config.batch else min(judge.api.max_connections(), AT_ONCE))


class Purse:
    """What a pass has spent, and whether there is enough left for one judgment more."""

    def __init__(self, limits: Limits, *, sent: float) -> None:
        self.limits = limits
        self.tokens, self.cost = 0, 0.0
        self.in_flight, self.each = 0, sent + TOKENS_OF_A_REPLY
        self.each_cost = _cost(limits.price, round(sent), TOKENS_OF_A_REPLY) if limits.price else 0.0
        self.judgments = 0

    @property
    def is_empty(self) -> bool:
        """Whether one more, with all that are on their way, would be too much."""
        ahead = self.in_flight + 1
        over_tokens = self.limits.tokens is not None and self.tokens + ahead * self.each > self.limits.tokens
        return over_tokens or (self.limits.cost is not None and self.cost + ahead * self.each_cost > self.limits.cost)

    def spend(self, sent: int, received: int, cost: float | None) -> None:
        """One judgment came, and was this dear; the next ones are thought to be like those so far."""
        self.judgments += 1
        self.tokens += sent + received
        self.cost += cost or 0.0
        self.each, self.each_cost = self.tokens / self.judgments, self.cost / self.judgments


async def ask(grader: Grader, judge: Model, settings: str, one: Asking, purse: Purse) -> Judgment:
    """One judgment, or why it could not be had; never an error, so that one fault does not end a pass."""
    judgment = Judgment(
        transcript_id=one.trace.transcript_id,
        grader=grader.name,
        version=grader.version,
        sha=grader.sha,
        judge=one.judge,
        settings=settings,
        level=one.level,
        start=one.start,
        end=one.end,
        marked=one.trace.reasoning[one.start : one.end] if grader.around is not None else "",
        stands_for=one.stands_for,
        children=tuple(child.as_child for child in one.children),
        repeat=one.repeat,
        attempt=one.attempt,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if lack := one.lack(grader):
        return replace(judgment, missing=lack[0], reason=lack[1])
    if purse.is_empty:
        return replace(judgment, missing="over budget")
    told, parts = one.told(grader)
    purse.in_flight += 1
    try:
        output = await judge.generate(told, cache=False)  # the store is the cache; an eval in this process may have turned on Inspect's
    except Exception as fault:  # whatever a provider raises when its retries are used up
        return replace(judgment, missing="failed", reason=f"{type(fault).__name__}: {' '.join(str(fault).split())}"[:400])
    finally:
        purse.in_flight -= 1
    sent, received, cost = _paid(output, told, purse.limits.price)
    purse.spend(sent, received, cost)
    judgment = replace(judgment, reply=output.completion, input_tokens=sent, output_tokens=received, cost=cost)
    if output.error:
        return replace(judgment, missing="failed", reason=output.error[:400])
    said = read_reply(grader, output.completion)
    if said is None:
        return replace(judgment, missing=why_missing(output.completion, output.stop_reason))
    if grader.around is not None:
        quotes = tuple(locate(unmarked(quote), parts, near=one.start) for quote in said.quotes)
    else:
        quotes = tuple(locate(quote, parts) for quote in said.quotes)
    return replace(judgment, label=said.label, value=said.value, details=said.details, quotes=quotes, reason=said.reason)


def _paid(output: ModelOutput, shown: str, price: tuple[float, float] | None) -> tuple[int, int, float | None]:
    usage = output.usage
    if usage is None:
        sent, received = _tokens(len(shown)), _tokens(len(output.completion))
    else:
        sent = usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
        received = usage.output_tokens
    cost = _cost(price, sent, received) if price else usage.total_cost if usage else None
    return sent, received, cost


def _tokens(characters: int) -> int:
    return max(1, round(characters / CHARACTERS_A_TOKEN))


def _cost(price: tuple[float, float], sent: int, received: int) -> float:
    return (price[0] * sent + price[1] * received) / 1e6


def _summed_up(grader: Grader, plan: Plan, came: list[Judgment]) -> Judged:
    missing: dict[Reason, int] = {}
    for judgment in came:
        if judgment.missing is not None and judgment.missing not in UNASKED:
            missing[judgment.missing] = missing.get(judgment.missing, 0) + 1
    costs = [judgment.cost for judgment in came if judgment.cost is not None]
    return Judged(
        grader=grader.name,
        plan=plan,
        judgments=sum(judgment.label is not None for judgment in came),
        missing=missing,
        misquoted=sum(judgment.misquoted for judgment in came),
        input_tokens=sum(judgment.input_tokens for judgment in came),
        output_tokens=sum(judgment.output_tokens for judgment in came),
        cost=sum(costs) if costs else None,
        faults=tuple(dict.fromkeys(judgment.reason for judgment in came if judgment.missing == "failed")),
    )
