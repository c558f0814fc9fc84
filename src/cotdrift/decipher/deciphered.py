"""The benchmark put together: readers asked, what they said scored, and the card and the leaderboard written."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct

from cotdrift.corpus import whole_file
from cotdrift.decipher.bench import Bench, Look, Made, Settings
from cotdrift.decipher.encodings import ENCODINGS
from cotdrift.decipher.items import AS_IT_IS, GLOSS, LEGIBLE, NEXT, REWRITTEN, SHUFFLED, WITHHELD, Item
from cotdrift.decipher.readings import NAMED, QUESTION, REWRITING, answers, given_up, rewritten
from cotdrift.decipher.scores import Scores, score
from cotdrift.decipher.sentences import what_is_read
from cotdrift.errors import NotEnough
from cotdrift.judging import Chosen, Judged, Limits

CARD, BOARD, SEALED_BOARD = "card.md", "leaderboard.csv", "leaderboard-sealed-{}.csv"
BOARD_COLUMNS: dict[str, Any] = {
    "part": pl.String,
    "reader": pl.String,
    "material": pl.String,
    "run": pl.String,
    "step": pl.Int64,
    "encoding": pl.String,
    "dose": pl.Float64,
    "answers": pl.Int64,
    "prompts": pl.Int64,
    "missing": pl.Int64,
    "right": pl.Float64,
    "right_low": pl.Float64,
    "right_high": pl.Float64,
    "above_control": pl.Float64,
    "above_low": pl.Float64,
    "above_high": pl.Float64,
    "brier": pl.Float64,
    "too_sure": pl.Float64,
    "items_sha256": pl.String,
    "benchmark_version": pl.Int64,
    "seed": pl.Int64,
    "cotdrift": pl.String,
}


class Example(Struct, frozen=True, kw_only=True):
    """A passage, what it was, and what readers made of it."""

    encoding: str
    dose: float
    source: str
    """The plain passage."""
    encoded: str
    asked: str
    """The question with the answers offered."""
    right: str
    said: Sequence[tuple[str, str, str]]
    """Reader, letter, and why, in the reader's words."""
    rewritten: Sequence[tuple[str, str]]
    """Reader and rewriting."""


class Deciphered(Struct, frozen=True, kw_only=True):
    """All that is to be said of a benchmark."""

    made: Made
    looks: Sequence[Look]
    scores: Scores
    examples: Sequence[Example]

    @property
    def sentences(self) -> list[str]:
        """What it says, in sentences."""
        return what_is_read(self.scores)


def ask(
    bench: Bench,
    readers: Sequence[str],
    *,
    rewrite: bool = False,
    limits: Limits | None = None,
    dry_run: bool = False,
    model_args: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda _sentence: None,
    **config: Any,
) -> list[Judged]:
    """Put the items to readers, as Inspect names models; what a reader answered already it is not asked again.

    With `rewrite` each reader also rewrites passages in plain words, and every reader is asked about what the others rewrote.
    """
    told: dict[str, Any] = {"limits": limits, "dry_run": dry_run, "model_args": model_args, "tell": tell, **config}

    def put(question: str, to: Sequence[str], wanted: Callable[[Item], bool]) -> list[Judged]:
        among = frozenset(item.transcript_id for item in bench.items if wanted(item))
        return bench.study.grade(question, judges=to, chosen=Chosen(among=among), **told) if among else []

    done = put(QUESTION, readers, lambda item: not item.of)
    if rewrite:
        done += put(REWRITING, readers, lambda item: _is_rewritten(item.encoding, item.question))
        rewritten(bench)
        for reader in readers:  # its own rewriting would tell it nothing
            done += put(QUESTION, [reader], lambda item, reader=reader: bool(item.of) and item.by.partition(" [")[0] != reader)  # type: ignore[misc]
    return done


def _is_rewritten(encoding: str, question: str) -> bool:
    """Each passage once: those of planted ones stand under two questions."""
    return encoding not in (SHUFFLED, WITHHELD, REWRITTEN) and question not in (NEXT, GLOSS)


def deciphered(bench: Bench, *, seed: int = 0) -> Deciphered:
    """What readers made of the open part."""
    bench.check("open")
    rows = answers(bench, bench.truths())
    return Deciphered(
        made=bench.made,
        looks=bench.looks,
        scores=score(rows, none=given_up(bench), seed=seed),
        examples=_examples(bench, rows),
    )


def look(bench: Bench, *, seed: int = 0) -> Scores:
    """What readers made of the sealed part; that it was looked at is written down, and the leaderboard of this look kept."""
    bench.check("sealed")
    sealed = [item.transcript_id for item in bench.items if item.part == "sealed"]
    readers = sorted(answers(bench, dict.fromkeys(sealed, ""))["reader"].unique())
    if sealed and not readers:
        raise NotEnough(f"{bench.folder}: no reader has answered a sealed item, so a look would tell nothing. Ask readers first.")
    found = score(answers(bench, bench.look(readers)), part="sealed", seed=seed)
    _write_board(bench.folder / SEALED_BOARD.format(len(bench.looks)), board(bench.made, found))
    return found


def write(bench: Bench, found: Deciphered) -> list[Path]:
    """Write the card and the open leaderboard into the benchmark's folder."""
    _write_board(bench.folder / BOARD, board(bench.made, found.scores))
    with whole_file(bench.folder / CARD) as path:
        path.write_text(card(bench, found), encoding="utf-8", errors="backslashreplace")
    return [bench.folder / CARD, bench.folder / BOARD]


def board(made: Made, scores: Scores) -> pl.DataFrame:
    """The leaderboard: a row a reader and kind of passage, those first that are right of encoded passages the most beyond control."""
    sure = {one.reader: one for one in scores.calibrated}
    rows: list[dict[str, Any]] = []
    for one in scores.conditions:
        known, above = sure.get(one.reader), one.above
        rows.append(
            {
                "part": scores.part,
                "reader": one.reader,
                "material": one.material,
                "run": one.run,
                "step": one.step,
                "encoding": one.encoding,
                "dose": one.dose,
                "answers": one.right.traces,
                "prompts": one.right.prompts,
                "missing": one.right.missing,
                "right": one.right.value,
                "right_low": one.right.low,
                "right_high": one.right.high,
                "above_control": above.value if above else None,
                "above_low": above.low if above else None,
                "above_high": above.high if above else None,
                "brier": known.brier.value if known else None,
                "too_sure": known.over.value if known else None,
                "items_sha256": made.sealed_sha256 if scores.part == "sealed" else made.open_sha256,
                "benchmark_version": made.version,
                "seed": made.settings.seed,
                "cotdrift": made.cotdrift,
            }
        )
    first = scores.best_first
    rows.sort(key=lambda row: first.index(row["reader"]))
    return pl.DataFrame(rows, schema=BOARD_COLUMNS)


def card(bench: Bench, found: Deciphered) -> str:
    """What is to be known of the benchmark before its numbers are believed."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("cotdrift", "decipher"),
        autoescape=False,  # it is Markdown, and no page
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    settings = bench.made.settings
    return pages.get_template("card.md.jinja").render(
        made=bench.made,
        settings=settings,
        encodings=[ENCODINGS[name] for name in settings.encodings],
        looks=found.looks,
        options=_options(settings),
        sentences=found.sentences,
    )


def _options(settings: Settings) -> str:
    """The options that a benchmark was made with."""
    told = f" --passages {settings.passages} --seed {settings.seed} --sealed {settings.sealed:g}"
    told += "".join(f" --encoding {name}" for name in settings.encodings) if settings.encodings != tuple(ENCODINGS) else ""
    if settings.traces:
        told += "".join(f" --truth {shlex.quote(f'{name}={asked}')}" for name, asked in settings.traces.truths.items())
        told += f" --sample {settings.traces.sample} --checkpoints {settings.traces.checkpoints}"
        told += f" --run {shlex.quote(settings.traces.run)}" if settings.traces.run else ""
    return told


def _write_board(path: Path, rows: pl.DataFrame) -> None:
    with whole_file(path) as unfinished:
        rows.write_csv(unfinished)


def _examples(bench: Bench, rows: pl.DataFrame) -> list[Example]:
    """Of each encoding the open passage at its highest dose that most readers answered; and of the last checkpoint one."""
    if not rows.height:
        return []
    asked = rows.filter((pl.col("question") != GLOSS) & ~pl.col("encoding").is_in([SHUFFLED, WITHHELD, LEGIBLE, REWRITTEN]))
    most = asked.group_by("transcript_id", "encoding", "dose", "prompt", "question", "step", "truth").agg(
        many=pl.len(), apart=pl.col("label").n_unique()
    )
    most = most.sort("dose", "step", "many", "apart", "transcript_id", descending=[True, True, True, True, False])
    chosen = most.unique("encoding", keep="first", maintain_order=True)
    plain = {(item.prompt, item.question, item.step): item.transcript_id for item in bench.items if item.encoding == LEGIBLE}
    judgments = bench.study.judgments
    said, rewritings = (judgments.frame(name).with_columns(reader=NAMED) for name in (QUESTION, REWRITING))
    found = []
    for row in chosen.iter_rows(named=True):
        trace = bench.study.corpus.trace(row["transcript_id"])
        source = plain.get((row["prompt"], row["question"], row["step"]))
        why = dict(said.filter(pl.col("transcript_id") == row["transcript_id"]).select("reader", "reason").iter_rows())
        here = rows.filter(pl.col("transcript_id") == row["transcript_id"]).sort("reader")
        rewrote = rewritings.filter((pl.col("transcript_id") == row["transcript_id"]) & pl.col("label").is_in(["all", "part"]))
        found.append(
            Example(
                encoding=row["encoding"],
                dose=row["dose"],
                source=bench.study.corpus.trace(source).reasoning if source and row["encoding"] != AS_IT_IS else "",
                encoded=trace.reasoning,
                asked=trace.prompt,
                right=row["truth"],
                said=[(reader, label or "none", why.get(reader, "") or "") for reader, label in here.select("reader", "label").iter_rows()],
                rewritten=list(rewrote.select("reader", "reason").iter_rows()),
            )
        )
    return sorted(found, key=lambda one: one.encoding)
