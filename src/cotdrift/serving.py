"""Serving: whether the server can be trusted, before anything is said of legibility.

Illegible reasoning can be a broken server, a wrong chat template or a changed sampler: sampled again through another provider, a published
mean score for illegibility fell from 4.3 to 2.3 of 9 (nostalgebraist 2026). What breaks reasoning so breaks answers too, leaves marks in
the text, or begins at the checkpoint from which on another server was asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from msgspec import Struct
from numpy.typing import NDArray

from cotdrift.corpus import Checkpoint, Corpus
from cotdrift.estimate import Estimate, Sums, mean, rate_of
from cotdrift.soup import MADE_OF, Kind, Sign, signs

if TYPE_CHECKING:
    from cotdrift.trend import Trend

Where = Literal["reasoning", "answer", "reply"]
Check = Literal[Kind, "soup", "no answer", "cut off", "improbable tokens"]

TOLERATED: dict[tuple[Check, Where], float] = {
    ("soup", "answer"): 0.02,
    ("bytes", "reasoning"): 0.01,
    ("bytes", "answer"): 0.01,
    ("tokens", "reasoning"): 0.01,
    ("tokens", "answer"): 0.01,
    ("echo", "answer"): 0.02,
    ("no answer", "reply"): 0.05,
    ("improbable tokens", "reply"): 0.005,
}
"""The share of traces (of tokens, for the last) that a server may show; a check fails where the interval lies above it."""
CUT_OFF_JUMP = 0.1
"""How much more of the traces may be cut off than at the run's first checkpoint."""
FEWEST_TRACES = 2
MOST_TRACES = 2_000
"""How many traces of a checkpoint are looked at, drawn at random where there are more."""
MOST_PASSAGES = 3
LONGEST_END = 240
MIX_MOVED = 0.1
"""How far the traces' mix of values may move between checkpoints before a setting counts as changed."""

SAID: dict[Check, str] = {
    "soup": "are soup",
    "scripts": "scripts change within words",
    "non-words": "words that no language has",
    "word salad": "words in no order",
    "glued words": "words run together",
    "loop": "the same words over and over",
    "bytes": "hold bytes that never became text, or became the wrong one",
    "tokens": "hold special tokens or think tags",
    "echo": "begin by repeating the prompt",
    "no answer": "stop after their reasoning without an answer",
    "cut off": "are cut off",
    "improbable tokens": "of the sampled tokens had less than 1 chance in 22,000",
}
WANTED = ("provider", "quantization", "temperature", "top_p", "max_tokens", "chat_template_hash")
"""What a reader would have to know to ask the same server again."""
IGNORED = frozenset(
    "model sampled max_retries timeout attempt_timeout stream_idle_timeout max_connections adaptive_connections seed num_choices n logprobs"
    " top_logprobs prompt_logprobs cache_prompt batch".split()
)
"""Settings that change nothing in how likely a text is."""


class Seen(Struct, frozen=True, kw_only=True):
    """A passage that shows it."""

    transcript_id: str
    before: str
    hit: str
    after: str


class Checked(Struct, frozen=True, kw_only=True):
    """One check at one checkpoint."""

    run: str
    step: int
    check: Check
    where: Where
    """What was looked at; `reply` is the reasoning and the answer together."""
    share: Estimate
    """Of the traces that were looked at; of sampled tokens for `improbable tokens`."""
    tolerated: float | None = None
    """None where the check tells a reader more, and fails nothing by itself."""
    fails: bool = False
    passages: Sequence[Seen] = ()


class Changed(Struct, frozen=True, kw_only=True):
    """A setting of the server or the sampler that differs from the checkpoint before."""

    run: str
    step: int
    since: int
    """The checkpoint before it that says how it was sampled."""
    setting: str
    before: dict[str, float]
    """Each value, as JSON, and the share of the traces that have it; `null` where it is not recorded."""
    after: dict[str, float]
    begins: tuple[str, ...] = ()
    """Measures whose onset may lie there."""


class Serving(Struct, frozen=True, kw_only=True):
    """What was checked of the server, and what speaks against it."""

    traces: int
    """How many were looked at."""
    checked: Sequence[Checked] = ()
    changed: Sequence[Changed] = ()
    unrecorded: dict[str, tuple[str, ...]] = {}
    """For each run, what no trace of some checkpoint says of how it was sampled."""

    @property
    def is_trusted(self) -> bool:
        """Whether nothing speaks against the server."""
        return not self.failed and not self.changed

    @property
    def failed(self) -> tuple[Checked, ...]:
        """The checks that fail."""
        return tuple(one for one in self.checked if one.fails)

    @property
    def by_failing(self) -> dict[tuple[str, Check, Where], list[Checked]]:
        """What fails, by run and check, the worst checkpoint first."""
        groups: dict[tuple[str, Check, Where], list[Checked]] = {}
        for one in sorted(self.failed, key=lambda one: (one.run, -(one.share.value or 0.0))):
            groups.setdefault((one.run, one.check, one.where), []).append(one)
        return groups

    def of(self, run: str, step: int, check: Check, where: Where) -> Checked | None:
        """One check at one checkpoint, if it was made."""
        return next((one for one in self.checked if (one.run, one.step, one.check, one.where) == (run, step, check, where)), None)


def check_serving(corpus: Corpus, trends: Sequence[Trend] = (), *, seed: int = 0, done: Callable[[int], None] = lambda _: None) -> Serving:
    """Check the texts and the settings of every checkpoint. `trends` say which measures begin to move where a setting changed."""
    checked: list[Checked] = []
    mixes: dict[str, dict[int, Mixes]] = defaultdict(dict)
    starts: dict[str, Estimate] = {}
    looked_at = 0
    answers = corpus.scan().group_by("run").agg((pl.col("answer") != "").any()).collect()
    answering = dict(answers.iter_rows())
    for checkpoint in corpus.checkpoints():
        run, step = checkpoint.run, checkpoint.step
        rows = _drawn(checkpoint, seed)
        looked_at += rows.height
        prompts = np.unique((rows["task_set"] + "\0" + rows["task_id"]).to_numpy(), return_inverse=True)[1]
        said = [msgspec.json.decode(one or "{}") for one in rows["serving"]]
        found = [*_of_texts(rows, prompts), *_of_replies(rows, prompts, said, answers=answering[run])]
        for check, where, share, passages in found:
            checked.append(_judged(Checked(run=run, step=step, check=check, where=where, share=share, passages=passages), starts))
        mixes[run][step] = _mixes(said)
        done(rows.height)
    unrecorded = {run: tuple(name for name in WANTED if any(name not in mix for mix in steps.values())) for run, steps in mixes.items()}
    return Serving(
        traces=looked_at,
        checked=checked,
        changed=[change for run, steps in mixes.items() for change in _changes(run, steps, trends)],
        unrecorded={run: names for run, names in unrecorded.items() if names},
    )


Found = tuple[Check, Where, Estimate, Sequence[Seen]]
Mixes = dict[str, dict[str, float]]
"""Each setting, and the share of the traces that each of its values, as JSON, has."""


def _drawn(checkpoint: Checkpoint, seed: int) -> pl.DataFrame:
    """Some traces of a checkpoint, all if they are few."""
    columns = ["transcript_id", "task_set", "task_id", "prompt", "reasoning", "answer", "truncated", "serving"]
    rows = sum(pq.read_metadata(path).num_rows for path in checkpoint.files)
    drawn = np.sort(np.random.default_rng(seed).choice(rows, min(rows, MOST_TRACES), replace=False))
    parts, begun = [], 0
    for batch in checkpoint.batches([*columns, "messages"]):
        here = drawn[(drawn >= begun) & (drawn < begun + batch.height)] - begun
        acts = pl.col("messages").str.contains('"tool_calls":', literal=True).alias("acts")
        parts.append(batch[here].select(*columns, acts))
        begun += batch.height
    return pl.concat(parts)


def _of_texts(rows: pl.DataFrame, prompts: NDArray[np.int64]) -> Iterator[Found]:
    """The signs in reasoning and in answers, each as a share of the texts there are."""
    asked = rows["prompt"].fill_null("").to_list()
    ids = rows["transcript_id"].to_list()
    wheres: tuple[Where, ...] = ("reasoning", "answer")
    sought: tuple[Check, ...] = ("soup", *MADE_OF, "bytes", "tokens", "echo")
    for where in wheres:
        texts = rows[where].fill_null("").to_list()
        there = np.array([bool(text.strip()) for text in texts], dtype=bool)
        if not there.any():
            continue
        of_each: dict[Check, dict[int, Sign]] = {check: {} for check in sought}
        for at, found in enumerate(signs(texts, asked)):
            for sign in found:
                of_each[sign.kind][at] = sign
                if sign.kind in MADE_OF:
                    of_each["soup"].setdefault(at, sign)
        for check, shown in of_each.items():
            flags = np.zeros(len(texts), dtype=bool)
            flags[list(shown)] = True
            some = list(shown.items())[:MOST_PASSAGES]
            passages = [Seen(transcript_id=ids[at], before=sign.before, hit=sign.hit, after=sign.after) for at, sign in some]
            yield check, where, mean(flags[there], prompts[there], share=True), passages


def _of_replies(rows: pl.DataFrame, prompts: NDArray[np.int64], said: Sequence[Mapping[str, Any]], *, answers: bool) -> Iterator[Found]:
    cut_off = rows["truncated"].fill_null(False).to_numpy()
    yield "cut off", "reply", mean(cut_off, prompts, share=True), ()
    silent = rows.select((pl.col("answer").str.strip_chars() == "") & ~pl.col("acts")).to_series().to_numpy()
    reasoned = ~cut_off & (rows["reasoning"].str.len_chars() > 0).to_numpy()
    if answers and reasoned.any():
        shown = rows.filter(pl.Series(silent & reasoned)).head(MOST_PASSAGES).select("transcript_id", "reasoning").iter_rows()
        passages = [Seen(transcript_id=name, before=reasoning[-LONGEST_END:], hit="", after="") for name, reasoning in shown]
        yield "no answer", "reply", mean(silent[reasoned], prompts[reasoned], share=True), passages
    sampled = [one.get("sampled") or {} for one in said]
    tokens = np.array([one.get("tokens", 0) for one in sampled], dtype=np.float64)
    if tokens.any():
        improbable = np.array([one.get("improbable", 0) for one in sampled], dtype=np.float64)
        yield "improbable tokens", "reply", rate_of(Sums.of(improbable, prompts, exposure=tokens)), ()


def _judged(one: Checked, starts: dict[str, Estimate]) -> Checked:
    """Whether it fails: by what is tolerated, or, of what is cut off, by how it was at the run's first checkpoint."""
    value, low = one.share.value or 0.0, one.share.low or 0.0
    if one.check == "cut off":
        start = starts.setdefault(one.run, one.share)
        high = start.value if start.high is None else start.high
        return msgspec.structs.replace(one, fails=value - (start.value or 0.0) > CUT_OFF_JUMP and low > (high or 0.0))
    tolerated = TOLERATED.get((one.check, one.where))
    enough = one.check == "improbable tokens" or round(value * one.share.traces) >= FEWEST_TRACES
    return msgspec.structs.replace(one, tolerated=tolerated, fails=tolerated is not None and enough and low > tolerated)


def _mixes(said: Sequence[Mapping[str, Any]]) -> Mixes:
    """How the traces of a checkpoint were sampled, by setting."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for one in said:
        for name, value in one.items():
            if name not in IGNORED:
                counted[name][_address(value) if name == "base_url" else msgspec.json.encode(value, order="sorted").decode()] += 1
    return {name: {value: n / len(said) for value, n in values.items()} for name, values in counted.items()}


def _address(url: Any) -> str:
    """The host alone: a server of one's own takes another port each time."""
    return msgspec.json.encode(urlsplit(str(url)).hostname or str(url)).decode()


def _changes(run: str, steps: Mapping[int, Mixes], trends: Sequence[Trend]) -> Iterator[Changed]:
    """Settings that are not as they were at the checkpoint before; only checkpoints that say anything are held together."""
    telling = [(step, mix) for step, mix in sorted(steps.items()) if mix]
    for (since, before), (step, after) in pairwise(telling):
        for setting in sorted(before.keys() | after.keys()):
            was, now = (_whole(mix.get(setting, {})) for mix in (before, after))
            moved = sum(abs(now.get(value, 0.0) - was.get(value, 0.0)) for value in was.keys() | now.keys()) / 2
            if moved > MIX_MOVED:
                begins = [
                    trend.measure for trend in trends if trend.run == run and trend.onset and trend.onset.low <= step <= trend.onset.high
                ]
                yield Changed(run=run, step=step, since=since, setting=setting, before=was, after=now, begins=tuple(begins))


def _whole(mix: Mapping[str, float]) -> dict[str, float]:
    """A mix with the traces that do not say."""
    unsaid = 1 - sum(mix.values())
    return {**mix, "null": unsaid} if unsaid > 1e-9 else dict(mix)
