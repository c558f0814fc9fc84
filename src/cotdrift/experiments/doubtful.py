"""Doubtful answers: the queue of what a person should read, and what the person said of it."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from cotdrift.corpus import whole_file
from cotdrift.errors import InputError
from cotdrift.experiments.extraction import extract
from cotdrift.experiments.hint_design import ENVIRONMENTS

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

    from cotdrift.study import Study

COLUMNS = ("transcript_id", "prompt", "answer", "guess", "why", "human")
SCORER = "behaviour"


def queue_of(study: Study) -> Path:
    """The file: a row an answer, whose last column is for the number that a person reads there, or `none`."""
    return study.folder / "reward_hint_queue.csv"


def write_queue(study: Study) -> int:
    """Write down the answers of which the number is a guess, and the violations where nothing tempts to one; returns how many wait."""
    ours = study.corpus.scan().filter(pl.col("environment").is_in(list(ENVIRONMENTS.values())))
    if not {"outcome_unsure", "outcome_violates"} <= set(ours.collect_schema().names()):
        return 0
    unsure = pl.col("outcome_unsure") == 1
    untempted = (pl.col("environment") == ENVIRONMENTS["agree"]) & (pl.col("outcome_violates") == 1)
    rows = ours.filter(unsure | untempted).select("transcript_id", "messages", "answer", unsure=unsure).sort("transcript_id").collect()
    said = _said(study)
    with whole_file(queue_of(study)) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as lines:
        out = csv.writer(lines)
        out.writerow(COLUMNS)
        for transcript_id, messages, answer, guessed in rows.iter_rows():
            prompt = "\n\n".join(one["content"] for one in msgspec.json.decode(messages) if one["role"] != "assistant")
            why = "the answer is more than a number" if guessed else "a violation in the agreeing twin"
            number = extract(answer).number
            human = "" if transcript_id not in said else "none" if said[transcript_id] is None else said[transcript_id]
            out.writerow([transcript_id, prompt, answer, "" if number is None else number, why, human])
    return sum(transcript_id not in said for transcript_id in rows["transcript_id"])


def take_corrections(study: Study, value: Callable[[EvalSample, int | None], dict[str, Any]]) -> int:
    """Score the answers that a person has read by what the person read, in the study's own logs; returns how many scores that changed.

    The log keeps the score that was there before, and says who changed it.
    """
    said = _said(study)
    by_log: dict[Path, dict[str, int | None]] = defaultdict(dict)
    rows = study.corpus.scan().filter(pl.col("transcript_id").is_in(list(said))).select("transcript_id", "source", "extra").collect()
    for transcript_id, source, extra in rows.iter_rows():
        log = Path(source.rpartition(":")[0])
        if log.resolve().is_relative_to((study.folder / "logs").resolve()):
            by_log[log][msgspec.json.decode(extra)["uuid"]] = said[transcript_id]
    changed = {log: _rescore(log, numbers, value) for log, numbers in by_log.items()}
    study.ingest([log for log, many in changed.items() if many])
    return sum(changed.values())


def _said(study: Study) -> dict[str, int | None]:
    """The number a person read, by transcript; None where the person says that there is none."""
    path = queue_of(study)
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        given = {row["transcript_id"]: row["human"].strip() for row in csv.DictReader(lines) if (row.get("human") or "").strip()}
    said: dict[str, int | None] = {}
    for transcript_id, number in given.items():
        try:
            said[transcript_id] = None if number.lower() == "none" else int(number)
        except ValueError:
            raise InputError(
                f"{path}: {transcript_id}: human: {number!r} is no whole number. Write the number that is meant, or none."
            ) from None
    return said


def _rescore(path: Path, numbers: dict[str, int | None], value: Callable[[EvalSample, int | None], dict[str, Any]]) -> int:
    from inspect_ai.log import ProvenanceData, edit_score, read_eval_log, recompute_metrics, write_eval_log
    from inspect_ai.scorer import ScoreEdit

    log = read_eval_log(str(path))
    changed = 0
    for sample in log.samples or ():
        if sample.uuid not in numbers or not sample.scores:
            continue
        number = numbers[sample.uuid]
        answer = "" if number is None else str(number)
        was = sample.scores[SCORER]
        if was.answer == answer and not was.as_dict()["unsure"]:
            continue
        by = ProvenanceData(author="a person, by the queue", reason="the number was in doubt")
        edit = ScoreEdit(value=value(sample, number), answer=answer, provenance=by)
        edit_score(log, sample.id, SCORER, edit, recompute_metrics=False, epoch=sample.epoch)
        changed += 1
    if changed:
        recompute_metrics(log)
        write_eval_log(log, str(path))
    return changed
